"""The processes of one training, as ``torchrun`` starts them; without it there is one.

Every process prepares its own share of the clouds of a step and works on it. Gradients are added
up after the backward pass, each mean over a share weighted by its clouds, so that the sum is the
mean over the batch: the same training as on one process, up to the order of additions. This is
done by hand and not by DistributedDataParallel, whose hooks expect each parameter once in one
backward pass: the exact gradient of an equilibrium takes several.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from ddeq_models._internal.device import choose_device
from ddeq_models.errors import UserError
from ddeq_models.tasks.tally import Tally

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among those of the training.

    Attributes:
        device: Where it works.
        rank: Its number; 0 writes the files.
        count: How many there are.
    """

    device: torch.device
    rank: int = 0
    count: int = 1

    def mine(self, clouds: int) -> slice:
        """Which of the clouds of a step are this process's; with one process all of them."""
        return slice(clouds * self.rank // self.count, clouds * (self.rank + 1) // self.count)

    def add_gradients(self, model: nn.Module) -> None:
        """Add up the gradients of all processes, in one message.

        A parameter without a gradient on every process keeps none: the optimiser passes it over.
        """
        if self.count == 1:
            return
        parameters = [p for p in model.parameters() if p.requires_grad]
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        has = torch.tensor([float(p.grad is not None) for p in parameters], device=self.device)
        message = torch.cat([has, *(part.flatten() for part in parts)])
        dist.all_reduce(message)
        has, place = message[: len(parameters)], len(parameters)
        for p, known in zip(parameters, has.tolist(), strict=True):
            p.grad = message[place : place + p.numel()].view_as(p) if known else None
            place += p.numel()

    def same_buffers(self, model: nn.Module) -> None:
        """Give every process the buffers of the first: running means of batch norms, perhaps."""
        if self.count > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)

    def gather(self, tally: Tally) -> Tally:
        """All clouds that were recorded on any process, on every process."""
        if self.count == 1:
            return tally
        parts: list[Any] = [None] * self.count
        own = {name: tensor.cpu().numpy() for name, tensor in tally.tensors().items()}
        dist.all_gather_object(parts, own)
        whole = Tally()
        for part in parts:
            if part:
                whole.add({name: torch.from_numpy(np.asarray(x)) for name, x in part.items()})
        return whole

    def any(self, *flags: bool) -> Sequence[bool]:
        """Each flag, true everywhere if it is on any process."""
        if self.count == 1:
            return flags
        raised = torch.tensor([int(flag) for flag in flags], device=self.device)
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return [bool(flag) for flag in raised.tolist()]

    def of_first(self, value: T | None) -> T:
        """The value that the first process gives."""
        if self.count == 1:
            return value  # type: ignore[return-value]
        box = [value]
        dist.broadcast_object_list(box, 0, device=self.device)
        return box[0]  # type: ignore[return-value]

    def together(self, work: Callable[[], T]) -> T:
        """Do the same on all processes, and fail on all if it fails on one.

        Otherwise the others would wait for it for ever, and what it has to say would be lost:
        only the first process speaks.

        Raises:
            UserError: What went wrong on the first process on which something did.
        """
        if self.count == 1:
            return work()
        error: Exception | None = None
        result: list[T] = []
        try:
            result.append(work())
        except Exception as raised:
            error = raised
        problems: list[Any] = [None] * self.count
        told = None if error is None else str(error) or type(error).__name__
        dist.all_gather_object(problems, told)
        if error is not None and self.rank == next(r for r, p in enumerate(problems) if p):
            raise error
        for rank, problem in enumerate(problems):
            if problem is not None:
                raise UserError(f"process {rank} of {self.count}: {problem}") from error
        return result[0]

    def same(self, facts: Mapping[str, str]) -> None:
        """See that all processes are of one mind.

        Args:
            facts: Short texts by what they are of.

        Raises:
            UserError: On all processes, if a text of one is another than that of the first.
        """
        if self.count == 1:
            return
        every: list[Any] = [None] * self.count
        dist.all_gather_object(every, dict(facts))
        for rank, other in enumerate(every):
            names = [name for name in every[0] if other.get(name) != every[0][name]]
            if names:
                raise UserError(
                    f"process {rank} of {self.count} has another {' and another '.join(names)} "
                    "than process 0; start all of them with the same options on the same files"
                )

    def is_mine(self, number: int) -> bool:
        """Whether an item of a series that is dealt out falls to this process."""
        return number % self.count == self.rank


@contextmanager
def join_ranks(device: str) -> Iterator[Ranks]:
    """Meet the other processes that ``torchrun`` started, if it did.

    A process group that the caller has made is used as it is, and is there afterwards.

    Args:
        device: See `choose_device`; ``auto`` and ``cuda`` are the GPU of the process's own.

    Raises:
        UserError: The device cannot be used, or the environment is half set.
    """
    theirs = dist.is_available() and dist.is_initialized()
    count = dist.get_world_size() if theirs else _number("WORLD_SIZE", 1)
    if count == 1:
        yield Ranks(choose_device(device))
        return
    if theirs:
        rank = dist.get_rank()
        local = _number("LOCAL_RANK", rank)
    else:
        rank, local = _number("RANK"), _number("LOCAL_RANK")
    if not 0 <= rank < count or not 0 <= local < count:
        raise UserError(
            f"RANK is {rank} and LOCAL_RANK {local}, but they must be below WORLD_SIZE, which is "
            f"{count}; {_TORCHRUN}"
        )
    place = choose_device(device)
    if place.type == "cuda" and place.index is None:
        place = torch.device("cuda", local)
        torch.cuda.set_device(place)
    if not theirs:
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Ranks(place, rank, count)
        dist.barrier()  # gloo aborts a process whose peer takes its connections down first
    finally:
        if not theirs:
            dist.destroy_process_group()


_TORCHRUN = "start the processes with torchrun --nproc-per-node N -m ddeq_models train ..."


def _number(name: str, default: int | None = None) -> int:
    """A number of the environment."""
    text = os.environ.get(name, None if default is None else str(default))
    if text is None:
        raise UserError(f"WORLD_SIZE is set but {name} is not set; {_TORCHRUN}")
    if (
        not text.isascii()
        or not text.isdigit()
        or len(text) > 9
        or (name == "WORLD_SIZE" and int(text) < 1)
    ):
        raise UserError(f"{name} must be a whole number, got {text[:40]!r}; {_TORCHRUN}")
    return int(text)


def is_first() -> bool:
    """Whether this is the process that speaks and writes, before the others have been met."""
    return os.environ.get("RANK", "0") == "0"
