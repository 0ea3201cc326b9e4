"""A change of the recipe on small sets, by their validation clouds alone: no test cloud is read.

Splits of other seeds than those of `unseen`. Each is a training of `ddeq train --data folder` with
the options of ``--set``. Every second of its validation clouds stands in the test clouds' place;
the training validates on the others, by which it may choose.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import records
from benchmarks.frozen.running import assembled
from benchmarks.unseen.driver import write
from benchmarks.unseen.sets import SETS
from benchmarks.unseen.split import split
from ddeq_models import __version__
from ddeq_models.training import train
from ddeq_models.training.memory import keep_freed_memory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--sets", nargs="+", choices=tuple(SETS), default=["vowels"])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10, 20)))
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", dest="changes", help="of `ddeq train`"
    )
    parser.add_argument("--records", type=Path, metavar="FILE", help="JSON lines to go on with")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Each set and seed, unless it is recorded; all that is recorded is told."""
    keep_freed_memory()  # as ``ddeq train`` does
    known, changes = records.read(options.records), " ".join(options.changes)
    done = {(r["set"], r["seed"], r["changes"], r["version"]) for r in known}
    for name in options.sets:
        clouds = SETS[name].make(0)
        for seed in options.seeds:
            if (name, seed, changes, __version__) in done:
                continue
            parts, start = split(clouds, seed), time.process_time()
            with tempfile.TemporaryDirectory() as place:
                root = Path(place) / "clouds"
                write(clouds, (parts[0], parts[1][::2], parts[1][1::2]), root)
                words = ["--data", "folder", "--root", str(root), "--seed", str(seed)]
                words += [word for change in options.changes for word in ("--set", change)]
                config = assembled(words)
                finished = train(
                    config.model, config.data, config.train, task=config.task,
                    preset=config.preset, out=Path(place) / "run", quiet=True,
                )  # fmt: skip
                reached = finished.result()
            record = {
                "set": name, "seed": seed, "changes": changes, "version": __version__,
                "accuracy": reached["test_accuracy"], "loss": reached["test_loss"],
                "seconds": round(time.process_time() - start, 1),
            }  # fmt: skip
            known.append(record)
            records.append(options.records, record)
    return {"records": known}


def table(figures: dict[str, Any]) -> str:
    """A row for each set, version and change."""
    lines = [
        "| set | version | change | splits | accuracy on validation, % (least to largest) | "
        "cross-entropy | s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    kept = figures["records"]
    for key in dict.fromkeys((r["set"], r["version"], r["changes"]) for r in kept):
        rows = [r for r in kept if (r["set"], r["version"], r["changes"]) == key]
        right = [100 * r["accuracy"] for r in rows]
        lines.append(
            f"| {key[0]} | {key[1]} | {key[2] or 'none'} | {len(rows)} | "
            f"{statistics.mean(right):.1f} ({min(right):.1f} to {max(right):.1f}) | "
            f"{statistics.mean(r['loss'] for r in rows):.3f} | "
            f"{statistics.mean(r['seconds'] for r in rows):.0f} |"
        )
    return "\n".join(lines)
