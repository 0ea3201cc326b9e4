"""Figures that are made and not read: curves in the plane, surfaces in space."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["FIGURES", "circle"]

_TUBE = 0.4  # the smaller radius of a torus whose larger one is 1
_NEWTON = 8  # steps of Newton's method, of which 5 reach the last bit


def circle(u: Tensor, v: Tensor) -> Tensor:
    """Return points (..., 2) of the unit circle, u turns round from (1, 0); v is of no use."""
    return torch.stack([torch.cos(2 * math.pi * u), torch.sin(2 * math.pi * u)], -1)


def _polygon(corners: int) -> Callable[[Tensor, Tensor], Tensor]:
    # The boundary of a regular polygon, all of whose sides are of one length.
    def draw(u: Tensor, v: Tensor) -> Tensor:
        side = (corners * u).floor()
        along = (corners * u - side)[:, None]
        return (1 - along) * circle(side / corners, v) + along * circle((side + 1) / corners, v)

    return draw


def _cross(u: Tensor, v: Tensor) -> Tensor:
    along, none = 2 * torch.frac(2 * u) - 1, torch.zeros_like(u)
    upright = (u < 0.5)[:, None]
    return torch.where(upright, torch.stack([none, along], -1), torch.stack([along, none], -1))


def _sphere(u: Tensor, v: Tensor) -> Tensor:
    # Archimedes: the height is uniform.
    height = 2 * u - 1
    return torch.cat([(1 - height.square()).sqrt()[:, None] * circle(v, v), height[:, None]], -1)


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
    return torch.cat([radius[:, None] * circle(v, v), height[:, None]], -1) / math.sqrt(2)


def _torus(u: Tensor, v: Tensor) -> Tensor:
    # The area is that of 1 + tube * cos(angle): Kepler's equation, angle + tube * sin(angle) = u.
    mean = 2 * math.pi * u
    angle = mean.clone()
    for _ in range(_NEWTON):
        angle -= (angle + _TUBE * angle.sin() - mean) / (1 + _TUBE * angle.cos())
    radius = 1 + _TUBE * angle.cos()
    points = torch.cat([radius[:, None] * circle(v, v), _TUBE * angle.sin()[:, None]], -1)
    return points / (1 + _TUBE)


# By dimension and name: points (N, d) in the unit ball from N uniform numbers u and v.
FIGURES: dict[int, dict[str, Callable[[Tensor, Tensor], Tensor]]] = {
    2: {"circle": circle, "cross": _cross, "square": _polygon(4), "triangle": _polygon(3)},
    3: {"cube": _cube, "cylinder": _cylinder, "sphere": _sphere, "torus": _torus},
}
