"""What moments and quantiles alone say of a cloud, beside what an equilibrium says."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ddeq_models.models.description import Description, describe
from ddeq_models.models.logistic import fitted_shares, logistic, pooled

__all__ = ["Direct", "direct_of"]


class Direct(nn.Module):
    r"""A logistic regression on the `Description` of clouds, and its share in a model's answer.

    From few clouds a convex problem with a penalty often learns more than a network does. So the
    network is trained as if there were nothing else; afterwards the regression is fitted to the
    same clouds, and clouds that neither learned from say how much each of the two is to be
    believed (`fitted_shares`). Before that the network answers alone.

    Nothing here has a gradient: the numbers are found, not trained.

    Args:
        dim: Columns of a point.
        placed: See `describe`.
        classes: Number of classes.
    """

    shares: Tensor

    def __init__(self, dim: int, placed: bool, classes: int) -> None:
        super().__init__()
        self.placed, self.classes = placed, classes
        self.description = Description(dim, placed)
        size = self.description.out_dim
        # Parameters, though none is trained, since they count among the numbers of the model.
        self.slope = nn.Parameter(torch.zeros(size, classes), requires_grad=False)
        self.offset = nn.Parameter(torch.zeros(classes), requires_grad=False)
        self.register_buffer("shares", torch.tensor([1.0, 0.0]))

    @torch.no_grad()
    def fit(
        self, points: Tensor, weights: Tensor, labels: Tensor, odds: Tensor | None = None
    ) -> None:
        """Find the regression.

        Args:
            points: ``(C, n, dim)``, of at least one cloud.
            weights: ``(C, n)``, 0 for padding.
            labels: ``(C,)`` int64.
            odds: ``(C,)``, how much each counts relative to the others; None: all alike.
        """
        described = describe(points, weights, placed=self.placed)
        self.description.fit(described, labels)
        x = self.description(described).cpu().double()
        found = logistic(x, labels.cpu(), self.classes, odds)
        self.slope.copy_(found.slope)
        self.offset.copy_(found.offset)

    def weigh(self, own: Tensor, other: Tensor, labels: Tensor) -> None:
        """Choose the shares.

        Args:
            own: Logits ``(n, classes)`` of the network, of clouds that nothing learned from.
            other: Those of the regression.
            labels: ``(n,)`` int64.
        """
        self.shares.copy_(fitted_shares(own.double(), other.double(), labels))

    def share(self) -> float:
        """The regression's part of both shares."""
        return float(self.shares[1] / self.shares.sum())

    @torch.no_grad()
    def forget(self) -> None:
        """Leave the answer to the network alone."""
        self.shares.copy_(torch.tensor([1.0, 0.0]))

    @torch.no_grad()
    def forward(self, points: Tensor, weights: Tensor) -> Tensor:
        """Logits ``(B, classes)`` of the regression.

        Args:
            points: ``(B, n, dim)``.
            weights: ``(B, n)``.
        """
        out: Tensor = self.description(describe(points, weights, placed=self.placed))
        return out @ self.slope + self.offset

    def join(self, own: Tensor, points: Tensor, weights: Tensor) -> Tensor:
        """Logits ``(B, classes)`` of both, from the network's own and the clouds."""
        return pooled(own, self(points, weights).to(own.dtype), self.shares.to(own.dtype))


def direct_of(model: nn.Module) -> Direct | None:
    """The one of a model that has one."""
    return next((part for part in model.modules() if isinstance(part, Direct)), None)
