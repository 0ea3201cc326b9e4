"""How a model is trained."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from ddeq_models.config.bounds import check_words, require
from ddeq_models.config.options import option
from ddeq_models.errors import UserError


@dataclass(frozen=True)
class SolverPhase:
    """Settings of the solver from some epoch on; those that are None stay what they were.

    Attributes:
        epoch: The first epoch they hold for; the first of all is 1.
        step: The integrator's step.
        max_steps: Budget of evaluations, in place of the training's own as well.
        rtol: Relative tolerance.
    """

    epoch: int
    step: float | None = None
    max_steps: int | None = None
    rtol: float | None = None

    def __post_init__(self) -> None:
        require(self, "epoch", lambda x: x >= 1, "at least 1")


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
        precision: ``float32``, or ``bf16``: encoder and head in automatic mixed precision.
            Weights, the solve and all measuring are float32 either way.
        patience: Epochs without a better validation after which the training ends; 0 goes through
            all epochs.
        solver_phases: How the solver's settings change in the course of the training. A trained
            model has those of the epoch that is kept.
        init: The weights to begin with: a run folder, a model folder or the name of a shipped
            model, of the same architecture; empty: by chance. A head of other classes begins by
            chance either way. See `ddeq_models.runs.start`.
        freeze: What of these weights stays as it is: ``none``; the ``encoder``, all that looks at
            the points; or the ``body``, all but the head. What is found after the training, the
            regression of `Direct`, is found anew.
        accumulate: How many parts the clouds of a step are worked on in, one after another: it
            takes the memory of a part. The gradient is that of all of them, up to the order of
            additions; batch norms use the means of a part.
    """

    epochs: int = option(60, "passes over the training clouds", common=True)
    steps: int = option(0, "pass on until it is so many steps, at least")
    max_minutes: float = option(0.0, "that the training may take, 0: any", common=True)
    batch_size: int = option(64, "clouds in a step, of all processes", common=True)
    learning_rate: float = option(1e-3, "at its peak", common=True)
    warmup: float = 0.05
    final_learning_rate: float = 0.01
    weight_decay: float = option(0.05, "of the weights of linear maps")
    betas: tuple[float, float] = (0.9, 0.99)
    clip_norm: float = 1.0
    label_smoothing: float = option(0.0, "share of the target spread over all classes")
    ema: float = option(0.0, "decay of the averaged weights")
    keep: Literal["last", "best"] = option("last", "epoch to keep: {choices} on validation")
    seed: int = option(0, "of everything random", common=True)
    schedule: Literal["cosine", "step"] = option("cosine", "how the learning rate falls: {choices}")
    decay_epochs: int = 8
    decay_factor: float = 0.1
    precision: Literal["float32", "bf16"] = option("float32", "of the encoder: {choices}")
    patience: int = option(0, "end after so many epochs without a better validation, 0: never")
    solver_phases: tuple[SolverPhase, ...] = ()
    init: str = option("", "weights to begin with: a run, or as for predict", common=True)
    freeze: Literal["none", "encoder", "body"] = option("none", "of --init: {choices}")
    accumulate: int = option(1, "parts that a step is worked on in, for less memory")

    def __post_init__(self) -> None:
        check_words(self)
        for name in ("epochs", "batch_size", "decay_epochs", "accumulate"):
            require(self, name, lambda x: x >= 1, "at least 1")
            require(self, name, lambda x: x < 2**31, "below 2^31")
        require(self, "steps", lambda x: 0 <= x < 2**31, "at least 0 and below 2^31")
        require(self, "max_minutes", lambda x: 0 <= x < math.inf, "at least 0")
        require(self, "learning_rate", lambda x: 0 < x < math.inf, "above 0")
        for name in ("weight_decay", "clip_norm"):
            require(self, name, lambda x: 0 <= x < math.inf, "at least 0")
        for name in ("warmup", "final_learning_rate"):
            require(self, name, lambda x: 0 <= x <= 1, "between 0 and 1")
        for name in ("label_smoothing", "ema"):
            require(self, name, lambda x: 0 <= x < 1, "at least 0 and below 1")
        require(self, "betas", lambda x: all(0 <= b < 1 for b in x), "at least 0 and below 1")
        for name in ("seed", "patience"):
            require(self, name, lambda x: x >= 0, "at least 0")
            require(self, name, lambda x: x < 2**63, "below 2^63")
        require(self, "decay_factor", lambda x: 0 < x <= 1, "above 0 and at most 1")
        if self.freeze != "none" and not self.init:
            raise UserError(f"freeze is {self.freeze}: give init, the weights that are to stay")


def passes(train: TrainConfig, clouds: int) -> TrainConfig:
    """The training with as many epochs as its least number of steps asks for.

    Args:
        train: The training.
        clouds: Clouds to train on.
    """
    a_pass = max(1, -(-clouds // train.batch_size))
    return dataclasses.replace(train, epochs=max(train.epochs, -(-train.steps // a_pass)))
