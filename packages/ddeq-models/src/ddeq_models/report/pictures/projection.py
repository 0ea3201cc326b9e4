"""How points of any dimension come onto paper, and how what is nearer is told from what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np

from ddeq_models.report.pictures.style import BLUE

__all__ = ["Array", "Up", "ink", "on_paper", "principal_plane", "shades", "up_of"]

Array: TypeAlias = np.ndarray[Any, np.dtype[np.floating[Any]]]
Up = Literal["y", "z"]

_AZIMUTH, _ELEVATION = np.radians(-60), np.radians(22)


def up_of(release: str) -> Up:
    """The axis that points up in clouds: in the releases of points of ModelNet it is y."""
    return "z" if release == "meshes" else "y"


def on_paper(points: Array, up: Up = "z") -> tuple[Array, Array]:
    """Where points are seen: places ``(n, 2)``, and ``(n,)`` how far behind the paper they are.

    Points in space are seen from above at an angle, without perspective; of points of more than
    three coordinates these are the first three.

    Args:
        points: ``(n, d)``.
        up: The axis that points up in space.
    """
    points = points[:, :3]
    if points.shape[1] < 3:
        return np.pad(points, ((0, 0), (0, 2 - points.shape[1]))), np.zeros(len(points))
    if up == "y":
        points = points[:, [2, 0, 1]]
    cos, sin = np.cos(_AZIMUTH), np.sin(_AZIMUTH)
    towards = np.array([np.cos(_ELEVATION) * cos, np.cos(_ELEVATION) * sin, np.sin(_ELEVATION)])
    right = np.array([-sin, cos, 0.0])
    return points @ np.stack([right, np.cross(towards, right)], 1), -points @ towards


def shades(depth: Array) -> Array:
    """From 1, of what is nearest, to 1/4, of what is farthest; 1 where all is in one plane."""
    if not len(depth):
        return depth
    shade: Array = 1 - 0.75 * (depth - depth.min()) / (np.ptp(depth) or 1.0)
    return shade


def ink(shade: Array, colour: str = BLUE) -> Array:
    """Colours ``(n, 3)`` from a pale one far away to `colour`, by their shades."""
    full = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    pale = 1 - 0.2 * (1 - full) / max(float((1 - full).max()), 1e-9)
    colours: Array = pale + shade[:, None] * (full - pale)
    return colours


def principal_plane(rows: Array) -> tuple[Callable[[Array], Array], float]:
    """The plane in which `rows` (N, h) vary most.

    Returns:
        The orthogonal projection (..., h) -> (..., 2) onto it, and the share of the variance that
        it shows.
    """
    centre = rows.mean(0)
    _, sizes, directions = np.linalg.svd(rows - centre, full_matrices=False)
    share = np.square(sizes[:2]).sum() / max(np.square(sizes).sum(), 1e-30)
    directions = directions[:2]
    # The sign of a singular vector is arbitrary: its largest entry shall be positive.
    largest = np.abs(directions).argmax(1)
    directions = directions * np.sign(directions[np.arange(len(directions)), largest])[:, None]
    if len(directions) < 2:  # one particle coordinate: the plane has a second, empty axis
        directions = np.vstack([directions, np.zeros((1, rows.shape[1]))])
    return lambda points: (points - centre) @ directions.T, float(share)
