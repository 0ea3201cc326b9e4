"""What the estimators share: their parameters, their training, and the way to a folder and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ddeq_data import PackedClouds, PointBatch
from ddeq_models._internal.device import choose_device
from ddeq_models.config import RunConfig
from ddeq_models.data import view
from ddeq_models.errors import UserError
from ddeq_models.estimator.clouds import Given, read_clouds
from ddeq_models.estimator.fitting import Trained, configuration, train_in_memory
from ddeq_models.estimator.folder import Kept, read_folder, write_folder
from ddeq_models.estimator.labels import Labels, of_sklearn
from ddeq_models.estimator.parameters import Parameters, parameters_of
from ddeq_models.estimator.targets import Targets, read_classes
from ddeq_models.models.base import build_model
from ddeq_models.runs.calibration import Calibration
from ddeq_models.using.clouds import alike

__all__ = ["Estimator"]

_BATCH = 64


class Estimator(Parameters):
    """A model with `fit`; its heirs say what it gives, `DDEQClassifier` what its parameters are."""

    task: ClassVar[str] = "classification"
    classes_: Labels
    n_features_in_: int
    n_iter_: int
    history_: tuple[Any, ...]
    calibration_: Calibration | None
    model_: nn.Module
    config_: RunConfig

    def __init__(
        self,
        preset: str = "ddeq",
        *,
        epochs: int | None = None,
        steps: int | None = None,
        max_minutes: float = 0.0,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        normalise: str | None = None,
        validation_fraction: float = 0.15,
        class_weight: Any = None,
        warm_start: bool = False,
        init: str | Path | None = None,
        freeze: str = "none",
        options: dict[str, Any] | None = None,
        random_state: Any = 0,
        verbose: bool = False,
        device: str = "auto",
    ) -> None:
        self.preset = preset
        self.epochs = epochs
        self.steps = steps
        self.max_minutes = max_minutes
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.normalise = normalise
        self.validation_fraction = validation_fraction
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.init = init
        self.freeze = freeze
        self.options = options
        self.random_state = random_state
        self.verbose = verbose
        self.device = device

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a model."""
        return hasattr(self, "model_")

    def fit(
        self, clouds: Any, y: Any = None, sample_weight: Any = None, *, weights: Any = None
    ) -> Self:
        """Train the model.

        Args:
            clouds: A list of arrays (n_i, d) of any sizes; a list of pairs (points, weights); an
                array (N, n, d), padded or not; tensors in place of any array; an array (N, d): N
                clouds of one point each; a `ddeq_data.CloudDataset`, `PackedClouds` or
                `PointBatch`; a batch of PyTorch Geometric, of which the positions are taken.
            y: A label for each cloud: numbers, words or truth values. None: those that a data set
                or batch holds.
            sample_weight: How often each cloud is *drawn*, relative to the others: twice the
                weight is a cloud that is there twice. An epoch has as many draws as there are
                clouds; with equal weights each comes once. A cloud of weight 0 is left out.
            weights: Of the points, (N, n) beside an array (N, n, d); points of weight 0 are
                padding, whatever they hold.

        Returns:
            The estimator itself.

        Raises:
            UserError: Something given is of no use; the estimator is as it was.
            Diverged: A loss is not finite.
        """
        given = read_clouds(clouds, weights)
        config = configuration(self.get_params(), self.task)
        before = self._before(given)
        told = self._read_targets(
            given, given.labels if y is None else y, sample_weight, before is not None
        )
        each = told.odds
        chosen = torch.arange(len(given.clouds))
        if each is not None and not each.all():
            chosen = torch.from_numpy(np.flatnonzero(each))
            each = each[each > 0]
        if each is not None and not np.ptp(each):
            each = None  # all alike: each cloud once, as without
        packed = replace(given.clouds, labels=told.labels, targets=told.numbers).select(chosen)
        trained = train_in_memory(
            config,
            packed,
            each,
            classes=told.names,
            share=self.validation_fraction,
            device=self.device,
            verbose=bool(self.verbose),
            before=before,
        )
        self._learned(told)
        self.n_features_in_ = packed.dim
        self.model_, self.config_ = trained.model, trained.config
        self.history_, self.calibration_ = trained.records, trained.calibration
        self.n_iter_ = int(trained.records[-1]["epoch"])
        return self

    def _before(self, given: Given) -> Trained | None:
        """What a warm start goes on from."""
        if not self.warm_start or not self.__sklearn_is_fitted__():
            return None
        self._check_columns(given.clouds)
        return Trained(self.config_, self.model_, self.history_)

    def _read_targets(self, given: Given, y: Any, sample_weight: Any, warm: bool) -> Targets:
        """What is to be learned of the clouds: their classes."""
        known = self.classes_ if warm else None
        return read_classes(y, len(given.clouds), sample_weight, self.class_weight, known)

    def _learned(self, told: Targets) -> None:
        """Keep what the targets say of themselves."""
        self.classes_ = told.kinds

    def _kinds(self) -> Labels:
        """The classes."""
        return self.classes_

    def _check_columns(self, clouds: PackedClouds) -> None:
        if clouds.dim != self.n_features_in_:
            raise UserError(
                f"X has {clouds.dim} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input: the columns of a point"
            )

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            kind = of_sklearn("NotFittedError", UserError)
            raise kind(f"this {type(self).__name__} is not fitted; call fit before")

    def _batches(
        self, clouds: Any, weights: Any
    ) -> Iterator[tuple[list[int], PointBatch, torch.Tensor]]:
        """Clouds as the model sees them, on its device, with their numbers and sizes."""
        self._check_fitted()
        packed = read_clouds(clouds, weights).clouds
        self._check_columns(packed)
        place, seen = choose_device(self.device), view(self.config_.data)
        self.model_.to(place)
        for chosen in alike(packed.sizes.tolist(), _BATCH):
            batch = packed.gather(torch.tensor(chosen))
            yield chosen, batch.map(seen).to(place), (batch.weights > 0).sum(-1)

    def _each(
        self,
        clouds: Any,
        weights: Any,
        answer: Callable[[PointBatch, torch.Tensor], NDArray[Any]],
    ) -> NDArray[Any]:
        """The answers ``(N, ...)`` to clouds in their order, from those to batches and sizes."""
        rows: dict[int, NDArray[Any]] = {}
        with torch.no_grad():
            for chosen, batch, sizes in self._batches(clouds, weights):
                rows |= dict(zip(chosen, answer(batch, sizes), strict=True))
        return np.stack([rows[i] for i in range(len(rows))])

    def save(self, folder: str | Path) -> Path:
        """Write a model folder, which every command of ``ddeq`` takes too.

        With it go the parameters, but for a generator as `random_state` and weights of classes that
        are no words.

        Args:
            folder: It must be empty or not exist.

        Returns:
            The folder.

        Raises:
            UserError: It cannot be written, or there is no model yet.
        """
        self._check_fitted()
        kept = Kept(self.config_, self.model_, self._kinds(), self.get_params(), self.calibration_)
        return write_folder(folder, kept)

    @classmethod
    def load(cls, source: str | Path, *, device: str = "auto") -> Self:
        """A fitted estimator.

        Args:
            source: A folder that `save` wrote, a run folder, a model folder, or the name of a model
                that comes with the package (``mnist-classifier``). Labels are of their type again
                if `save` wrote it, and words otherwise.
            device: See `DDEQClassifier`.

        Raises:
            UserError: It is none of these, or a model for another task.
        """
        kept = read_folder(source, choose_device(device), cls.task)
        known = parameters_of(cls)
        if unknown := [name for name in kept.parameters if name not in known]:
            raise UserError(f"{source}: {cls.__name__} has no parameter {unknown[0]}")
        made = cls(**kept.parameters)
        made.device = device
        made._take(kept, ())
        return made

    def _take(self, kept: Kept, history: tuple[Any, ...]) -> None:
        """Be fitted as another one is."""
        self.model_, self.config_ = kept.model, kept.config
        self.calibration_ = kept.calibration
        self._learned(Targets((), torch.zeros(0, dtype=torch.int64), kept.classes))
        self.n_features_in_, self.history_ = kept.config.model.point_dim, history
        self.n_iter_ = int(history[-1]["epoch"]) if history else kept.config.train.epochs

    def __getstate__(self) -> dict[str, Any]:
        """Weights as arrays of NumPy: a pickle needs no GPU where it was made with one."""
        state = dict(self.__dict__)
        if "model_" in state:
            model = state.pop("model_")
            weights = {name: x.detach().cpu().numpy() for name, x in model.state_dict().items()}
            state["_pickled"] = (model.config, weights)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The inverse of `__getstate__`."""
        state = dict(state)
        if "_pickled" in state:
            config, weights = state.pop("_pickled")
            with torch.random.fork_rng([]):  # the weights it begins with are replaced
                model = build_model(config)
            model.load_state_dict({name: torch.from_numpy(x) for name, x in weights.items()})
            state["model_"] = model.eval()
        self.__dict__.update(state)
