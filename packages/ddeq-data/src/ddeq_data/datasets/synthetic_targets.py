"""Sets that are made and not read, with other targets than a class: for tests and a first run."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ddeq_data.counters import mix, normal, stream, uniform
from ddeq_data.datasets.base import CloudDataset
from ddeq_data.datasets.splits import check_split
from ddeq_data.measures import PackedClouds, Transform

__all__ = ["SyntheticBlobs", "SyntheticMoons"]

_PARTS = {"train": 0, "validation": 1, "test": 2}
# What the seed of a cloud is mixed with, for draws that are independent of each other.
_SIZE, _TURN, _PLACE, _NOISE, _KIND, _SCALE = range(6)


class SyntheticMoons(CloudDataset):
    """Two half-circles that reach into each other, and a label for each point: which of them.

    A cloud is a draw like that of ``sklearn.datasets.make_moons``, turned by up to 60 degrees to
    either side, of a size in [0.5, 1] and a number of points of its own; the first moon is the one
    that opens downwards. A function of (seed, split, index) and of the arguments alone.

    Args:
        split: "train", "validation", "test" or "train+validation".
        count: Clouds in a part of the data, at least 1.
        sizes: Least and largest number of points of a cloud, at least 2.
        noise: Standard deviation of normal noise on each coordinate, in radii.
        seed: Another seed makes other clouds.
        transform: Applied to each cloud; see `CloudDataset`.

    Raises:
        ValueError: If an argument is out of range, or `transform` is random.
    """

    def __init__(
        self,
        split: str = "train",
        *,
        count: int = 500,
        sizes: tuple[int, int] = (64, 128),
        noise: float = 0.1,
        seed: int = 0,
        transform: Transform | None = None,
    ) -> None:
        seeds, offsets, owner, rank = _clouds(split, count, sizes, seed)
        labels = rank % 2
        along = math.pi * uniform(stream(seeds, _PLACE)[owner], rank, torch.float64)
        upper = torch.stack([along.cos() - 0.5, along.sin() - 0.25], -1)
        points = torch.where((labels == 0)[:, None], upper, -upper)
        points += noise * _noise(seeds, owner, rank)
        one = torch.zeros((), dtype=torch.int64)
        turn = math.pi / 3 * (2 * uniform(stream(seeds, _TURN), one, torch.float64) - 1)[owner]
        scale = 0.5 + 0.5 * uniform(stream(seeds, _SCALE), one, torch.float64)[owner]
        cos, sin = turn.cos(), turn.sin()
        matrix = torch.stack([cos, -sin, sin, cos], -1).view(-1, 2, 2) * scale[:, None, None]
        points = (matrix @ points[..., None])[..., 0]
        none = torch.zeros(len(seeds), dtype=torch.int64)
        clouds = PackedClouds(points.float(), None, offsets, none, targets=labels)
        super().__init__(clouds, ["first", "second"], transform)


class SyntheticBlobs(CloudDataset):
    """Round clusters in the plane, and two numbers of each cloud: how many, and how far apart.

    ``clusters``, from 1 to 6, and ``inertia``, the mean squared distance of the points from their
    mean. A function of (seed, split, index) and of the arguments alone.

    Args:
        split: "train", "validation", "test" or "train+validation".
        count: Clouds in a part of the data, at least 1.
        sizes: Least and largest number of points of a cloud.
        noise: Standard deviation of a cluster.
        seed: Another seed makes other clouds.
        transform: Applied to each cloud; see `CloudDataset`.

    Raises:
        ValueError: If an argument is out of range, or `transform` is random.
    """

    most = 6

    def __init__(
        self,
        split: str = "train",
        *,
        count: int = 500,
        sizes: tuple[int, int] = (64, 128),
        noise: float = 0.1,
        seed: int = 0,
        transform: Transform | None = None,
    ) -> None:
        seeds, offsets, owner, rank = _clouds(split, count, sizes, seed)
        clusters = 1 + torch.remainder(stream(seeds, _KIND), self.most)
        scale = uniform(stream(seeds, _SCALE), torch.tensor(0), torch.float64)
        corner = torch.arange(2 * self.most)
        centres = uniform(stream(seeds, _PLACE)[:, None], corner, torch.float64)
        centres = (2 * centres.view(-1, self.most, 2) - 1) * (0.5 + 1.5 * scale)[:, None, None]
        points = centres[owner, rank % clusters[owner]] + noise * _noise(seeds, owner, rank)
        sums = torch.zeros(len(seeds), 5, dtype=torch.float64)
        known = torch.cat([points, points.square(), torch.ones(len(points), 1)], 1)
        sums.index_add_(0, owner, known)
        means = sums[:, :4] / sums[:, 4:]
        inertia = (means[:, 2:] - means[:, :2].square()).sum(1)
        none = torch.zeros(len(seeds), dtype=torch.int64)
        numbers = torch.stack([clusters.double(), inertia], 1)
        clouds = PackedClouds(points.float(), None, offsets, none, targets=numbers)
        super().__init__(clouds, ["clusters", "inertia"], transform)


def _clouds(
    split: str, count: int, sizes: tuple[int, int], seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The seed of each cloud, where its points begin, and of each point its cloud and number."""
    check_split(split)
    least, largest = sizes
    if count < 1 or not 2 <= least <= largest:
        raise ValueError(
            f"expected count >= 1 and sizes of 2 <= least <= largest, got count={count} and "
            f"sizes={sizes}"
        )
    index = torch.arange(count)
    seeds = torch.cat(
        [
            mix(mix(torch.tensor(seed), torch.tensor(_PARTS[part])), index)
            for part in split.split("+")
        ]
    )
    number = least + torch.remainder(stream(seeds, _SIZE), largest - least + 1)
    offsets = torch.nn.functional.pad(number.cumsum(0), (1, 0))
    owner = torch.arange(len(seeds)).repeat_interleave(number)
    return seeds, offsets, owner, torch.arange(len(owner)) - offsets[owner]


def _noise(seeds: Tensor, owner: Tensor, rank: Tensor) -> Tensor:
    counter = 2 * rank[:, None] + torch.arange(2)
    return normal(stream(seeds, _NOISE)[owner, None], counter, torch.float64)
