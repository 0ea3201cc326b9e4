"""What decides a run, as frozen values.

A field that is added later must default to what was done before it existed, so that older run
folders, which lack it, keep their meaning.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ddeq_models.classification import ClassificationConfig
from ddeq_models.decoding import decode
from ddeq_models.errors import UserError
from ddeq_models.model import ModelConfig
from ddeq_models.task import TaskConfig

DataName = Literal["digits", "mnist", "fashion-mnist", "modelnet10", "modelnet40", "folder"]
Release = Literal["meshes", "hdf5", "resampled"]
Normalisation = Literal["set", "z-score", "unit-sphere", "none"]


@dataclass(frozen=True)
class DataConfig:
    """Which clouds, how they are normalised, and how they vary during training.

    Attributes:
        name: The data set.
        root: Folder of its files; None where the data set comes with the package.
        weighted: Whether a point of `mnist` or `fashion-mnist` weighs as much as its pixel's
            value, and not all points of a cloud alike. Points of `digits` always do.
        normalise: What is done to every cloud, in training and in prediction alike: ``set`` (one
            centre and one scale for all of them, so that place, size and proportions are kept),
            ``z-score`` (zero mean and unit variance along each axis), ``unit-sphere`` (zero mean,
            largest norm 1) or ``none``.
        centre: The centre of ``set``, found in the training clouds when the training begins, and
        unit: its scale; () and 0 before. See `ddeq_data.fit_frame`.
        rotate: Largest random rotation to either side, in degrees. This and all that follow apply
            to training clouds only, after normalisation; 0 turns each of them off.
        scale: Largest random change of size, relative: the factor is drawn from
            [1 - scale, 1 + scale].
        stretch: The same, but for each axis by itself.
        shear: Largest random shear.
        shift: Largest random shift along each axis.
        jitter: Standard deviation of the noise added to each point.
        drop: Probability of a point to be dropped.
        release: Which files of `modelnet10` and `modelnet40` are read; see
            `ddeq_data.ModelNet40`.
        sampling: How a mesh becomes a cloud: by ``surface``, 1,024 points, or by its ``vertices``
            as in the DDEQ paper, 500 to 800 of them. Of a folder ``vertices`` takes every file as
            it is, and that is also what ``default`` does there.
        points: Number of points of each cloud, 0 for all that there are: other ones by chance in
            each step of the training, the farthest from each other wherever something is measured
            or predicted.
        columns: Which columns of the files of a `folder` are coordinates, by name or by number
            from 0; see `ddeq_data.read_cloud`. Empty: x, y and z by their names, or what the
            format says.
        features: Further columns of these files, which the points keep behind their coordinates.
    """

    name: DataName = "digits"
    root: str | None = None
    weighted: bool = False
    normalise: Normalisation = "z-score"
    centre: tuple[float, ...] = ()
    unit: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    stretch: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    jitter: float = 0.0
    drop: float = 0.0
    release: Release = "meshes"
    sampling: Literal["default", "surface", "vertices"] = "default"
    points: int = 0
    columns: tuple[str, ...] = ()
    features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_columns(self.columns, self.features)
        if self.name != "folder" and (self.columns or self.features):
            raise UserError(
                f"{self.name} has columns of its own; leave columns and features out, or take the "
                "data set folder"
            )
        _require(self, "centre", lambda x: all(map(math.isfinite, x)), "finite")
        _require(self, "unit", lambda x: 0 <= x < math.inf, "at least 0")
        if bool(self.centre) != (self.unit > 0):
            raise UserError("centre and unit are of one frame: give both, or leave both out")
        _require(self, "points", lambda x: x >= 0, "at least 0")
        _require(self, "points", lambda x: x <= 2**20, "at most 2^20")
        _require(self, "rotate", lambda x: 0 <= x <= 180, "between 0 and 180")
        for name in ("shear", "shift", "jitter"):
            _require(self, name, lambda x: 0 <= x < math.inf, "at least 0")
        for name in ("scale", "stretch", "drop"):
            _require(self, name, lambda x: 0 <= x < 1, "at least 0 and below 1")


@dataclass(frozen=True)
class SolverPhase:
    """Settings of the solver from some epoch on; those that are None stay what they were.

    Attributes:
        epoch: The first epoch they hold for; the first of all is 1.
        step: The integrator's step.
        max_steps: Budget of evaluations.
        rtol: Relative tolerance.
    """

    epoch: int
    step: float | None = None
    max_steps: int | None = None
    rtol: float | None = None

    def __post_init__(self) -> None:
        _require(self, "epoch", lambda x: x >= 1, "at least 1")


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained.

    Attributes:
        epochs: Passes over the training clouds.
        steps: Least number of steps: a set of few clouds is passed through more often than `epochs`
            until that is reached. 0 keeps to the passes.
        max_minutes: The training is shortened, before it begins, to what is expected to take no
            longer than this, and ends there in any case; 0 sets no limit.
        batch_size: Clouds in one step.
        learning_rate: AdamW's step at its peak: it rises linearly during the warm-up and falls
            as `schedule` says.
        warmup: Length of the warm-up as a share of all steps.
        final_learning_rate: The learning rate at the end of a cosine as a share of the peak.
        weight_decay: AdamW's decay, on the weights of linear maps alone: neither biases and
            gains nor the particles' marks and initial places are pulled to zero.
        betas: AdamW's two decay rates of the running moments.
        clip_norm: Largest Euclidean norm of the whole gradient; 0 turns clipping off.
        label_smoothing: Share of the target that is spread evenly over all classes.
        ema: Decay per step of the moving average of the weights, which is then what is validated,
            tested and saved; 0 keeps the weights themselves.
        keep: The epoch whose weights are kept: the ``last``, or the ``best`` on the validation
            clouds (by accuracy, then by loss).
        seed: Seed of everything random in the run: the model's first weights, the batches, the
            augmentation, dropout.
        schedule: How the learning rate falls: along half a ``cosine`` to `final_learning_rate`
            times the peak, or in a ``step`` by `decay_factor` every `decay_epochs` epochs.
        decay_epochs: Epochs between two steps of the learning rate.
        decay_factor: What it is multiplied by.
        precision: ``float32``, or ``bf16``: the forward pass in automatic mixed precision.
            Weights, the solver's states and all measuring are float32 either way.
        patience: Epochs without a better validation after which the training ends; 0 goes through
            all epochs.
        solver_phases: How the solver's settings change in the course of the training. A trained
            model has those of the epoch that is kept.
    """

    epochs: int = 60
    steps: int = 0
    max_minutes: float = 0.0
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup: float = 0.05
    final_learning_rate: float = 0.01
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.99)
    clip_norm: float = 1.0
    label_smoothing: float = 0.0
    ema: float = 0.0
    keep: Literal["last", "best"] = "last"
    seed: int = 0
    schedule: Literal["cosine", "step"] = "cosine"
    decay_epochs: int = 8
    decay_factor: float = 0.1
    precision: Literal["float32", "bf16"] = "float32"
    patience: int = 0
    solver_phases: tuple[SolverPhase, ...] = ()

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "decay_epochs"):
            _require(self, name, lambda x: x >= 1, "at least 1")
            _require(self, name, lambda x: x < 2**31, "below 2^31")
        _require(self, "steps", lambda x: 0 <= x < 2**31, "at least 0 and below 2^31")
        _require(self, "max_minutes", lambda x: 0 <= x < math.inf, "at least 0")
        _require(self, "learning_rate", lambda x: 0 < x < math.inf, "above 0")
        for name in ("weight_decay", "clip_norm"):
            _require(self, name, lambda x: 0 <= x < math.inf, "at least 0")
        for name in ("warmup", "final_learning_rate"):
            _require(self, name, lambda x: 0 <= x <= 1, "between 0 and 1")
        for name in ("label_smoothing", "ema"):
            _require(self, name, lambda x: 0 <= x < 1, "at least 0 and below 1")
        _require(self, "betas", lambda x: all(0 <= b < 1 for b in x), "at least 0 and below 1")
        for name in ("seed", "patience"):
            _require(self, name, lambda x: x >= 0, "at least 0")
            _require(self, name, lambda x: x < 2**63, "below 2^63")
        _require(self, "decay_factor", lambda x: 0 < x <= 1, "above 0 and at most 1")


def passes(train: TrainConfig, clouds: int) -> TrainConfig:
    """The training with as many epochs as its least number of steps asks for.

    Args:
        train: The training.
        clouds: Clouds to train on.
    """
    a_pass = max(1, -(-clouds // train.batch_size))
    return dataclasses.replace(train, epochs=max(train.epochs, -(-train.steps // a_pass)))


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run: what its ``config.json`` holds.

    Attributes:
        preset: Name of the preset that `model` was taken from.
        classes: Names of the classes of the data, for a classifier in the order of its logits.
        data: The clouds.
        model: The model and its solver, in full: later changes of a preset do not change a run.
        train: The training.
        version: Version of ddeq-models that wrote the run.
        task: What the model is trained for.
    """

    preset: str
    classes: tuple[str, ...]
    data: DataConfig
    model: ModelConfig
    train: TrainConfig = field(default_factory=TrainConfig)
    version: str = ""
    task: TaskConfig = field(default_factory=ClassificationConfig)

    def model_at(self, epoch: int) -> ModelConfig:
        """The model with the solver's settings of an epoch.

        Raises:
            UserError: The model has no such settings, or none of this value.
        """
        changes: dict[str, Any] = {}
        for phase in sorted(self.train.solver_phases, key=lambda phase: phase.epoch):
            if phase.epoch <= epoch:
                given = dataclasses.asdict(phase)
                del given["epoch"]
                changes |= {name: value for name, value in given.items() if value is not None}
        for name in changes:
            if not hasattr(self.model, name):
                raise UserError(
                    f"solver_phases change {name}, which the model {self.model.kind} does not "
                    "have; leave them out"
                )
        try:
            return dataclasses.replace(self.model, **changes)
        except ValueError as error:  # a model's config checks its own values
            raise UserError(f"solver_phases: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, numbers and strings, ready for JSON."""
        values = dataclasses.asdict(self)
        for name in ("model", "task"):
            values[name] = {"kind": getattr(self, name).kind, **values[name]}
        return values

    @classmethod
    def from_dict(cls, values: object) -> "RunConfig":
        """The inverse of `to_dict`.

        Raises:
            UserError: A key is unknown or missing, or a value is not of its field's type.
        """
        return decode(cls, values)


def differences(one: RunConfig, other: RunConfig) -> list[str]:
    """What differs between two runs, ``train.epochs 3 and not 5`` say; versions may."""
    first, second = (_flat(dataclasses.replace(run, version="").to_dict()) for run in (one, other))
    return [
        f"{name} {first.get(name)!r} and not {second.get(name)!r}"
        for name in dict.fromkeys([*first, *second])
        if first.get(name) != second.get(name)
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        nested = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{name}.") if nested else {prefix + name: value}
    return flat


def check_columns(columns: tuple[str, ...], features: tuple[str, ...]) -> None:
    """See that columns of files are told by names, each once.

    Raises:
        UserError: One is empty, or comes twice.
    """
    every = [*columns, *features]
    if "" in every:
        raise UserError(f"columns and features must be names or numbers of columns, got {every}")
    if twice := [name for name in every if every.count(name) > 1]:
        raise UserError(f"columns and features must name each column once, got {twice[0]!r} twice")


def _require(config: object, name: str, holds: Any, range_: str) -> None:
    value = getattr(config, name)
    if not holds(value):
        raise UserError(f"{name.replace('_', ' ')} must be {range_}, got {value!r}")
