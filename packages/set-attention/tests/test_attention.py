import math
from collections import Counter
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

import set_attention as sa


def explicit(q: Tensor, k: Tensor, v: Tensor, w: Tensor) -> Tensor:
    """The formula, one number at a time, for one set without leading shape."""
    out = v.new_zeros(len(q), v.shape[-1])
    for i in range(len(q)):
        factors = [
            w[j] * torch.exp(q[i] @ k[j] / math.sqrt(q.shape[-1])) if w[j] > 0 else w[j]
            for j in range(len(k))
        ]
        if sum(factors) > 0:
            for j, factor in enumerate(factors):
                out[i] = out[i] + factor / sum(factors) * v[j]
    return out


@pytest.mark.parametrize("leading", [(), (4,), (2, 4), (3, 2, 4)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_attend_is_its_formula(normal, ragged, leading, dtype) -> None:
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    q, k, v = (normal(*leading, n, h, dtype=dtype) for n, h in ((3, 6), (5, 6), (5, 2)))
    weights = ragged.to(dtype).expand(*leading, 5) if leading else ragged[2].to(dtype)
    out = sa.attend(q, k, v, sa.log_weights(weights))
    full = sa.attend(q, k, v)
    assert out.shape == full.shape == (*leading, 3, 2)
    for index in product(*map(range, leading)):
        expected = explicit(q[index], k[index], v[index], weights[index])
        torch.testing.assert_close(out[index], expected, atol=tolerance, rtol=tolerance)
        expected = explicit(q[index], k[index], v[index], weights.new_ones(5))
        torch.testing.assert_close(full[index], expected, atol=tolerance, rtol=tolerance)


def test_attend_broadcasts_leading_shapes(normal, ragged) -> None:
    q, k, v = normal(3, 6), normal(4, 5, 6), normal(2, 1, 5, 6)
    out = sa.attend(q, k, v, sa.log_weights(ragged))
    assert out.shape == (2, 4, 3, 6)
    for a, b in product(range(2), range(4)):
        torch.testing.assert_close(out[a, b], explicit(q, k[b], v[a, 0], ragged[b]))


def test_attend_gradients(normal) -> None:
    weights = torch.tensor([[0.3, 0.7, 0.0], [0.2, 0.3, 0.5]], dtype=torch.float64)
    inputs = [normal(2, 2, 4), normal(2, 3, 4), normal(2, 3, 4)]
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        # The kernels of the forward pass in use elsewhere are differentiable once.
        assert torch.autograd.gradgradcheck(
            lambda q, k, v: sa.attend(q, k, v, sa.log_weights(weights)),
            [x.requires_grad_() for x in inputs],
        )
    assert torch.autograd.gradcheck(
        lambda q, k, v, w: sa.attend(q, k, v, sa.log_weights(w)),
        [*inputs, weights[1:].requires_grad_()],
    )


def test_log_weights_of_zero_have_no_gradient() -> None:
    weights = torch.tensor([0.0, 0.25, 1.0], requires_grad=True)
    logs = sa.log_weights(weights)
    assert logs.tolist() == [-torch.inf, pytest.approx(math.log(0.25)), 0.0]
    (gradient,) = torch.autograd.grad(logs[1:].sum() + logs.exp().sum(), weights)
    assert gradient.tolist() == [0.0, 5.0, 2.0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_attention_to_nothing_is_zero(normal, dtype) -> None:
    q, k = normal(2, 3, 4, dtype=dtype), torch.full((2, 5, 4), torch.nan, dtype=dtype)
    log_weights = torch.full((2, 5), -torch.inf, dtype=dtype)
    inputs = [x.requires_grad_() for x in (q, k, k.clone(), log_weights)]
    out = sa.attend(*inputs)
    assert (out == 0).all()
    for gradient in torch.autograd.grad(out.sum(), inputs):
        assert (gradient == 0).all()
    no_rows = normal(2, 0, 4, dtype=dtype)
    assert (sa.attend(q, no_rows, no_rows) == 0).all()
    assert (sa.attend(q, no_rows, no_rows, log_weights[:, :0]) == 0).all()


def test_attention_to_an_empty_context_is_zero_with_finite_gradients(normal, ragged) -> None:
    attention = sa.SetAttention(8, 2, 3).double()
    for parameter in attention.parameters():
        nn.init.normal_(parameter)
    y = normal(4, 5, 3).requires_grad_()
    out = attention(normal(4, 2, 8), attention.context(y, ragged))
    assert (out[3] == 0).all()
    assert (out[:3].abs() > 1e-3).all()
    out.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in attention.parameters())
    assert (y.grad[ragged == 0] == 0).all()
    assert (y.grad[ragged > 0] != 0).all()
    assert (attention(normal(2, 8), attention.context(normal(0, 3))) == 0).all()


def same_parameters(attention: sa.SetAttention, dim: int, context_dim: int | None) -> nn.Module:
    """torch's module with the parameters of ours, and a bias on its output that ours has not."""
    other = nn.MultiheadAttention(
        dim, attention.heads, kdim=context_dim, vdim=context_dim, batch_first=True
    ).double()
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.copy_(torch.randn_like(parameter) / dim**0.5)
        if attention.packed:
            weight, bias = attention.query_key_value.weight, attention.query_key_value.bias
            other.in_proj_weight.copy_(weight)
        else:
            keys, values = attention.key_value.weight.chunk(2)
            bias = torch.cat([attention.query.bias, attention.key_value.bias])
            other.q_proj_weight.copy_(attention.query.weight)
            other.k_proj_weight.copy_(keys)
            other.v_proj_weight.copy_(values)
        other.in_proj_bias.copy_(bias)
        other.out_proj.weight.copy_(attention.output.weight)
        # The value bias W⁻¹ b does what the output bias b does, as our docstring says.
        other.out_proj.bias.normal_()
        shift = torch.linalg.solve(attention.output.weight, other.out_proj.bias)
        (attention.query_key_value if attention.packed else attention.key_value).bias[-dim:] += (
            shift
        )
    return other


@pytest.mark.parametrize("context_dim", [None, 3])
def test_multihead_attention_of_torch_agrees(normal, ragged, context_dim) -> None:
    torch.manual_seed(0)
    ours = sa.SetAttention(8, 4, context_dim).double()
    theirs = same_parameters(ours, 8, context_dim)
    x, y = normal(4, 5, 8), normal(4, 5, context_dim or 8)
    mask = torch.rand(4, 5) < 0.5
    mask[:, 0] = True
    weights = mask.double() / mask.sum(-1, keepdim=True)
    pairs = [
        (lambda x, y: ours(x, ours.context(y)), lambda x, y: theirs(x, y, y)[0]),
        (
            lambda x, y: ours(x, ours.context(y, weights)),
            lambda x, y: theirs(x, y, y, key_padding_mask=~mask)[0],
        ),
    ]
    if context_dim is None:
        pairs += [
            (lambda x, y: ours(x), lambda x, y: theirs(x, x, x)[0]),
            (
                lambda x, y: ours(x, weights=weights),
                lambda x, y: theirs(x, x, x, key_padding_mask=~mask)[0] * mask.unsqueeze(-1),
            ),
        ]
    for our, their in pairs:
        inputs = [x.clone().requires_grad_(), y.clone().requires_grad_()]
        results = [our(*inputs), their(*inputs)]
        torch.testing.assert_close(*results, rtol=1e-6, atol=1e-6)
        gradients = [
            torch.autograd.grad(r.square().sum(), inputs, materialize_grads=True, allow_unused=True)
            for r in results
        ]
        torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-6)


def test_integer_weights_are_repetitions(normal) -> None:
    attention = sa.SetAttention(8, 2).double()
    x, counts = normal(3, 8), torch.tensor([1, 3, 2])
    repeated = attention(x.repeat_interleave(counts, 0))
    weighted = attention(x, weights=counts / counts.sum(dtype=torch.float64))
    expected = weighted.repeat_interleave(counts, 0)
    torch.testing.assert_close(repeated, expected, rtol=1e-12, atol=1e-12)


def test_full_sets_pass_no_mask(normal, monkeypatch) -> None:
    kernel, masks = F.scaled_dot_product_attention, []

    def spy(*args: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        masks.append(attn_mask)
        return kernel(*args, attn_mask=attn_mask)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    attention = sa.SetAttention(8, 2).double()
    x = normal(2, 5, 8)
    attention(x)
    attention(x, attention.context(x))
    assert masks == [None, None]
    attention(x, weights=torch.full((2, 5), 0.2, dtype=torch.float64))
    assert masks[2].shape == (2, 1, 1, 5)


class Large(TorchDispatchMode):
    """Counts the operators whose results are new and no smaller than 60,000 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = {x.untyped_storage().data_ptr() for x in tree_iter(args) if isinstance(x, Tensor)}
        out = func(*args, **(kwargs or {}))
        for x in tree_iter(out):
            new = isinstance(x, Tensor) and x.untyped_storage().data_ptr() not in given
            if new and x.numel() >= 60_000:
                self.operators[func.overloadpacket.__name__] += 1
        return out


def test_nothing_is_computed_beside_projections_and_kernel() -> None:
    """Neither forward nor backward, weighted or not: what a timing would show less well."""
    attention = sa.SetAttention(32, 4)
    x = torch.randn(32, 64, 32, requires_grad=True)
    weights = torch.rand(32, 64) + 0.1

    def bare(mask: Tensor | None) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (4, 8)).transpose(1, 2)
            for part in attention.query_key_value(x).chunk(3, -1)
        )
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return attention.output(heads.transpose(1, 2).flatten(-2))

    counts = []
    for run in (
        lambda: bare(None),
        lambda: attention(x),
        lambda: bare(weights.log()[:, None, None]),
        lambda: attention(x, weights=weights),
    ):
        with Large() as large:
            run().sum().backward()
        counts.append(large.operators)
    assert counts[0] == counts[1]
    assert counts[2] == counts[3]
    assert counts[1]["mm"] > 2


def test_a_context_is_computed_once_and_queried_many_times(normal, ragged) -> None:
    attention = sa.SetAttention(8, 2, 3).double()
    y = normal(4, 5, 3).requires_grad_()
    context = attention.context(y, ragged)
    assert context.keys.shape == context.values.shape == (4, 2, 5, 4)
    assert context.log_weights.shape == (4, 1, 5)
    assert context.log_weights[2, 0].tolist() == pytest.approx(
        [math.log(0.7), -torch.inf, -torch.inf, math.log(0.3), -torch.inf]
    )
    x = normal(4, 3, 8)
    for n in (1, 2, 3):
        torch.testing.assert_close(attention(x[:, :n], context), attention(x, context)[:, :n])
    one = attention(x, attention.context(y[0], ragged[0]))
    torch.testing.assert_close(one[0], attention(x, context)[0])

    assert context.keys.requires_grad
    detached = context.detach()
    assert not any(t.requires_grad for t in (detached.keys, detached.values, detached.log_weights))
    single = context.to(dtype=torch.float32)
    assert single.keys.dtype == single.values.dtype == single.log_weights.dtype == torch.float32
    assert context.to("meta").values.device.type == "meta"
    assert attention.context(y).to("cpu", torch.float64).log_weights is None


def test_attention_weights_are_those_that_attend_averages_with(normal, ragged) -> None:
    q, k, v = normal(4, 3, 6), normal(4, 5, 6), normal(4, 5, 2)
    padding = ragged == 0
    spoilt = k.masked_fill(padding.unsqueeze(-1), torch.nan)
    out = sa.attention_weights(q, spoilt, sa.log_weights(ragged))
    torch.testing.assert_close(out @ v, sa.attend(q, spoilt, v, sa.log_weights(ragged)))
    assert (out.masked_select(padding.unsqueeze(-2)) == 0).all()
    torch.testing.assert_close(out[:3].sum(-1), torch.ones(3, 3, dtype=torch.float64))
    torch.testing.assert_close(sa.attention_weights(q, k) @ v, sa.attend(q, k, v))
    assert sa.attention_weights(q, k[:, :0], sa.log_weights(ragged[:, :0])).shape == (4, 3, 0)


@pytest.mark.parametrize("context_dim", [None, 3])
def test_attention_weights_of_each_head(normal, ragged, context_dim) -> None:
    attention = sa.SetAttention(8, 2, context_dim).double()
    x, y = normal(4, 3, 8), normal(4, 5, context_dim or 8)
    context = attention.context(y, ragged)
    out = attention.attention_weights(x, context)
    assert out.shape == (4, 2, 3, 5)
    heads = out @ context.values
    torch.testing.assert_close(attention._join(heads), attention(x, context))
    assert (out[2, ..., [1, 2, 4]] == 0).all()
    if context_dim is None:
        own = attention.attention_weights(y, ragged)
        assert (own[2, :, [1, 2, 4]] == 0).all()
        values = attention.context(y, ragged).values
        torch.testing.assert_close(attention._join(own @ values), attention(y, ragged))
        theirs = same_parameters(attention, 8, None)(y, y, y, average_attn_weights=False)[1]
        torch.testing.assert_close(attention.attention_weights(y), theirs)


def test_log_weights_of_another_precision(normal, ragged) -> None:
    q, k = normal(4, 3, 6), normal(4, 5, 6)
    for dtype, other in ((torch.float64, torch.float32), (torch.bfloat16, torch.float64)):
        out = sa.attend(q.to(dtype), k.to(dtype), k.to(dtype), sa.log_weights(ragged.to(other)))
        assert out.dtype == dtype
        expected = sa.attend(q, k, k, sa.log_weights(ragged))
        tolerance = 1e-6 if dtype == torch.float64 else 0.05
        torch.testing.assert_close(out.double(), expected, rtol=tolerance, atol=tolerance)


def test_self_attention_is_attention_to_the_own_context(normal, ragged) -> None:
    for attention in (sa.SetAttention(8, 2).double(), sa.SetAttention(8, 2, 8).double()):
        x = normal(4, 5, 8)
        torch.testing.assert_close(attention(x), attention(x, attention.context(x)))
        torch.testing.assert_close(
            attention(x, weights=ragged), attention(x, attention.context(x, ragged), ragged)
        )


def test_unit_rows_give_unit_logits() -> None:
    torch.manual_seed(0)
    attention = sa.SetAttention(128, 4, 64)
    x, y = torch.randn(256, 128), torch.randn(256, 64)
    keys = attention.context(y).keys
    queries = attention.query(x).unflatten(-1, (4, 32)).transpose(0, 1)
    assert 0.8 < (queries @ keys.mT / 32**0.5).std() < 1.2
    assert 0.9 < attention.context(y).values.std() < 1.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sa.SetAttention(8, 3), "positive multiple of heads, but got dim=8 and heads=3"),
        (lambda: sa.SetAttention(8, 0), "multiple of heads"),
        (
            lambda: sa.SetAttention(8, 2)(torch.ones(4, 3)),
            r"expected features of shape \(..., n, 8\), but got \(4, 3\)",
        ),
        (lambda: sa.SetAttention(8, 2)(torch.ones(8)), r"\(..., n, 8\), but got \(8,\)"),
        (lambda: sa.SetAttention(8, 2, 3)(torch.ones(4, 8)), "a context, since context_dim=3"),
        (lambda: sa.SetAttention(8, 2, 3).context(torch.ones(4, 8)), r"\(..., n, 3\)"),
        (
            lambda: sa.SetAttention(8, 2)(torch.ones(2, 4, 8), weights=torch.ones(4)),
            r"expected weights of shape \(2, 4\).* got \(4,\); expand",
        ),
        (
            lambda: sa.SetAttention(8, 2)(
                torch.ones(4, 8), sa.SetAttention(8, 4).context(torch.ones(4, 8))
            ),
            "a context of 2 heads of width 4, but got keys of shape .* this very module",
        ),
    ],
)
def test_errors_say_what_was_expected(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_mask_is_not_weights() -> None:
    with pytest.raises(TypeError, match=r"torch.bool; turn a mask .* mask.to\(x.dtype\)"):
        sa.clear_padding(torch.ones(2, 3), torch.tensor([True, False]))


def test_in_16_bits_only_ratios_of_weights_matter_too() -> None:
    """A log-weight of -70 would be rounded to a multiple of a half."""
    keys, values = torch.zeros(2, 1), torch.tensor([[1.0], [0.0]])
    weights = torch.tensor([1.0, 1.25])
    for dtype, tolerance in ((torch.bfloat16, 4e-3), (torch.float16, 5e-4)):
        q, k, v = keys[:1].to(dtype), keys.to(dtype), values.to(dtype)
        for scale in (1.0, 1e-6, 1e-30, 1e30):
            bias = sa.log_weights(weights * scale)
            for out in (sa.attend(q, k, v, bias), sa.attention_weights(q, k, bias)[..., :1]):
                assert float(out) == pytest.approx(1 / 2.25, abs=tolerance)


@pytest.mark.parametrize("way", ["bfloat16", "autocast"])
def test_modules_in_16_bits_see_ratios_of_weights(way) -> None:
    torch.manual_seed(0)
    x, weights = torch.randn(3, 6, 8), torch.rand(3, 6) + 0.1
    weights[1, 4:], weights[2] = 0, 0
    modules = (sa.SetAttention(8, 2), sa.SetAttention(8, 2, 8))
    vector = sa.VectorAttention(8, 8, 6)
    with torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        if way == "bfloat16":
            x = x.bfloat16()
            for module in (*modules, vector):
                module.bfloat16()
        for scale in (2.0**-20, 2.0**60):
            for module in modules:
                for call in (
                    lambda w, m=module: m(x, weights=w),
                    lambda w, m=module: m(x, m.context(x, w)),
                ):
                    assert torch.equal(call(weights * scale), call(weights))
            few = vector(x, x, weights=weights * scale)
            torch.testing.assert_close(few, vector(x, x, weights=weights), rtol=0.02, atol=0.02)
