"""Test accuracy of the digits classifier over seeds, by both adjoints.

Also whether its equilibria are measures (their relative spread) and whether they depend on the
start: the distance between the equilibria reached from two random starts.
"""

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ddeq_models.data import open_split, view
from ddeq_models.models.classifier import DDEQ
from ddeq_models.recipes import RECIPES
from ddeq_models.runs.folder import RunFolder
from ddeq_models.training import train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmark's own options."""
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--adjoints", nargs="+", default=["phantom", "implicit"])
    parser.add_argument("--epochs", type=int, help="of each training [the recipe's]")
    parser.add_argument("--data", default="digits", help="what is trained on [digits]")
    parser.add_argument("--root", help="folder of its files")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train once for each seed and adjoint."""
    recipe, rows = RECIPES[options.data, "ddeq"], []
    epochs = options.epochs or recipe.train.epochs
    for adjoint in options.adjoints:
        for seed in options.seeds:
            with tempfile.TemporaryDirectory() as folder:
                finished = train(
                    replace(recipe.model, adjoint=adjoint),
                    replace(recipe.data, root=options.root),
                    replace(recipe.train, seed=seed, epochs=epochs),
                    preset="ddeq",
                    out=Path(folder) / "run",
                )
                result = finished.result()
                names = ("test_accuracy", "seconds", "solver_steps_mean", "solver_failures")
                row = {name: result[name] for name in (*names, "spread", "parameters")}
                row |= {"adjoint": adjoint, "seed": seed}
                row["start_distance"] = start_distance(finished)
                rows.append(row)
    return {"runs": rows}


def table(figures: dict[str, Any]) -> str:
    """A row for each run, and the means for each adjoint."""
    lines = [
        "| adjoint | seed | test accuracy | seconds | solver steps | failures | spread |"
        " distance from two starts |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {r['adjoint']} | {r['seed']} | {r['test_accuracy']:.2%} | {r['seconds']:.0f} | "
        f"{r['solver_steps_mean']:.1f} | {r['solver_failures']} | {r['spread']:.2f} | "
        f"{r['start_distance']:.1e} |"
        for r in figures["runs"]
    ]
    for adjoint in dict.fromkeys(r["adjoint"] for r in figures["runs"]):
        mine = [r for r in figures["runs"] if r["adjoint"] == adjoint]
        accuracy = statistics.mean(r["test_accuracy"] for r in mine)
        seconds = statistics.mean(r["seconds"] for r in mine)
        lines.append(f"| {adjoint} | mean | {accuracy:.2%} | {seconds:.0f} | | | | |")
    return "\n".join(lines)


@torch.no_grad()
def start_distance(run: RunFolder) -> float:
    """Relative distance of the equilibria of all test clouds reached from two random starts."""
    clouds, model = open_split(run.config().data, "test"), run.model()
    assert isinstance(model, DDEQ)
    batch = clouds.__getitems__(list(range(len(clouds)))).map(view(run.config().data))
    context = model.encode(batch.points, batch.weights)
    shape = (model.config.particles, model.config.dim)
    first, second = (
        model.equilibrium(
            context,
            start=torch.randn(shape, generator=torch.Generator().manual_seed(seed)),
            rtol=1e-6,
            max_steps=300,
        ).measure.points
        for seed in (0, 1)
    )
    return float((first - second).norm() / first.norm())
