r"""The laws of functions on measures, as assertions for the tests of any block.

Each takes a function ``f(x, weights)`` of features (..., n, d) and weights (..., n), 0 for padding,
and checks values and gradients: with respect to x, to the weights, and to the parameters of f::

    from set_attention import laws

    def test_block():
        block, x, weights = MyBlock(8).double(), torch.randn(2, 5, 8).double(), ...
        laws.assert_equivariant(block, x, weights)
        laws.assert_padding_free(block, x, weights)
        laws.assert_mass_consistent(block, x, weights)
        laws.assert_empty_defined(block, x, weights)

A function of two measures obeys them in each. Wrap it, with the other one fixed::

    laws.assert_equivariant(lambda x, w: block(x, context, w), x, weights)
    laws.assert_invariant(lambda y, w: block(x, block.context(y, w)), y, weights)

The function must be deterministic: put a module into evaluation mode, or hold its dropout. All
assertions raise AssertionError, whose text names the law and what broke it. ``tolerance`` is
relative to the largest value compared, or to 1; by default 1e-10 in float64, 1e-4 in float32 and
0.05 in lower precision.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from set_attention._check import Check, SetFunction, add_rows, take_rows, uniform


def assert_equivariant(
    function: SetFunction,
    x: Tensor,
    weights: Tensor | None = None,
    *,
    parameters: Iterable[Tensor] | None = None,
    tolerance: float | None = None,
    seed: int = 0,
) -> None:
    """Permuting the points of each set permutes the rows of the result, f(Px, Pw) = P f(x, w).

    Args:
        function: f(x, weights) -> (..., n, k).
        x: Features (..., n, d).
        weights: (..., n), or None.
        parameters: Tensors whose gradients are checked too; None: those of f, if it is a module.
        tolerance: Largest deviation allowed.
        seed: Of the permutations, one per set, none of them the identity, and of the cotangent.
    """
    _assert_permutation(function, x, weights, parameters, tolerance, seed, equivariant=True)


def assert_invariant(
    function: SetFunction,
    x: Tensor,
    weights: Tensor | None = None,
    *,
    parameters: Iterable[Tensor] | None = None,
    tolerance: float | None = None,
    seed: int = 0,
) -> None:
    """Permuting the points of each set changes nothing, f(Px, Pw) = f(x, w).

    Args:
        function: f(x, weights) -> a tensor of any shape.
        x: Features (..., n, d).
        weights: (..., n), or None.
        parameters: Tensors whose gradients are checked too; None: those of f, if it is a module.
        tolerance: Largest deviation allowed.
        seed: Of the permutations, one per set, none of them the identity, and of the cotangent.
    """
    _assert_permutation(function, x, weights, parameters, tolerance, seed, equivariant=False)


def assert_padding_free(
    function: SetFunction,
    x: Tensor,
    weights: Tensor | None = None,
    *,
    rows: int = 2,
    fills: Sequence[float] = (0.0, 1e30, math.nan),
    parameters: Iterable[Tensor] | None = None,
    tolerance: float | None = None,
    seed: int = 0,
) -> None:
    """Rows of weight 0, appended to each set, change nothing and get no gradient.

    A result that has a row for each point must be 0 in the new rows; any other must stay the same.
    The gradient of the weights of the new rows must not know what these hold.

    Args:
        function: f(x, weights) -> (..., n, k), or a tensor of any shape that does not depend on n.
        x: Features (..., n, d).
        weights: (..., n); None: 1/n each.
        rows: Number of rows to append.
        fills: What to put into them, one trial each; inf where a number is too large for the dtype.
        parameters: Tensors whose gradients are checked too; None: those of f, if it is a module.
        tolerance: Largest deviation allowed; the gradient in the new rows must be exactly 0.
        seed: Of the cotangent.
    """
    check = Check.of("padding", function, x, parameters, tolerance, seed)
    weights = uniform(x) if weights is None else weights
    n = x.shape[-2]
    before = check.run(x, weights, check.draw)

    def cotangent(out: Tensor) -> Tensor:
        if not check.has_rows(out, before.out, n, rows):
            return before.cotangent
        # What is asked of the new rows must not come through either.
        return torch.cat([before.cotangent, torch.ones_like(out[..., n:, :])], -2)

    first: Tensor | None = None
    for fill in fills:
        padding = torch.full((*x.shape[:-2], rows, x.shape[-1]), fill, device=x.device).to(x.dtype)
        after = check.run(
            torch.cat([x, padding], -2),
            torch.cat([weights, weights.new_zeros(*weights.shape[:-1], rows)], -1),
            cotangent,
        )
        out, trial = after.out, f"with {fill} in the padding, "
        if out.shape != before.out.shape:
            check.zero(trial + "the result in padded rows", out[..., n:, :])
            out = out[..., :n, :]
        check.same(trial + "the result", out, before.out)
        check.zero(trial + "the gradient in padded rows", after.x[..., n:, :])
        check.same(trial + "the gradient", after.x[..., :n, :], before.x)
        check.same(trial + "the gradient of the weights", after.weights[..., :n], before.weights)
        of_padding = after.weights[..., n:]
        first = of_padding if first is None else first
        check.same(trial + "the gradient of the weights 0", of_padding, first)
        check.same_parameters(trial, after, before)


def assert_mass_consistent(
    function: SetFunction,
    x: Tensor,
    weights: Tensor | None = None,
    *,
    parameters: Iterable[Tensor] | None = None,
    tolerance: float | None = None,
    seed: int = 0,
) -> None:
    """A point split into two at the same place, which share its weight, is the same measure.

    And ``weights=None`` is the uniform measure. The two copies share the gradient of the point.

    Args:
        function: f(x, weights) -> (..., n, k), or a tensor of any shape that does not depend on n.
        x: Features (..., n, d), n at least 1.
        weights: (..., n), or None.
        parameters: Tensors whose gradients are checked too; None: those of f, if it is a module.
        tolerance: Largest deviation allowed.
        seed: Of the choice of the points, one per set, of their split, and of the cotangent.
    """
    check = Check.of("mass", function, x, parameters, tolerance, seed)
    before = check.run(x, uniform(x) if weights is None else weights, check.draw)
    if weights is None:
        weights = uniform(x)
        same = check.run(x, None, lambda _: before.cotangent)
        check.same("with weights=None, the result", same.out, before.out)
        check.same("with weights=None, the gradient", same.x, before.x)
        check.same_parameters("with weights=None, ", same, before)
    # A point of each set, at random among those that have weight.
    chance = (weights > 0) + check.random(weights)
    index = chance.argmax(-1, keepdim=True)
    share = 0.1 + 0.8 * check.random(index).to(weights.dtype)
    part = share * weights.gather(-1, index)
    n = x.shape[-2]

    def cotangent(out: Tensor) -> Tensor:
        whole = before.cotangent
        if not check.has_rows(out, before.out, n, 1):
            return whole
        row = take_rows(whole, index) * share.unsqueeze(-1).to(whole.dtype)
        return torch.cat([add_rows(whole, index, -row), row], -2)

    after = check.run(
        torch.cat([x, take_rows(x, index)], -2),
        torch.cat([weights.scatter_add(-1, index, -part), part], -1),
        cotangent,
    )
    out = after.out
    if out.shape != before.out.shape:
        check.same("the row of the copy", out[..., n:, :], take_rows(before.out, index))
        out = out[..., :n, :]
    check.same("the result", out, before.out)
    check.same("the gradient", add_rows(after.x[..., :n, :], index, after.x[..., n:, :]), before.x)
    check.same("the gradient of the weights", after.weights[..., :n], before.weights)
    of_point = before.weights.gather(-1, index)
    check.same("the gradient of the weight of the copy", after.weights[..., n:], of_point)
    check.same_parameters("", after, before)


def assert_empty_defined(
    function: SetFunction,
    x: Tensor,
    weights: Tensor | None = None,
    *,
    parameters: Iterable[Tensor] | None = None,
    tolerance: float | None = None,
    seed: int = 0,
) -> None:
    """A set whose weights are all 0 has finite results and gradients, whatever its rows hold.

    The sets beside it in the batch do not notice: each set in turn is emptied.

    Args:
        function: f(x, weights) -> a tensor with the leading shape of x, if that is not ().
        x: Features (..., n, d).
        weights: (..., n); None: 1/n each.
        parameters: Tensors whose gradients are checked too; None: those of f, if it is a module.
        tolerance: Largest deviation allowed; the gradient in the empty set must be exactly 0.
        seed: Of the cotangent.
    """
    check = Check.of("empty set", function, x, parameters, tolerance, seed)
    weights = uniform(x) if weights is None else weights
    leading = weights.shape[:-1]
    before = check.run(x, weights, check.draw)
    for number in range(leading.numel()):
        empty = (torch.arange(leading.numel(), device=x.device) == number).view(leading)
        after = check.run(
            torch.where(empty[..., None, None], math.nan, x),
            torch.where(empty[..., None], 0, weights),
            lambda _: before.cotangent,
        )
        check.finite("the result", after.out)
        check.zero("the gradient in the empty set", after.x[empty])
        check.same("the result of the other sets", after.out[~empty], before.out[~empty])
        check.same("the gradient of the other sets", after.x[~empty], before.x[~empty])
        for gradient in (after.weights, *after.parameters):
            check.finite("the gradient of the weights or of a parameter", gradient)


def _assert_permutation(
    function: SetFunction,
    x: Tensor,
    weights: Tensor | None,
    parameters: Iterable[Tensor] | None,
    tolerance: float | None,
    seed: int,
    *,
    equivariant: bool,
) -> None:
    law = "equivariance" if equivariant else "invariance"
    check = Check.of(law, function, x, parameters, tolerance, seed)
    before = check.run(x, weights, check.draw)
    rows = before.out.shape[-2] if before.out.dim() > 1 else None
    if equivariant and rows != x.shape[-2]:
        raise AssertionError(
            f"{law}: expected a result with a row for each point, (..., {x.shape[-2]}, k), but got "
            f"shape {tuple(before.out.shape)}"
        )
    order = check.random(x[..., 0]).argsort(-1)
    # The identity would show nothing, and of two points every second draw is it.
    still = order == torch.arange(x.shape[-2], device=order.device)
    order = torch.where(still.all(-1, keepdim=True), order.roll(1, -1), order)
    after = check.run(
        take_rows(x, order),
        None if weights is None else weights.gather(-1, order),
        lambda _: take_rows(before.cotangent, order) if equivariant else before.cotangent,
    )
    check.same("the result", after.out, take_rows(before.out, order) if equivariant else before.out)
    check.same("the gradient", after.x, take_rows(before.x, order))
    if weights is not None:
        check.same("the gradient of the weights", after.weights, before.weights.gather(-1, order))
    check.same_parameters("", after, before)
