"""Batches of clouds: drawn anew each epoch for training, sorted by size for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import accumulate, pairwise

import torch
from torch import Tensor
from torch.utils.data import Sampler

from ddeq_data._internal.text import counted
from ddeq_data.counters import mix

__all__ = ["SizeBuckets"]


class SizeBuckets(Sampler[list[int]]):
    """Batch sampler that mixes clouds of all sizes in training, and sorts them in evaluation.

    With `shuffle`, each epoch draws a permutation of all clouds and cuts it into batches. Every
    cloud comes once per epoch, and its company is drawn evenly from all others: batches sorted by
    size would pad less, but the clouds of one size would meet again each epoch, and where the size
    tells the class a batch would hold little else than one. What is padded costs little where a
    model works on sub-batches of like sizes by itself, as `set_attention.by_size` does.

    Without `shuffle`, clouds come sorted by size, those of one size in the order of the data set;
    the least padding there can be, for evaluation.

    The batches are a function of (seed, epoch) alone: call `set_epoch` before each epoch, or
    every epoch repeats the same order. Hand it to `DataLoader(batch_sampler=...)`.

    For distributed training give each process its `rank`: all of them get the same number of
    batches, and what they get at the same step is of similar size, so that none waits for long.
    No cloud goes to two of them, and none is left out: where the clouds do not fill whole steps
    of `num_replicas` batches, all steps become equally much smaller, unless `repeat` fills them
    or `drop_last` cuts them off.

    Args:
        sizes: (C,) integers, number of points of each cloud: the `sizes` of a data set.
        batch_size: Clouds in a batch, of one process.
        shuffle: Draw a new order each epoch.
        seed: Seed of all epochs.
        drop_last: Leave out the clouds that do not fill a batch; with `shuffle` others each
            epoch, without it the largest.
        num_replicas: Number of processes that share the clouds.
        rank: Which of them this is, from 0 on.
        repeat: Fill up the last step with clouds that come twice in the epoch; with `shuffle`
            others each epoch, without it the smallest. Counted twice by an evaluation.
        odds: (C,) at least 0: with `shuffle`, a cloud comes in proportion to its odds, so that it
            is drawn as often as that, rounded up or down by chance, in an epoch of C draws. None
            and equal odds: once. A cloud of odds 0 never comes.

    Raises:
        ValueError: If `sizes` is not one-dimensional, another argument is out of range, or the
            clouds cannot be shared without leaving a process without a batch.
    """

    def __init__(
        self,
        sizes: Tensor,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int,
        drop_last: bool = False,
        num_replicas: int = 1,
        rank: int = 0,
        repeat: bool = False,
        odds: Tensor | None = None,
    ) -> None:
        self.sizes = torch.as_tensor(sizes).to("cpu", torch.int64)
        if self.sizes.ndim != 1:
            raise ValueError(f"sizes must be (C,), got shape {tuple(self.sizes.shape)}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if not 0 <= rank < num_replicas:
            raise ValueError(
                "rank must be in 0..num_replicas - 1, "
                f"got rank={rank} and num_replicas={num_replicas}"
            )
        if drop_last and repeat:
            raise ValueError("drop_last leaves clouds out and repeat fills up: choose one of them")
        if not -(2**63) <= seed < 2**63:
            raise ValueError(f"seed must be in -2^63..2^63 - 1, got {seed}")
        self.odds = None if odds is None else _checked(odds, len(self.sizes), shuffle)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.num_replicas = num_replicas
        self.rank = rank
        self.repeat = repeat
        if self._lengths and self._lengths[-1] < num_replicas > 1:
            raise ValueError(
                f"{len(self.sizes)} clouds cannot be shared by {num_replicas} processes in batches "
                f"of at most {batch_size} without an empty one; ask for repeat or drop_last"
            )
        self._epoch = 0
        self._start = 0
        self._position = 0

    @property
    def epoch(self) -> int:
        """The epoch whose batches come next."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch. A position that was loaded for this same epoch is kept."""
        if epoch != self._epoch:
            self._epoch, self._start, self._position = epoch, 0, 0

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch, also after a resume."""
        return len(self._lengths)

    def __repr__(self) -> str:
        shared = f", rank {self.rank} of {self.num_replicas}" if self.num_replicas > 1 else ""
        clouds = counted(len(self.sizes), "cloud")
        order = f"shuffled by seed {self.seed}" if self.shuffle else "sorted by size"
        return (
            f"SizeBuckets({clouds} in {counted(len(self), 'batch', 'batches')} of "
            f"{self.batch_size}, {order}{shared}, epoch {self._epoch})"
        )

    def __iter__(self) -> Iterator[list[int]]:
        batches = self._batches()
        # What was loaded holds for one pass: the next one has all batches.
        start, self._start = self._start, 0
        for position in range(start, len(batches)):
            self._position = position + 1
            yield batches[position]

    def state_dict(self) -> dict[str, int]:
        """Return `seed`, `epoch` and `position`, the number of batches handed out.

        It is the same for all processes, and goes with data, `batch_size` and `num_replicas`.
        A loader with workers asks for batches ahead of time: then write the number of batches
        that were used in place of `position`.
        """
        return {"seed": self.seed, "epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue where `state` was taken: iteration goes on after `position` batches.

        Raises:
            ValueError: If the state is incomplete, of another seed, or beyond the epoch's end.
        """
        if set(state) != {"seed", "epoch", "position"}:
            raise ValueError(f"expected the keys seed, epoch and position, got {sorted(state)}")
        if state["seed"] != self.seed:
            raise ValueError(
                f"the state belongs to seed {state['seed']}, this sampler has seed {self.seed}; "
                "build it with the seed of the run that is resumed"
            )
        if not 0 <= state["position"] <= len(self):
            raise ValueError(
                f"position must be in 0..{len(self)}, the batches of an epoch, got "
                f"{state['position']}; resume with the data, batch size and number of processes "
                "of the first run"
            )
        self._epoch = state["epoch"]
        self._start = self._position = state["position"]

    @cached_property
    def _lengths(self) -> list[int]:
        # The number of clouds of each step, of all processes together.
        full = self.batch_size * self.num_replicas
        whole, rest = divmod(len(self.sizes), full)
        if rest == 0 or self.drop_last:
            return [full] * whole
        if self.repeat:
            return [full] * (whole + 1)
        if self.num_replicas == 1:
            return [full] * whole + [rest]
        least, more = divmod(len(self.sizes), whole + 1)
        return [least + 1] * more + [least] * (whole + 1 - more)

    def _batches(self) -> list[list[int]]:
        if not self.shuffle:
            return self._cut(self._filled(torch.argsort(self.sizes, stable=True)), self._lengths)
        generator = torch.Generator()
        generator.manual_seed(int(mix(torch.tensor(self.seed), torch.tensor(self._epoch))))
        order = torch.randperm(len(self.sizes), generator=generator)
        if self.odds is not None:
            order = self._drawn(order, generator)
        return self._cut(self._filled(order), self._lengths)

    def _drawn(self, order: Tensor, generator: torch.Generator) -> Tensor:
        # Equally spaced marks on the odds laid end to end: the least variance there can be. Once
        # laid in a random order, so that no two clouds come together more often than others.
        assert self.odds is not None
        ends = self.odds[order].cumsum(0)
        start = torch.rand((), generator=generator, dtype=torch.float64)
        marks = (torch.arange(len(order)) + start) / len(order) * ends[-1]
        drawn = order[torch.searchsorted(ends, marks, right=True).clamp(max=len(order) - 1)]
        return drawn[torch.randperm(len(order), generator=generator)]

    def _filled(self, order: Tensor) -> Tensor:
        # As many clouds as the steps take: fewer, or the first ones again.
        count = sum(self._lengths)
        if count <= len(order):
            return order[:count]
        return order.repeat(-(-count // len(order)))[:count]

    def _cut(self, order: Tensor, lengths: list[int]) -> list[list[int]]:
        steps = [order[first:stop] for first, stop in pairwise(accumulate(lengths, initial=0))]
        if self.num_replicas > 1:  # by turns and by size, so that none waits for the others
            steps = [step[torch.argsort(self.sizes[step], stable=True)] for step in steps]
        return [step[self.rank :: self.num_replicas].tolist() for step in steps]


def _checked(odds: Tensor, count: int, shuffle: bool) -> Tensor:
    odds = torch.as_tensor(odds).to("cpu", torch.float64)
    if not shuffle:
        raise ValueError("odds are of clouds that are drawn: give shuffle=True, or leave them out")
    if odds.shape != (count,):
        raise ValueError(f"odds must be ({count},), one a cloud, got {tuple(odds.shape)}")
    if not bool((torch.isfinite(odds) & (odds >= 0)).all()) or not bool(odds.sum() > 0):
        raise ValueError("odds must be finite and at least 0, and one of them above 0")
    return odds
