"""Regression beside extra trees and Deep Sets, segmentation beside PointNet, on held-back clouds.

Each set is drawn anew for each seed, which is also that of the training. Ours and the baselines are
trained by the product's own loop and by their recipes, for as many steps; segmenters take half as
many. Extra trees learn from moments and quantiles, see `benchmarks.unseen.trees`, one forest for
each number. Figures are those of the test clouds; the validation clouds decide nothing. Records are
appended to ``--records`` as they come, and what is there already is not done again.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import records
from benchmarks.tasks.sets import SETS
from benchmarks.unseen.trees import row as moments
from ddeq_data import CloudDataset
from ddeq_models.config import ARRAYS
from ddeq_models.recipes import recipe_for
from ddeq_models.tasks.regression import errors
from ddeq_models.training import train
from ddeq_models.training.memory import keep_freed_memory

SHARE_OF_STEPS = {"points": 0.5}
COMPETITORS = {
    "numbers": ("ddeq-regressor", "trees", "deep-sets-regressor"),
    "points": ("ddeq-segmenter", "pointnet-segmenter-vanilla", "pointnet-segmenter"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--sets", nargs="+", choices=tuple(SETS), default=list(SETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=300, help="of each training [300]")
    parser.add_argument(
        "--clouds", type=int, nargs=3, default=[600, 100, 300], help="of each split [600 100 300]"
    )
    parser.add_argument("--competitors", nargs="+", metavar="NAME", help="some of them [all]")
    parser.add_argument("--records", type=Path, metavar="FILE", help="JSON lines to go on with")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Each set, seed and competitor, unless it is recorded."""
    keep_freed_memory()  # as ``ddeq train`` does
    known = records.read(options.records)
    done = {(r["set"], r["seed"], r["competitor"]) for r in known}
    for name in options.sets:
        for seed in options.seeds:
            sets = split(name, seed, options.clouds)
            for competitor in COMPETITORS[sets[0].target_kind]:
                if options.competitors is not None and competitor not in options.competitors:
                    continue
                if (name, seed, competitor) in done:
                    continue
                start = time.process_time()
                figures = (
                    trees(sets, seed)
                    if competitor == "trees"
                    else trained(competitor, sets, seed, options.steps)
                )
                spent = round(time.process_time() - start, 1)
                record = {"set": name, "seed": seed, "competitor": competitor, "seconds": spent}
                known.append(record | {"figures": figures})
                records.append(options.records, known[-1])
    return {"steps": options.steps, "clouds": options.clouds, "records": known}


def split(name: str, seed: int, counts: list[int]) -> list[CloudDataset]:
    """Training, validation and test clouds, each of a draw of its own."""
    return [SETS[name](count, 1000 * seed + i) for i, count in enumerate(counts)]


def trained(preset: str, sets: list[CloudDataset], seed: int, steps: int) -> dict[str, float]:
    """Test figures of a preset: R2 of each number, or mIoU."""
    recipe = recipe_for(ARRAYS, preset)
    most = max(1, round(steps * SHARE_OF_STEPS.get(sets[0].target_kind, 1)))
    training = replace(recipe.train, seed=seed, steps=most, epochs=1)
    with tempfile.TemporaryDirectory() as place:
        finished = train(
            recipe.model,
            recipe.data,
            training,
            sets=sets,
            task=recipe.task,
            preset=preset,
            out=Path(place) / "run",
            quiet=True,
        )
        result = finished.result()
    if sets[0].target_kind == "points":
        return {name: result[f"test_{name}"] for name in ("miou", "cloud_miou")}
    return {name: known["r2"] for name, known in result["targets"].items()}


def trees(sets: list[CloudDataset], seed: int) -> dict[str, float]:
    """R2 of each number by extra trees on moments, extents and quantiles."""
    from sklearn.ensemble import ExtraTreesRegressor

    train_set, _, test_set = sets
    described = [
        np.stack(
            [
                moments(cloud.points.double().numpy(), cloud.weights.double().numpy())
                for cloud in map(some.__getitem__, range(len(some)))
            ]
        )
        for some in (train_set, test_set)
    ]
    assert train_set.targets is not None
    assert test_set.targets is not None
    figures = {}
    for i, name in enumerate(train_set.classes):
        forest = ExtraTreesRegressor(500, random_state=seed)
        forest.fit(described[0], train_set.targets[:, i].numpy())
        figures[name] = errors(test_set.targets[:, i].numpy(), forest.predict(described[1]))["r2"]
    return figures


def table(figures: dict[str, Any]) -> str:
    """A row for each number and for the labels; means over the seeds, and the least and largest."""
    train_count, _, test = figures["clouds"]
    lines = [
        f"{train_count} training and {test} test clouds, {figures['steps']} steps; mean over the "
        "seeds (least to largest).",
    ]
    records = figures["records"]
    for kind, head in (("numbers", "R2 on test clouds"), ("points", "mIoU in %")):
        names = COMPETITORS[kind]
        own = [r for r in records if r["competitor"] in names]
        if not own:
            continue
        lines += ["", f"| {head} | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
        rows = dict.fromkeys((r["set"], figure) for r in own for figure in r["figures"])
        for name, figure in rows:
            cells = []
            for competitor in names:
                values = [
                    r["figures"][figure]
                    for r in own
                    if (r["set"], r["competitor"]) == (name, competitor)
                ]
                cells.append(_cell(values, 100 if kind == "points" else 1))
            lines.append(f"| {name}, {figure.replace('_', ' ')} | {' | '.join(cells)} |")
        spent = []
        for competitor in names:
            seconds = [r["seconds"] for r in own if r["competitor"] == competitor]
            spent.append(f"{statistics.mean(seconds):.0f}" if seconds else "–")
        lines.append(f"| processor seconds | {' | '.join(spent)} |")
    return "\n".join(lines)


def _cell(values: list[float], factor: int) -> str:
    if not values:
        return "–"
    form = "{:.1f}" if factor == 100 else "{:.3f}"
    mean, least, largest = (
        form.format(factor * x) for x in (statistics.mean(values), min(values), max(values))
    )
    return f"{mean} ({least} to {largest})"
