"""What is not a measure is refused in one sentence, or seen in the result; never passed over."""

import pytest
import torch
from torch import Tensor

import set_attention as sa
from set_attention import measures


def local_pool():
    """The features are the places, too."""
    pool = sa.LocalPool(8, 8, 4, 3, norm="layer")
    return lambda x, w=None: pool(x, x, w)[0]


BLOCKS = {
    "transformer": lambda: sa.TransformerBlock(8, 2, 16),
    "attention": lambda: sa.SetAttention(8, 2),
    "deep sets": lambda: sa.DeepSetsBlock(8, 12),
    "equivariant linear": lambda: sa.EquivariantLinear(8, pool="max"),
    "feed-forward": lambda: sa.FeedForward(8, 16),
    "set norm": lambda: sa.SetNorm(8),
    "batch norm": lambda: sa.MeasureBatchNorm(8),
    "local moments": lambda: sa.LocalMoments(8),
    "local pool": local_pool,
    "fourier": lambda: sa.FourierFeatures(8, 4),
    "mean pool": sa.MeanPool,
    "max pool": sa.MaxPool,
    "attention pool": lambda: sa.AttentionPool(8, 2),
    "by size": lambda: lambda x, w=None: sa.by_size(sa.TransformerBlock(8, 2, 16), x, w),
}
every = pytest.mark.parametrize("name", BLOCKS)


@every
def test_a_numpy_array_is_refused_with_what_to_write(name) -> None:
    block, x, weights = BLOCKS[name](), torch.randn(3, 5, 8), torch.rand(3, 5)
    for arguments in ((x.numpy(),), (x.numpy(), weights), (x, weights.numpy()), (x.tolist(),)):
        with pytest.raises(TypeError, match=r"as a torch\.Tensor, but got .*torch\.as_tensor"):
            block(*arguments)


@every
def test_a_weight_that_is_nan_is_no_padding(name) -> None:
    block, x, weights = BLOCKS[name](), torch.randn(3, 5, 8), torch.ones(3, 5)
    weights[1, 2] = torch.nan
    with pytest.raises(ValueError, match="least is nan; give rows without a weight 0"):
        block(x, weights)


@every
def test_a_negative_weight_is_refused_on_the_cpu(name) -> None:
    block, x = BLOCKS[name](), torch.randn(3, 5, 8)
    for weights in (-torch.rand(3, 5), torch.tensor([1.0, 1.0, 0.0, 2.0, -0.25]).expand(3, 5)):
        with pytest.raises(ValueError, match="not negative, 0 for padding, but the least is -"):
            block(x, weights)
    assert block(x[:, :0], torch.ones(3, 0)).isfinite().all()  # nothing to look at


def seen(out: Tensor, rows: int) -> bool:
    """Whether the second of three measures is NaN, in its negative rows at least, and no other."""
    others = out[[0, 2]]
    bad = out[1, -rows:] if out.dim() == 3 else out[1]
    return bool(others.isfinite().all() and bad.isnan().all())


@every
def test_where_the_host_may_not_look_it_is_seen_in_the_result(name, monkeypatch) -> None:
    block = BLOCKS[name]()
    if name == "batch norm":  # in training its statistics are those of the whole batch
        block.eval()
    x, weights = torch.randn(3, 5, 8), torch.rand(3, 5)
    weights[0, 3:] = 0
    expected = block(x, weights) if name != "by size" else None
    for bad, rows in (
        (-weights[1], 5),
        (torch.tensor([1.0, 1.0, 1.0, 1.0, -1.0]), 1),
        (torch.tensor([1.0, 1.0, 1.0, 1.0, torch.nan]), 1),
    ):
        with monkeypatch.context() as patch:
            for module in (measures, sa.ragged):
                patch.setattr(module, "host_may_look", lambda tensor: False)
            out = block(x, torch.stack([weights[0], bad, weights[2]]))
            assert seen(out, rows)
            if expected is not None:
                torch.testing.assert_close(out[[0, 2]], expected[[0, 2]])


@pytest.mark.parametrize("pool", [sa.mean_pool, sa.max_pool])
def test_compiled_code_shows_it_too(pool) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(pool, backend="eager", fullgraph=True)
    x, weights = torch.randn(3, 5, 8), torch.rand(3, 5)
    torch.testing.assert_close(compiled(x, weights), pool(x, weights))
    weights[1] = -1
    assert seen(compiled(x, weights), 5)


def test_gradients_beside_a_negative_weight_are_those_without_it(monkeypatch) -> None:
    monkeypatch.setattr(measures, "host_may_look", lambda tensor: False)
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(2, 4, dtype=torch.float64).requires_grad_()
    (alone,) = torch.autograd.grad(sa.mean_pool(x[0], weights[0]).sum(), weights)
    signs = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    (beside,) = torch.autograd.grad(sa.mean_pool(x, signs * weights)[0].sum(), weights)
    torch.testing.assert_close(alone[0], beside[0])


def test_a_context_is_one_keyword_of_every_module_that_takes_one() -> None:
    x, y = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    w, v = torch.tensor([[1.0, 2, 0], [1, 1, 1]]), torch.rand(2, 5)
    for module in (
        sa.SetAttention(8, 2, context_dim=8),
        sa.CrossBlock(8, 2, 8),
        sa.MAB(8, 2),
        sa.Bilinear(8, 8, 8),
    ):
        context = module.context(y, v)
        assert torch.equal(module(x, context=context, weights=w), module(x, context, w))
    places, others = torch.randn(2, 3, 2), torch.randn(2, 5, 2)
    vector = sa.VectorAttention(8, 2, 3)
    context = vector.context(y, others, v)
    named = vector(x, places, context=context, weights=w)
    assert torch.equal(named, vector(x, places, context, w))


@pytest.mark.parametrize(
    "make",
    [
        lambda **options: sa.SAB(8, 2, **options),
        lambda **options: sa.MAB(8, 2, **options),
        lambda **options: sa.ISAB(8, 2, 3, **options),
        lambda **options: sa.PMA(8, 2, **options),
    ],
)
def test_what_the_blocks_of_the_paper_share_is_checked_by_name(make) -> None:
    with pytest.raises(TypeError, match="droput"):
        make(droput=0.1)
    with pytest.raises(ValueError, match="norm"):
        make(norm="after")
    options = {"norm": "pre", "dropout": 0.25, "activation": "gelu", "normalisation": "set"}
    parts = list(make(**options).modules())
    assert any(isinstance(part, sa.SetNorm) for part in parts)
    assert any(isinstance(part, sa.RowDropout) and part.p == 0.25 for part in parts)
    assert {part.norm for part in parts if isinstance(part, (sa.SAB, sa.MAB))} == {"pre"}
    plain = list(make().modules())
    assert {part.norm for part in plain if isinstance(part, (sa.SAB, sa.MAB))} == {"post"}
    assert not any(isinstance(part, sa.SetNorm) for part in plain)
    for each, activation in ((parts, "gelu"), (plain, "relu")):
        found = {part.activation for part in each if isinstance(part, sa.FeedForward)}
        assert found == {activation}


@every
def test_features_that_are_no_floating_point_numbers_are_refused(name) -> None:
    """In integers a mean would be cut off."""
    if name == "by size":
        pytest.skip("what it takes is what its function takes")
    for x in (torch.ones(3, 5, 8).long(), torch.ones(3, 5, 8) > 0):
        for weights in (None, torch.rand(3, 5)):
            with pytest.raises(TypeError, match=r"features, but got torch\.\w+, .* \.float\(\)"):
                BLOCKS[name]()(x, weights)


@every
def test_an_infinite_weight_is_refused_on_the_cpu(name) -> None:
    weights = torch.ones(3, 5)
    weights[2, 1] = torch.inf
    with pytest.raises(ValueError, match="expected finite weights, but one is infinite"):
        BLOCKS[name]()(torch.randn(3, 5, 8), weights)


def test_weights_that_are_a_parameter_are_looked_at_as_any_other() -> None:
    for bad, message in ((-1.0, "not negative"), (torch.nan, "is nan"), (torch.inf, "infinite")):
        weights = torch.nn.Parameter(torch.tensor([1.0, bad, 1.0]))
        with pytest.raises(ValueError, match=message):
            sa.mean_pool(torch.ones(3, 2), weights)


def test_counts_are_told_what_to_become() -> None:
    with pytest.raises(TypeError, match=r"torch.int64; turn a mask .*, or counts, .*to\(x.dtype\)"):
        sa.mean_pool(torch.ones(3, 2), torch.tensor([1, 2, 3]))


@every
def test_weights_whose_sum_is_beyond_their_dtype_are_weights(name) -> None:
    block, x = BLOCKS[name](), torch.randn(3, 5, 8)
    weights = torch.rand(3, 5) + 0.1
    weights[1, 2] = 0
    torch.manual_seed(0)
    expected = BLOCKS[name]() if name == "by size" else block
    out = block(x, weights * 3e38)
    if name != "by size":
        torch.testing.assert_close(out, expected(x, weights), rtol=1e-4, atol=1e-5)
    assert out.isfinite().all()
