"""A cloud in numbers: its place, scale, shape and count, as statisticians would sum it up.

Normalising each cloud by itself takes away where it is and how large it is, and a network that
normalises its features forgets the rest; often just that tells the classes apart. `describe` keeps
it, and `Description` brings it into the form that a small network learns from few clouds.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 8
# The relevance of a feature that tells nothing by itself: it may do so beside others.
FLOOR = 0.05
# What tells less than this share of the classes' variance is not stretched to the full range.
LEAST = 0.3
# In units of the last place of 1 and of the number itself: what rounding may make of it.
ROUNDING = 32
# Of more coordinates, pairs of them are left out: their number grows with the square.
_MOST_PAIRED = 16


def describe(points: Tensor, weights: Tensor, *, placed: bool = False) -> Tensor:
    r"""Sum clouds up in numbers.

    With the mean :math:`m = \sum_i \bar w_i x_i`, the covariance C, :math:`r^2 = \mathrm{tr}\, C
    / d` and :math:`u_i = (x_i - m) / r`, in this order:

    ====================  ======================================================================
    place                 m
    scale                 log of the standard deviation along each axis, log r
    extent                largest and smallest coordinate of u
    shape                 skewness and log kurtosis along each axis, correlations of the axes
    quantiles             of each coordinate of u, at `SHARES`
    invariants            log of the eigenvalues of C / r^2; of the norms of u the moments of order
                          1, 3 and 4, the quantiles and the largest; the norms of the skewness and
                          of E[u \|u\|^2]: what no rotation changes
    support               place, scale and eigenvalues of the points as a list, not as a measure,
                          beside those of the measure
    count                 log of the number of points, of 1 / sum w_i^2
    ====================  ======================================================================

    and, if `placed`, the quantiles of each coordinate of x itself, its largest and its smallest:
    what `place`, `scale` and `quantiles` say together, but for a few points far away, which move
    the mean and the radius and with them all that is told relative to these.

    All but `support` and `count` are functions of the measure. These two depend on how it is
    written as a list: two points of half the weight are not one. That is their purpose, and why
    they are here and not among the points' features. Of a cloud without spread or without points
    all is finite.

    Args:
        points: (B, n, d); padded rows may hold anything.
        weights: (B, n), each row summing to 1, 0 for padding.
        placed: Whether the quantiles of the coordinates as they are come with it.

    Returns:
        (B, F), `description_size` (d, placed) numbers a cloud.
    """
    if not points.shape[-2]:  # a row of padding, so that there is something to reduce
        points, weights = (
            points.new_zeros(len(points), 1, points.shape[-1]),
            weights.new_zeros(len(points), 1),
        )
    inside = weights > 0
    rows = inside.unsqueeze(-1)
    mass = torch.where(inside, weights, 0)
    share = (mass / mass.sum(-1, keepdim=True).clamp(min=_tiny(mass))).unsqueeze(-1)
    x = torch.where(rows, points, 0)
    mean = (share * x).sum(-2)
    centred = torch.where(rows, x - mean.unsqueeze(-2), 0)
    # The second pass removes the rounding of the first, which is large far from the origin.
    centred = torch.where(rows, centred - (share * centred).sum(-2, keepdim=True), 0)
    deviation = (share * centred.square()).sum(-2).sqrt()
    # What rounding leaves of no spread at all is none.
    least = 1e-6 * x.abs().amax((-1, -2)).clamp(min=1e-12).unsqueeze(-1)
    deviation = deviation.clamp(min=least)
    radius = deviation.square().mean(-1, keepdim=True).sqrt()
    unit = centred / radius.unsqueeze(-2)
    standard = centred / deviation.unsqueeze(-2)
    skewness = (share * standard**3).sum(-2)
    kurtosis = (share * standard**4).sum(-2).clamp(min=1e-3).log()
    norms = unit.square().sum(-1)
    length = norms.sqrt()
    extent = _extent(unit, rows)
    moments = [(share[..., 0] * length**k).sum(-1, keepdim=True) ** (1 / k) for k in (1, 3, 4)]
    pull = (share * unit * norms.unsqueeze(-1)).sum(-2)
    parts = [
        mean,
        deviation.log(),
        radius.log(),
        *extent,
        skewness,
        kurtosis,
        _correlations(standard, share),
        _quantiles(unit, share).flatten(-2),
        _eigenvalues(unit, share).clamp(min=1e-6).log(),
        *moments,
        _quantiles(length.unsqueeze(-1), share).flatten(-2),
        length.amax(-1, keepdim=True),
        skewness.norm(dim=-1, keepdim=True),
        pull.norm(dim=-1, keepdim=True),
        *_support(centred, share, rows, radius),
        inside.sum(-1, keepdim=True).clamp(min=1).to(points.dtype).log(),
        -share.square().sum((-1, -2)).clamp(min=1e-12).log().unsqueeze(-1),
    ]
    if placed:
        parts.append(quantiles(x, share))
    return torch.cat(parts, -1)


def quantiles(points: Tensor, share: Tensor) -> Tensor:
    """Quantiles at `SHARES`, largest and smallest of each coordinate.

    Args:
        points: (B, n, d), finite in padded rows.
        share: (B, n, 1), each cloud's summing to 1, 0 for padding.

    Returns:
        (B, (len(SHARES) + 2) d).
    """
    return torch.cat([_quantiles(points, share).flatten(-2), *_extent(points, share > 0)], -1)


def description_size(dim: int, placed: bool = False) -> int:
    """Length F of the `describe` of clouds in d dimensions."""
    pairs = dim * (dim - 1) // 2 if dim <= _MOST_PAIRED else 0
    return 15 * dim + pairs + 17 + placed * (len(SHARES) + 2) * dim


class Description(nn.Module):
    r"""`describe` in the form of a network's input, fitted to the training clouds.

    Each number is written as its place among the quantiles :math:`b_0 < ... < b_{8}` of the
    training clouds, by piecewise linear parts that run from -1 to 1 over one of the intervals each
    (Gorishniy, Rubachev and Babenko 2022, "On embeddings for numerical features in tabular deep
    learning"): a threshold is then one weight, whatever the unit. The parts are multiplied by the
    relevance of the number: the root of the adjusted share of the classes' variance that its
    interval explains (the correlation ratio, corrected for chance), relative to the largest of all,
    `FLOOR` at least. With few clouds and many numbers a network would otherwise find the class in
    all of them.

    Args:
        dim: Dimension of the points.
        placed: See `describe`.
    """

    edges: Tensor
    relevance: Tensor

    def __init__(self, dim: int, placed: bool = False) -> None:
        super().__init__()
        size = description_size(dim, placed)
        self.out_dim = size * BINS
        self.register_buffer("edges", torch.linspace(-2, 2, BINS + 1)[:, None].repeat(1, size))
        self.register_buffer("relevance", torch.ones(size))

    @torch.no_grad()
    def fit(self, described: Tensor, labels: Tensor | None) -> None:
        """Take quantiles and relevance from training clouds.

        Args:
            described: (C, F), of at least one cloud.
            labels: (C,) int64, or numbers (C, k) of about unit variance; None leaves every
                relevance at 1.
        """
        at = torch.linspace(0, 1, BINS + 1, dtype=described.dtype, device=described.device)
        self.edges.copy_(torch.quantile(described, at, dim=0))
        if labels is not None:
            self.relevance.copy_(_relevance(described, self.edges, labels))

    def forward(self, described: Tensor) -> Tensor:
        """(B, F) to (B, F * BINS)."""
        low, width = self.edges[:-1], self.edges.diff(dim=0)
        # What is the same in all clouds but for rounding must not be stretched to the full range:
        # the answer would depend on how a cloud is padded and ordered.
        wide = width > ROUNDING * torch.finfo(described.dtype).eps * (1 + low.abs())
        place = (described.unsqueeze(-2) - low) / torch.where(wide, width, 1)
        parts = torch.where(wide, 2 * place.clamp(0, 1) - 1, 0)
        return (parts * self.relevance).flatten(-2)


def _relevance(described: Tensor, edges: Tensor, labels: Tensor) -> Tensor:
    """The root of the adjusted correlation ratio of each number, relative to the largest.

    The ratio is one of numbers; classes are those of their indicators.
    """
    count = len(labels)
    numeric = labels.is_floating_point()
    classes = labels.to(described) if numeric else functional.one_hot(labels).to(described.dtype)
    total = (classes - classes.mean(0)).square().sum()
    bins = (described.unsqueeze(-1) >= edges[1:-1].T).sum(-1)  # (C, F)
    members = functional.one_hot(bins, BINS).to(described.dtype)  # (C, F, BINS)
    sizes = members.sum(0)
    means = torch.einsum("cfb,ck->fbk", members, classes) / sizes.clamp(min=1).unsqueeze(-1)
    # sum |y - mean|^2 within bins = sum |y|^2 - sum over bins of size |mean|^2
    within = classes.square().sum() - (sizes * means.square().sum(-1)).sum(-1)
    free = (count - (sizes > 0).sum(-1)).clamp(min=1)
    explained = 1 - (within / free) / (total / max(count - 1, 1)).clamp(min=_tiny(described))
    root = explained.clamp(min=0).sqrt().clamp(min=FLOOR)
    return root / root.max().clamp(min=LEAST)


def _extent(x: Tensor, rows: Tensor) -> list[Tensor]:
    """The largest and the smallest coordinate along each axis; 0 of a cloud without points."""
    largest = torch.where(rows, x, -torch.inf).amax(-2)
    smallest = torch.where(rows, x, torch.inf).amin(-2)
    return [torch.where(part.isfinite(), part, 0) for part in (largest, smallest)]


def _correlations(standard: Tensor, share: Tensor) -> Tensor:
    dim = standard.shape[-1]
    if dim > _MOST_PAIRED:
        return standard[..., 0, :0]
    matrix = (share * standard).mT @ standard
    row, column = torch.triu_indices(dim, dim, 1, device=standard.device).unbind()
    return matrix[..., row, column]


def _eigenvalues(x: Tensor, share: Tensor) -> Tensor:
    """Of sum_i w_i x_i x_i^T, rising; on the processor, where they are found for sure and fast."""
    matrix = ((share * x).mT @ x).cpu().double()
    found: Tensor = torch.linalg.eigvalsh(matrix)
    return found.to(x)


def _quantiles(values: Tensor, share: Tensor) -> Tensor:
    """(..., k, len(SHARES)) of (..., n, k): the least value below which a share of mass lies."""
    ordered, order = torch.where(share > 0, values, torch.inf).sort(-2)
    reached = share.expand_as(values).gather(-2, order).cumsum(-2)
    levels = values.new_tensor(SHARES) - 1e-5  # so that rounding does not decide
    at = torch.searchsorted(reached.mT.contiguous(), levels.repeat(*_columns(values), 1))
    found = ordered.mT.gather(-1, at.clamp(max=values.shape[-2] - 1))
    return torch.where(found.isfinite(), found, 0)


def _columns(values: Tensor) -> Sequence[int]:
    return (*values.shape[:-2], values.shape[-1])


def _support(centred: Tensor, share: Tensor, rows: Tensor, radius: Tensor) -> list[Tensor]:
    """The points as a list beside the measure: what the weights add to it."""
    even = rows.to(share.dtype)
    even = even / even.sum(-2, keepdim=True).clamp(min=1)
    offset = (even * centred).sum(-2)
    moved = torch.where(rows, centred - offset.unsqueeze(-2), 0)
    least = 1e-6 * radius
    spread = (even * moved.square()).sum(-2).mean(-1, keepdim=True).sqrt().clamp(min=least)
    moved = moved / spread.unsqueeze(-2)
    weighed = _eigenvalues(moved, share)
    return [
        offset / spread,
        (offset / spread).norm(dim=-1, keepdim=True),
        (radius / spread).log(),
        _eigenvalues(moved, even).clamp(min=1e-6).log(),
        weighed,
        weighed[..., -1:] - weighed[..., :1],
    ]


def _tiny(x: Tensor) -> float:
    return float(torch.finfo(x.dtype).tiny)
