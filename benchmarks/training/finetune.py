"""A trained model goes on to other clouds: how many of them it takes, beside training from nothing.

The same number of steps of the same batch for every way, whole passes through the clouds: all
weights from those of the source; those with the encoder frozen; the same model from nothing; the
preset ``ddeq`` from nothing. Test clouds are measured once, at the end; nothing is chosen by any
figure. Rows are appended to ``--records`` as they come, and what is there is not done again.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import records
from ddeq_data import CloudDataset, pack
from ddeq_models import RECIPES, RunConfig, RunFolder
from ddeq_models.data import batches, framed, open_split
from ddeq_models.distributed import Ranks
from ddeq_models.measuring.measure import EVALUATION_BATCH, measure
from ddeq_models.runs.start import like_source, starting_weights
from ddeq_models.tasks.base import build_task
from ddeq_models.training.checkpoints import Manner
from ddeq_models.training.loop import fit

WAYS = ("fine-tuned", "encoder frozen", "same model from nothing", "ddeq from nothing")
WATCHED = 20  # validation clouds, which decide nothing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmark's own options."""
    parser.add_argument("--source", default="mnist-classifier", help="[mnist-classifier]")
    parser.add_argument("--data", default="digits", help="what it goes on to [digits]")
    parser.add_argument("--root", help="folder of its files")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 0], help="0: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=200, help="at least; a pass is finished [200]")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--test", type=int, default=0, help="test clouds [all]")
    parser.add_argument("--records", type=Path, metavar="FILE", help="JSON lines to go on with")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train once for each way, size and seed."""
    base = replace(RECIPES[options.data, "ddeq"].data, root=options.root)
    train_set, test_set = open_split(base, "train"), open_split(base, "test")
    watched = _some(open_split(base, "validation"), torch.arange(WATCHED))
    if options.test:
        test_set = _some(test_set, torch.arange(options.test))
    asked = {"source": options.source, "data": options.data, "steps": options.steps}
    asked |= {"batch_size": options.batch_size, "test": len(test_set)}
    rows = [row for row in records.read(options.records) if asked.items() <= row.items()]
    done = {(row["way"], row["clouds"], row["seed"]) for row in rows}
    for size in options.sizes:
        for seed in options.seeds:
            order = torch.randperm(
                len(train_set), generator=torch.Generator().manual_seed(1000 + seed)
            )
            chosen = _some(train_set, order[: size or None])
            for way in WAYS:
                if (way, len(chosen), seed) in done:
                    continue
                begin = time.perf_counter()
                row = _trained(way, options, seed, chosen, watched, test_set)
                row |= {"way": way, "clouds": len(chosen), "seed": seed, **asked}
                rows.append(row | {"seconds": time.perf_counter() - begin})
                records.append(options.records, rows[-1])
    return {**asked, "runs": rows}


def _some(clouds: CloudDataset, chosen: torch.Tensor) -> CloudDataset:
    return CloudDataset(pack(clouds.__getitems__(chosen.tolist())), clouds.classes)


def _trained(
    way: str,
    options: argparse.Namespace,
    seed: int,
    train_set: CloudDataset,
    watched: CloudDataset,
    test_set: CloudDataset,
) -> dict[str, Any]:
    recipe = RECIPES[options.data, "ddeq"]
    source = like_source(options.source, options.data)
    if way == "ddeq from nothing":
        model, data, init = recipe.model, recipe.data, ""
    else:
        model, data, init = source.model, source.data, options.source
    if way == "same model from nothing":
        init = ""
    classes = tuple(train_set.classes)
    epochs = _passes(len(train_set), options.steps, options.batch_size)
    plan = replace(
        recipe.train, epochs=epochs, steps=0, batch_size=options.batch_size, seed=seed, init=init,
        freeze="encoder" if way == "encoder frozen" else "none",
    )  # fmt: skip
    config = RunConfig(
        "benchmark",
        classes,
        framed(data, train_set),
        model.for_data(train_set.dim, len(classes), train_set.coordinates),
        plan,
    )
    task, ranks = build_task(config), Ranks(torch.device("cpu"))
    start = starting_weights(config) if init else None
    with tempfile.TemporaryDirectory() as folder:
        made = RunFolder.create(Path(folder) / "run", config)
        fit(task, train_set, watched, made, ranks, Manner(quiet=True), start=start)
        loader, _ = batches(test_set, EVALUATION_BATCH)
        figures = task.figures(measure(task, made.model(), loader, ranks.device).columns())
    return {"accuracy": figures["accuracy"], "loss": figures["loss"]}


def _passes(clouds: int, steps: int, batch_size: int) -> int:
    return -(-steps // -(-clouds // batch_size))


def table(figures: dict[str, Any]) -> str:
    """A row for each way, a column for each number of clouds: mean accuracy and spread."""
    sizes = list(dict.fromkeys(row["clouds"] for row in figures["runs"]))
    batch, least = figures["batch_size"], figures["steps"]
    steps = {n: _passes(n, least, batch) * -(-n // batch) for n in sizes}
    lines = [
        "| | " + " | ".join(f"{n:,} clouds, {steps[n]:,} steps" for n in sizes) + " |",
        "| --- |" + " --- |" * len(sizes),
    ]
    for way in WAYS:
        cells = []
        for size in sizes:
            mine = [r for r in figures["runs"] if (r["way"], r["clouds"]) == (way, size)]
            every = [r["accuracy"] for r in mine]
            cells.append(f"{statistics.mean(every):.1%} ({min(every):.1%} to {max(every):.1%})")
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    seconds = statistics.mean(row["seconds"] for row in figures["runs"])
    return "\n".join([*lines, "", f"{seconds:.0f} s a training on average"])
