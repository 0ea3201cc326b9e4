"""The batches of a training, prepared: by this process, or ahead of time by workers of its own.

Of several processes each prepares its own share of the clouds of a step and no more. The chances of
a cloud are the same all the same: each transform draws one number a cloud, in their order, and
what belongs to the clouds of the others is passed over.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from ddeq_data import CloudDataset, Compose, PointBatch, SizeBuckets, Transform
from ddeq_data.transforms import is_random
from ddeq_models.data import augmentation, generator_of, moved, normaliser
from ddeq_models.data.chance import pass_over
from ddeq_models.distributed import Ranks
from ddeq_models.tasks.base import Task

__all__ = ["Feed", "Prepared"]


@dataclass(frozen=True)
class Prepared:
    """What a process works on in a step.

    Attributes:
        inputs: What the task made of its clouds; None where it has none.
        clouds: How many the step has, of all processes.
    """

    inputs: Any
    clouds: int


@dataclass(frozen=True)
class _Part:
    """The clouds of a step that are a process's own."""

    step: int
    chosen: Sequence[int]
    start: int
    clouds: int


class Feed:
    """The steps of a training, in their order.

    Args:
        task: What the clouds mean.
        train_set: The clouds.
        ranks: The processes that share the clouds of a step.
        odds: How often each cloud is drawn; see `ddeq_data.SizeBuckets`.
        workers: Processes that prepare ahead of time; 0: this one prepares, where the model is.
    """

    def __init__(
        self,
        task: Task,
        train_set: CloudDataset,
        ranks: Ranks,
        *,
        odds: Tensor | None = None,
        workers: int = 0,
    ) -> None:
        plan = task.config.train
        self.device, self.seed = ranks.device, plan.seed
        self.sampler = SizeBuckets(
            train_set.sizes, plan.batch_size, shuffle=True, seed=plan.seed, odds=odds
        )
        # Workers know no GPU: what they made is moved there.
        source = _Source(task, train_set, torch.device("cpu") if workers else self.device)
        self.loader: DataLoader[Any] = DataLoader(
            source,  # type: ignore[arg-type]  # its __getitems__ gives whole batches
            batch_sampler=_Parts(self.sampler, ranks),  # type: ignore[arg-type]
            collate_fn=_as_it_is,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=_led if workers else None,
            pin_memory=workers > 0 and self.device.type == "cuda",
            generator=torch.Generator(),  # its workers' seeds shall not come from the global one
        )

    def __len__(self) -> int:
        """Steps of an epoch."""
        return len(self.sampler)

    def epoch(self, epoch: int, position: int = 0) -> Iterator[Prepared]:
        """The steps of an epoch, from the one after `position` on."""
        self.sampler.load_state_dict({"seed": self.seed, "epoch": epoch, "position": position})
        for inputs, clouds in self.loader:
            yield Prepared(None if inputs is None else _moved(inputs, self.device), clouds)


class _Parts(Sampler[_Part]):
    """This process's part of each batch of a sampler, which goes on where it was told to."""

    def __init__(self, sampler: SizeBuckets, ranks: Ranks) -> None:
        self.sampler, self.ranks = sampler, ranks

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[_Part]:
        state = self.sampler.state_dict()
        first = (state["epoch"] - 1) * len(self.sampler) + state["position"]
        for step, chosen in enumerate(self.sampler, start=first):
            mine = self.ranks.mine(len(chosen))
            yield _Part(step, chosen[mine], mine.start, len(chosen))


class _Source:
    """From the clouds of a part to what the task makes of them."""

    def __init__(self, task: Task, train_set: CloudDataset, place: torch.device) -> None:
        self.task, self.train_set, self.place = task, train_set, place
        self.normalise = normaliser(task.config.data)
        self.augment = augmentation(task.config.data)

    def __getitems__(self, part: _Part) -> tuple[Any, int]:
        """What a process works on, None for nothing, and the clouds of the whole step."""
        if not part.chosen:
            return None, part.clouds
        generator = generator_of(self.task.config.train.seed, part.step)
        batch = self.train_set.__getitems__(list(part.chosen))
        if self.place.type == "cuda":
            batch = batch.pin_memory()
        batch = moved(batch, self.place, self.normalise)
        for step in _steps(self.augment):
            batch = _mapped(batch, step, generator, part)
        pass_over(generator, part.start)
        inputs = self.task.prepare(batch, generator)
        if self.task.config.data.cut_mix:  # with each other: by a process those of its own share
            inputs = self.task.mixed(inputs, generator)
        return inputs, part.clouds


def _steps(transform: Transform) -> Sequence[Transform]:
    return transform.transforms if isinstance(transform, Compose) else (transform,)


def _mapped(
    batch: PointBatch, step: Transform, generator: torch.Generator, part: _Part
) -> PointBatch:
    """A transform of a part of a batch, as it would be within the whole."""
    if not is_random(step):
        return batch.map(step)
    pass_over(generator, part.start)
    batch = batch.map(step, generator)
    pass_over(generator, part.clouds - part.start - len(part.chosen))
    return batch


def _moved(inputs: Any, device: torch.device) -> Any:
    """A `NamedTuple` of tensors on a device."""
    pinned = device.type == "cuda"
    return type(inputs)(*(tensor.to(device, non_blocking=pinned) for tensor in inputs))


def _led(_: int) -> None:
    """Leave Ctrl-C to the process that leads: it saves before it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _as_it_is(batch: Any) -> Any:
    return batch
