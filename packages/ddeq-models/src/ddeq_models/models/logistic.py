"""Logistic regression from few examples, and how far two opinions are to be believed."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

# Of the squared slopes: an example's worth of doubt in each. Between 1 and 10 it matters little.
PENALTY = 3.0
# Standard deviation of the logarithm of the two shares' sum, before an example was seen.
_PRIOR = 0.5
_RANGE = 3.0  # of that logarithm, to either side
_POINTS = 21  # of a grid, which is made finer three times


class Logistic(NamedTuple):
    """A fitted map to the logits of classes, ``x slope + offset``.

    Attributes:
        slope: ``(F, classes)``.
        offset: ``(classes,)``.
    """

    slope: Tensor
    offset: Tensor


def logistic(
    x: Tensor,
    labels: Tensor,
    classes: int,
    odds: Tensor | None = None,
    *,
    penalty: float = PENALTY,
) -> Logistic:
    r"""Multinomial logistic regression with a penalty on the squares of all it finds.

    The minimum over the slopes W and the offsets ``c = c⁰ + δ`` of

    .. math:: -\sum_i o_i \log \mathrm{softmax}(W^\top x_i + c)_{y_i}
        + \tfrac{\lambda}{2} (\|W\|^2 + \|\delta\|^2)

    with ``o_i`` what an example counts, 1 on average, and ``c⁰`` the logarithm of the classes'
    frequencies, each class counted once more than it occurs: one that does not occur is improbable
    and not impossible. It is convex. W lies in the span of the rows of x, so with ``x = U S Vᵀ`` it
    is found as ``W = V A``, of which there are no more numbers than examples, by L-BFGS.

    Args:
        x: ``(C, F)`` float64.
        labels: ``(C,)`` int64.
        classes: Their number.
        odds: ``(C,)``, what each example counts relative to the others; None: all alike.
        penalty: λ, above 0.
    """
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    z = u * s
    each = torch.ones_like(x[:, 0]) if odds is None else odds.to(x) / odds.to(x).mean()
    counts = torch.bincount(labels, each, classes) + 1
    usual = (counts / counts.sum()).log()
    with torch.enable_grad():
        found = x.new_zeros(z.shape[1] + 1, classes, requires_grad=True)  # A, and δ in the last row
        search = torch.optim.LBFGS(
            [found], max_iter=100, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
        )

        def cost() -> Tensor:
            search.zero_grad()
            logits = z @ found[:-1] + (usual + found[-1])
            loss = each @ functional.cross_entropy(logits, labels, reduction="none")
            loss = loss + 0.5 * penalty * found.square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        search.step(cost)  # type: ignore[no-untyped-call]
    answer = found.detach()
    return Logistic(vt.T @ answer[:-1], usual + answer[-1])


def pooled(own: Tensor, other: Tensor, shares: Tensor) -> Tensor:
    r"""Logits of the logarithmic opinion pool of two opinions on the same classes.

    .. math:: \log p(c) = a \log p_1(c) + b \log p_2(c) - \log Z,

    Genest and Zidek (1986), "Combining probability distributions: a critique and an annotated
    bibliography". With a = 1 and b = 0 it is the first one's.

    Args:
        own: Logits ``(B, classes)`` of the first.
        other: Logits ``(B, classes)`` of the second.
        shares: a and b.
    """
    return shares[0] * own.log_softmax(-1) + shares[1] * other.log_softmax(-1)


def fitted_shares(own: Tensor, other: Tensor, labels: Tensor) -> Tensor:
    r"""The shares of two opinions under which labels are most probable.

    The minimum over ``a, b ≥ 0`` of ``Σ_i −log p(y_i) + log(a + b)² / (2 · 0.5²)``, p the pool of
    the two (`pooled`): stacking (Wolpert 1992, "Stacked generalization") of what neither of them
    learned from, with a prior without which a few labels that are all told right would make every
    answer certain. Convex in (a, b) but for the prior; by search on a grid of ``log(a + b)`` and
    ``b / (a + b)``, three times.

    Args:
        own: Logits ``(n, classes)`` float64, n at least 1.
        other: Logits ``(n, classes)`` float64.
        labels: ``(n,)`` int64.

    Returns:
        a and b.
    """
    first, second = (logits.log_softmax(-1) for logits in (own, other))

    def shares(t: float, s: float) -> tuple[float, float]:
        return math.exp(t) * (1 - s), math.exp(t) * s

    def cost(at: tuple[float, float]) -> float:
        a, b = shares(*at)
        loss = functional.cross_entropy(a * first + b * second, labels, reduction="sum")
        return float(loss) + at[0] ** 2 / (2 * _PRIOR**2)

    (t, s), reach, wide = (0.0, 0.5), _RANGE, 0.5
    for _ in range(3):
        totals = torch.linspace(t - reach, t + reach, _POINTS, dtype=torch.float64).tolist()
        parts = torch.linspace(max(0.0, s - wide), min(1.0, s + wide), _POINTS).tolist()
        t, s = min(((x, y) for y in parts for x in totals), key=cost)
        reach, wide = reach / 8, wide / 8
    return own.new_tensor(shares(t, s))
