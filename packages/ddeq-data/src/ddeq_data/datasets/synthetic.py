"""Shapes that are made and not read: for tests, demonstrations and a first run."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ddeq_data.counters import mix, normal, stream, uniform
from ddeq_data.datasets.base import CloudDataset
from ddeq_data.datasets.splits import check_split
from ddeq_data.measures import PackedClouds, Transform
from ddeq_data.shapes.figures import FIGURES, circle

__all__ = ["SyntheticShapes"]

_SPLITS = {"train": 0, "validation": 1, "test": 2}
# What the seed of a cloud is mixed with, for draws that are independent of each other.
_SIZE, _SCALE, _TURN, _PLACE, _NOISE = range(5)


class SyntheticShapes(CloudDataset):
    """Random shapes: curves in the plane, or surfaces in space.

    In dimension 2 the classes are circle, cross, square and triangle; in dimension 3 cube,
    cylinder, sphere and torus. Points are uniform by length or area. Each cloud has its own number
    of points, uniform in `sizes`, a scale uniform in [0.5, 1] and a uniform rotation about the
    origin. It is a function of (seed, split, its index) and of the arguments alone; the class of
    cloud i is i modulo 4. All points of a cloud weigh the same.

    Args:
        split: "train", "validation", "test" or "train+validation".
        dim: Dimension of the points, 2 or 3.
        count: Clouds in a part of the data, at least 1: so many for each of the three.
        sizes: Least and largest number of points of a cloud.
        noise: Standard deviation of normal noise on each coordinate.
        seed: Another seed makes other clouds.
        transform: Applied to each cloud; see `CloudDataset`.

    Raises:
        ValueError: If an argument is out of range, or `transform` is random.
    """

    def __init__(
        self,
        split: str = "train",
        *,
        dim: int = 2,
        count: int = 1000,
        sizes: tuple[int, int] = (64, 256),
        noise: float = 0.0,
        seed: int = 0,
        transform: Transform | None = None,
    ) -> None:
        check_split(split)
        least, largest = sizes
        if dim not in FIGURES:
            raise ValueError(f"dim must be 2 or 3, got {dim}")
        if count < 1 or not 1 <= least <= largest:
            raise ValueError(
                "expected count >= 1 and sizes of 1 <= least <= largest, "
                f"got count={count} and sizes={sizes}"
            )
        if not 0 <= noise < math.inf:
            raise ValueError(f"noise must be finite and at least 0, got {noise}")
        index = torch.arange(count)
        parts = [
            mix(mix(torch.tensor(seed), torch.tensor(_SPLITS[part])), index)
            for part in split.split("+")
        ]
        seeds, labels = torch.cat(parts), index.repeat(len(parts)) % len(FIGURES[dim])
        number = least + torch.remainder(stream(seeds, _SIZE), largest - least + 1)
        offsets = torch.nn.functional.pad(number.cumsum(0), (1, 0))
        owner = torch.arange(len(seeds)).repeat_interleave(number)
        rank = torch.arange(len(owner)) - offsets[owner]  # of a point in its cloud
        place = stream(seeds, _PLACE)[owner]
        u, v = (uniform(place, 2 * rank + k, torch.float64) for k in range(2))
        points = torch.empty(len(owner), dim, dtype=torch.float64)
        for label, shape in enumerate(FIGURES[dim].values()):
            own = labels[owner] == label
            points[own] = shape(u[own], v[own])
        scale = 0.5 + 0.5 * uniform(stream(seeds, _SCALE), index.new_zeros(()), torch.float64)
        turn = scale[:, None, None] * _rotation(stream(seeds, _TURN), dim)
        points = (turn[owner] @ points[..., None])[..., 0]
        if noise:
            counter = dim * rank[:, None] + torch.arange(dim)
            points += noise * normal(stream(seeds, _NOISE)[owner, None], counter, torch.float64)
        clouds = PackedClouds(points.float(), None, offsets, labels)
        super().__init__(clouds, list(FIGURES[dim]), transform)
        self.split = split
        self.seed = seed

    def _facts(self) -> dict[str, str]:
        return {"split": self.split, **super()._facts(), "seed": str(self.seed)}


def _rotation(seeds: Tensor, dim: int) -> Tensor:
    # (C, d, d), uniform: a turn of the plane, or a unit quaternion.
    if dim == 2:
        cos, sin = circle(uniform(seeds, seeds.new_zeros(()), torch.float64), seeds).unbind(-1)
        return torch.stack([cos, -sin, sin, cos], -1).reshape(-1, 2, 2)
    draws = normal(seeds[:, None], torch.arange(4), torch.float64)
    w, x, y, z = torch.nn.functional.normalize(draws, dim=-1).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
