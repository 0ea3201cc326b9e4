"""The Set Transformer's blocks are their formulas, and the encoders built of them."""

import math

import pytest
import torch
from torch import Tensor, nn

import set_attention as sa


def perturb(module: nn.Module) -> nn.Module:
    """Move the parameters off their initial values, where biases are 0 and norms trivial."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter += 0.2 * noise
    return module


def layer_norm(norm: nn.LayerNorm | sa.SetNorm, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    variance = x.var(axes, unbiased=False, keepdim=True)
    return (x - x.mean(axes, keepdim=True)) / (variance + 1e-5).sqrt() * norm.weight + norm.bias


def multihead(attention: sa.SetAttention, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """Attention of x to the points of a measure (y, w) without padding, head by head."""
    dim, width = attention.dim, attention.dim // attention.heads
    q = x @ attention.query.weight.T + attention.query.bias
    k, v = (y @ attention.key_value.weight.T + attention.key_value.bias).split(dim, -1)
    heads = []
    for start in range(0, dim, width):
        part = slice(start, start + width)
        factors = w * (q[:, part] @ k[:, part].T / math.sqrt(width)).exp()
        heads.append(factors @ v[:, part] / factors.sum(-1, keepdim=True))
    return torch.cat(heads, -1) @ attention.output.weight.T


def explicit_mab(block: sa.MAB, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    axes = (-1,) if isinstance(block.attention_norm, nn.LayerNorm) else (-2, -1)
    forward = block.feed_forward

    def rff(rows: Tensor) -> Tensor:
        return forward.outer(torch.relu(forward.inner(rows)))

    if block.norm == "post":
        h = layer_norm(block.attention_norm, x + multihead(block.attention, x, y, w), axes)
        return layer_norm(block.feed_forward_norm, h + rff(h), axes)
    queries = layer_norm(block.attention_norm, x, axes)
    h = x + multihead(block.attention, queries, layer_norm(block.context_norm, y, axes), w)
    return h + rff(layer_norm(block.feed_forward_norm, h, axes))


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("normalisation", ["layer", "set"])
def test_mab_is_its_formula(normal, norm, normalisation) -> None:
    block = perturb(sa.MAB(8, 2, context_dim=3, norm=norm, normalisation=normalisation).double())
    x, y = normal(4, 8), normal(5, 3)
    # The weights of a measure are in the set norm as well: this one is uniform.
    w = torch.full((5,), 0.2, dtype=torch.float64)
    expected = explicit_mab(block, x, y, w)
    torch.testing.assert_close(block(x, block.context(y)), expected)
    torch.testing.assert_close(block(x, block.context(y, w)), expected)
    assert block.feed_forward.inner.out_features == 8


def test_mab_of_a_weighted_measure(normal, ragged) -> None:
    block = perturb(sa.MAB(8, 4, 12, context_dim=3).double())
    x, y = normal(4, 6, 8), normal(4, 5, 3)
    out = block(x, block.context(y, ragged))
    for i in range(3):
        points = ragged[i] > 0
        expected = explicit_mab(block, x[i], y[i][points], ragged[i][points])
        torch.testing.assert_close(out[i], expected)


def test_the_scale_of_the_published_code_is_a_change_of_the_query_map(normal) -> None:
    """Logits over √dim in place of √(dim / heads): divide the queries by √heads."""
    attention = sa.SetAttention(8, 4, 8).double()
    x, y, w = normal(4, 8), normal(5, 8), torch.ones(5, dtype=torch.float64)
    q, (k, v) = attention._queries(x), attention._keys_values(y)
    published = torch.softmax(q @ k.mT / math.sqrt(8), -1) @ v
    with torch.no_grad():
        attention.query.weight /= 2
        attention.query.bias /= 2
    out = multihead(attention, x, y, w)
    torch.testing.assert_close(out, attention._join(published))
    torch.testing.assert_close(out, attention(x, attention.context(y)))


def test_sab_is_mab_of_a_set_and_itself(normal, ragged) -> None:
    sab, mab = perturb(sa.SAB(8, 2).double()), sa.MAB(8, 2).double()
    mab.attention = sa.SetAttention(8, 2, 8).double()
    own = sab.attention.query_key_value
    with torch.no_grad():
        for mine, first, last in ((mab.attention.query, 0, 8), (mab.attention.key_value, 8, 24)):
            mine.weight.copy_(own.weight[first:last])
            mine.bias.copy_(own.bias[first:last])
        mab.attention.output.load_state_dict(sab.attention.output.state_dict())
    for name in ("attention_norm", "feed_forward", "feed_forward_norm"):
        getattr(mab, name).load_state_dict(getattr(sab, name).state_dict())
    x = normal(4, 5, 8)
    torch.testing.assert_close(sab(x, ragged), mab(x, mab.context(x, ragged), ragged))


def test_isab_is_two_mabs_by_way_of_its_points(normal, ragged) -> None:
    isab = perturb(sa.ISAB(8, 2, 3).double())
    x = normal(4, 5, 8)
    summary = isab.gather(isab.inducing, isab.gather.context(x, ragged))
    assert summary.shape == (4, 3, 8)
    torch.testing.assert_close(isab.summary(x, ragged), summary)
    expected = isab.spread(x, isab.spread.context(summary), ragged)
    torch.testing.assert_close(isab(x, ragged), expected)
    # Of an empty set: the summary is that of the inducing points alone.
    alone = isab.gather(isab.inducing, isab.gather.context(normal(0, 8)))
    torch.testing.assert_close(isab.summary(x, ragged)[3], alone)


def test_pma_is_a_mab_of_seeds_and_mapped_rows(normal, ragged) -> None:
    pma = perturb(sa.PMA(8, 2, 3, 12).double())
    x = normal(4, 5, 8)
    out = pma(x, ragged)
    assert out.shape == (4, 3, 8)
    for i in range(3):
        points = ragged[i] > 0
        rows = pma.feed_forward(x[i][points])
        # The seeds query keys of their own width: no separate matrix for queries.
        context = pma.block.context(rows, ragged[i][points])
        torch.testing.assert_close(out[i], pma.block(pma.seeds, context))
    assert (out[3] != 0).any()


def test_latent_encoder_reads_and_thinks(normal, ragged) -> None:
    encoder = perturb(sa.LatentEncoder(8, 2, 12, 3, readings=2, depth=2, context_dim=4).double())
    x = normal(4, 5, 4)
    z = encoder.latents
    for reader, stack in zip(encoder.readers, encoder.stacks, strict=True):
        z = stack[1](stack[0](reader(z, reader.context(x, ragged))))
    out = encoder(x, ragged)
    assert out.shape == (4, 3, 8)
    torch.testing.assert_close(out, encoder.norm(z))
    assert sa.LatentEncoder(8, 2, 12, 3, depth=0)(torch.ones(5, 8)).shape == (3, 8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sa.ISAB(8, 2, 0), "at least one inducing point, but got inducing=0"),
        (lambda: sa.PMA(8, 2, 0), "at least one seed, but got seeds=0"),
        (lambda: sa.LatentEncoder(8, 2, 12, 0), "latents=0, readings=1 and depth=1"),
        (lambda: sa.LatentEncoder(8, 2, 12, 2)(torch.ones(5, 7)), r"8\), but got \(5, 7\)"),
        (lambda: sa.MAB(8, 2, norm="pre").context(torch.ones(5, 7)), r"8\), but got \(5, 7\)"),
        (lambda: sa.MAB(8, 2, normalisation="batch"), '"layer" or "set", but got \'batch\''),
        (lambda: sa.SAB(8, 2, norm="both"), '"pre" or "post", but got \'both\''),
    ],
)
def test_errors_say_what_was_expected(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
