"""A classifier of clouds in the manner of scikit-learn."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ddeq_data import PointBatch
from ddeq_models.errors import UserError
from ddeq_models.estimator.base import Estimator
from ddeq_models.estimator.clouds import read_clouds
from ddeq_models.estimator.labels import Labels, read_labels, read_odds
from ddeq_models.models.base import Output
from ddeq_models.models.features import answer_and_features
from ddeq_models.runs.calibration import outline


class DDEQClassifier(Estimator):
    """Gives each cloud a class.

    ::

        model = DDEQClassifier(max_minutes=1).fit(clouds, labels)
        model.score(other_clouds, other_labels)

    Args:
        preset: The model, by its name in `ddeq_models.PRESETS`.
        epochs: Passes over the clouds, as many and no more; None: as the recipe of the preset for
            a folder of one's own says, and so for all that is None below.
        steps: Least number of steps; without `epochs` that alone decides.
        max_minutes: The training is shortened to what is expected to take no longer; 0: any.
        batch_size: Clouds in a step.
        learning_rate: At its peak.
        normalise: ``set``, ``z-score``, ``unit-sphere`` or ``none``; see `ddeq_models.DataConfig`.
        validation_fraction: Share of each class that is held out and validated on, at most 0.5. Of
            a class of fewer than three clouds none is held out; where none is held out at all, the
            clouds to train on are validated on.
        class_weight: ``"balanced"``: all classes are drawn equally often; or a dict of how often
            clouds of each class are drawn, relative to the others, 1 where it names none.
        warm_start: Whether a second `fit` goes on from the weights that are there, in the frame
            that was found then. Its clouds must be of the same dimension and of known classes.
        init: Weights to begin with: a run folder, a model folder or a shipped name
            (``mnist-classifier``), whose model and kind of normalisation are taken in place of the
            preset's. The head begins by chance unless the classes are the same.
        freeze: What of these weights stays as it is: ``none``, ``encoder`` or ``body``; see
            `ddeq_models.TrainConfig`.
        options: Any other key of a run's ``config.json``, as ``ddeq train --set`` knows them:
            ``{"model.dim": 32, "data.jitter": 0.1}``. They count over the parameters.
        random_state: Seed of everything random, 0 as for a run; a generator of NumPy gives one,
            and None takes another one each time.
        verbose: Show the progress on standard error.
        device: ``auto``, ``cpu``, ``cuda``, ...

    Attributes:
        classes_: The classes, sorted.
        n_features_in_: Columns of a point.
        n_iter_: Epochs of the last training.
        history_: The records of the last training, as a run's ``metrics.jsonl`` has them.
        model_: The trained torch module.
        calibration_: The temperature of its probabilities, and what `unlike` compares with; None
            of a loaded model that was never calibrated.
        config_: All that decided it, a `ddeq_models.RunConfig`.
    """

    _estimator_type: ClassVar[str] = "classifier"

    def predict_proba(self, clouds: Any, *, weights: Any = None) -> NDArray[np.float64]:
        """The probability of each class (N, classes), in the order of `classes_`.

        At the temperature that was fitted on the clouds held out in training.

        Args:
            clouds: As in `fit`.
            weights: As in `fit`.

        Raises:
            UserError: They are no clouds, of another dimension, or nothing is fitted yet.
        """

        def answer(batch: PointBatch, _: Tensor) -> NDArray[np.float64]:
            output: Output = self.model_(batch.points, batch.weights)
            found = output.logits.double().cpu().softmax(-1).numpy()
            if self.calibration_ is not None:
                found = self.calibration_.probabilities(output.logits).numpy()
            if not np.isfinite(found).all():
                raise UserError(
                    "the model gives a cloud no finite probabilities: it is very unlike those of "
                    "the training"
                )
            return found

        return self._each(clouds, weights, answer)

    def unlike(self, clouds: Any, *, weights: Any = None) -> NDArray[np.bool_]:
        """Whether each cloud (N,) is unlike all that was seen in training.

        Of clouds like those of the training one in twenty is called so; see
        `ddeq_models.runs.calibration`.

        Args:
            clouds: As in `fit`.
            weights: As in `fit`.

        Raises:
            UserError: They are no clouds, of another dimension, or nothing is fitted yet; or
                nothing is known of the training: of a model of an older version, or one without
                a head.
        """
        self._check_fitted()
        known = self.calibration_
        if known is None:
            raise UserError(
                "nothing is known of the clouds of this model's training; fit it again, or "
                "ddeq calibrate its folder"
            )

        def answer(batch: PointBatch, sizes: Tensor) -> NDArray[np.bool_]:
            _, found = answer_and_features(self.model_, batch.points, batch.weights)
            outlines = outline(batch.points, batch.weights, sizes, len(known.place))
            return (known.unlike(found, outlines) > 1).any(1).numpy()

        return self._each(clouds, weights, answer)

    def predict(self, clouds: Any, *, weights: Any = None) -> Labels:
        """The most probable class of each cloud (N,); see `predict_proba`."""
        best = self.predict_proba(clouds, weights=weights).argmax(1)
        labels: Labels = self.classes_[best]
        return labels

    def score(
        self, clouds: Any, y: Any = None, sample_weight: Any = None, *, weights: Any = None
    ) -> float:
        """The share of the clouds whose most probable class is theirs.

        Args:
            clouds: As in `fit`.
            y: Their labels; None: those that a data set or batch holds.
            sample_weight: What each cloud counts.
            weights: As in `fit`.
        """
        predicted = self.predict(clouds, weights=weights)
        labels = read_labels(
            read_clouds(clouds, weights).labels if y is None else y, len(predicted)
        )
        right = predicted.astype(object) == labels.astype(object)  # words may meet numbers
        return float(np.average(right, weights=read_odds(sample_weight, len(predicted))))
