"""The convention all blocks share: a measure is features (..., n, d) and weights (..., n).

Weights are not negative and padding is weight 0. Only their ratios within a measure matter here.
``weights=None`` says that all rows are points of equal weight: then nothing is masked at all.

What is checked where: types and shapes everywhere. A weight that is negative, infinite or NaN is a
ValueError on the CPU; where a look at values would wait for a device, or there are none (compiled,
exported and transformed code), the row of a negative one or of NaN is NaN instead of 0, so that the
result of its measure is, and an infinite one makes NaN of what is divided by the sum.
"""

import math

import torch
from torch import Tensor, nn

from set_attention.precision import is_autocast_on

# Of tensors with fewer numbers, a copy costs as little as a look at the weights.
WORTH_A_LOOK = 2**15

# A sum of more rows than the first is one of blocks of the second number of them.
_MANY_ROWS = 2**14
_BLOCK_OF_ROWS = 2**12

_LOGARITHMS = "of log-weights or logits pass the softmax or exp"


def log_weights(weights: Tensor) -> Tensor:
    """Logarithm of weights, with log 0 = -inf.

    Args:
        weights: (..., n), not negative.

    Returns:
        (..., n), ready to be added to attention logits. The gradient with respect to a weight of 0
        is 0, where that of ``torch.log`` is infinite.
    """
    positive = weights > 0
    # The inner `where` keeps 1/0 out of the backward pass, the outer one sets the value.
    return torch.where(positive, torch.where(positive, weights, 1).log(), -torch.inf)


def clear_padding(x: Tensor, weights: Tensor | None) -> Tensor:
    """Put 0 into the rows of weight 0.

    A selection, not a product: what stood in a padded row, be it NaN or 1e30, reaches neither the
    result nor, through a later product with 0, a gradient.

    Args:
        x: Features (..., n, d).
        weights: (..., n), or None for full sets, which are returned as they are.

    Returns:
        (..., n, d).

    Raises:
        ValueError: If the shape of the weights is not that of the rows, or one is negative or NaN.
        TypeError: If the weights are not floating-point numbers, or something is no tensor.
    """
    if weights is None:
        check_tensor("features", x)
        return x
    check_weights(x, weights)
    points = weights > 0
    if is_full(points, x):
        return x
    return torch.where(points.unsqueeze(-1), x, filling(weights, 0, x.dtype))


def filling(weights: Tensor, value: float, dtype: torch.dtype) -> Tensor | float:
    """What stands in the rows of weight 0: a value; NaN (..., n, 1) where a weight is no such one.

    Of checked weights there are none to be seen: the host has looked at them, or may not.
    """
    if host_may_look(weights):
        return value
    fill = torch.where(weights.detach() < 0, torch.nan, value)
    fill = fill + 0 * weights.detach()  # of what is NaN nothing is below 0
    return fill.to(dtype).unsqueeze(-1)


def is_full(points: Tensor, x: Tensor) -> bool:
    """Whether a mask of points is known to be True throughout, which spares masking x.

    False where it is not known: a look at it must cost nothing beside a copy of x.
    """
    # The size last: while code is exported, a comparison would fix it.
    return host_may_look(points) and x.numel() >= WORTH_A_LOOK and bool(points.all())


def sizes_may_decide() -> bool:
    """Whether control flow may depend on shapes: what is compiled or exported is for any."""
    return not torch.compiler.is_compiling()


def host_may_look(tensor: Tensor) -> bool:
    """Whether control flow may depend on the values of a tensor.

    Not on a GPU, which would be waited for, nor while code is compiled, traced or transformed.
    """
    return (
        not torch.compiler.is_compiling()
        and type(tensor) in (Tensor, nn.Parameter)
        and tensor.device.type == "cpu"
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and _has_memory(tensor)
    )


def _has_memory(tensor: Tensor) -> bool:
    """Whether there are values behind a tensor, and no stand-in of a transform of torch.func."""
    try:
        tensor.data_ptr()
    except RuntimeError:
        return False
    return True


def finite_log_weights(weights: Tensor) -> Tensor:
    """Log-weights of measures, with 0 in all rows of an empty one.

    A softmax over nothing but -inf is 0/0: kernels differ in what they make of it. So an empty set
    enters the softmax as a uniform one, and the caller sees to it that its values are 0.
    """
    return torch.where((weights > 0).any(-1, keepdim=True), log_weights(weights), 0)


def as_bias(log_weights: Tensor, like: Tensor) -> Tensor:
    """Log-weights (..., n) as a summand of logits in the dtype of a tensor.

    In 16 bits, also where autocast makes them, less the largest of each set, which no softmax
    notices: a log-weight of -70 would be rounded to a multiple of a half.
    """
    if log_weights.shape[-1] and (like.dtype.itemsize < 4 or is_autocast_on(like)):
        largest = log_weights.detach().amax(-1, keepdim=True)
        log_weights = log_weights - torch.where(largest.isneginf(), 0, largest)
    return log_weights.to(like.dtype)


def shares(weights: Tensor) -> Tensor:
    """Weights divided by their sum, in float32 at least; 0 for an empty set.

    The gradient at a weight of 0 is 0.
    """
    weights = summable(torch.where(weights > 0, weights, 0))
    mass = weights.sum(-1, keepdim=True)
    return weights / torch.where(mass > 0, mass, 1)


def weighted_sum(share: Tensor, x: Tensor) -> Tensor:
    """Sum of rows (..., n, d) by shares (..., n): (..., d).

    A product adds up row after row, which in float32 loses a digit with every ten times as many
    rows. So many are summed in blocks; where sizes may not decide, as the compiler sees fit.
    """
    n = x.shape[-2]
    if not sizes_may_decide() or n <= _MANY_ROWS:
        return (share.unsqueeze(-2) @ x).squeeze(-2)
    whole = n - n % _BLOCK_OF_ROWS
    blocks = torch.unflatten(share[..., :whole], -1, (-1, 1, _BLOCK_OF_ROWS))
    sums = blocks @ torch.unflatten(x[..., :whole, :], -2, (-1, _BLOCK_OF_ROWS))
    return sums.squeeze(-2).sum(-2) + weighted_sum(share[..., whole:], x[..., whole:, :])


def summable(weights: Tensor) -> Tensor:
    """Weights (..., n) in float32 at least, those of a set scaled down if their sum is infinite.

    By the least normal number of their kind: only ratios matter, and the sum is then of order n.
    """
    weights = weights.to(torch.promote_types(weights.dtype, torch.float32))
    infinite = weights.detach().sum(-1, keepdim=True).isinf()
    return torch.where(infinite, weights * torch.finfo(weights.dtype).tiny, weights)


def check_tensor(what: str, rows: object) -> None:
    """Raise unless something is a tensor."""
    if not isinstance(rows, Tensor):
        raise TypeError(
            f"expected {what} as a torch.Tensor, but got {type(rows).__name__}; "
            "torch.as_tensor(...) makes one of a NumPy array or a list"
        )


def check_features(x: object) -> None:
    """Raise unless something is a tensor of floating-point numbers."""
    check_tensor("features", x)
    if isinstance(x, Tensor) and not x.is_floating_point():
        raise TypeError(
            f"expected floating-point features, but got {x.dtype}, in which a mean would be cut "
            "off; convert them with .float()"
        )


def check_weights(x: Tensor, weights: Tensor) -> None:
    """Raise unless the weights (..., n) fit the rows of x (..., n, d), none negative or infinite.

    Values are looked at only where the host may (see ``host_may_look``).
    """
    check_tensor("features", x)
    check_tensor("weights", weights)
    if weights.shape != x.shape[:-1]:
        raise ValueError(
            f"expected weights of shape {tuple(x.shape[:-1])}, one for each row of features of "
            f"shape {tuple(x.shape)}, but got {tuple(weights.shape)}; expand the weights to it, "
            "or pass None if all sets are full"
        )
    if not weights.is_floating_point():
        raise TypeError(
            f"expected floating-point weights, but got {weights.dtype}; turn a mask that is True "
            "at points, or counts, into weights by mask.to(x.dtype)"
        )
    if host_may_look(weights) and weights.numel():
        least, most = map(float, weights.detach().aminmax())  # NaN if one is
        if not least >= 0:
            raise ValueError(
                "expected weights that are not negative, 0 for padding, but the least is "
                f"{least:g}; "
                + ("give rows without a weight 0" if math.isnan(least) else _LOGARITHMS)
            )
        if most == math.inf:
            raise ValueError(
                "expected finite weights, but one is infinite, which leaves no ratios; scale the "
                "weights of each set down, or give them in a wider dtype"
            )


def check_width(x: Tensor, dim: int) -> None:
    """Raise unless x is a tensor (..., n, dim) of floating-point numbers."""
    check_features(x)
    if x.dim() < 2 or x.shape[-1] != dim:
        raise ValueError(
            f"expected features of shape (..., n, {dim}), but got {tuple(x.shape)}; map them to "
            "that width first, for instance by torch.nn.Linear, or build the module for theirs"
        )
