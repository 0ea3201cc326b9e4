"""What a training step and a prediction cost, against points, particles and clouds in a batch.

Clouds on the surface of made-up solids, the classifiers of the ModelNet40 recipes; what does not
vary is as there, but for the batch. Growth is the exponent ``p`` of ``cost ~ value^p`` between the
last two values of a row: 1 is in proportion, 0 is free. Particles are of the equilibrium: what has
none is left out there.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.steps import solid_like
from benchmarks.training.solids import AS_TRAINED, NAMES, measured
from ddeq_models.recipes import RECIPES, Recipe
from ddeq_models.training.memory import keep_freed_memory

COMPETITORS = {name: title for name, title in NAMES.items() if name != AS_TRAINED}
COSTS = {
    "step_seconds": ("ms a step", ".0f", 1e3),
    "peak_bytes": ("MB of a step", ".0f", 1e-6),
    "prediction_seconds": ("ms a prediction", ".1f", 1e3),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--points", type=int, nargs="*", default=[256, 512, 1024, 2048, 4096])
    parser.add_argument("--particles", type=int, nargs="*", default=[4, 8, 16, 32, 64, 128])
    parser.add_argument("--clouds", type=int, nargs="*", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--at", type=int, nargs=2, default=[1024, 8], metavar=("POINTS", "CLOUDS"))
    parser.add_argument("--steps", type=int, default=3, help="timed, after one that is not")
    parser.add_argument(
        "--models", nargs="+", choices=tuple(COMPETITORS), default=["ddeq", "pointnet"]
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Each cost at each value, for each model and axis."""
    keep_freed_memory()  # as ``ddeq train`` does
    points, clouds = options.at
    rows = []
    for name in options.models:
        recipe = RECIPES["modelnet40", name]
        for axis in ("points", "particles", "clouds"):
            if axis == "particles" and not hasattr(recipe.model, axis):
                continue
            for value in getattr(options, axis):
                sizes = {"points": points, "clouds": clouds} | {axis: value}
                costs = _costs(_with_particles(recipe, sizes), sizes, options.steps)
                rows.append({"model": name, "axis": axis, "value": value, **costs})
    return {"points": points, "clouds": clouds, "rows": rows}


def table(figures: dict[str, Any]) -> str:
    """A table for each axis, a row for each model and cost."""
    lines = [f"{figures['points']:,} points and {figures['clouds']} clouds where not said"]
    for axis in dict.fromkeys(row["axis"] for row in figures["rows"]):
        rows = [row for row in figures["rows"] if row["axis"] == axis]
        values = list(dict.fromkeys(row["value"] for row in rows))
        heads = [axis, *(f"{value:,}" for value in values), "growth"]
        lines += ["", f"| {' | '.join(heads)} |", "| --- |" + " --- |" * (len(heads) - 1)]
        for name in dict.fromkeys(row["model"] for row in rows):
            own = [row for row in rows if row["model"] == name]
            for cost, (title, form, unit) in COSTS.items():
                cells = [format(unit * row[cost], form) for row in own]
                cells.append(f"{growth(own, cost):.2f}")
                lines.append(f"| {COMPETITORS[name]}, {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def growth(rows: Sequence[dict[str, Any]], cost: str) -> float:
    """The exponent between the last two of the rows."""
    if len(rows) < 2:
        return math.nan
    (x, a), (y, b) = ((row["value"], row[cost]) for row in rows[-2:])
    return math.log(b / a) / math.log(y / x)


def _with_particles(recipe: Recipe, sizes: dict[str, int]) -> Recipe:
    if "particles" not in sizes:
        return recipe
    return replace(recipe, model=replace(recipe.model, particles=sizes["particles"]))


def _costs(recipe: Recipe, sizes: dict[str, int], steps: int) -> dict[str, float]:
    batches = list(solid_like(sizes["clouds"], sizes["points"], steps + 1))
    costs = measured(recipe, batches)
    costs["prediction_seconds"] = sizes["clouds"] / costs["predicted_per_second"]
    return {cost: costs[cost] for cost in COSTS}
