"""Batches of clouds of similar size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.utils.data import Sampler

from ddeq_data.counters import mix

__all__ = ["SizeBuckets"]


class SizeBuckets(Sampler[list[int]]):
    """Batch sampler that puts clouds of similar size together, so that little is padded.

    With `shuffle`, each epoch draws a permutation of all clouds, cuts it into pools of `pool`
    batches, sorts each pool by size, cuts it into batches and shuffles all the batches. Every
    cloud comes once per epoch. Without, clouds come sorted by size, those of one size in the
    order of the data set; the least padding there can be, for evaluation.

    The batches are a function of (seed, epoch) alone: call `set_epoch` before each epoch, or
    every epoch repeats the same order. Hand it to `DataLoader(batch_sampler=...)`.

    Args:
        sizes: (C,) integers, number of points of each cloud: the `sizes` of a data set.
        batch_size: Clouds in a batch.
        shuffle: Draw a new order each epoch.
        seed: Seed of all epochs.
        drop_last: Leave out the clouds that do not fill a batch; with `shuffle` others each
            epoch, without it the largest.
        pool: Batches that are sorted together: more of them pad less and mix less.

    Raises:
        ValueError: If `sizes` is not one-dimensional, or `batch_size` or `pool` is not positive.
    """

    def __init__(
        self,
        sizes: Tensor,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int,
        drop_last: bool = False,
        pool: int = 50,
    ) -> None:
        self.sizes = torch.as_tensor(sizes).to("cpu", torch.int64)
        if self.sizes.ndim != 1:
            raise ValueError(f"sizes must be (C,), got shape {tuple(self.sizes.shape)}")
        if batch_size < 1 or pool < 1:
            raise ValueError(f"batch_size and pool must be at least 1, got {batch_size} and {pool}")
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.pool = pool
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
        whole, rest = divmod(len(self.sizes), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[list[int]]:
        batches = self._batches()
        for position in range(self._start, len(batches)):
            self._position = position + 1
            yield batches[position]

    def state_dict(self) -> dict[str, int]:
        """Return `seed`, `epoch` and `position`, the number of batches handed out.

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
                f"{state['position']}; resume with the data and batch size of the first run"
            )
        self._epoch = state["epoch"]
        self._start = self._position = state["position"]

    def _batches(self) -> list[list[int]]:
        if not self.shuffle:
            order = torch.argsort(self.sizes, stable=True)
            return self._cut(order)
        generator = torch.Generator()
        generator.manual_seed(int(mix(torch.tensor(self.seed), torch.tensor(self._epoch))))
        order = torch.randperm(len(self.sizes), generator=generator)
        if self.drop_last:
            # Before the sort: afterwards it would always be the largest clouds that are lost.
            order = order[: len(self) * self.batch_size]
        batches: list[list[int]] = []
        for members in torch.split(order, self.pool * self.batch_size):
            batches += self._cut(members[torch.argsort(self.sizes[members], stable=True)])
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]

    def _cut(self, order: Tensor) -> list[list[int]]:
        members: list[int] = order.tolist()
        size = self.batch_size
        batches = [members[i : i + size] for i in range(0, len(members), size)]
        if self.drop_last and batches and len(batches[-1]) < size:
            batches.pop()
        return batches
