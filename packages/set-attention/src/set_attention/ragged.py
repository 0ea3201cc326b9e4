"""Ragged batches: work on sub-batches of sets of like sizes, so that padding costs little."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from set_attention.dropout import holds_a_mask
from set_attention.measures import check_tensor, check_weights, host_may_look

# So many numbers of padding (rows times width) a sub-batch must spare to be worth its own calls.
_WORTH = 2**15


def by_size(
    function: Callable[[Tensor, Tensor | None], Tensor],
    x: Tensor,
    weights: Tensor | None,
    *,
    rows: bool = True,
) -> Tensor:
    """Evaluate a function of measures on sub-batches of sets of like sizes.

    A batch is padded to its largest set, and everything works on the padding too. Here the sets are
    sorted by size, their points put first, and each sub-batch is padded to its own largest set, to
    at most 8/7 of the size of any other; but not where little is spared. The result is that of
    ``function(x, weights)`` to rounding, and so are its gradients.

    ``SetAttention`` of a set to itself, ``TransformerBlock`` with ``SAB``, and ``ISAB`` do this by
    themselves on the CPU. Do it yourself for a stack of blocks, which then pays for the sorting
    once, and on a GPU, where it costs one synchronisation: the sizes are read by the host::

        features = by_size(encoder, x, weights)

    Compiled code is given the whole batch.

    Args:
        function: f(x, weights) on each set by itself, for any leading shape; what else it looks at
            must have no batch axis. It is called with x (b, m, d) and weights (b, m).
        x: (..., n, d).
        weights: (..., n), 0 for padding; None if all sets are full and uniform.
        rows: Whether the result has a row for each point, (..., n, k), and 0 in padded rows; else
            it is a tensor of leading shape (...).

    Returns:
        The result of the function on the whole batch.

    Raises:
        ValueError: If the shape of the weights is not that of the rows.
        TypeError: If the weights are not floating-point numbers.
    """
    check_tensor("features", x)
    if weights is None or x.dim() < 3 or torch.compiler.is_compiling():
        return function(x, weights)
    check_weights(x, weights)
    leading, (n, width) = x.shape[:-2], x.shape[-2:]
    points = weights.flatten(0, -2) != 0  # a negative one is to be seen
    sizes, order = points.sum(-1).sort(descending=True)
    parts = _cut(sizes.tolist(), n, width)
    if not parts:
        return function(x, weights)
    # Where the points of each set are, then its padding.
    place = points.byte().argsort(dim=-1, descending=True, stable=True)
    place = place + n * torch.arange(len(points), device=x.device).unsqueeze(-1)
    index = torch.cat([place[order[part], :most].flatten() for part, most in parts])
    lengths = [(part.stop - part.start) * most for part, most in parts]
    features = x.reshape(-1, width).index_select(0, index).split(lengths)  # type: ignore[no-untyped-call]
    masses = weights.reshape(-1).index_select(0, index).split(lengths)  # type: ignore[no-untyped-call]
    results = [
        function(rows_.view(-1, most, width), mass.view(-1, most))
        for rows_, mass, (_, most) in zip(features, masses, parts, strict=True)
    ]
    if rows:
        joined = torch.cat([result.flatten(0, 1) for result in results])
        whole = joined.new_zeros(points.numel(), joined.shape[-1])
        return whole.index_copy(0, index, joined).view(*leading, n, -1)
    joined = torch.cat(results)
    return joined.index_select(0, order.argsort()).view(*leading, *joined.shape[1:])


def where_cheap(
    module: nn.Module,
    function: Callable[[Tensor, Tensor | None], Tensor],
    x: Tensor,
    weights: Tensor | None,
) -> Tensor:
    """``by_size`` where the host may look at the weights at no cost, else the whole batch.

    A mask of dropout that is held fits the whole batch alone.
    """
    if weights is None or not host_may_look(weights) or x.numel() < _WORTH or holds_a_mask(module):
        return function(x, weights)
    return by_size(function, x, weights)


def _cut(sizes: list[int], n: int, width: int) -> list[tuple[slice, int]]:
    """Sub-batches of sets sorted by falling size, with their paddings; none if it does not pay.

    A set starts a new one if it fills less than 9/10 of the rows, and enough numbers are spared for
    it and all smaller ones.
    """
    starts, mosts = [0], [n]
    for position, size in enumerate(sizes):
        spared = (mosts[-1] - size) * (len(sizes) - position) * width
        if 10 * size < 9 * mosts[-1] and spared >= _WORTH:
            starts.append(position)
            mosts.append(max(1, size))
    parts = [
        (slice(start, stop), most)
        for start, stop, most in zip(starts, [*starts[1:], len(sizes)], mosts, strict=True)
        if stop > start
    ]
    kept = sum((part.stop - part.start) * most for part, most in parts)
    return parts if 8 * kept < 7 * len(sizes) * n else []
