"""Set norm, the layers of deep sets, Fourier features: formulas and oracles."""

import math

import pytest
import torch
from torch import Tensor, nn

import set_attention as sa


def test_set_norm_is_its_formula(normal, ragged) -> None:
    norm = sa.SetNorm(3).double()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    x = 5 + 3 * normal(4, 5, 3)
    out = norm(x, ragged)
    for i in range(3):
        shares = ragged[i][:, None] / 3
        mean = (shares * x[i]).sum()
        variance = (shares * (x[i] - mean).square()).sum()
        expected = (x[i] - mean) / (variance + 1e-5).sqrt() * norm.weight + norm.bias
        torch.testing.assert_close(out[i], expected * (ragged[i] > 0)[:, None])
    assert (out[3] == 0).all()
    torch.testing.assert_close(norm(x[0]), out[0])
    torch.testing.assert_close(norm(x, 7 * ragged), out)


def test_set_norm_forgets_place_and_scale_but_not_distance(normal) -> None:
    norm, x = sa.SetNorm(8).double(), normal(6, 8)
    torch.testing.assert_close(norm(3 + 100 * x), norm(x), rtol=1e-4, atol=1e-4)
    near = torch.cat([x[:1], x[:1] * 2, x[2:]])
    assert not torch.allclose(norm(near)[0], norm(near)[1])
    assert torch.allclose(nn.LayerNorm(8).double()(near)[0], nn.LayerNorm(8).double()(near)[1])


def test_set_norm_computes_in_float32_and_answers_in_kind() -> None:
    x = 100 + torch.randn(2, 50, 4, generator=torch.Generator().manual_seed(0))
    weights = torch.full((2, 50), 0.02)
    low = x.bfloat16()
    for w in (None, weights):
        out = sa.SetNorm(4)(low, w)
        assert out.dtype == torch.bfloat16
        torch.testing.assert_close(out.float(), sa.SetNorm(4)(low.float(), w), rtol=0.01, atol=0.01)


def test_no_rows(normal) -> None:
    x, weights = normal(4, 0, 8), torch.ones(4, 0, dtype=torch.float64)
    for module in (
        sa.SetNorm(8),
        sa.EquivariantLinear(8),
        sa.EquivariantLinear(8, pool="max"),
        sa.DeepSetsBlock(8, 4),
        sa.FourierFeatures(8, 0),
    ):
        assert module.double()(x).shape == module.double()(x, weights).shape == (4, 0, 8)


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_equivariant_linear_formula(normal, ragged, pool) -> None:
    layer = sa.EquivariantLinear(3, 2, pool=pool).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = normal(4, 5, 3)
    pooled = {"mean": sa.mean_pool, "max": sa.max_pool}[pool](x, ragged)
    expected = x @ layer.rows.weight.T + layer.rows.bias
    expected = expected + (pooled @ layer.pooled.weight.T).unsqueeze(-2)
    torch.testing.assert_close(layer(x, ragged), expected * (ragged > 0).unsqueeze(-1))


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_deep_sets_block_formula(normal, ragged, activation) -> None:
    block = sa.DeepSetsBlock(3, 7, activation=activation).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    x = normal(4, 5, 3)
    function = {"relu": torch.relu, "gelu": nn.functional.gelu}[activation]
    expected = x + block.outer(function(block.inner(block.norm(x, ragged), ragged)))
    torch.testing.assert_close(block(x, ragged), expected * (ragged > 0).unsqueeze(-1))


def test_equivariant_linear_keeps_unit_scale() -> None:
    torch.manual_seed(0)
    x = torch.ones(1, 256)  # one point: the row and the mean agree
    out = torch.cat([sa.EquivariantLinear(256)(x) for _ in range(200)])
    assert 0.9 < out.var() < 1.1


def octaves(points: Tensor, count: int) -> Tensor:
    """x, sin(2^k π x / 4), cos(2^k π x / 4)."""
    angles = [0.25 * math.pi * 2**k * points for k in range(count)]
    return torch.cat([points, *[a.sin() for a in angles], *[a.cos() for a in angles]], -1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_fourier_features_formula(normal, dtype) -> None:
    points = normal(4, 5, 2, dtype=dtype)
    for count in (0, 1, 4):
        module = sa.FourierFeatures(2, count)
        out = module(points)
        assert torch.equal(out, octaves(points, count))
        assert out.shape[-1] == module.out_dim
    other = sa.FourierFeatures(2, 4, wavelength=2.0)(points)
    torch.testing.assert_close(other[..., 2:], octaves(4 * points, 4)[..., 2:])
    shifted = sa.FourierFeatures(2, 4)(points + 8)
    torch.testing.assert_close(shifted[..., 2:], octaves(points, 4)[..., 2:], rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sa.SetNorm(0), "got dim=0 and epsilon=1e-05"),
        (lambda: sa.SetNorm(8)(torch.ones(5, 7)), r"8\), but got \(5, 7\)"),
        (lambda: sa.EquivariantLinear(8, 0), "got dim=8 and out_dim=0"),
        (lambda: sa.EquivariantLinear(8, pool="sum"), '"mean" or "max", but got \'sum\''),
        (lambda: sa.EquivariantLinear(8)(torch.ones(5, 7)), r"8\), but got \(5, 7\)"),
        (lambda: sa.DeepSetsBlock(8, 4, activation="tanh"), '"gelu" or "relu"'),
        (lambda: sa.DeepSetsBlock(8, 4)(torch.ones(5, 7)), r"8\), but got \(5, 7\)"),
        (lambda: sa.FourierFeatures(2, -1), "octaves=-1"),
        (lambda: sa.FourierFeatures(2, 4)(torch.ones(5, 3)), r"2\), but got \(5, 3\)"),
    ],
)
def test_errors_say_what_was_expected(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
