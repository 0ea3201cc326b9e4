"""Labels of any kind as numbers, and how often the clouds of each are drawn."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ddeq_models.data.labels import refuse_masked
from ddeq_models.errors import UserError

__all__ = ["Labels", "class_names", "encode", "odds", "of_sklearn", "read_labels", "read_odds"]

Labels: TypeAlias = NDArray[Any]


def of_sklearn(name: str, otherwise: type[Any]) -> type[Any]:
    """A class of `sklearn.exceptions`, where somebody has imported that, and else another one."""
    found: type[Any] = getattr(sys.modules.get("sklearn.exceptions"), name, otherwise)
    return found


def read_labels(labels: Any, count: int) -> Labels:
    """One label for each cloud.

    Args:
        labels: Numbers, words or truth values (count,).
        count: Clouds.

    Raises:
        UserError: There are none, too few, or they are no labels.
    """
    if labels is None:
        raise UserError(
            "a classifier requires y to be passed, but the target y is None: give a label for each "
            "cloud"
        )
    refuse_masked(labels, "labels")
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected. It is taken for (N,), "
            "y.ravel() says so without this warning.",
            of_sklearn("DataConversionWarning", UserWarning),
            stacklevel=4,
        )
        array = array.ravel()
    if array.shape != (count,):
        raise UserError(
            f"there are {count} clouds and labels of shape {array.shape}; give one for each"
        )
    if array.dtype.kind == "f":
        if np.isnan(array).any():
            raise UserError("Input y contains NaN; every cloud needs a label")
        if not np.isfinite(array).all():
            raise UserError(f"Input y contains infinity or a value too large for {array.dtype!r}.")
        if (array != np.round(array)).any():
            raise UserError("Unknown label type: continuous; labels are whole numbers or words")
    elif array.dtype == object and any(one is None or one != one for one in array):
        raise UserError("Input y contains NaN or None; every cloud needs a label")
    elif array.dtype.kind not in "biuUO":
        raise UserError(f"Unknown label type: {array.dtype}; labels are whole numbers or words")
    return array


def encode(labels: Labels) -> tuple[Labels, NDArray[np.int64]]:
    """The classes, sorted, and the number of each label among them.

    Raises:
        UserError: Labels of several kinds, which have no order.
    """
    try:
        classes, numbers = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise UserError(f"labels must be of one kind: {error}") from error
    return classes, np.asarray(numbers, dtype=np.int64)


def class_names(classes: Labels) -> tuple[str, ...]:
    """What a run's ``config.json`` calls the classes.

    Raises:
        UserError: Two of them are called the same.
    """
    names = tuple(str(one) for one in classes)
    if len(set(names)) < len(names):
        raise UserError("two classes have the same name; give words or whole numbers as labels")
    return names


def read_odds(sample_weight: Any, count: int) -> NDArray[np.float64] | None:
    """How often each cloud is to count, or None.

    Raises:
        UserError: It is not one number from 0 on for each cloud, or all of them are 0.
    """
    if sample_weight is None:
        return None
    refuse_masked(sample_weight, "sample weights")
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (count,):
        raise UserError(
            f"sample_weight must be one number for each of {count} clouds, got the shape "
            f"{weights.shape}"
        )
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise UserError("sample_weight must be finite and at least 0")
    if not weights.any():
        raise UserError("sample_weight is zero for all clouds; at least one must count")
    return weights


def odds(
    numbers: NDArray[np.int64],
    classes: Labels,
    given: NDArray[np.float64] | None,
    class_weight: Any,
) -> NDArray[np.float64] | None:
    """How often each cloud is drawn in training, relative to the others; None: all alike.

    Args:
        numbers: The class of each cloud.
        classes: The classes.
        given: What each counts by itself, or None.
        class_weight: ``"balanced"``, a number for some classes, or None.

    Raises:
        UserError: It is none of these.
    """
    if class_weight is None:
        return given
    each = np.ones(len(numbers)) if given is None else given
    if isinstance(class_weight, str) and class_weight == "balanced":
        totals = np.bincount(numbers, weights=each, minlength=len(classes))
        of_class = each.sum() / (len(classes) * np.where(totals > 0, totals, 1.0))
    elif isinstance(class_weight, Mapping):
        known = {one: i for i, one in enumerate(classes.tolist())}
        if unknown := [one for one in class_weight if one not in known]:
            raise UserError(f"class_weight names the class {unknown[0]!r}, of which no cloud is")
        of_class = np.ones(len(classes))
        for one, weight in class_weight.items():
            of_class[known[one]] = weight
        if not np.isfinite(of_class).all() or (of_class <= 0).any():
            raise UserError("class_weight must be finite and above 0")
    else:
        raise UserError(
            'class_weight must be None, "balanced" or a dict of a number for each class, got '
            f"{class_weight!r}"
        )
    return np.asarray(each * of_class[numbers], dtype=np.float64)
