"""What a model is trained for: the interface between the training engine and a task.

The engine (`ddeq_models.loop.fit`) knows batches, optimisers and files; a `Task` knows what
the clouds mean. One training step of the engine is::

    inputs = task.prepare(batch, generator)       # normalised and augmented clouds -> tensors
    answer = task.answer(model, inputs)
    task.loss(answer, inputs).backward()
    tally.add(task.records(answer, inputs))       # one number a cloud, by name

and `task.figures` makes means, maxima and counts of what was recorded. To add a task, write its
configuration and class and enter both in `ddeq_models.registry.TASKS`::

    @dataclass(frozen=True)
    class SizeConfig(TaskConfig):                 # in config.json: "task": {"kind": "size", ...}
        kind: ClassVar[str] = "size"
        power: float = 2.0


    class SizeInputs(NamedTuple):                 # every tensor has the clouds first
        points: Tensor
        weights: Tensor
        target: Tensor


    class Size(Task):
        def prepare(self, batch, generator):      # all chance of the data comes from `generator`
            return SizeInputs(batch.points, batch.weights, batch.sizes.float())

        def answer(self, model, inputs):
            return model(inputs.points, inputs.weights)

        def loss(self, answer, inputs):           # a mean over the clouds
            return self._errors(answer, inputs).mean()

        def records(self, answer, inputs, thorough=False):
            return {"loss": self._errors(answer, inputs), **solver_records(answer.solution)}

        def figures(self, columns):
            return {"clouds": len(columns["loss"]), "loss": mean(columns["loss"])}

        def objective(self, figures):             # larger is better
            return (-figures["loss"],)

        def headline(self, figures):
            return f"error {figures['loss']:.3f}"

        def draw(self, run, model, test_set, columns, device):
            run.write_picture("sizes.png", ...)

        def _errors(self, answer, inputs):
            power = self.config.task.power
            return (answer.size - inputs.target).abs() ** power

To add a model, write its configuration and module and enter both in
`ddeq_models.registry.MODELS`::

    @dataclass(frozen=True)
    class PointNetConfig(ModelConfig):            # in config.json: "model": {"kind": "pointnet"}
        kind: ClassVar[str] = "pointnet"
        task: ClassVar[str] = "classification"    # the default
        classes: int = 10                         # filled in from the data, like point_dim
        width: int = 64


    class PointNet(nn.Module):                    # built as PointNet(config)
        def forward(self, points: Tensor, weights: Tensor) -> Output:
            ...
            return Output(logits)                 # no solver: the solution is None

A model for classification takes ``points (B, n, d)`` and ``weights (B, n)`` and returns an
`Output`; what a model of another task takes and returns is between the two. A model that solves
keeps its `ddeq_models.solver.Solver` in ``solver`` (`ddeq_models.diagnosis` puts an adjoint of its
own there), adds up the seconds of its forward solves in ``solver_seconds``, and has a method
``configure(config)`` that changes the solver's settings in the course of a training; see
`ddeq_models.config.SolverPhase`. Name configurations in `ddeq_models.presets.PRESETS` and give
each a recipe for the data sets it is meant for in `ddeq_models.recipes.RECIPES`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ddeq_data import CloudDataset, PointBatch
from ddeq_models.errors import UserError
from ddeq_models.metrics import Columns, Figures, Records

if TYPE_CHECKING:
    from ddeq_models.config import RunConfig
    from ddeq_models.run_folder import RunFolder


@dataclass(frozen=True)
class TaskConfig:
    """Base of the tasks' configurations: plain numbers and words, ready for JSON.

    `kind` is the name of the task in `ddeq_models.registry.TASKS` and in a ``config.json``.
    """

    kind: ClassVar[str]
    default_kind: ClassVar[str] = "classification"  # what a document without the key means

    @classmethod
    def kinds(cls) -> Mapping[str, type[Any]]:
        """The configurations by their kind."""
        from ddeq_models.registry import TASKS  # which imports the tasks, and they this

        return {kind: config for kind, (config, _) in TASKS.items()}


class Task(ABC):
    """A task; see the module's documentation for an example.

    Args:
        config: The run.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config = config

    @abstractmethod
    def prepare(self, batch: PointBatch, generator: torch.Generator) -> tuple[Tensor, ...]:
        """What the model is given and what it is to answer.

        On several processes all of them prepare the whole batch, and each works on its share of
        the clouds: the chances of a cloud do not depend on how many processes there are.

        Args:
            batch: Clouds, normalised; in training augmented as well.
            generator: Source of all chance, on the processor. A whole split is measured with one
                generator, of a fixed seed: what draws one number a cloud, in their order, draws
                the same whatever the batch size.

        Returns:
            A `NamedTuple` of tensors whose first dimension counts the clouds.
        """

    @abstractmethod
    def answer(self, model: nn.Module, inputs: Any) -> Any:
        """What the model says. In training, PyTorch's own chance (dropout) is seeded by the step.

        Args:
            model: The model, in training or evaluation mode.
            inputs: What `prepare` returned, or a share of its clouds.
        """

    @abstractmethod
    def loss(self, answer: Any, inputs: Any) -> Tensor:
        """The loss ``()`` that is trained on, a mean over the clouds."""

    @abstractmethod
    def records(self, answer: Any, inputs: Any, thorough: bool = False) -> Records:
        """What is known of each cloud: tensors ``(B,)`` by name, always the same names.

        One of them is ``loss``, which must be finite or the training ends. In training this is
        called after the backward pass, so that the solution tells of the adjoint as well.

        Args:
            answer: What `answer` returned.
            inputs: Its inputs.
            thorough: Add what is too dear for each step: in evaluations after the training.
        """

    @abstractmethod
    def figures(self, columns: Columns) -> Figures:
        """Means, maxima and counts over clouds.

        Args:
            columns: All that was recorded, ``(clouds,)`` by name; empty if nothing was.

        Returns:
            Numbers by name, among them ``clouds`` and ``loss``.
        """

    @abstractmethod
    def objective(self, figures: Figures) -> tuple[float, ...]:
        """What to compare validations by: the larger, the better."""

    @abstractmethod
    def headline(self, figures: Figures) -> str:
        """What one watches beside the loss, in a few characters: ``acc 97.2%``."""

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
        for name, clouds in sets.items():
            if not len(clouds):
                raise UserError(f"there are no {name} clouds; give more clouds, or another --root")

    def aside(
        self, sets: Mapping[str, CloudDataset], validated: Figures, run: RunFolder
    ) -> dict[str, Any]:
        """What the user should know beside the result; goes into ``result.json`` as well.

        Args:
            sets: The splits by name, not normalised.
            validated: Figures of the validation clouds.
            run: The run.
        """
        return {}

    @abstractmethod
    def draw(
        self,
        run: RunFolder,
        model: nn.Module,
        test_set: CloudDataset,
        columns: Columns,
        device: torch.device,
    ) -> None:
        """Draw the pictures of a finished run into its folder.

        Args:
            run: The run.
            model: The trained model, in evaluation mode.
            test_set: The test clouds, not normalised.
            columns: What was recorded of them.
            device: Where the model is.
        """
