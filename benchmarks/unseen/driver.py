"""Small sets of clouds: the defaults, which are for none of them, beside what users have.

For each set and seed of its split: `ddeq train --data folder` as it comes, a PointNet of 60 lines
that is given as much processor time, extra trees and a support vector machine on moments, and on
request our baselines by the same command. Records are appended to ``--records`` as they come, and
what is there already is not done again: stop it and go on, or run several side by side.
"""

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from benchmarks import records
from benchmarks.unseen import pointnet, trees
from benchmarks.unseen.clouds import Clouds, Labels
from benchmarks.unseen.sets import GENERATED, SETS
from benchmarks.unseen.split import split
from ddeq_models import __version__
from ddeq_models.recipes import BASELINES, RECIPES
from ddeq_models.training import train
from ddeq_models.training.memory import keep_freed_memory

PEERS = ("pointnet-60", "trees", "svc")
OURS = ("ddeq", *BASELINES)
PARTS = ("train", "validation", "test")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--sets", nargs="+", choices=tuple(SETS), default=list(SETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--competitors", nargs="+", choices=(*OURS, *PEERS), default=["ddeq", *PEERS]
    )
    parser.add_argument("--records", type=Path, metavar="FILE", help="JSON lines to go on with")
    parser.add_argument(
        "--max-minutes", type=float, default=3.0, help="that a training may take [3]"
    )
    parser.add_argument("--epochs", type=int, help="of ours, for a trial; else as they come")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Each set, seed and competitor, unless it is recorded."""
    keep_freed_memory()  # as ``ddeq train`` does
    known = records.read(options.records)
    # Ours are done anew by another version; the later record counts.
    done = {
        (r["set"], r["seed"], r["competitor"]): r
        for r in known
        if r.get("version", __version__) == __version__
    }
    for name in options.sets:
        try:
            clouds = SETS[name].make(0)
        except ModuleNotFoundError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        for seed in options.seeds:
            for competitor in options.competitors:
                if (name, seed, competitor) in done:
                    continue
                ours = done.get((name, seed, "ddeq"), {"seconds": 30.0})
                for result in results(competitor, clouds, seed, ours["seconds"], options):
                    record = {"set": name, "seed": seed, **result}
                    if (name, seed, record["competitor"]) in done:
                        continue
                    done[name, seed, record["competitor"]] = record
                    known.append(record)
                    records.append(options.records, record)
    asked = {"set": options.sets, "seed": options.seeds, "competitor": options.competitors}
    wanted = [r for r in known if all(r[key] in values for key, values in asked.items())]
    return {"records": wanted}


def results(
    competitor: str, clouds: Clouds, seed: int, seconds: float, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Test accuracy and processor seconds of a competitor on one split."""
    parts, start = split(clouds, seed), time.process_time()
    truth = clouds.labels[parts[2]]
    if competitor in OURS:
        accuracy = trained(competitor, clouds, parts, seed, options)
        return [
            {"competitor": competitor, "accuracy": accuracy, "seconds": _since(start),
             "version": __version__}
        ]  # fmt: skip
    if competitor == "pointnet-60":
        predicted = {competitor: pointnet.fit(clouds, *parts, seconds=seconds, seed=seed)}
    else:  # one description, both of them
        found = trees.fit(clouds, parts[0], parts[2], seed=seed)
        predicted = {"trees": found.trees, "svc": found.svc}
    spent = _since(start)
    return [
        {"competitor": name, "accuracy": float((labels == truth).mean()), "seconds": spent}
        for name, labels in predicted.items()
    ]


def trained(
    preset: str,
    clouds: Clouds,
    parts: tuple[Labels, Labels, Labels],
    seed: int,
    options: argparse.Namespace,
) -> float:
    """Test accuracy of ``ddeq train --data folder`` with its defaults."""
    recipe = RECIPES["folder", preset]
    training = replace(recipe.train, seed=seed, max_minutes=options.max_minutes)
    if options.epochs is not None:
        training = replace(training, epochs=options.epochs, steps=0)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "clouds"
        write(clouds, parts, root)
        finished = train(
            recipe.model,
            replace(recipe.data, root=str(root)),
            training,
            preset=preset,
            out=Path(place) / "run",
            quiet=True,
        )
        return float(finished.result()["test_accuracy"])


def write(clouds: Clouds, parts: tuple[Labels, Labels, Labels], root: Path) -> None:
    """A split as files, class/part/number.npz, as a user would have them."""
    for part, members in zip(PARTS, parts, strict=True):
        for index in members:
            folder = root / f"{clouds.labels[index]:03d}" / part
            folder.mkdir(parents=True, exist_ok=True)
            arrays = {"points": clouds.points[index]}
            if clouds.weights is not None:
                arrays["weights"] = clouds.weights[index]
            np.savez(folder / f"{index:05d}.npz", **arrays)


def table(figures: dict[str, Any]) -> str:
    """A row for each set, and what the differences are."""
    standing = latest(figures["records"])
    accuracies = gathered(standing)
    names = [c for c in (*OURS, *PEERS) if any(c in row for row in accuracies.values())]
    lines = [
        "Test accuracy in %, mean over the splits (± half the 95 % interval of the difference to "
        "ddeq; of a mean over sets, that over the sets).",
        "",
        f"| set | splits | {' | '.join(names)} | s |",
        "| --- | --- |" + " --- |" * (len(names) + 1),
    ]
    for each in (name for name in SETS if name in accuracies):
        row = accuracies[each]
        mine = row.get("ddeq", {})
        cells = [_cell(row.get(name, {}), mine, name == "ddeq") for name in names]
        spent = [r["seconds"] for r in standing if r["set"] == each and r["competitor"] == "ddeq"]
        seconds = f"{statistics.mean(spent):.0f}" if spent else ""
        lines.append(f"| {each} | {len(mine)} | {' | '.join(cells)} | {seconds} |")
    for what, members in (("all", set(SETS)), ("real", set(SETS) - {s.name for s in GENERATED})):
        means = {
            name: {
                each: statistics.mean(row[name].values())
                for each, row in accuracies.items()
                if each in members and row.get(name)
            }
            for name in names
        }
        mine = means.get("ddeq", {})
        cells = [_cell(means[name], mine, name == "ddeq") for name in names]
        lines.append(f"| mean, {what} | | {' | '.join(cells)} | |")
    return "\n".join(lines)


def latest(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each competitor on each split the last record, which counts: of several versions of it."""
    return list({(r["set"], r["seed"], r["competitor"]): r for r in records}.values())


def gathered(records: list[dict[str, Any]]) -> dict[str, dict[str, dict[int, float]]]:
    """Accuracies by set, competitor and seed."""
    found: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for r in records:
        found[r["set"]][r["competitor"]][r["seed"]] = r["accuracy"]
    return found


def interval(ours: Mapping[Any, float], theirs: Mapping[Any, float]) -> tuple[float, float]:
    """Mean of the difference over common splits (or sets), and half its 95 % interval."""
    both = sorted(set(ours) & set(theirs))
    gaps = [ours[seed] - theirs[seed] for seed in both]
    if len(gaps) < 2:
        return (gaps[0] if gaps else float("nan")), float("nan")
    half = student.ppf(0.975, len(gaps) - 1) * statistics.stdev(gaps) / len(gaps) ** 0.5
    return statistics.mean(gaps), float(half)


def _cell(theirs: Mapping[Any, float], mine: Mapping[Any, float], is_mine: bool) -> str:
    if not theirs:
        return "–"
    mean = f"{100 * statistics.mean(theirs.values()):.1f}"
    if is_mine or not mine:
        return mean
    gap, half = interval(mine, theirs)
    if math.isnan(half):
        return mean
    mark = "**" if gap + half < 0 else ""  # ddeq is behind for sure
    return f"{mark}{mean}{mark} ± {100 * half:.1f}"


def _since(start: float) -> float:
    return round(time.process_time() - start, 2)
