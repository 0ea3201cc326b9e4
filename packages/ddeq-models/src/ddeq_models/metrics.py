"""What is counted: per cloud, never per batch.

Means of batch means weigh the clouds of a short last batch more than the others. Here every cloud
is recorded by itself and every figure is a mean, a maximum or a count over clouds.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from wgf_solver import LinearStatus, Solution


@dataclass(frozen=True)
class Metrics:
    """Figures over a number of clouds.

    Attributes:
        clouds: How many clouds.
        loss: Mean cross-entropy, in nats.
        accuracy: Share of the clouds whose most probable class is theirs.
        mean_class_accuracy: That share within each class that occurs, averaged over the classes.
        solver_steps_mean: Mean number of the solver's evaluations of the map.
        solver_steps_max: Largest number of them.
        residual_mean: Mean relative residual over the clouds whose residual is finite.
        residual_max: Largest one of those.
        solver_failures: Clouds whose solver did not reach its tolerance.
        spread: Mean relative spread of the particles at equilibrium; 0 is a single point.
        adjoint_steps_mean: Mean number of products in the linear solves of the exact gradient;
            NaN where there was none (no backward pass, or a phantom gradient).
        adjoint_failures: Clouds whose linear solve did not reach its tolerance.
    """

    clouds: int
    loss: float
    accuracy: float
    mean_class_accuracy: float
    solver_steps_mean: float
    solver_steps_max: int
    residual_mean: float
    residual_max: float
    solver_failures: int
    spread: float
    adjoint_steps_mean: float
    adjoint_failures: int

    def to_dict(self) -> dict[str, Any]:
        """The figures by name; one that is not finite is None, since JSON has no NaN."""
        return {
            name: value if np.isfinite(value) else None
            for name, value in dataclasses.asdict(self).items()
        }


class Tally:
    """Records clouds batch by batch, and sums them up when asked.

    The records stay on their device until then: adding a batch does not make a GPU wait.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._rows: list[Tensor] = []

    @torch.no_grad()
    def add(self, logits: Tensor, labels: Tensor, solution: Solution) -> None:
        """Record a batch.

        Args:
            logits: (B, classes).
            labels: (B,) integers.
            solution: What the solver found for the B clouds; after the backward pass, if there
                is one, it tells of the adjoint as well.
        """
        report = solution.adjoint
        linear = None if report is None else report.status
        none = torch.full_like(logits[:, 0], torch.nan)
        columns = (
            labels,
            logits.argmax(-1),
            functional.cross_entropy(logits, labels, reduction="none"),
            solution.steps,
            solution.residual,
            solution.failed,
            solution.measure.spread(relative=True),
            none if report is None or report.steps is None else report.steps,
            none if linear is None else linear != LinearStatus.CONVERGED,
        )
        self._rows.append(torch.stack([column.detach().to(logits.dtype) for column in columns]))

    def __len__(self) -> int:
        return sum(rows.shape[1] for rows in self._rows)

    def finite(self) -> bool:
        """Whether every loss so far is finite (waits for the device)."""
        return bool(np.isfinite(self._columns()[2]).all())

    def confusion(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Counts (classes, classes): a row for each true class, a column for each predicted."""
        return confusion_matrix(self._columns()[0], self._columns()[1], self.classes)

    def metrics(self) -> Metrics:
        """The figures over all clouds recorded; with none, counts are 0 and means NaN."""
        (
            labels, predicted, losses, steps, residuals, failed, spread, products, lost,
        ) = self._columns()  # fmt: skip
        counts = confusion_matrix(labels, predicted, self.classes)
        of_class = counts.sum(1)
        finite = residuals[np.isfinite(residuals)]
        return Metrics(
            clouds=labels.size,
            loss=_mean(losses),
            accuracy=_mean(labels == predicted),
            mean_class_accuracy=_mean(counts.diagonal()[of_class > 0] / of_class[of_class > 0]),
            solver_steps_mean=_mean(steps),
            solver_steps_max=int(steps.max(initial=0)),
            residual_mean=_mean(finite),
            residual_max=float(finite.max(initial=0)),
            solver_failures=int(failed.sum()),
            spread=_mean(spread),
            adjoint_steps_mean=_mean(products[np.isfinite(products)]),
            adjoint_failures=int(np.nansum(lost)),
        )

    def _columns(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(9, clouds): what `add` recorded, in its order."""
        if not self._rows:
            return np.zeros((9, 0))
        self._rows = [torch.cat(self._rows, dim=1)]
        return self._rows[0].cpu().numpy().astype(np.float64)


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


def _mean(values: np.ndarray[Any, Any]) -> float:
    return float(values.mean()) if values.size else float("nan")
