"""The product's training, driven step by step: for what times, counts or cuts one short."""

import warnings
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import nn

from ddeq_data import CloudDataset, PointBatch, UnitSphere, ZScore
from ddeq_models.config import DataConfig, ModelConfig, RunConfig, TaskConfig, TrainConfig
from ddeq_models.config import default_task as classification
from ddeq_models.data import augmentation, batches, framed, generator_of, normaliser
from ddeq_models.distributed import Ranks
from ddeq_models.models.base import build_model
from ddeq_models.tasks.base import build_task
from ddeq_models.tasks.tally import Figures, Tally
from ddeq_models.training.feeding import Prepared
from ddeq_models.training.forecast import fit_to_data
from ddeq_models.training.optimiser import learning_rate
from ddeq_models.training.state import State
from ddeq_models.training.step import optimise
from wgf_solver import AdjointWarning


class Steps:
    """A training whose steps are those of `ddeq_models.training`, one at a call.

    Args:
        model: The model.
        plan: The training; its epochs do not count.
        data: How the clouds are normalised and augmented; None: each is z-scored.
        task: What is trained for; None is classification of digits.
        device: Where.
        classes: How many there are.

    Attributes:
        task: The task.
        state: The model, the optimiser and the average of the weights.
    """

    def __init__(
        self,
        model: ModelConfig,
        plan: TrainConfig,
        *,
        data: DataConfig | None = None,
        task: TaskConfig | None = None,
        device: str | torch.device = "cpu",
        classes: int = 10,
    ) -> None:
        names = tuple(map(str, range(classes)))
        config = RunConfig(
            "benchmark", names, data or DataConfig(), model, plan, task=task or classification()
        )
        self.task = build_task(config)
        self.ranks = Ranks(torch.device(device))
        torch.manual_seed(plan.seed)
        self.state = State(build_model(model).to(device).train(), plan)

    @property
    def model(self) -> nn.Module:
        """The model that is trained."""
        return self.state.model

    @property
    def plan(self) -> TrainConfig:
        """The training."""
        return self.task.config.train

    @property
    def parameters(self) -> int:
        """How many numbers are learned."""
        return sum(p.numel() for p in self.model.parameters())

    def step(self, inputs: Any, rate: float | None = None) -> None:
        """One step on what the task prepared; None is the learning rate at its peak."""
        peak = self.plan.learning_rate
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AdjointWarning)  # as in a run: they are counted
            prepared = Prepared(inputs, len(inputs[0]))
            optimise(self.task, self.state, prepared, peak if rate is None else rate, self.ranks)

    def told(self) -> Figures:
        """Figures of the steps since this was last asked for (waits for the device)."""
        columns, self.state.tally = self.state.tally.columns(), Tally()
        return self.task.figures(columns)

    def prepared(self, batch: PointBatch, step: int = 0) -> Any:
        """What the task makes of clouds that are normalised, by the chance of a step."""
        clouds = batch.to(self.ranks.device)
        return self.task.prepare(clouds, generator_of(self.plan.seed, step))

    def inputs(self, clouds: CloudDataset, steps: int) -> Iterator[Any]:
        """The inputs of so many steps, drawn, normalised, augmented and prepared as in a run."""
        data = framed(self.task.config.data, clouds)
        normalise, augment = normaliser(data), augmentation(data)
        loader, sampler = batches(clouds, self.plan.batch_size, seed=self.plan.seed)
        step = epoch = 0
        while step < steps:
            epoch += 1
            sampler.set_epoch(epoch)
            for batch in islice(loader, steps - step):
                chance = generator_of(self.plan.seed, step)
                torch.manual_seed(chance.initial_seed())
                batch = batch.to(self.ranks.device).map(normalise)
                yield self.task.prepare(batch.map(augment, chance), chance)
                step += 1

    def train(self, clouds: CloudDataset, steps: int) -> Iterator[int]:
        """So many steps of a training that is no longer; gives the number of each when done."""
        data = framed(self.task.config.data, clouds)
        fit_to_data(self.task, self.model, clouds, normaliser(data), self.ranks.device)
        for step, inputs in enumerate(self.inputs(clouds, steps)):
            self.step(inputs, learning_rate(self.plan, step, steps))
            yield step


def digit_like(size: int, count: int) -> Iterator[PointBatch]:
    """Batches of made-up clouds as large as MNIST's, each cloud z-scored.

    Random pixels of a 28 x 28 grid, as many as MNIST digits have (34 to 351, 150 on average).

    Args:
        size: Clouds in a batch.
        count: Batches.
    """
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        centre = 150 + 40 * float(torch.randn((), generator=generator))
        sizes = (centre + 5 * torch.randn(size, generator=generator)).clamp(34, 351).long()
        order = torch.rand(size, 784, generator=generator).argsort(-1)[:, : int(sizes.max())]
        points = torch.stack([order % 28, order // 28], -1).float()
        mask = torch.arange(points.shape[1]) < sizes[:, None]
        points = torch.where(mask[..., None], points, 0)
        labels = torch.randint(10, (size,), generator=generator)
        yield PointBatch(points, mask / sizes[:, None], labels).map(ZScore())


def solid_like(size: int, points: int, count: int) -> Iterator[PointBatch]:
    """Batches of made-up clouds on the surface of ellipsoids within the unit sphere.

    Args:
        size: Clouds in a batch.
        points: Points of each.
        count: Batches.
    """
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        round_ones = torch.randn(size, points, 3, generator=generator)
        axes = 0.2 + torch.rand(size, 1, 3, generator=generator)
        surface = axes * round_ones / round_ones.norm(dim=-1, keepdim=True)
        labels = torch.randint(10, (size,), generator=generator)
        weights = torch.full((size, points), 1 / points)
        yield PointBatch(surface, weights, labels).map(UnitSphere())
