"""What the baselines share: batch normalisation of measures, and perceptrons on their points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class MeasureBatchNorm(nn.Module):
    r"""Batch normalisation (Ioffe and Szegedy 2015) over the mixture of a batch of measures.

    Mean and variance of each feature are those of ``(1/B) Σ_b Σ_i w_bi δ_{x_bi}``: padding counts
    nothing, a doubled weight is a duplicated point, and each cloud counts the same whatever its
    size. In evaluation the running averages are used, so that a cloud's result does not depend on
    its batch. A batch with a single row has no variance: there they are used in training, too.

    Args:
        dim: Number of features.
        momentum: Of the running averages: the share of the new value.
        epsilon: Added to the variance.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, dim: int, *, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.epsilon = momentum, epsilon
        self.gain = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Normalise ``x (B, n, dim)`` with ``weights (B, n)``; 0 in padded rows."""
        inside = (weights > 0)[..., None]
        x = torch.where(inside, x, 0)
        mean, variance = self.mean, self.variance
        if self.training:
            mass = (weights / weights.sum().clamp(min=1e-30)).to(x.dtype)[..., None]
            new_mean = (mass * x).sum((0, 1))
            new_variance = (mass * (x - new_mean).square()).sum((0, 1))
            several = inside.sum() > 1
            mean = torch.where(several, new_mean, self.mean)
            variance = torch.where(several, new_variance, self.variance)
            with torch.no_grad():
                self.mean.lerp_(mean.to(self.mean), self.momentum)
                self.variance.lerp_(variance.to(self.variance), self.momentum)
        scale = self.gain * torch.rsqrt(variance + self.epsilon)
        return torch.where(inside, (x - mean) * scale + self.bias, 0)

    def extra_repr(self) -> str:
        """The number of features."""
        return str(len(self.gain))


class PointPerceptron(nn.Module):
    """Linear maps of each point, each followed by batch normalisation and ReLU.

    Args:
        widths: Of the input and of every layer.
    """

    def __init__(self, *widths: int) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        # The normalisation's bias makes another one superfluous, but the papers count both.
        self.maps = nn.ModuleList(nn.Linear(a, b) for a, b in pairs)
        self.norms = nn.ModuleList(MeasureBatchNorm(b) for _, b in pairs)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """From ``(B, n, widths[0])`` to ``(B, n, widths[-1])``; 0 in padded rows."""
        for linear, norm in zip(self.maps, self.norms, strict=True):
            x = norm(linear(x), weights).relu()
        return x


class Head(nn.Module):
    """From a vector to logits: linear maps with batch normalisation, ReLU and dropout between.

    Args:
        widths: Of the input, every hidden layer, and the output.
        dropout: Probability of a feature of the last hidden layer to be dropped.
    """

    def __init__(self, widths: Sequence[int], dropout: float = 0.0) -> None:
        super().__init__()
        self.hidden = PointPerceptron(*widths[:-1])
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(widths[-2], widths[-1])

    def forward(self, x: Tensor) -> Tensor:
        """From ``(B, widths[0])`` to ``(B, widths[-1])``; the batch is what is normalised over."""
        ones = x.new_ones(len(x), 1)
        hidden = self.hidden(x[:, None], ones)[:, 0]
        logits: Tensor = self.out(self.dropout(hidden))
        return logits


def clear(points: Tensor, weights: Tensor) -> Tensor:
    """The points with 0 in padded rows, whatever stood there."""
    return torch.where((weights > 0)[..., None], points, 0)
