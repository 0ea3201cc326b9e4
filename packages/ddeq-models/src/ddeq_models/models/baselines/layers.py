"""What the baselines share: perceptrons on points, normalised over the batch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from set_attention import MeasureBatchNorm

_RENAMED = {"gain": "weight", "mean": "running_mean", "variance": "running_variance"}


class BatchNorm(MeasureBatchNorm):
    """`set_attention.MeasureBatchNorm`, which also reads what baselines up to 0.7 were saved as."""

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        for old, new in _RENAMED.items():
            if prefix + old in state:
                state[prefix + new] = state.pop(prefix + old)
        super()._load_from_state_dict(state, prefix, *rest)


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
        self.norms = nn.ModuleList(BatchNorm(b) for _, b in pairs)

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
