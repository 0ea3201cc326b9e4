"""What a user gives to `predict` and `complete`, files or arrays, as clouds in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ddeq_data import Cloud, DataError
from ddeq_data.readers import read_cloud_file
from ddeq_models.config import RunConfig, check_columns
from ddeq_models.data.labels import refuse_masked
from ddeq_models.errors import SeveralProblems, UserError

__all__ = ["Clouds", "Given", "Known", "alike", "listed", "names_of", "read_clouds"]

_FEW = 4096  # rows of a batch that are no burden, padding or not
_LARGEST = float(torch.finfo(torch.float32).max)

Array: TypeAlias = Tensor | np.ndarray[Any, Any]
Given: TypeAlias = str | Path | Array | tuple[Array, Array]
"""One cloud: the name of a file, points ``(n, d)``, or points and weights ``(n,)``."""

Clouds: TypeAlias = Given | Sequence[Given]
"""One cloud, or several."""

_Rows: TypeAlias = tuple[Tensor, Tensor | None, Tensor]  # points, weights, and see `Known.kept`


class Known(NamedTuple):
    """A cloud of a user's.

    Attributes:
        cloud: The points that weigh something, and their weights; its label is not used.
        kept: (rows,) bool, which of the rows that were given these points are.
    """

    cloud: Cloud
    kept: Tensor


def listed(clouds: Clouds) -> list[Given]:
    """The clouds as a list: one that is given by itself is not taken apart.

    A name is one file and not its letters; points ``(n, d)`` are one cloud, and so is a pair of
    points and weights; an array ``(B, n, d)`` is B clouds.
    """
    if isinstance(clouds, str | Path) or _is_pair(clouds):
        return [clouds]  # type: ignore[list-item]
    if isinstance(clouds, Tensor | np.ndarray):
        return list(clouds) if clouds.ndim == 3 else [clouds]
    return list(clouds)


def names_of(clouds: Sequence[Given]) -> list[str]:
    """What each is called: a file by its name, an array ``cloud 0``, by its place."""
    return [
        str(one) if isinstance(one, str | Path) else f"cloud {i}" for i, one in enumerate(clouds)
    ]


def alike(sizes: Sequence[int], batch_size: int) -> list[list[int]]:
    """Clouds in batches of similar size: one that is large would make all others as large.

    Args:
        sizes: Points of each cloud.
        batch_size: Clouds in a batch, at most.

    Returns:
        The numbers of the clouds of each batch, by rising size.
    """
    batches: list[list[int]] = []
    total = 0
    for i in sorted(range(len(sizes)), key=sizes.__getitem__):
        rows = sizes[i] * (len(batches[-1]) + 1) if batches else 0
        total += sizes[i]
        if not batches or len(batches[-1]) == batch_size or rows > max(2 * total, _FEW):
            batches.append([])
            total = sizes[i]
        batches[-1].append(i)
    return batches


def read_clouds(
    given: Sequence[Given],
    config: RunConfig,
    columns: Sequence[str] = (),
    features: Sequence[str] = (),
) -> list[Known]:
    """All clouds, as precise as they are, or one error that names every bad one.

    Args:
        given: The files and arrays.
        config: The run whose model is to see them.
        columns: See `ddeq_models.predict`.
        features: See `ddeq_models.predict`.

    Raises:
        UserError: A cloud is bad, or a column is named twice.
    """
    asked = tuple(columns) or tuple(features)
    columns = tuple(columns) or config.data.columns
    features = tuple(features) or config.data.features
    check_columns(columns, features)
    # Files of the training hold a column that is to be told.
    label = config.data.label if config.data.target == "points" else ""
    dim = config.model.point_dim

    def read(one: Given, name: str) -> _Rows:
        if isinstance(one, str | Path):
            return _read(one, dim, columns or None, features, label)
        if asked:
            raise UserError(
                f"{name}: columns and features are of files, an array has its coordinates first "
                "and its features behind them; leave both out"
            )
        return _from_arrays(one, name, dim)

    clouds: list[Known] = []
    problems: list[str] = []
    for one, name in zip(given, names_of(given), strict=True):
        try:
            points, weights, kept = read(one, name)
        except (DataError, UserError) as error:
            problems.append(str(error))
        else:
            if weights is None:
                weights = points.new_full((len(points),), 1 / len(points))
            clouds.append(Known(Cloud(points, weights, label=0), kept))
    if len(problems) == 1:
        raise UserError(problems[0])
    if problems:
        kind = "files" if all(isinstance(one, str | Path) for one in given) else "clouds"
        raise SeveralProblems(
            f"{len(problems)} of {len(given)} {kind} cannot be used, and nothing was done:",
            problems,
        )
    return clouds


def _is_pair(given: Any) -> bool:
    arrays = isinstance(given, tuple) and all(isinstance(x, Tensor | np.ndarray) for x in given)
    return arrays and len(given) == 2 and given[0].ndim == 2 and given[1].ndim == 1


def _from_arrays(given: Any, name: str, dim: int) -> _Rows:
    """Points ``(n, d)`` in float64 and weights ``(n,)`` that sum to 1; points of weight 0 go."""
    pair = isinstance(given, tuple | list) and len(given) == 2
    points = _numbers(given[0] if pair else given, name, "points (n, d)", lambda x: x.ndim == 2)
    if points.shape[1] != dim:
        raise UserError(
            f"{name}: expected points of dimension {dim}, found {points.shape[1]} columns; give "
            "those that the model was trained on, features behind the coordinates"
        )
    weights, kept = None, torch.ones(len(points), dtype=torch.bool)
    if pair:
        count = len(points)
        weights = _numbers(given[1], name, f"weights ({count},)", lambda x: x.shape == (count,))
        if not bool((weights.isfinite() & (weights >= 0)).all()) or not bool(weights.any()):
            raise UserError(f"{name}: expected finite weights of at least 0, not all 0; mend them")
        # Padding may hold anything.
        kept = weights > 0
        points, weights = points[kept], weights[kept]
        weights = weights / weights.max()  # so that the sum of large ones is finite
        weights = weights / weights.sum()
    if not len(points):
        raise UserError(f"{name}: expected at least one point, found none; leave it out")
    if not bool(points.isfinite().all()):
        raise UserError(f"{name}: expected points that are finite; take NaN and infinity out")
    if float(points.abs().max()) > _LARGEST:
        raise UserError(f"{name}: a coordinate is beyond float32; take another unit")
    return points, weights, kept


def _numbers(given: Any, name: str, wanted: str, fits: Callable[[Tensor], bool]) -> Tensor:
    """An array of a user's in float64 on the processor, of its own."""
    if not isinstance(given, Tensor | np.ndarray):
        raise UserError(
            f"{name}: expected the name of a file, an array or tensor of points (n, d), or a pair "
            f"of points and weights, got {type(given).__name__}"
        )
    if isinstance(given, np.ndarray):
        if given.dtype.kind not in "biuf":
            raise UserError(f"{name}: expected {wanted} of numbers, got dtype {given.dtype}")
        refuse_masked(given, f"{name}: {wanted}")
        given = torch.from_numpy(np.array(given, dtype=np.float64))
    if given.is_complex() or given.is_sparse:
        raise UserError(f"{name}: expected {wanted} of plain numbers, got {given.dtype}")
    numbers: Tensor = given.detach().cpu().double()
    if not fits(numbers):
        raise UserError(f"{name}: expected {wanted}, found shape {tuple(numbers.shape)}")
    return numbers


def _read(
    file: str | Path,
    dim: int,
    columns: tuple[str, ...] | None,
    features: tuple[str, ...],
    label: str = "",
) -> _Rows:
    try:
        found = read_cloud_file(file, dim=dim, columns=columns, features=features)
        return found.points, found.weights, found.kept
    except DataError as error:
        if label and label not in (*(columns or ()), *features):
            with suppress(DataError):
                more = (*features, label)
                found = read_cloud_file(file, dim=dim + 1, columns=columns, features=more)
                return found.points[:, :-1], found.weights, found.kept
        try:
            found = read_cloud_file(file, columns=columns, features=features)
        except DataError:
            raise error from None
        last, points = found.coordinates - 1, found.points
        if points.shape[1] != dim + 1 or not bool((points[:, last] == points[0, last]).all()):
            raise
        # ply and its like always have a z
        return torch.cat([points[:, :last], points[:, last + 1 :]], 1), found.weights, found.kept
