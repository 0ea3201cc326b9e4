"""What models say of a user's own clouds that give them no class: numbers, labels of points."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ddeq_data import PointBatch, collate
from ddeq_models.config import RunConfig
from ddeq_models.data import normaliser, view
from ddeq_models.errors import UserError
from ddeq_models.tasks.regression import RegressionConfig
from ddeq_models.using.clouds import Known, alike

__all__ = ["Estimate", "PointLabels", "estimates", "point_labels"]

_PAIRS = 2**24  # of points whose distances are held at once


@dataclass(frozen=True)
class Estimate:
    """The numbers that a model says of one cloud.

    Attributes:
        file: The file, as it was given; of an array ``cloud 0``, by its place.
        values: The numbers by name, in the units of the training's targets.
        converged: Whether the solver reached its tolerance on this cloud; True of a model that
            solves nothing.
        message: What the solver says of this cloud, in a sentence.
    """

    file: str
    values: dict[str, float]
    converged: bool = True
    message: str = ""


@dataclass(frozen=True, eq=False)
class PointLabels:
    """The labels that a model gives to the points of one cloud.

    Attributes:
        file: As in `Estimate`.
        labels: (n,) int64, one for each row that was given, in their order; -1 for a row that is no
            point of the cloud: of weight 0, which is padding, or of a pcd without a measurement.
        classes: The names of the labels.
        converged: As in `Estimate`.
        message: As in `Estimate`.
    """

    file: str
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    converged: bool = True
    message: str = ""

    def shares(self) -> dict[str, float]:
        """The share of the points that has each label, the largest first."""
        known = self.labels[self.labels >= 0]
        counts = np.bincount(known, minlength=len(self.classes)) / max(len(known), 1)
        order = np.argsort(-counts, kind="stable")
        return {self.classes[i]: float(counts[i]) for i in order if counts[i] > 0}


def estimates(
    model: nn.Module,
    config: RunConfig,
    clouds: Sequence[Known],
    names: Sequence[str],
    batch_size: int,
    device: torch.device,
) -> list[Estimate]:
    """The numbers of clouds.

    Args:
        model: Of a regression, in evaluation mode.
        config: Its run.
        clouds: As they were read.
        names: What each is called.
        batch_size: Clouds at once.
        device: Where the model is.

    Raises:
        UserError: A number is not finite.
    """
    task = config.task
    assert isinstance(task, RegressionConfig)
    found: dict[int, Estimate] = {}
    for chosen, batch in _batches(config, clouds, batch_size, device):
        said = model(batch.points, batch.weights)
        values = said.values.double().cpu() * torch.tensor(task.unit).double()
        rows = (values + torch.tensor(task.centre).double()).tolist()
        for place, (i, row) in enumerate(zip(chosen, rows, strict=True)):
            if not all(map(math.isfinite, row)):
                raise UserError(
                    f"the model says no finite number of {names[i]}: it is very unlike the clouds "
                    "of the training"
                )
            by_name = dict(zip(config.classes, row, strict=True))
            found[i] = Estimate(names[i], by_name, *_solved(said.solution, place))
    return [found[i] for i in range(len(clouds))]


def point_labels(
    model: nn.Module,
    config: RunConfig,
    clouds: Sequence[Known],
    names: Sequence[str],
    batch_size: int,
    device: torch.device,
) -> list[PointLabels]:
    """The labels of the points of clouds; see `estimates`.

    Where the run sees some points of each cloud, ``data.points``, the others have the label of the
    nearest of these, by coordinates alone.
    """
    dim = config.model.point_dim - len(config.data.features)
    found: dict[int, PointLabels] = {}
    for chosen, batch in _batches(config, clouds, batch_size, device):
        output = model(batch.points, batch.weights)
        best = output.logits.argmax(-1).cpu()
        for place, i in enumerate(chosen):
            there = (batch.weights[place] > 0).cpu()
            labels = best[place][there]
            if config.data.points:  # those that were chosen, and in another order
                whole = collate([clouds[i].cloud]).map(normaliser(config.data)).points[0]
                seen = batch.points[place].cpu()[there]
                labels = labels[_nearest(whole[:, :dim], seen[:, :dim])]
            rows = torch.full(clouds[i].kept.shape, -1)
            rows[clouds[i].kept] = labels
            solved = _solved(output.solution, place)
            found[i] = PointLabels(names[i], rows.numpy(), config.classes, *solved)
    return [found[i] for i in range(len(clouds))]


def _batches(
    config: RunConfig, clouds: Sequence[Known], batch_size: int, device: torch.device
) -> Iterator[tuple[list[int], PointBatch]]:
    seen = view(config.data)
    for chosen in alike([len(one.cloud.points) for one in clouds], batch_size):
        yield chosen, collate([clouds[i].cloud for i in chosen]).map(seen).to(device)


def _solved(solution: Any, place: int) -> tuple[bool, str]:
    if solution is None:
        return True, ""
    return bool(solution.converged[place]), solution.message(place)


def _nearest(points: Tensor, among: Tensor) -> Tensor:
    """(n,) the number of the nearest of ``among (m, d)`` to each of ``points (n, d)``."""
    pieces = torch.split(points, max(1, _PAIRS // max(1, len(among))))
    return torch.cat([torch.cdist(piece, among).argmin(-1) for piece in pieces])
