"""What is learned of clouds: their classes, or numbers of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddeq_models.data.labels import refuse_masked
from ddeq_models.errors import UserError
from ddeq_models.estimator.labels import (
    Labels,
    class_names,
    encode,
    odds,
    read_labels,
    read_odds,
)

__all__ = ["Targets", "read_classes", "read_numbers", "targets_of_numbers"]


_LEAST = 2  # clouds whose numbers may differ


@dataclass(frozen=True, eq=False)
class Targets:
    """What is to be learned.

    Attributes:
        names: Of the classes, or of the numbers.
        labels: (C,) int64, the class of each cloud; 0 beside numbers.
        kinds: The classes as they were given, or the names of the numbers.
        numbers: (C, k) float64, or None.
        odds: How often each cloud is drawn, or None.
    """

    names: tuple[str, ...]
    labels: Tensor
    kinds: Labels
    numbers: Tensor | None = None
    odds: NDArray[np.float64] | None = None


def read_classes(
    y: Any, count: int, sample_weight: Any, class_weight: Any, known: Labels | None
) -> Targets:
    """The class of each cloud.

    Args:
        y: Labels of any kind.
        count: Clouds.
        sample_weight: See `DDEQClassifier.fit`.
        class_weight: See `DDEQClassifier`.
        known: The classes of a training that goes on, or None.

    Raises:
        UserError: They are no labels, or of other classes.
    """
    labels = read_labels(y, count)
    classes, numbers = encode(labels) if known is None else _among(known, labels)
    each = odds(numbers, classes, read_odds(sample_weight, count), class_weight)
    return Targets(class_names(classes), torch.from_numpy(numbers), classes, odds=each)


def _among(classes: Labels, labels: Labels) -> tuple[Labels, NDArray[np.int64]]:
    """The classes of the training before, and the number of each label among them."""
    numbers = {name: i for i, name in enumerate(classes.tolist())}
    if unknown := [one for one in labels.tolist() if one not in numbers]:
        raise UserError(
            f"warm_start knows the classes {', '.join(map(str, numbers))}, and a cloud is of "
            f"{unknown[0]!r}; fit with warm_start=False"
        )
    return classes, np.array([numbers[one] for one in labels.tolist()], dtype=np.int64)


def read_numbers(y: Any, count: int) -> NDArray[np.float64]:
    """The numbers of each cloud, (C, k).

    Args:
        y: (C,) or (C, k).
        count: C.

    Raises:
        UserError: There are none, too few, or they are no finite numbers.
    """
    if y is None:
        raise UserError(
            "a regressor requires y to be passed, but the target y is None: give a number for each "
            "cloud"
        )
    refuse_masked(y, "the numbers y")
    array = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    if array.dtype.kind == "c":
        raise UserError("Complex data not supported: give real numbers")
    try:
        numbers = np.array(array, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise UserError(f"a regressor needs numbers as y: {error}") from error
    if numbers.ndim not in (1, 2) or len(numbers) != count or not numbers.size:
        raise UserError(
            f"there are {count} clouds and y of shape {numbers.shape}; give a number, or a row of "
            "them, for each"
        )
    if np.isnan(numbers).any():
        raise UserError("Input y contains NaN; every cloud needs its numbers")
    if not (np.abs(numbers) <= 1e30).all():
        raise UserError("Input y contains infinity or a value too large for float32.")
    return numbers if numbers.ndim == 2 else numbers[:, None]


def targets_of_numbers(y: Any, count: int, sample_weight: Any, known: int | None) -> Targets:
    """The numbers of each cloud, named.

    Args:
        y: See `read_numbers`.
        count: Clouds.
        sample_weight: See `DDEQRegressor.fit`.
        known: How many numbers a training that goes on has, or None.

    Raises:
        UserError: They are no numbers, or not as many.
    """
    if count < _LEAST:
        raise UserError(f"there is {count} sample, one cloud, of which no number can be learned")
    numbers = read_numbers(y, count)
    width = numbers.shape[1]
    if known is not None and width != known:
        raise UserError(
            f"warm_start knows {known} numbers of each cloud, and there are {width}; fit with "
            "warm_start=False"
        )
    columns = getattr(y, "columns", None)  # of a table of pandas
    if columns is not None and len(set(map(str, columns))) == width:
        names = tuple(map(str, columns))
    else:
        names = ("target",) if width == 1 else tuple(f"target {i}" for i in range(width))
    return Targets(
        names,
        torch.zeros(count, dtype=torch.int64),
        np.array(names, dtype=object),
        torch.from_numpy(numbers),
        read_odds(sample_weight, count),
    )
