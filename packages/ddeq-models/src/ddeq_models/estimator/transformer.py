"""Clouds as rows of numbers: what a trained model reads its class from."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from ddeq_models.errors import UserError
from ddeq_models.estimator.base import Estimator
from ddeq_models.estimator.classifier import DDEQClassifier
from ddeq_models.estimator.folder import Kept


class DDEQTransformer(Estimator):
    """Gives each cloud the features of its equilibrium, pooled over the particles.

    They are trained to tell the classes apart, by labels; a nearest neighbour, a cluster or a
    picture takes them from there. Parameters and attributes are those of `DDEQClassifier`.
    """

    _estimator_type: ClassVar[str] = "transformer"

    @classmethod
    def of(cls, classifier: DDEQClassifier) -> Self:
        """The features by which a fitted classifier decides; it shares the model with it.

        Raises:
            UserError: It is not fitted, or its model has no equilibrium.
        """
        classifier._check_fitted()
        made = cls(**classifier.get_params())
        kept = Kept(classifier.config_, classifier.model_, classifier.classes_, {})
        made._take(kept, classifier.history_)
        made._check_pools()
        return made

    def transform(self, clouds: Any, *, weights: Any = None) -> NDArray[np.float32]:
        """The features (N, features) of clouds.

        Args:
            clouds: As in `fit`.
            weights: As in `fit`.

        Raises:
            UserError: They are no clouds, of another dimension, or nothing is fitted yet.
        """
        self._check_fitted()
        self._check_pools()
        model: Any = self.model_
        rows: dict[int, NDArray[np.float32]] = {}
        with torch.no_grad():
            for chosen, batch in self._batches(clouds, weights):
                solution = model.equilibrium(model.encode(batch.points, batch.weights))
                found = model.pool(solution.measure.points).float().cpu().numpy()
                rows |= dict(zip(chosen, found, strict=True))
        return np.stack([rows[i] for i in range(len(rows))])

    def fit_transform(
        self, clouds: Any, y: Any = None, sample_weight: Any = None, *, weights: Any = None
    ) -> NDArray[np.float32]:
        """`fit`, then `transform` of the same clouds."""
        return self.fit(clouds, y, sample_weight, weights=weights).transform(
            clouds, weights=weights
        )

    def _check_pools(self) -> None:
        if not hasattr(self.model_, "pool"):
            raise UserError(
                f"the model {self.config_.model.kind} has no equilibrium whose features could be "
                "given; take the preset ddeq"
            )
