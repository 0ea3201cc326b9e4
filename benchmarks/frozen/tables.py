"""Markdown tables of results: a row for each competitor, the mean over seeds and its spread."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.frozen.store import RESULTS, Entry, entries

# What is told of each kind of task: heading, key of result.json, how it is written.
FIGURES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "classification": (
        ("accuracy", "test_accuracy", ".2%"),
        ("mean over classes", "test_mean_class_accuracy", ".2%"),
        ("validation", "validation_accuracy", ".2%"),
    ),
    "completion": (
        ("energy distance", "test_energy_distance", ".4f"),
        ("Chamfer l1", "test_chamfer_l1", ".4f"),
        ("W2", "test_wasserstein", ".4f"),
        ("energy distance, whole", "test_whole_energy_distance", ".4f"),
        ("validation", "validation_energy_distance", ".4f"),
    ),
}


def table(task: str, results: Path = RESULTS) -> str:
    """The table of a task; a competitor without a result has no row."""
    rows = [one for one in entries(task, results) if one.results()]
    if not rows:
        return "Not measured yet."
    kinds = {one.config().task.kind for one in rows}
    if len(kinds) > 1:
        raise SystemExit(f"results/{task} mixes the tasks {', '.join(sorted(kinds))}")
    columns = FIGURES[kinds.pop()]
    heads = ["", *(head for head, _, _ in columns), "parameters", "minutes", "seeds", "trials"]
    lines = [f"| {' | '.join(heads)} |", "| --- |" + " --- |" * (len(heads) - 1)]
    lines += [f"| {' | '.join(_row(one, columns))} |" for one in rows]
    name = f"{task}/NAME"
    lines += ["", f"`hatch run results run {name}` makes a row again; `results/{task}` holds it."]
    return "\n".join(lines)


def _row(one: Entry, columns: Sequence[tuple[str, str, str]]) -> list[str]:
    results = list(one.results().values())
    cells = [f"`{one.name}`"]
    cells += [spread([r.get(key) for r in results], form) for _, key, form in columns]
    minutes = statistics.mean(r["seconds"] for r in results) / 60
    sizes = {r["parameters"] for r in results}
    return [
        *cells,
        "/".join(f"{size:,}" for size in sorted(sizes)),
        f"{minutes:.1f}",
        str(len(results)),
        str(len(one.trials())),
    ]


def spread(values: Sequence[Any], form: str) -> str:
    """The mean, and beside it the standard deviation over the seeds.

    There is none of validation clouds that were learnt from as well.
    """
    if None in values:
        return "learnt from"
    mean = format(statistics.mean(values), form)
    if len(values) < 2:
        return mean
    deviation = format(statistics.stdev(values), form)
    return f"{mean} ± {deviation}"
