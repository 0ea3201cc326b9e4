from itertools import product

import pytest
import torch

import set_attention as sa


@pytest.mark.parametrize("interacting", [False, True])
@pytest.mark.parametrize("leading", [(), (4,), (2, 4)])
def test_formula(normal, ragged, interacting, leading) -> None:
    layer = sa.Bilinear(3, 2, 4, interacting=interacting).double()
    torch.nn.init.normal_(layer.bias)
    weights = ragged.expand(*leading, 5) if leading else ragged[2]
    x, y = normal(*leading, 5, 3), normal(*leading, 5, 2)
    out = layer(x, layer.context(y, weights), weights)
    assert out.shape == (*leading, 5, 4)
    for index in product(*map(range, leading)):
        w = weights[index]
        y_mean = sum(w[j] * y[index][j] for j in range(5))
        x_mean = sum(w[j] * x[index][j] for j in range(5))
        for i in range(5):
            expected = layer.bias.clone() * (w[i] > 0)
            for h, p, d in product(range(4), range(3), range(2)):
                if w[i] > 0:
                    expected[h] += layer.weight[p, h, d] * x[index][i, p] * y_mean[d]
                    if interacting:
                        expected[h] += layer.mean_weight[p, h, d] * x_mean[p] * y_mean[d]
            torch.testing.assert_close(out[index][i], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("interacting", [False, True])
def test_linear_in_each_measure(normal, interacting) -> None:
    layer = sa.Bilinear(3, 2, interacting=interacting).double()
    x, x2, y, y2 = normal(4, 5, 3), normal(4, 5, 3), normal(4, 6, 2), normal(4, 6, 2)

    def f(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return layer(x, layer.context(y))

    torch.testing.assert_close(f(2 * x - x2, y), 2 * f(x, y) - f(x2, y))
    torch.testing.assert_close(f(x, 2 * y - y2), 2 * f(x, y) - f(x, y2))


def test_the_context_does_the_contraction(normal) -> None:
    layer = sa.Bilinear(3, 2, 4, interacting=True).double()
    context = layer.context(normal(4, 5, 2))
    assert context.matrix.shape == context.mean_matrix.shape == (4, 3, 4)
    with torch.no_grad():
        layer.weight.zero_()
        layer.mean_weight.zero_()
    assert (layer(normal(4, 5, 3), context) != 0).all()
    assert not context.detach().matrix.requires_grad
    assert context.to(dtype=torch.float32).mean_matrix.dtype == torch.float32
    assert sa.Bilinear(3, 2).context(torch.ones(5, 2)).to("meta").matrix.device.type == "meta"


@pytest.mark.parametrize("interacting", [False, True])
def test_one_context_serves_many_sets(normal, interacting) -> None:
    layer = sa.Bilinear(3, 2, 4, interacting=interacting).double()
    x = normal(6, 5, 3)
    for y in (normal(7, 2), normal(1, 7, 2)):
        out = layer(x, layer.context(y))
        for i in range(6):
            expected = layer(x[i], layer.context(y.view(7, 2)))
            torch.testing.assert_close(out[i], expected)


@pytest.mark.parametrize("interacting", [False, True])
def test_units_in_units_out(interacting) -> None:
    torch.manual_seed(0)
    layer = sa.Bilinear(64, 32, 48, interacting=interacting)
    # One row per set, so that the means have unit entries too.
    out = layer(torch.randn(500, 1, 64), layer.context(torch.randn(500, 1, 32)))
    assert 0.95 < out.std() < 1.05
    assert abs(out.mean()) < 0.05


def test_empty_sets(normal, ragged) -> None:
    layer = sa.Bilinear(3, 2, interacting=True).double()
    torch.nn.init.normal_(layer.bias)
    out = layer(normal(4, 6, 3), layer.context(normal(4, 5, 2), ragged))
    assert (out[3] == layer.bias).all()
    assert (layer(normal(4, 0, 3), layer.context(normal(4, 5, 2)))).shape == (4, 0, 3)
    assert (layer(normal(6, 3), layer.context(normal(0, 2))) == layer.bias).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sa.Bilinear(3, 0), "dim=3, context_dim=0 and out_dim=3"),
        (lambda: sa.Bilinear(3, 2).context(torch.ones(5, 3)), r"\(..., n, 2\), but got \(5, 3\)"),
        (
            lambda: sa.Bilinear(3, 2)(
                torch.ones(5, 3),
                sa.Bilinear(3, 2, interacting=True).context(torch.ones(5, 2)),
            ),
            "a context without a mean matrix, .* this very module",
        ),
        (
            lambda: sa.Bilinear(3, 2, interacting=True)(
                torch.ones(5, 3), sa.Bilinear(3, 2).context(torch.ones(5, 2))
            ),
            "a context with a mean matrix",
        ),
    ],
)
def test_errors_say_what_was_expected(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
