"""A regressor of clouds in the manner of scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ddeq_data import PointBatch
from ddeq_models.errors import UserError
from ddeq_models.estimator.base import Estimator
from ddeq_models.estimator.clouds import Given, read_clouds
from ddeq_models.estimator.labels import Labels, read_odds
from ddeq_models.estimator.targets import Targets, read_numbers, targets_of_numbers
from ddeq_models.tasks.regression import RegressionConfig


class DDEQRegressor(Estimator):
    """Says of each cloud a number, or several.

    ::

        model = DDEQRegressor(max_minutes=1).fit(clouds, volumes)
        model.score(other_clouds, other_volumes)

    In `fit` y is (N,) or (N, k), in any units; a `ddeq_data.CloudDataset` may hold it.

    Args:
        preset: The model, by its name in `ddeq_models.PRESETS`.
        loss: ``mse``, ``mae`` or ``huber``, of the standardised numbers; see `RegressionConfig`.
        epochs: As of `DDEQClassifier`, and so are all that follow.
        steps: Least number of steps.
        max_minutes: That the training may take.
        batch_size: Clouds in a step.
        learning_rate: At its peak.
        normalise: How the clouds are seen.
        validation_fraction: Share of the clouds that is held out and validated on, at most 0.5.
        warm_start: Whether a second `fit` goes on.
        init: Weights to begin with.
        freeze: What of these weights stays as it is.
        options: Any other key of a run's ``config.json``.
        random_state: Seed of everything random.
        verbose: Show the progress on standard error.
        device: ``auto``, ``cpu``, ``cuda``, ...

    Attributes:
        target_names_: What the numbers are called: by the columns of a table of pandas, or counted.
        n_features_in_: Columns of a point.
        n_iter_: Epochs of the last training.
        history_: The records of the last training, as a run's ``metrics.jsonl`` has them.
        model_: The trained torch module, which gives standardised numbers.
        config_: All that decided it, a `ddeq_models.RunConfig`.
    """

    _estimator_type: ClassVar[str] = "regressor"
    task: ClassVar[str] = "regression"
    target_names_: tuple[str, ...]

    def __init__(
        self,
        preset: str = "ddeq-regressor",
        *,
        loss: str = "mse",
        epochs: int | None = None,
        steps: int | None = None,
        max_minutes: float = 0.0,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        normalise: str | None = None,
        validation_fraction: float = 0.15,
        warm_start: bool = False,
        init: str | Path | None = None,
        freeze: str = "none",
        options: dict[str, Any] | None = None,
        random_state: Any = 0,
        verbose: bool = False,
        device: str = "auto",
    ) -> None:
        super().__init__(
            preset,
            epochs=epochs,
            steps=steps,
            max_minutes=max_minutes,
            batch_size=batch_size,
            learning_rate=learning_rate,
            normalise=normalise,
            validation_fraction=validation_fraction,
            warm_start=warm_start,
            init=init,
            freeze=freeze,
            options=options,
            random_state=random_state,
            verbose=verbose,
            device=device,
        )
        del self.class_weight  # numbers have no classes
        self.loss = loss

    def _read_targets(self, given: Given, y: Any, sample_weight: Any, warm: bool) -> Targets:
        known = len(self.target_names_) if warm else None
        return targets_of_numbers(y, len(given.clouds), sample_weight, known)

    def _learned(self, told: Targets) -> None:
        self.target_names_ = tuple(map(str, told.kinds))

    def _kinds(self) -> Labels:
        return np.array(self.target_names_, dtype=object)

    def predict(self, clouds: Any, *, weights: Any = None) -> NDArray[np.float64]:
        """The numbers of each cloud, (N, k), or (N,) where it is one, in the units of y.

        Args:
            clouds: As in `fit`.
            weights: As in `fit`.

        Raises:
            UserError: They are no clouds, of another dimension, or nothing is fitted yet.
        """

        def answer(batch: PointBatch, _: Tensor) -> NDArray[np.float64]:
            said: Tensor = self.model_(batch.points, batch.weights).values
            if not bool(said.isfinite().all()):
                raise UserError(
                    "the model says no finite number of a cloud: it is very unlike those of the "
                    "training"
                )
            return said.double().cpu().numpy()

        standard = self._each(clouds, weights, answer)
        task = self.config_.task
        assert isinstance(task, RegressionConfig)
        numbers: NDArray[np.float64] = standard * np.array(task.unit) + np.array(task.centre)
        return numbers[:, 0] if numbers.shape[1] == 1 else numbers

    def score(
        self, clouds: Any, y: Any = None, sample_weight: Any = None, *, weights: Any = None
    ) -> float:
        """The coefficient of determination R2, of several numbers the mean of theirs.

        ``1 - sum w (y - f)^2 / sum w (y - mean y)^2``; where y is constant 1 if f is right and else
        0, as in ``sklearn.metrics.r2_score``.

        Args:
            clouds: As in `fit`.
            y: Their numbers; None: those that a data set or batch holds.
            sample_weight: What each cloud counts.
            weights: As in `fit`.
        """
        said = self.predict(clouds, weights=weights)
        said = said.reshape(len(said), -1)
        truth = read_numbers(read_clouds(clouds, weights).labels if y is None else y, len(said))
        if truth.shape != said.shape:
            raise UserError(
                f"the model says {said.shape[1]} numbers of a cloud, and y has {truth.shape[1]}"
            )
        each = read_odds(sample_weight, len(said))
        each = np.ones(len(said)) if each is None else each
        within = each @ np.square(truth - said)
        total = each @ np.square(truth - np.average(truth, axis=0, weights=each))
        known = np.where(total > 0, 1 - within / np.where(total > 0, total, 1), within == 0)
        return float(known.mean())
