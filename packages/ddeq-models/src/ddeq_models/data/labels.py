"""What a user says of one cloud, or of its points: numbers and words of any kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddeq_models.errors import UserError

__all__ = ["as_numbers", "class_of", "labels_of_points", "numbers_of", "refuse_masked"]


def refuse_masked(values: Any, what: str) -> None:
    """See that an array has no masked entries: as a plain array it would forget its mask.

    Raises:
        UserError: Some are masked.
    """
    if isinstance(values, np.ma.MaskedArray) and (masked := int(np.ma.getmaskarray(values).sum())):
        raise UserError(
            f"{what} come in a masked array with {masked} entries masked, and what is masked is "
            "used nowhere; leave it out, cloud[~mask.any(1)].data, or give such points weight 0"
        )


def as_numbers(values: Any) -> Tensor:
    """Numbers of any kind as a floating tensor on the processor, in float32 or float64.

    Raises:
        UserError: They are complex, sparse, masked, or of several lengths.
        TypeError: They are no numbers.
    """
    if hasattr(values, "toarray"):
        raise UserError("sparse arrays hold no clouds; give a dense one, values.toarray()")
    if isinstance(values, Tensor):
        array = values.detach().cpu()
        if array.is_complex():
            raise UserError("Complex data not supported: give real numbers")
        return array if array.dtype == torch.float32 else array.to(torch.float64)
    refuse_masked(values, "numbers")
    try:
        plain = np.asarray(values)
    except ValueError as error:  # lists of several lengths
        raise UserError(f"expected an array of numbers: {error}") from error
    if plain.dtype.kind == "c":
        raise UserError("Complex data not supported: give real numbers")
    if plain.dtype != np.float32:
        try:
            plain = plain.astype(np.float64)
        except TypeError as error:
            raise TypeError(f"clouds are made of numbers: {error}") from error
        except ValueError as error:
            raise UserError(f"clouds are made of numbers: {error}") from error
    return torch.from_numpy(np.array(plain, order="C"))  # a copy: nobody's memory is shared


def class_of(label: Any, of: str) -> Any:
    """One label: a whole number or a word."""
    if np.ndim(label) and np.size(label) != 1:
        raise UserError(
            f"the label of {of} must be one number or word, got the shape {np.shape(label)}; "
            "several are for a regression or a segmentation: give such a model or task"
        )
    label = label.item() if hasattr(label, "item") else label
    if not isinstance(label, str | int):
        raise UserError(f"the label of {of} must be whole or a word: {label!r}")
    return label


def numbers_of(label: Any, of: str) -> Tensor:
    """The numbers of a cloud, (k,) float64."""
    if isinstance(label, str):
        raise UserError(f"a regression needs numbers, and the label of {of} is {label!r}")
    numbers = as_numbers(label).double()
    if numbers.ndim > 1 or not numbers.numel() or not bool((numbers.abs() <= 1e30).all()):
        raise UserError(
            f"the label of {of} must be a finite number or several, (k,), got "
            f"{numbers.tolist() if numbers.numel() < 9 else tuple(numbers.shape)}"
        )
    return numbers.reshape(-1)


def labels_of_points(label: Any, count: int, of: str) -> Any:
    """The labels of a cloud's points, (n,), whole numbers or words."""
    refuse_masked(label, f"the labels of {of}")
    labels = label.detach().cpu().numpy() if isinstance(label, Tensor) else np.asarray(label)
    if labels.shape != (count,):
        raise UserError(
            f"a segmentation needs a label for each point, and {of} has {count} points and labels "
            f"of the shape {labels.shape}"
        )
    if labels.dtype.kind in "biu":
        labels = labels.astype(np.int64)
        if (labels < 0).any():
            raise UserError(f"the labels of the points of {of} must be at least 0")
        return labels
    if labels.dtype.kind not in "UO" or not all(isinstance(one, str) for one in labels):
        raise UserError(f"the labels of the points of {of} must be whole numbers or words")
    return labels
