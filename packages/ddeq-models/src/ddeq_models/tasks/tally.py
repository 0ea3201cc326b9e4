"""What is counted: per cloud, never per batch.

Means of batch means weigh the clouds of a short last batch more than the others. Here every cloud
is recorded by itself and every figure is a mean, a maximum or a count over clouds.
"""

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from wgf_solver import LinearStatus, Solution

Records: TypeAlias = Mapping[str, Tensor]
"""One number for each cloud of a batch, ``(B,)``, by name."""

Columns: TypeAlias = Mapping[str, np.ndarray[Any, np.dtype[np.float64]]]
"""One number for each cloud of all batches, ``(clouds,)``, by name; empty without a batch."""

Figures: TypeAlias = Mapping[str, float]
"""Means, maxima and counts over clouds, by name."""

SOLVER_FIGURES = (
    "solver_steps_mean",
    "solver_steps_max",
    "residual_mean",
    "residual_max",
    "solver_failures",
    "spread",
    "adjoint_steps_mean",
    "adjoint_failures",
)


class Tally:
    """Records clouds batch by batch, and hands them out when asked.

    The records stay on their device until then: adding a batch does not make a GPU wait.
    """

    def __init__(self) -> None:
        self._batches: list[dict[str, Tensor]] = []

    def add(self, records: Records) -> None:
        """Record a batch.

        Args:
            records: Tensors ``(B,)`` by name; the same names for every batch.
        """
        self._batches.append({name: x.detach() for name, x in records.items()})

    def __len__(self) -> int:
        """Return the number of clouds."""
        return sum(len(next(iter(batch.values()))) for batch in self._batches)

    def finite(self) -> bool:
        """Whether every ``loss`` so far is finite (waits for the device)."""
        return not self._batches or bool(np.isfinite(self.columns()["loss"]).all())

    def tensors(self) -> dict[str, Tensor]:
        """All that was recorded, ``(clouds,)`` by name."""
        if not self._batches:
            return {}
        if len(self._batches) > 1:
            names = self._batches[0]
            joined = {name: torch.cat([batch[name] for batch in self._batches]) for name in names}
            self._batches = [joined]
        return self._batches[0]

    def columns(self) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
        """All that was recorded, as arrays (waits for the device)."""
        return {name: x.cpu().double().numpy() for name, x in self.tensors().items()}


@torch.no_grad()
def solver_records(solution: Solution | None) -> dict[str, Tensor]:
    """What the solver tells of each cloud; nothing of a model that solves nothing.

    Args:
        solution: What the solver found; after the backward pass, if there is one, it tells of the
            adjoint as well.
    """
    if solution is None:
        return {}
    report = solution.adjoint
    linear = None if report is None else report.status
    none = torch.full_like(solution.residual, torch.nan)
    return {
        "solver_steps": solution.steps,
        "residual": solution.residual,
        "solver_failed": solution.failed,
        "spread": solution.measure.spread(relative=True),
        "adjoint_steps": none if report is None or report.steps is None else report.steps,
        "adjoint_failed": none if linear is None else linear != LinearStatus.CONVERGED,
    }


def solver_figures(columns: Columns) -> dict[str, float]:
    """Figures of what `solver_records` recorded; none where it recorded nothing.

    Returns:
        ``solver_steps_mean`` and ``solver_steps_max``: evaluations of the map. ``residual_mean``
        and ``residual_max``: relative residuals, over the clouds where they are finite.
        ``solver_failures``: clouds whose solver did not reach its tolerance. ``spread``: mean
        relative spread of the particles at equilibrium; 0 is a single point.
        ``adjoint_steps_mean``: products in the linear solves of the exact gradient, NaN where there
        was none (no backward pass, or a phantom gradient). ``adjoint_failures``: clouds whose
        linear solve did not reach its tolerance.
    """
    if "solver_steps" not in columns:
        return {}
    steps, residuals, products = (
        columns[name] for name in ("solver_steps", "residual", "adjoint_steps")
    )
    finite = residuals[np.isfinite(residuals)]
    return {
        "solver_steps_mean": mean(steps),
        "solver_steps_max": int(steps.max(initial=0)),
        "residual_mean": mean(finite),
        "residual_max": float(finite.max(initial=0)),
        "solver_failures": int(columns["solver_failed"].sum()),
        "spread": mean(columns["spread"]),
        "adjoint_steps_mean": mean(products[np.isfinite(products)]),
        "adjoint_failures": int(np.nansum(columns["adjoint_failed"])),
    }


def to_json(figures: Figures) -> dict[str, float | None]:
    """The figures by name; one that is not finite is None, since JSON has no NaN."""
    return {name: value if np.isfinite(value) else None for name, value in figures.items()}


BINS = 15


def calibration_error(confidence: Any, right: Any) -> float:
    """How far confidence is from the share of answers that are right; NaN without clouds.

    The expected calibration error of Guo et al. (ICML 2017): the clouds in 15 equal intervals of
    their confidence, the mean of ``|right − confidence|`` over the intervals, each counting by its
    clouds.

    Args:
        confidence: (n,) probability of the answer that is given.
        right: (n,) whether it is right.
    """
    confidence, right = np.asarray(confidence, dtype=float), np.asarray(right, dtype=float)
    if not len(confidence):
        return math.nan
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def confusion_matrix(
    labels: np.ndarray[Any, Any], predicted: np.ndarray[Any, Any], classes: int
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """How often each true class was taken for each class.

    Args:
        labels: (n,) true classes, integers (of any type) from 0 to `classes` - 1.
        predicted: (n,) predicted classes.
        classes: Number of classes.

    Returns:
        (classes, classes): entry (i, j) counts the clouds of class i that were taken for class j.
    """
    pairs = labels.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def mean(values: np.ndarray[Any, Any] | None) -> float:
    """The mean; NaN of nothing."""
    return float("nan") if values is None or not values.size else float(values.mean())
