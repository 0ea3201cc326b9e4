"""Clouds cut in two, and the two ways to judge what a model puts in the place of a part."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ddeq_models.models.completer import Completed


class Incomplete(NamedTuple):
    """Clouds cut in two.

    Attributes:
        points: (B, n, d), what is visible.
        weights: (B, n).
        missing: (B, m, d), what is to be found.
        missing_weights: (B, m); all 0 where nothing was taken away.
        share: (B,), the mass of the cloud that is missing.
    """

    points: Tensor
    weights: Tensor
    missing: Tensor
    missing_weights: Tensor
    share: Tensor


class Compared(NamedTuple):
    """Two batches of clouds that shall be alike.

    Attributes:
        x: (B, n, d), what a model makes.
        w: (B, n).
        y: (B, m, d), the truth.
        v: (B, m).
    """

    x: Tensor
    w: Tensor
    y: Tensor
    v: Tensor


def missing_parts(answer: Completed, inputs: Incomplete) -> Compared:
    """What was completed, and what is missing: judged by itself."""
    return Compared(answer.points, answer.weights, inputs.missing, inputs.missing_weights)


def whole_clouds(answer: Completed, inputs: Incomplete) -> Compared:
    """What is visible with what was completed, and with what is missing: the paper's convention.

    A completed point weighs as much as a visible one does on average: of n visible and m completed
    points these hold the mass ``m / (n + m)``, as in what `ddeq_models.complete` writes.
    """
    visible, added = ((weights > 0).sum(-1) for weights in (inputs.weights, answer.weights))
    share = added / (visible + added).clamp(min=1).to(inputs.weights.dtype)
    return Compared(
        torch.cat([inputs.points, answer.points], -2),
        _mixed(inputs.weights, answer.weights, share),
        torch.cat([inputs.points, inputs.missing], -2),
        _mixed(inputs.weights, inputs.missing_weights, inputs.share),
    )


def _mixed(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Weights of the union of two clouds, of which the second holds a share (B,) of the mass."""
    return torch.cat([(1 - share)[:, None] * first, share[:, None] * second], -1)
