"""What every model shares: what it answers, and how it is made."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from ddeq_models.config.base import ModelConfig
from ddeq_models.models.size import check_size
from ddeq_models.registry import MODELS
from wgf_solver import Solution

__all__ = ["ModelConfig", "Numbers", "Output", "build_model"]


class Output(NamedTuple):
    """What a classifier says of a batch of clouds, or a segmenter of their points.

    Attributes:
        logits: ``(B, classes)``; of a segmenter ``(B, n, classes)``, of no meaning in padded rows.
        solution: the equilibrium and how it was found, see `wgf_solver.Solution`; None of a model
            that solves nothing.
        penalty: ``(B,)``: what the model adds to the loss of each cloud in training, or None.
    """

    logits: Tensor
    solution: Solution | None = None
    penalty: Tensor | None = None


class Numbers(NamedTuple):
    """What a regressor says of a batch of clouds.

    Attributes:
        values: ``(B, outputs)``, in units of the training's standard deviations about its means.
        solution: as in `Output`.
        penalty: as in `Output`.
    """

    values: Tensor
    solution: Solution | None = None
    penalty: Tensor | None = None


def build_model(config: ModelConfig) -> nn.Module:
    """The model of a configuration, with weights from PyTorch's present random state.

    Raises:
        UserError: It would be too large; see `ddeq_models.models.size`.
    """
    check_size(config)
    model: nn.Module = MODELS[config.kind][1](config)
    return model
