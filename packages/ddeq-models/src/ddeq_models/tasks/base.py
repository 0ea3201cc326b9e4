"""What a model is trained for: the interface between the training engine and a task.

The engine (`ddeq_models.training.loop.fit`) knows batches, optimisers and files; a `Task` knows
what the clouds mean. One training step of the engine is::

    inputs = task.prepare(batch, generator)       # normalised and augmented clouds -> tensors
    answer = task.answer(model, inputs)
    task.loss(answer, inputs).backward()
    tally.add(task.records(answer, inputs))       # one number a cloud, by name

and `task.figures` makes means, maxima and counts of what was recorded. A task must say what the
model is given, `Task.prepare`, and what its answer costs, `Task.losses`; all else follows, unless
it says more. How a task, a model or a data set is written in a file of one's own is shown in
``docs/extending.md``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from ddeq_data import CloudDataset, PointBatch, Transform
from ddeq_models.config import RunConfig, TaskConfig
from ddeq_models.errors import UserError
from ddeq_models.registry import TASKS
from ddeq_models.tasks.tally import (
    SOLVER_FIGURES,
    Columns,
    Figures,
    Records,
    mean,
    solver_figures,
    solver_records,
)

__all__ = ["Task", "TaskConfig", "build_task"]


@dataclass(frozen=True)
class Card:
    """What a task tells the model card.

    Attributes:
        tag: The Hugging Face Hub's name of the task.
        title: Its name for people.
        does: What a model does with a cloud, in a sentence.
        titles: The test figures that the card shows, and what they are called.
        notes: A line below the figures.
        expected: In which unit the clouds must come, in a sentence; empty: as they were normalised
            in the training.
    """

    tag: str
    title: str
    does: str
    titles: Mapping[str, str]
    notes: str = ""
    expected: str = ""


class Pictures(Protocol):
    """Where pictures go: a run folder."""

    def write_picture(self, name: str, png: bytes) -> None:
        """Write a PNG file under its name."""
        ...


class Task(ABC):
    """A task; see the module's documentation for an example.

    Args:
        config: The run.
    """

    command: ClassVar[str] = ""
    """The command that uses such a model on a user's files, if there is one."""

    smooths: ClassVar[bool] = True
    """Whether ``label_smoothing`` means something: not where no class is told."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config

    @abstractmethod
    def prepare(self, batch: PointBatch, generator: torch.Generator) -> tuple[Tensor, ...]:
        """What the model is given and what it is to answer.

        On several processes each prepares its share of the clouds. The chances of a cloud do not
        depend on how many processes there are if one 64-bit seed a cloud is drawn, in their order,
        as the transforms and crops of `ddeq_data` do; other draws are other chances.

        Args:
            batch: Clouds, normalised; in training augmented as well.
            generator: Source of all chance, on the processor. A whole split is measured with one
                generator, of a fixed seed: what draws one number a cloud, in their order, draws
                the same whatever the batch size.

        Returns:
            A `NamedTuple` of tensors whose first dimension counts the clouds.
        """

    def mixed(self, inputs: Any, generator: torch.Generator) -> Any:
        """Clouds that are made of two each, for a training with ``data.cut_mix`` above 0.

        A task that has none of its own refuses such a training; see `check`.

        Args:
            inputs: What `prepare` returned.
            generator: Source of all chance, on the processor.
        """
        return inputs

    def known(self, batch: PointBatch) -> Tensor | None:
        """What a model that looks at clouds before the training is told of each of them.

        Returns:
            Classes (B,) int64, or numbers (B, k) floating of about unit variance; None: nothing.
        """
        return batch.labels

    @abstractmethod
    def losses(self, answer: Any, inputs: Any) -> Tensor:
        """The loss of each cloud, ``(B,)``."""

    def answer(self, model: nn.Module, inputs: Any) -> Any:
        """What the model says of ``inputs.points`` and ``inputs.weights``.

        In training, PyTorch's own chance (dropout) is seeded by the step.

        Args:
            model: The model, in training or evaluation mode.
            inputs: What `prepare` returned, or a share of its clouds.
        """
        return model(inputs.points, inputs.weights)

    def loss(self, answer: Any, inputs: Any) -> Tensor:
        """The loss ``()`` that is trained on: the mean of `losses`, and of the model's penalty."""
        return with_penalty(self.losses(answer, inputs).mean(), answer)

    def records(self, answer: Any, inputs: Any, thorough: bool = False) -> Records:
        """What is known of each cloud: tensors ``(B,)`` by name, always the same names.

        One of them is ``loss``, which must be finite or the training ends. In training this is
        called after the backward pass, so that the solution tells of the adjoint as well.

        Args:
            answer: What `answer` returned.
            inputs: Its inputs.
            thorough: Add what is too dear for each step: in evaluations after the training.
        """
        solved = solver_records(getattr(answer, "solution", None))
        return {"loss": self.losses(answer, inputs), **solved}

    def figures(self, columns: Columns) -> Figures:
        """Means, maxima and counts over clouds: of the loss and of the solver, unless it is said.

        Args:
            columns: All that was recorded, ``(clouds,)`` by name; empty if nothing was.

        Returns:
            Numbers by name, among them ``clouds`` and ``loss``.
        """
        loss = columns.get("loss")
        clouds = 0 if loss is None else len(loss)
        return {"clouds": clouds, "loss": mean(loss), **solver_figures(columns)}

    def objective(self, figures: Figures) -> tuple[float, ...]:
        """What to compare validations by: the larger, the better; less loss, unless it is said."""
        return (-figures["loss"],)

    def headline(self, figures: Figures) -> str:
        """What one watches, in a few characters: ``acc 97.2%``."""
        return f"loss {figures['loss']:.3f}"

    def result(self, columns: Columns) -> dict[str, Any]:
        """What goes into ``result.json`` beside the figures; JSON values."""
        return {}

    def check(self, sets: Mapping[str, CloudDataset]) -> None:
        """See that the splits are of use, before the training.

        Args:
            sets: The splits by name.

        Raises:
            UserError: They are not.
        """
        if self.config.data.cut_mix and type(self).mixed is Task.mixed:
            raise UserError(
                "data.cut_mix mixes clouds of two classes, of which the task "
                f"{self.config.task.kind} has none; leave it at 0"
            )
        if self.config.train.label_smoothing and not self.smooths:
            raise UserError(
                f"label_smoothing is of classes, and a {self.config.task.kind} has none; leave "
                f"--label-smoothing {self.config.train.label_smoothing:g} out"
            )
        for name, clouds in sets.items():
            if not len(clouds):
                raise UserError(f"there are no {name} clouds; give more clouds, or another --root")

    def aside(
        self,
        sets: Mapping[str, CloudDataset],
        normalise: Transform,
        validated: Figures,
        records: Sequence[Mapping[str, Any]],
    ) -> dict[str, Any]:
        """What the user should know beside the result; goes into ``result.json`` as well.

        Args:
            sets: The splits by name, not normalised.
            normalise: What is done to every cloud.
            validated: Figures of the validation clouds.
            records: What ``metrics.jsonl`` holds.
        """
        return {}

    def draw(  # noqa: B027  # no task need have any
        self,
        run: Pictures,
        model: nn.Module,
        test_set: CloudDataset,
        columns: Columns,
        device: torch.device,
    ) -> None:
        """Draw pictures of a finished run beside the curves of its training; none by default.

        Those of the tasks of this package are in `ddeq_models.report.drawing`.

        Args:
            run: Whose folder they go to.
            model: The trained model, in evaluation mode.
            test_set: The test clouds, not normalised.
            columns: What was recorded of them.
            device: Where the model is.
        """

    def summary(self, result: Mapping[str, Any], clouds: str) -> str:
        """The test figures of a ``result.json`` in a line, for who trained the model.

        Args:
            result: What the file holds, each figure as ``test_<name>``.
            clouds: How many they are of, in words.
        """
        names = (n.removeprefix("test_") for n in result if n.startswith("test_"))
        said = ", ".join(f"{n} {_told(result[f'test_{n}'])}" for n in names if n != "clouds")
        return f"test on {clouds} clouds: {said}"

    def told(self, figures: Mapping[str, Any]) -> str:
        """What `figures` computed, in a line, for who evaluates a model."""
        return ", ".join(
            f"{name} {value:.4g}"
            for name, value in figures.items()
            if isinstance(value, float) and name not in (*SOLVER_FIGURES, "seconds")
        )

    def card(self) -> Card:
        """What a model card says of such a model."""
        kind = self.config.task.kind
        return Card(kind, kind.capitalize(), f"It is made for the task {kind}.", {"loss": "Loss"})


def with_penalty(loss: Tensor, answer: Any) -> Tensor:
    """A loss ``()``, and the mean of what the model adds to that of each cloud, if it does."""
    penalty = getattr(answer, "penalty", None)
    return loss if penalty is None else loss + penalty.mean()


def _told(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def build_task(config: RunConfig) -> Task:
    """The task of a run.

    Raises:
        UserError: The model is made for another task.
    """
    if config.model.task != config.task.kind:
        raise UserError(
            f"the model {config.model.kind} is made for {config.model.task}, the task is "
            f"{config.task.kind}; choose a model or preset of the task"
        )
    task: Task = TASKS[config.task.kind][1](config)
    return task
