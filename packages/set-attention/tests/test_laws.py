"""Each law passes what keeps it, and names what breaks it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import set_attention as sa
from set_attention import laws

X = torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
WEIGHTS = torch.tensor(
    [[0.4, 0.3, 0.2, 0.1], [0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]], dtype=torch.float64
)


def clean(x: Tensor, weights: Tensor | None) -> Tensor:
    return sa.clear_padding(x, weights)


def zero_multiplied(x: Tensor, weights: Tensor | None) -> Tensor:
    return x if weights is None else x * (weights > 0).unsqueeze(-1)


class LeakyGradient(torch.autograd.Function):
    """The identity on numbers, whose gradient mixes the rows in their order."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.nan_to_num()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient.cumsum(-2)


class ColumnSum(nn.Module):
    """A product with a matrix, whose gradient sees what stands in the padding."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(5, 5, dtype=torch.float64))

    def forward(self, x: Tensor, weights: Tensor | None) -> Tensor:
        out = x @ self.weight
        return out if weights is None else torch.where(weights.unsqueeze(-1) > 0, out, 0)


def test_what_keeps_the_laws_passes() -> None:
    block = sa.TransformerBlock(5, 1, 7).double()
    for weights in (None, WEIGHTS):
        laws.assert_equivariant(block, X, weights)
        laws.assert_invariant(sa.mean_pool, X, weights)
        for function in (block, sa.mean_pool):
            laws.assert_padding_free(function, X, weights)
            laws.assert_mass_consistent(function, X, weights)
            laws.assert_empty_defined(function, X, weights)


@pytest.mark.parametrize(
    ("law", "function", "message"),
    [
        (
            laws.assert_equivariant,
            lambda x, w: clean(x, w).cumsum(-2),
            "equivariance: the result",
        ),
        (
            laws.assert_equivariant,
            lambda x, w: LeakyGradient.apply(x),
            "equivariance: the gradient is",
        ),
        (laws.assert_equivariant, sa.mean_pool, r"expected a result with a row .* \(3, 5\)"),
        (laws.assert_invariant, lambda x, w: clean(x, w)[..., 0, :], "invariance: the result"),
        (
            laws.assert_invariant,
            lambda x, w: LeakyGradient.apply(x).sum(-2),
            "invariance: the gradient is",
        ),
        (laws.assert_padding_free, lambda x, w: x.mean(-2), "with 0.0 in the padding, the result"),
        (laws.assert_padding_free, lambda x, w: x + 1, "with 0.0 .* the result in padded rows"),
        (laws.assert_padding_free, zero_multiplied, "with nan .* the result in padded rows"),
        (
            laws.assert_padding_free,
            lambda x, w: (x * w.unsqueeze(-1)).sum(-2),
            r"with 1e\+30 in the padding, the gradient of the weights 0 is",
        ),
        (
            laws.assert_padding_free,
            lambda x, w: (x * w.detach().unsqueeze(-1)).sum(-2),
            "with nan in the padding, the result is",
        ),
        (
            laws.assert_padding_free,
            lambda x, w: clean(LeakyGradient.apply(x), w),
            "with 0.0 in the padding, the gradient in padded rows",
        ),
        (laws.assert_padding_free, ColumnSum(), "with nan .* gradient of parameter 0"),
        (
            laws.assert_padding_free,
            lambda x, w: x.repeat_interleave(2, -2),
            "4 points has shape .* 6 has .* a row for each point",
        ),
        (laws.assert_mass_consistent, lambda x, w: x.mean(-2), "mass: the result"),
        (
            laws.assert_mass_consistent,
            lambda x, w: sa.clear_padding(x, w).sum(-2) * (1 if w is None else 2),
            "mass: ",
        ),
        (
            laws.assert_mass_consistent,
            lambda x, w: x if w is None else x * w.unsqueeze(-1),
            "mass: ",
        ),
        (
            laws.assert_mass_consistent,
            # The right value, but a gradient to the first half of the weights alone.
            lambda x, w: sa.mean_pool(x, torch.cat([w[..., :4], w[..., 4:].detach()], -1)),
            "mass: the gradient of the weight of the copy",
        ),
        (
            laws.assert_empty_defined,
            lambda x, w: (clean(x, w) * w.unsqueeze(-1)).sum(-2) / w.sum(-1, keepdim=True),
            "empty set: the result is not finite",
        ),
        (
            laws.assert_empty_defined,
            lambda x, w: clean(x, w) + clean(x, w).mean((0, 1)),
            "empty set: the result of the other sets",
        ),
        (
            laws.assert_empty_defined,
            lambda x, w: LeakyGradient.apply(x),
            "empty set: the gradient in the empty set",
        ),
    ],
)
def test_what_breaks_a_law_is_named(
    law: Callable[..., None], function: laws.SetFunction, message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        law(function, X, WEIGHTS)


def test_none_must_mean_uniform() -> None:
    with pytest.raises(AssertionError, match="mass: with weights=None, the result"):
        laws.assert_mass_consistent(
            lambda x, w: x.sum(-2) if w is None else sa.mean_pool(x, w), X, None
        )


def test_tolerance_and_parameters_are_those_asked_for() -> None:
    def nearly(x: Tensor, weights: Tensor | None) -> Tensor:
        return sa.mean_pool(x, weights) + 1e-6 * x[..., 0, :]

    laws.assert_invariant(nearly, X, tolerance=1e-4)
    laws.assert_invariant(lambda x, w: nearly(x, w).float(), X.float())
    with pytest.raises(AssertionError, match="invariance"):
        laws.assert_invariant(nearly, X)
    module = ColumnSum()
    laws.assert_padding_free(lambda x, w: module(clean(x, w), w), X, parameters=[module.weight])
    laws.assert_padding_free(lambda x, w: module(x, w), X, parameters=[], fills=[1.0])
    with pytest.raises(AssertionError, match="parameter 0"):
        laws.assert_padding_free(lambda x, w: module(x, w), X, parameters=module.parameters())


def test_a_constant_has_gradient_zero() -> None:
    laws.assert_invariant(lambda x, w: torch.ones(2), X, WEIGHTS)


@pytest.mark.parametrize("shape", [(2, 3), (2, 2, 3), (5, 2, 3), (1, 3, 3)])
def test_no_set_of_two_points_or_more_is_left_in_its_order(shape) -> None:
    for seed in range(6):
        x = torch.randn(shape, dtype=torch.float64)
        for row in x.view(-1, *shape[-2:]):  # each set by itself, too
            with pytest.raises(AssertionError, match="equivariance: the result"):
                laws.assert_equivariant(lambda x, w: x.cumsum(-2), row, seed=seed)
        with pytest.raises(AssertionError, match="invariance: the result"):
            laws.assert_invariant(lambda x, w: x[..., 0, :], x[..., :2, :], seed=seed)
    laws.assert_equivariant(lambda x, w: x, x[..., :1, :])
