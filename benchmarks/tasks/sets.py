"""Generated sets whose clouds have numbers, or whose points have labels."""

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.unseen.clouds import Array, about_vertical, rotation
from benchmarks.unseen.sets_jets import jet
from benchmarks.unseen.sets_solids import boxes, surface_of
from ddeq_data import CloudDataset, PackedClouds, SyntheticBlobs

Generator = np.random.Generator
PARTS = ("leg", "plate", "back", "arm")
# What the parts of a piece of furniture are, in the order of `boxes`; the last one goes on.
_NAMED = {
    "table": ("plate", "leg"),
    "chair": ("plate", "back", "leg"),
    "sofa": ("plate", "back", "arm"),
    "bed": ("plate", "back", "leg"),
}


def solids(count: int, seed: int) -> CloudDataset:
    """The volume and second moment of a box, ellipsoid or cylinder, from points on its surface.

    128 points, turned in space; the second moment is the mean squared distance of the body's
    points, those inside, from its centre: for half extents a, b, c (a² + b² + c²) / 3 of a box and
    / 5 of an ellipsoid, (a² + b²) / 4 + c² / 3 of a cylinder.
    """
    generator = np.random.default_rng(seed)
    clouds, numbers = [], []
    for _ in range(count):
        a, b, c = generator.uniform(0.25, 0.75, 3)
        kind = int(generator.integers(3))
        if kind == 1:
            ball = generator.normal(size=(128, 3))
            points = ball / np.linalg.norm(ball, axis=1, keepdims=True) * [a, b, c]
        else:
            b = b if kind == 0 else a
            extents = (2 * a * (1 if kind == 0 else -1), 2 * b, 2 * c)
            points, _ = surface_of(generator, [(0.0, 0.0, 0.0, *extents)], 128)
        volume = a * b * c * (8.0, 4 * np.pi / 3, 2 * np.pi)[kind]
        squares = np.array([a * a, b * b, c * c])
        shares = np.array([[1 / 3] * 3, [1 / 5] * 3, [1 / 4, 1 / 4, 1 / 3]])[kind]
        clouds.append(points @ rotation(generator, 3).T + generator.normal(0.0, 0.3, 3))
        numbers.append([volume, float(shares @ squares)])
    return _of_numbers(clouds, None, numbers, ("volume", "second moment"))


def blobs(count: int, seed: int) -> CloudDataset:
    """The number of clusters of a set in the plane, and its second moment; `SyntheticBlobs`."""
    found = SyntheticBlobs("train", count=count, seed=seed)
    assert found.targets is not None
    return CloudDataset(found._clouds, ["clusters", "second moment of the set"])


def jets(count: int, seed: int) -> CloudDataset:
    """The mass of a jet in shares of its transverse momentum, from (eta, phi) and shares.

    Of massless particles: ``m² = E² - |p|²`` with ``p = pt (cos φ, sin φ, sinh η)`` and
    ``E = pt cosh η``.
    """
    generator = np.random.default_rng(seed)
    kinds = ("quark", "gluon", "W", "top")
    clouds, weights, numbers = [], [], []
    for _ in range(count):
        particles = jet(generator, kinds[int(generator.integers(4))])
        eta, phi, share = particles.T
        axes = (np.cos(phi), np.sin(phi), np.sinh(eta), np.cosh(eta))
        px, py, pz, energy = (float(share @ axis) for axis in axes)
        mass = np.sqrt(max(energy**2 - px**2 - py**2 - pz**2, 0.0))
        clouds.append(particles[:, :2])
        weights.append(share)
        numbers.append([mass / np.hypot(px, py)])
    return _of_numbers(clouds, weights, numbers, ("mass",))


def furniture(count: int, seed: int) -> CloudDataset:
    """Tables, chairs, sofas and beds, 96 points on each, and the part that each point is of.

    Upright, turned about the vertical, a size within 1.4 to either side, shifted.
    """
    generator = np.random.default_rng(seed)
    clouds, labels = [], []
    for _ in range(count):
        kind = tuple(_NAMED)[int(generator.integers(len(_NAMED)))]
        points, part = surface_of(generator, boxes(generator, kind), 96)
        points = points * np.exp(generator.normal(0.0, 0.1, 3))
        points = points @ about_vertical(generator.uniform(-np.pi, np.pi)).T
        own = np.exp(generator.uniform(-np.log(1.4), np.log(1.4)))
        clouds.append(own * (points + generator.normal(0.0, 0.3, 3)))
        named = np.array([PARTS.index(name) for name in _NAMED[kind]])
        labels.append(named[np.minimum(part, len(named) - 1)])
    offsets = torch.tensor([0, *(len(cloud) for cloud in clouds)]).cumsum(0)
    packed = PackedClouds(
        torch.from_numpy(np.concatenate(clouds)).float(),
        None,
        offsets,
        torch.zeros(count, dtype=torch.int64),
        targets=torch.from_numpy(np.concatenate(labels)),
    )
    return CloudDataset(packed, PARTS)


def _of_numbers(
    clouds: list[Array],
    weights: list[Array] | None,
    numbers: list[list[float]],
    names: tuple[str, ...],
) -> CloudDataset:
    offsets = torch.tensor([0, *(len(cloud) for cloud in clouds)]).cumsum(0)
    packed = PackedClouds(
        torch.from_numpy(np.concatenate(clouds)).float(),
        None if weights is None else torch.from_numpy(np.concatenate(weights)).float(),
        offsets,
        torch.zeros(len(clouds), dtype=torch.int64),
        targets=torch.tensor(numbers, dtype=torch.float64),
    )
    return CloudDataset(packed, names)


SETS: dict[str, Callable[[int, int], CloudDataset]] = {
    "solids": solids,
    "blobs": blobs,
    "jets": jets,
    "furniture": furniture,
}
