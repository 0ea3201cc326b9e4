"""Regression: one or several numbers of each cloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ddeq_data import CloudDataset, PointBatch, Transform
from ddeq_data.datasets import TargetKind
from ddeq_models._internal.text import names_in_markdown
from ddeq_models.errors import UserError
from ddeq_models.models.base import Numbers
from ddeq_models.registry import register_task
from ddeq_models.tasks.base import Card, Task, TaskConfig
from ddeq_models.tasks.peer import cheap_peer_of_numbers
from ddeq_models.tasks.tally import Columns, Figures, Records, mean

_TELLING = 5  # clouds for validation, below which it is not said that nothing was learnt


@dataclass(frozen=True)
class RegressionConfig(TaskConfig):
    """What is trained on, and the units of the numbers.

    Attributes:
        loss: ``mse``, the mean squared error; ``mae``, the mean absolute one; or ``huber``, the
            first up to `delta` and the second beyond it. Of the standardised numbers.
        delta: Of ``huber``, in standard deviations.
        centre: The mean of each number over the training clouds, found when the training begins,
            and
        unit: its standard deviation, 1 where that is 0; () before.
    """

    kind: ClassVar[str] = "regression"
    target_kind: ClassVar[TargetKind] = "numbers"

    loss: Literal["mse", "mae", "huber"] = "mse"
    delta: float = 1.0
    centre: tuple[float, ...] = ()
    unit: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.delta < 1e30:
            raise UserError(f"delta must be above 0 and finite, got {self.delta}")
        if len(self.centre) != len(self.unit) or not all(0 < x < 1e38 for x in self.unit):
            raise UserError(
                "centre and unit must be numbers for each target, units above 0; leave both out: a "
                "training finds them"
            )

    def for_data(self, train_set: CloudDataset) -> Self:
        """See `TaskConfig.for_data`: with the mean and deviation of each number."""
        targets = train_set.targets
        if targets is None or not targets.is_floating_point() or not len(targets):
            return self
        if len(self.unit) == targets.shape[1]:
            return self
        wide = targets.double()
        spread = wide.std(0, correction=0)
        # Rounding is no spread.
        least = 1e-12 * wide.abs().amax(0)
        unit = torch.where(spread > least, spread, 1.0)
        return replace(self, centre=tuple(wide.mean(0).tolist()), unit=tuple(unit.tolist()))


class Measured(NamedTuple):
    """Clouds and their numbers.

    Attributes:
        points: (B, n, d).
        weights: (B, n).
        targets: (B, k), standardised.
    """

    points: Tensor
    weights: Tensor
    targets: Tensor


@register_task(RegressionConfig)
class Regression(Task):
    r"""A mean error in training; the coefficient of determination after it.

    Numbers are standardised by the training clouds; figures are in the user's units, but for the
    loss. Of the number y with predictions f: ``R2 = 1 - sum (y - f)^2 / sum (y - mean y)^2`` (1
    where y is constant and f is right, 0 where it is constant and f is not), ``mae`` the mean of
    ``|y - f|`` and ``rmse`` the root of the mean of its square. Of several numbers the means of
    their ``r2``, ``mae`` and ``rmse``, as in scikit-learn's ``multioutput="uniform_average"``;
    ``targets`` in the result holds those of each. Beside these ``clouds``, ``loss``, and those of
    `solver_figures`.
    """

    command = "predict"
    smooths = False

    @property
    def _task(self) -> RegressionConfig:
        assert isinstance(self.config.task, RegressionConfig)
        return self.config.task

    def prepare(self, batch: PointBatch, generator: torch.Generator) -> Measured:
        """See `Task.prepare`."""
        return Measured(batch.points, batch.weights, self.known(batch))

    def known(self, batch: PointBatch) -> Tensor:
        """See `Task.known`: the standardised numbers."""
        assert batch.targets is not None
        centre = batch.targets.new_tensor(self._task.centre)
        unit = batch.targets.new_tensor(self._task.unit)
        return ((batch.targets - centre) / unit).to(batch.points.dtype)

    def losses(self, answer: Numbers, inputs: Measured) -> Tensor:
        """See `Task.losses`."""
        said, truth, task = answer.values, inputs.targets, self._task
        match task.loss:
            case "mse":
                losses = functional.mse_loss(said, truth, reduction="none")
            case "mae":
                losses = functional.l1_loss(said, truth, reduction="none")
            case "huber":
                losses = functional.huber_loss(said, truth, reduction="none", delta=task.delta)
        return losses.mean(-1)

    def records(self, answer: Numbers, inputs: Measured, thorough: bool = False) -> Records:
        """See `Task.records`."""
        said, truth = answer.values, inputs.targets
        numbers = range(truth.shape[-1])
        return {
            **super().records(answer, inputs),
            **{f"target_{i}": truth[:, i] for i in numbers},
            **{f"predicted_{i}": said[:, i] for i in numbers},
        }

    def numbers(self, columns: Columns) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """What was recorded of all clouds, (C, k) true and predicted, in the user's units."""
        names, none = range(len(self.config.classes)), np.zeros(0)
        centre, unit = np.array(self._task.centre), np.array(self._task.unit)
        truth, said = (
            centre + unit * np.stack([columns.get(f"{of}_{i}", none) for i in names], 1)
            for of in ("target", "predicted")
        )
        return truth, said

    def figures(self, columns: Columns) -> Figures:
        """See `Task.figures`."""
        each = self._each(columns)
        return {
            **super().figures(columns),
            **{
                name: mean(np.array([known[name] for known in each.values()]))
                for name in ("r2", "mae", "rmse")
            },
        }

    def _each(self, columns: Columns) -> dict[str, dict[str, float]]:
        truth, said = self.numbers(columns)
        return {name: errors(truth[:, i], said[:, i]) for i, name in enumerate(self.config.classes)}

    def objective(self, figures: Figures) -> tuple[float, ...]:
        """The coefficient of determination; among equals, the loss."""
        return figures["r2"], -figures["loss"]

    def headline(self, figures: Figures) -> str:
        """See `Task.headline`."""
        return f"R2 {figures['r2']:.3f}"

    def result(self, columns: Columns) -> dict[str, Any]:
        """The figures of each number."""
        each = self._each(columns)
        return {
            "targets": {
                name: {key: value if np.isfinite(value) else None for key, value in known.items()}
                for name, known in each.items()
            }
        }

    def check(self, sets: Mapping[str, CloudDataset]) -> None:
        """See `Task.check`; numbers must differ, to be told apart."""
        super().check(sets)
        targets = sets["train"].targets
        assert targets is not None
        for i, name in enumerate(self.config.classes):
            if bool((targets[:, i] == targets[0, i]).all()):
                raise UserError(
                    f"all clouds to train on have the same {name}, {float(targets[0, i]):g}: there "
                    "is nothing to learn of it; leave it out"
                )

    def aside(
        self,
        sets: Mapping[str, CloudDataset],
        normalise: Transform,
        validated: Figures,
        records: Sequence[Mapping[str, Any]],
    ) -> dict[str, Any]:
        """What a cheap regression reaches, and that this one is no better than the mean, if so."""
        peer = cheap_peer_of_numbers(sets["train"], sets["test"], normalise)
        # Of a few clouds R2 is chance: of one that is not met to the bit it is 0.
        if validated["r2"] > 0 or validated["clouds"] < _TELLING:
            return {"peer": peer.to_dict()}
        note = (
            f"the model learned nothing: on the validation clouds R2 is {validated['r2']:.3f}, and "
            "always to say the mean has 0. More --epochs or a smaller --learning-rate may help"
        )
        return {"peer": peer.to_dict(), "note": note}

    def summary(self, result: Mapping[str, Any], clouds: str) -> str:
        """See `Task.summary`."""
        known = {name: result.get(f"test_{name}") for name in ("r2", "mae")}
        told = {name: "unknown" if x is None else f"{x:.4g}" for name, x in known.items()}
        return f"test R2 {told['r2']}, mean absolute error {told['mae']}, on {clouds} clouds"

    def told(self, figures: Mapping[str, Any]) -> str:
        """See `Task.told`."""
        said = (
            f"R2 {figures['r2']:.4f}, mean absolute error {figures['mae']:.4g}, root of the mean "
            f"squared error {figures['rmse']:.4g}, loss {figures['loss']:.4f}"
        )
        each = figures.get("targets") or {}
        if len(each) > 1:
            said += "".join(
                f"\n  {name}: R2 {_told(one['r2'])}, mean absolute error {_told(one['mae'])}"
                for name, one in each.items()
            )
        return said

    def card(self) -> Card:
        """See `Task.card`."""
        names = self.config.classes
        return Card(
            "point-cloud-regression",
            "Point cloud regression",
            f"It says of each cloud {len(names)} number{'s' * (len(names) > 1)}: "
            f"{names_in_markdown(names)}.",
            {"r2": "R2", "mae": "Mean absolute error", "rmse": "Root mean squared error"},
            "Errors are in the units of the targets; of several targets the figures are means.",
        )


def errors(truth: np.ndarray[Any, Any], said: np.ndarray[Any, Any]) -> dict[str, float]:
    """The ``r2``, ``mae`` and ``rmse`` of a number, NaN without a cloud; see `Regression`.

    Args:
        truth: (C,) true.
        said: (C,) predicted.
    """
    if not len(truth):
        return dict.fromkeys(("r2", "mae", "rmse"), float("nan"))
    apart = truth - said
    within, total = float(np.square(apart).sum()), float(np.square(truth - truth.mean()).sum())
    r2 = 1 - within / total if total > 0 else float(within == 0)
    return {
        "r2": r2,
        "mae": float(np.abs(apart).mean()),
        "rmse": float(np.sqrt(np.square(apart).mean())),
    }


def _told(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"
