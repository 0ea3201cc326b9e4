"""What a classifier calls unlike its training, and what it still tells right of changed clouds.

The test clouds of the model's own data are its false alarms. Others are made of the same clouds
(noise of each one's size and place, scaled, cut), or are of other data sets, brought to the size
and place of the model's own, so that what tells them apart is their form and their number of
points. Of changed clouds that still are of their class, the share that is told right stands beside.
Limits are those that a training chose on its validation clouds; nothing here is fitted.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ddeq_data import CloudDataset, HalfSpaceCrop, PointBatch
from ddeq_models import DataConfig, DDEQClassifier
from ddeq_models.data import entry, open_split
from ddeq_models.runs.pretrained import open_model

Array = np.ndarray[Any, Any]
Pair = tuple[Array, Array]
OTHERS = ("digits", "mnist", "shapes-2d", "shapes-3d")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmark's own options."""
    parser.add_argument(
        "--runs", nargs="+", default=["mnist-classifier"], help="[mnist-classifier]"
    )
    parser.add_argument("--root", help="folder of the files of mnist")
    parser.add_argument("--clouds", type=int, default=300, help="of each kind [300]")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Ask each model about each kind of clouds."""
    return {"clouds": options.clouds, "runs": {one: _of_run(one, options) for one in options.runs}}


def _of_run(source: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    config, model = open_model(source).config(), DDEQClassifier.load(source, device="cpu")
    reads_files = entry(config.data.name).find is not None
    root = (options.root or config.data.root) if reads_files else None
    dataset = open_split(replace(config.data, root=root), "test")
    own, truth = _clouds(dataset, options.clouds), _labels(dataset, options.clouds)
    chance = np.random.default_rng(0)
    places = np.stack([points.mean(0) for points, _ in own])
    size = float(np.median([_size(points) for points, _ in own]))
    kinds: dict[str, list[Pair]] = {"its own test clouds": own}
    for name, change in CHANGES.items():
        kinds[name] = [(change(points, chance), weights) for points, weights in own]
    for name, share in THINNED.items():
        kinds[name] = _thinned(own, share, chance)
    kinds["half cut away"] = _cut(own)
    for name in OTHERS:
        data = entry(name)
        if name == config.data.name or data.dim != config.model.point_dim:
            continue
        if data.find is not None and options.root is None:
            continue
        there = options.root if data.find is not None else None
        others = _clouds(open_split(DataConfig(name, root=there), "test"), options.clouds)
        kinds[f"{name}, in their size"] = [
            ((points - points.mean(0)) * (size / max(_size(points), 1e-9)) + place, weights)
            for (points, weights), place in zip(others, _repeated(places, others), strict=True)
        ]
    found = {name: {"unlike": float(model.unlike(known).mean())} for name, known in kinds.items()}
    for name in ("its own test clouds", *(set(CHANGES) - NOISE), *THINNED):
        told = model.predict(kinds[name])
        found[name]["right"] = float((told == model.classes_[truth]).mean())
    return found


def _repeated(places: Array, others: list[Pair]) -> Array:
    return places[np.arange(len(others)) % len(places)]


def _clouds(dataset: CloudDataset, count: int) -> list[Pair]:
    count = min(count, len(dataset))
    every = (dataset[i * len(dataset) // count] for i in range(count))
    return [(cloud.points.double().numpy(), cloud.weights.double().numpy()) for cloud in every]


def _labels(dataset: CloudDataset, count: int) -> Array:
    count = min(count, len(dataset))
    return np.array([int(dataset[i * len(dataset) // count].label) for i in range(count)])


def _size(points: Array) -> float:
    return float(np.sqrt(np.square(points - points.mean(0)).sum(1).mean()))


def _normal(points: Array, chance: np.random.Generator) -> Array:
    """Normal noise of the cloud's mean and covariance."""
    covariance = (
        np.cov(points.T, bias=True) if len(points) > 1 else np.zeros((points.shape[1],) * 2)
    )
    return chance.multivariate_normal(points.mean(0), covariance, len(points))


def _uniform(points: Array, chance: np.random.Generator) -> Array:
    """Uniform noise in the cloud's box."""
    return chance.uniform(points.min(0), points.max(0), points.shape)


def _scaled(factor: float) -> Callable[[Array, np.random.Generator], Array]:
    return lambda points, _: points.mean(0) + factor * (points - points.mean(0))


def _moved(points: Array, chance: np.random.Generator) -> Array:
    """Each point by normal noise of a twentieth of the cloud's size; half a pixel of MNIST."""
    return points + chance.normal(0, 0.05 * _size(points), points.shape)


def _turned(points: Array, chance: np.random.Generator) -> Array:
    """By 20 degrees in the plane of the first two axes."""
    turned, (sine, cosine) = points.copy(), (np.sin(np.pi / 9), np.cos(np.pi / 9))
    turned[:, :2] = (points[:, :2] - points[:, :2].mean(0)) @ [[cosine, sine], [-sine, cosine]]
    return turned + points.mean(0) - turned.mean(0)


def _thinned(own: list[Pair], share: float, chance: np.random.Generator) -> list[Pair]:
    """Each with a share of its points, one at least."""
    found = []
    for points, weights in own:
        kept = chance.permutation(len(points))[: max(1, round(share * len(points)))]
        found.append((points[kept], weights[kept] / weights[kept].sum()))
    return found


CHANGES: dict[str, Callable[[Array, np.random.Generator], Array]] = {
    "normal noise of their shape": _normal,
    "uniform noise in their box": _uniform,
    "twice as large": _scaled(2.0),
    "half as large": _scaled(0.5),
    "ten times as large": _scaled(10.0),
    "points moved by a twentieth of their size": _moved,
    "turned by 20 degrees": _turned,
}
NOISE = {"normal noise of their shape", "uniform noise in their box"}
THINNED = {"half of their points": 1 / 2, "a quarter of their points": 1 / 4}


def _cut(own: list[Pair]) -> list[Pair]:
    """Each without the half of its points that is farthest in a random direction."""
    found = []
    for seed, (points, weights) in enumerate(own):
        batch = PointBatch(
            torch.from_numpy(points)[None],
            torch.from_numpy(weights)[None],
            torch.zeros(1, dtype=torch.int64),
        )
        seen = HalfSpaceCrop(0.5)(batch, torch.Generator().manual_seed(seed)).visible
        kept = seen.weights[0] > 0
        found.append((seen.points[0][kept].numpy(), seen.weights[0][kept].numpy()))
    return found


def table(figures: dict[str, Any]) -> str:
    """A row for each kind of clouds, a column for each model; in brackets what is told right."""
    runs = figures["runs"]
    lines = [
        f"| called unlike, of {figures['clouds']} clouds | " + " | ".join(runs) + " |",
        "| --- |" + " --- |" * len(runs),
    ]
    for kind in dict.fromkeys(kind for found in runs.values() for kind in found):
        cells = (_cell(found.get(kind, {})) for found in runs.values())
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(found: dict[str, float]) -> str:
    right = f" ({found['right']:.1%})" if "right" in found else ""
    return f"{found['unlike']:.1%}{right}" if found else ""
