"""A training step, and a prediction, of classifiers of solids: clouds of 1,024 points in space.

Side by side on few clouds, which the largest of them need room for; and ours once more on as many
as its recipe has in a batch, where what a choice of points costs by itself, however few the clouds
are, is shared by all.
"""

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from benchmarks.live_bytes import peak_bytes
from benchmarks.products import gflop
from benchmarks.steps import Steps, solid_like
from ddeq_data import PointBatch
from ddeq_models.recipes import RECIPES, Recipe
from ddeq_models.tasks.classification import Labelled
from set_attention.local import grouping, neighbours, places, sampling

CLASSES = 40
AS_TRAINED = "as trained"
NAMES = {
    "ddeq": "ours",
    AS_TRAINED: f"ours, {RECIPES['modelnet40', 'ddeq'].train.batch_size} in a batch",
    "pointnet": "PointNet",
    "pointnet2": "PointNet++ (SSG)",
    "dgcnn": "DGCNN",
    "point-transformer": "Point Transformer",
}
# Who is near whom, and who stands for all: whatever is done about it is done in these.
SELECTIONS = (
    (neighbours, "nearest"),
    (neighbours, "in_order"),
    (grouping, "nearest"),
    (grouping, "farthest"),
    (grouping, "in_order"),
    (sampling, "farthest"),
    (sampling, "in_order"),
    (places, "in_order"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this part."""
    parser.add_argument("--solids", type=int, default=8, help="in a batch of solids, 0: none")
    parser.add_argument("--solid-points", type=int, default=1024, help="of each")
    parser.add_argument("--solid-steps", type=int, default=3, help="timed, after one that is not")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Each classifier, by its recipe on ModelNet40, on the same clouds."""
    if not options.solids:
        return {}

    def clouds(batch: int) -> list[PointBatch]:
        return list(solid_like(batch, options.solid_points, options.solid_steps + 1))

    recipes = {name: RECIPES["modelnet40", name] for name in NAMES if name != AS_TRAINED}
    ours, few = recipes["ddeq"], clouds(options.solids)
    rows = {name: measured(recipe, few) for name, recipe in recipes.items()}
    rows[AS_TRAINED] = measured(ours, clouds(ours.train.batch_size))
    return {name: rows[name] for name in NAMES}


def table(rows: dict[str, Any], batch: int, points: int) -> str:
    """A row for each classifier."""
    lines = [
        f"Solids of {points:,} points, batch {batch}",
        "",
        "| classifier | parameters | GFLOP a step | seconds a step | of it sampling, neighbours |"
        " memory of a step | predicted a second |",
        "| --- |" + " --- |" * 6,
    ]
    for name, row in rows.items():
        lines.append(
            f"| {NAMES[name]} | {row['parameters']:,} | {row['gflop']:.1f} | "
            f"{row['step_seconds']:.2f} | {row['selection_share']:.0%} | "
            f"{row['peak_bytes'] / 1e6:,.0f} MB | {row['predicted_per_second']:.1f} |"
        )
    return "\n".join(lines)


def measured(recipe: Recipe, clouds: Sequence[PointBatch]) -> dict[str, float]:
    """What a training step by that recipe takes, and a prediction; the first batch is not timed."""
    model = replace(recipe.model, point_dim=3, classes=CLASSES)
    steps = Steps(model, recipe.train, classes=CLASSES)
    inputs: list[Labelled] = [steps.prepared(batch) for batch in clouds]
    seconds, shares = [], []
    for batch in inputs:
        with _selecting() as spent:
            start = time.perf_counter()
            steps.step(batch)
            seconds.append(time.perf_counter() - start)
        shares.append(sum(spent) / seconds[-1])
    predictions = [_predict(steps.model, batch) for batch in inputs]
    return {
        "parameters": steps.parameters,
        "gflop": gflop(lambda: steps.step(inputs[-1])),
        "step_seconds": statistics.median(seconds[1:]),
        "selection_share": statistics.median(shares[1:]),
        "peak_bytes": peak_bytes(lambda: steps.step(inputs[-1])),
        "predicted_per_second": len(inputs[0].points) / statistics.median(predictions[1:]),
    }


@torch.no_grad()
def _predict(model: torch.nn.Module, batch: Labelled) -> float:
    """Seconds of a prediction of a batch."""
    model.eval()
    start = time.perf_counter()
    model(batch.points, batch.weights)
    seconds = time.perf_counter() - start
    model.train()
    return seconds


@contextmanager
def _selecting() -> Iterator[list[float]]:
    """The seconds that each call of the `SELECTIONS` takes, as they are made."""
    spent: list[float] = []
    inside = False

    def noted(function: Any) -> Any:
        def timed(*given: Any, **named: Any) -> Any:
            nonlocal inside
            if inside:
                return function(*given, **named)
            inside, start = True, time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                spent.append(time.perf_counter() - start)
                inside = False

        return timed

    before = [(module, name, getattr(module, name)) for module, name in SELECTIONS]
    for module, name, function in before:
        setattr(module, name, noted(function))
    try:
        yield spent
    finally:
        for module, name, function in before:
            setattr(module, name, function)
