"""Shapes that are made and not read: for tests, demonstrations and a first run."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ddeq_data.counters import mix, normal, stream, uniform
from ddeq_data.datasets.base import CloudDataset
from ddeq_data.datasets.splits import check_split
from ddeq_data.measures.packed import PackedClouds
from ddeq_data.transforms.base import Transform

__all__ = ["SHAPES", "SyntheticShapes"]

_SPLITS = {"train": 0, "validation": 1, "test": 2}
# What the seed of a cloud is mixed with, for draws that are independent of each other.
_SIZE, _SCALE, _TURN, _PLACE, _NOISE = range(5)
_TUBE = 0.4  # the smaller radius of a torus whose larger one is 1
_NEWTON = 8  # steps of Newton's method, of which 5 reach the last bit


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
        if dim not in SHAPES:
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
        seeds, labels = torch.cat(parts), index.repeat(len(parts)) % len(SHAPES[dim])
        number = least + torch.remainder(stream(seeds, _SIZE), largest - least + 1)
        offsets = torch.nn.functional.pad(number.cumsum(0), (1, 0))
        owner = torch.arange(len(seeds)).repeat_interleave(number)
        rank = torch.arange(len(owner)) - offsets[owner]  # of a point in its cloud
        place = stream(seeds, _PLACE)[owner]
        u, v = (uniform(place, 2 * rank + k, torch.float64) for k in range(2))
        points = torch.empty(len(owner), dim, dtype=torch.float64)
        for label, shape in enumerate(SHAPES[dim].values()):
            own = labels[owner] == label
            points[own] = shape(u[own], v[own])
        scale = 0.5 + 0.5 * uniform(stream(seeds, _SCALE), index.new_zeros(()), torch.float64)
        turn = scale[:, None, None] * _rotation(stream(seeds, _TURN), dim)
        points = (turn[owner] @ points[..., None])[..., 0]
        if noise:
            counter = dim * rank[:, None] + torch.arange(dim)
            points += noise * normal(stream(seeds, _NOISE)[owner, None], counter, torch.float64)
        clouds = PackedClouds(points.float(), None, offsets, labels)
        super().__init__(clouds, list(SHAPES[dim]), transform)
        self.split = split
        self.seed = seed

    def _facts(self) -> dict[str, str]:
        return {"split": self.split, **super()._facts(), "seed": str(self.seed)}


def _circle(u: Tensor, v: Tensor) -> Tensor:
    return torch.stack([torch.cos(2 * math.pi * u), torch.sin(2 * math.pi * u)], -1)


def _polygon(corners: int) -> Callable[[Tensor, Tensor], Tensor]:
    # The boundary of a regular polygon, all of whose sides are of one length.
    def draw(u: Tensor, v: Tensor) -> Tensor:
        side = (corners * u).floor()
        along = (corners * u - side)[:, None]
        return (1 - along) * _circle(side / corners, v) + along * _circle((side + 1) / corners, v)

    return draw


def _cross(u: Tensor, v: Tensor) -> Tensor:
    along, none = 2 * torch.frac(2 * u) - 1, torch.zeros_like(u)
    upright = (u < 0.5)[:, None]
    return torch.where(upright, torch.stack([none, along], -1), torch.stack([along, none], -1))


def _sphere(u: Tensor, v: Tensor) -> Tensor:
    # Archimedes: the height is uniform.
    height = 2 * u - 1
    return torch.cat([(1 - height.square()).sqrt()[:, None] * _circle(v, v), height[:, None]], -1)


def _cube(u: Tensor, v: Tensor) -> Tensor:
    # Corners on the unit sphere; a side, and two coordinates in it.
    side = (6 * u).floor().long()
    inner = torch.stack([6 * u - side, v], -1) * 2 - 1
    outer = 2.0 * (side % 2)[:, None] - 1
    axes = (torch.arange(3) - side[:, None] // 2) % 3
    return torch.cat([outer, inner], -1).gather(1, axes) / math.sqrt(3)


def _cylinder(u: Tensor, v: Tensor) -> Tensor:
    # Radius 1 and height 2, halved: two thirds of the area is the side, a sixth either end.
    side, end = u < 2 / 3, 6 * u - 4  # in 0..2 on the ends
    radius = torch.where(side, 1.0, torch.frac(end).clamp(min=0).sqrt())
    height = torch.where(side, 3 * u - 1, 2 * end.floor().clamp(0, 1) - 1)
    return torch.cat([radius[:, None] * _circle(v, v), height[:, None]], -1) / math.sqrt(2)


def _torus(u: Tensor, v: Tensor) -> Tensor:
    # The area is that of 1 + tube * cos(angle): Kepler's equation, angle + tube * sin(angle) = u.
    mean = 2 * math.pi * u
    angle = mean.clone()
    for _ in range(_NEWTON):
        angle -= (angle + _TUBE * angle.sin() - mean) / (1 + _TUBE * angle.cos())
    radius = 1 + _TUBE * angle.cos()
    points = torch.cat([radius[:, None] * _circle(v, v), _TUBE * angle.sin()[:, None]], -1)
    return points / (1 + _TUBE)


# By dimension and name: points (N, d) in the unit ball from N uniform numbers u and v.
SHAPES: dict[int, dict[str, Callable[[Tensor, Tensor], Tensor]]] = {
    2: {"circle": _circle, "cross": _cross, "square": _polygon(4), "triangle": _polygon(3)},
    3: {"cube": _cube, "cylinder": _cylinder, "sphere": _sphere, "torus": _torus},
}


def _rotation(seeds: Tensor, dim: int) -> Tensor:
    # (C, d, d), uniform: a turn of the plane, or a unit quaternion.
    if dim == 2:
        cos, sin = _circle(uniform(seeds, seeds.new_zeros(()), torch.float64), seeds).unbind(-1)
        return torch.stack([cos, -sin, sin, cos], -1).reshape(-1, 2, 2)
    draws = normal(seeds[:, None], torch.arange(4), torch.float64)
    w, x, y, z = torch.nn.functional.normalize(draws, dim=-1).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
