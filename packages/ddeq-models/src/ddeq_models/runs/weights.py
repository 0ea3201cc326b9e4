"""Weights from a file: of the model that they are for, and numbers."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ddeq_models.errors import UserError

__all__ = ["load_weights"]


def load_weights(model: nn.Module, path: Path) -> None:
    """Give a model the weights of a safetensors file.

    Raises:
        UserError: The file is damaged or of another model, or its weights are not finite floating
            numbers, or all 0: a model that answers, but nothing that was learned.
    """
    try:
        tensors = load_file(path)
        _check_numbers(tensors, model.state_dict(), path)
        model.load_state_dict(tensors)
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        reason = (str(error).splitlines() or ["unknown"])[0].rstrip(":.")
        raise UserError(
            f"{path} is damaged or does not fit config.json ({reason}); train again"
        ) from error


def _check_numbers(tensors: dict[str, Tensor], wanted: dict[str, Tensor], path: Path) -> None:
    floating = {name: t for name, t in tensors.items() if name in wanted}
    floating = {name: t for name, t in floating.items() if wanted[name].is_floating_point()}
    for name, tensor in floating.items():
        if not tensor.is_floating_point():
            found = f"{str(tensor.dtype).removeprefix('torch.')} numbers"
        elif not bool(torch.isfinite(tensor.to(torch.float32)).all()):
            found = "numbers that are not finite"
        else:
            continue
        raise UserError(
            f"{path}: expected finite floating numbers for {name}, found {found}; train again, or "
            "fetch the model again"
        )
    if floating and not any(bool(tensor.any()) for tensor in floating.values()):
        raise UserError(f"{path}: all weights are 0; train again, or fetch the model again")
