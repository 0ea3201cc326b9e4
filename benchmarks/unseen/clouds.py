"""What a set of the suite is: clouds with labels, and how to make them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Clouds:
    """Clouds of points in one space, each with a class.

    Attributes:
        points: one (n_i, d) array a cloud, in the units of the source.
        weights: one (n_i,) array of positive weights that add up to one a cloud; None where
            every point weighs the same.
        labels: (C,) numbers of the classes.
        classes: their names.
    """

    points: list[Array]
    weights: list[Array] | None
    labels: Labels
    classes: tuple[str, ...]


@dataclass(frozen=True)
class UnseenSet:
    """One set of the suite.

    Attributes:
        name: its key.
        text: what the points and the classes are, in one line.
        make: the clouds; ``seed`` is that of the generator, a real set takes no notice of it.
        needs: the pip name of the package that ships the files; None for a generated set.
    """

    name: str
    text: str
    make: Callable[[int], Clouds]
    needs: str | None = None


Sampler = Callable[[np.random.Generator], Array]
"""Draws one cloud."""


def drawn(samplers: dict[str, Sampler], each: int, seed: int, weighted: bool = False) -> Clouds:
    """``each`` clouds of every class, in random order.

    Args:
        samplers: the law of every class.
        each: the number of clouds a class.
        seed: of the generator.
        weighted: the samplers' last column is the points' weight, of any sum.
    """
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(len(samplers)), each))
    laws = list(samplers.values())
    rows = [np.asarray(laws[label](generator), dtype=np.float64) for label in labels]
    if not weighted:
        return Clouds(rows, None, labels.astype(np.int64), tuple(samplers))
    points = [np.ascontiguousarray(cloud[:, :-1]) for cloud in rows]
    weights = [cloud[:, -1] / cloud[:, -1].sum() for cloud in rows]
    return Clouds(points, weights, labels.astype(np.int64), tuple(samplers))


def between(generator: np.random.Generator, low: int, high: int) -> int:
    """A number of points between the two, both included."""
    return int(generator.integers(low, high + 1))


def rotation(generator: np.random.Generator, dimension: int) -> Array:
    """A rotation drawn from the Haar measure."""
    q, r = np.linalg.qr(generator.normal(size=(dimension, dimension)))
    q = q * np.sign(np.diag(r))
    if np.linalg.det(q) < 0:
        q[:, 0] = -q[:, 0]
    return np.asarray(q)


def about_vertical(angle: float) -> Array:
    """The rotation of space about its third axis."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
