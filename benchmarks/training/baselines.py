"""Every classifier, or every completer, under the same clouds, loop and figures.

Each preset is trained by its recipe, but for the same number of epochs, and tested once. The run
folders are kept where ``--out`` says, so that ``ddeq report`` can show them side by side; a preset
whose folder is complete is not trained again.
"""

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from ddeq_models.recipes import BASELINES, RECIPES
from ddeq_models.runs.folder import RunFolder
from ddeq_models.training import train
from ddeq_models.training.memory import keep_freed_memory

PRESETS = {"classification": ("ddeq", *BASELINES), "completion": ("completer-given", "pcn")}
FIGURES = {
    "classification": ("accuracy", "mean_class_accuracy", "loss"),
    "completion": ("energy_distance", "chamfer_l1", "chamfer_l2", "wasserstein", "f_score"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--task", choices=tuple(PRESETS), default="classification")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--root", help="folder of the data's files")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--presets", nargs="+", metavar="NAME")
    parser.add_argument("--out", type=Path, help="folder of the run folders [a temporary one]")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train and test each."""
    keep_freed_memory()  # as ``ddeq train`` does
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.out or Path(temporary)
        names = options.presets or PRESETS[options.task]
        rows = [_row(_trained(name, folder / name, options), options.task) for name in names]
    return {
        "task": options.task,
        "data": options.data,
        "epochs": options.epochs,
        "seed": options.seed,
        "runs": rows,
    }


def table(figures: dict[str, Any]) -> str:
    """A row for each preset."""
    names = FIGURES[figures["task"]]
    heads = ["preset", "parameters", *(name.replace("_", " ") for name in names), "ms a step"]
    lines = [
        f"{figures['task']} of {figures['data']}, {figures['epochs']} epochs each, seed "
        f"{figures['seed']}, {figures['runs'][0]['clouds']:,} test clouds",
        "",
        f"| {' | '.join(heads)} |",
        "| --- |" + " --- |" * (len(heads) - 1),
    ]
    for row in figures["runs"]:
        values = [_number(name, row[name]) for name in names]
        step = 1000 * row["step_seconds"]
        lines.append(
            f"| {row['preset']} | {row['parameters']:,} | {' | '.join(values)} | {step:.0f} |"
        )
    return "\n".join(lines)


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2%}" if "accuracy" in name else f"{value:.4f}"


def _trained(name: str, out: Path, options: argparse.Namespace) -> RunFolder:
    recipe = RECIPES[options.data, name]
    return train(
        recipe.model,
        replace(recipe.data, root=options.root),
        replace(recipe.train, epochs=options.epochs, seed=options.seed),
        task=recipe.task,
        preset=name,
        out=out,
        resume=True,
    )


def _row(run: RunFolder, task: str) -> dict[str, Any]:
    result = run.result()
    steps = [r["step_seconds"] for r in run.metrics() if r["split"] == "train"]
    return {
        "preset": result["preset"],
        "parameters": result["parameters"],
        "clouds": result["test_clouds"],
        "step_seconds": statistics.median(steps),
        **{name: result[f"test_{name}"] for name in FIGURES[task]},
    }
