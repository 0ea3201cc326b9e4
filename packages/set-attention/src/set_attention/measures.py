"""The convention all blocks share: a measure is features (..., n, d) and weights (..., n).

Weights are not negative and padding is weight 0. Only their ratios within a measure matter here.
``weights=None`` says that all rows are points of equal weight: then nothing is masked at all.
"""

import torch
from torch import Tensor

# Of tensors with fewer numbers, a copy costs as little as a look at the weights.
WORTH_A_LOOK = 2**15


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
        ValueError: If the shape of the weights is not that of the rows.
        TypeError: If the weights are not floating-point numbers.
    """
    if weights is None:
        return x
    check_weights(x, weights)
    points = weights > 0
    return x if is_full(points, x) else torch.where(points.unsqueeze(-1), x, 0)


def is_full(points: Tensor, x: Tensor) -> bool:
    """Whether a mask of points is known to be True throughout, which spares masking x.

    False where it is not known: a look at it must cost nothing beside a copy of x.
    """
    # The size last: while code is exported, a comparison would fix it.
    return host_may_look(points) and x.numel() >= WORTH_A_LOOK and bool(points.all())


def host_may_look(tensor: Tensor) -> bool:
    """Whether control flow may depend on the values of a tensor.

    Not on a GPU, which would be waited for, nor while code is compiled, traced or transformed.
    """
    return (
        not torch.compiler.is_compiling()
        and type(tensor) is Tensor
        and tensor.device.type == "cpu"
        and not torch._C._is_tracing()
        and not torch._C._are_functorch_transforms_active()
    )


def finite_log_weights(weights: Tensor) -> Tensor:
    """Log-weights of measures, with 0 in all rows of an empty one.

    A softmax over nothing but -inf is 0/0: kernels differ in what they make of it. So an empty set
    enters the softmax as a uniform one, and the caller sees to it that its values are 0.
    """
    return torch.where((weights > 0).any(-1, keepdim=True), log_weights(weights), 0)


def shares(weights: Tensor) -> Tensor:
    """Weights divided by their sum, in float32 at least; 0 for an empty set.

    The gradient at a weight of 0 is 0.
    """
    weights = torch.where(weights > 0, weights, 0).to(
        torch.promote_types(weights.dtype, torch.float32)
    )
    mass = weights.sum(-1, keepdim=True)
    return weights / torch.where(mass > 0, mass, 1)


def check_weights(x: Tensor, weights: Tensor) -> None:
    """Raise unless the weights (..., n) fit the rows of x (..., n, d)."""
    if weights.shape != x.shape[:-1]:
        raise ValueError(
            f"expected weights of shape {tuple(x.shape[:-1])}, one for each row of features of "
            f"shape {tuple(x.shape)}, but got {tuple(weights.shape)}; expand the weights to it, "
            "or pass None if all sets are full"
        )
    if not weights.is_floating_point():
        raise TypeError(
            f"expected floating-point weights, but got {weights.dtype}; turn a mask that is True "
            "at points into weights by mask.to(x.dtype)"
        )


def check_width(x: Tensor, dim: int) -> None:
    """Raise unless x is (..., n, dim)."""
    if x.dim() < 2 or x.shape[-1] != dim:
        raise ValueError(
            f"expected features of shape (..., n, {dim}), but got {tuple(x.shape)}; map them to "
            "that width first, for instance by torch.nn.Linear, or build the module for theirs"
        )
