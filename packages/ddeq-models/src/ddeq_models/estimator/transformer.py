"""Clouds as rows of numbers: what a trained model reads its class from."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ddeq_data import PointBatch
from ddeq_models.estimator.base import Estimator
from ddeq_models.estimator.classifier import DDEQClassifier
from ddeq_models.estimator.folder import Kept
from ddeq_models.models.features import answer_and_features, check_features


class DDEQTransformer(Estimator):
    """Gives each cloud the features of its equilibrium, pooled over the particles.

    Of a model that solves nothing, those that its head is given. `ddeq_models.embed` gives the same
    of files, by a model folder.

    They are trained to tell the classes apart, by labels; a nearest neighbour, a cluster or a
    picture takes them from there. Parameters and attributes are those of `DDEQClassifier`.
    """

    _estimator_type: ClassVar[str] = "transformer"

    @classmethod
    def of(cls, classifier: DDEQClassifier) -> Self:
        """The features by which a fitted classifier decides; it shares the model with it.

        Raises:
            UserError: It is not fitted, or its model has no features.
        """
        classifier._check_fitted()
        made = cls(**classifier.get_params())
        kept = Kept(
            classifier.config_,
            classifier.model_,
            classifier.classes_,
            {},
            classifier.calibration_,
        )
        made._take(kept, classifier.history_)
        check_features(made.model_, made.config_.model.kind)
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
        check_features(self.model_, self.config_.model.kind)

        def answer(batch: PointBatch, _: Tensor) -> NDArray[np.float32]:
            _, features = answer_and_features(self.model_, batch.points, batch.weights)
            return features.float().cpu().numpy()

        return self._each(clouds, weights, answer)

    def fit_transform(
        self, clouds: Any, y: Any = None, sample_weight: Any = None, *, weights: Any = None
    ) -> NDArray[np.float32]:
        """`fit`, then `transform` of the same clouds."""
        return self.fit(clouds, y, sample_weight, weights=weights).transform(
            clouds, weights=weights
        )
