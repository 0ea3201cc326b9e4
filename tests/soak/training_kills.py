"""A training killed (kill -9) at random moments and resumed, against one left alone, bit for bit.

Each round starts ``ddeq train --resume auto``, waits until a random number of further steps has
been saved, and kills it a random time later, in the middle of whatever it does; one round in five
kills at a random time after the start instead. After the last kill of a training it runs to its
end. Compared are the weights and every record but its times.
"""

import argparse
import hashlib
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.nursery import nursery

from ddeq_models.cli.main import main
from ddeq_models.training import run as training

_IMPORTS = ("ddeq_models.builtin", "ddeq_models.training", "matplotlib.pyplot", "sklearn.ensemble")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the benchmark."""
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument(
        "--further", type=int, default=12, help="steps between two kills, at most [12]"
    )
    parser.add_argument("--epochs", type=int, default=6, help="of a training [6]")
    parser.add_argument("--data", default="digits", help="what is trained on [digits]")
    parser.add_argument("--root", help="folder of its files")
    parser.add_argument("--no-pictures", action="store_true", help="are drawn after a training")
    parser.add_argument("--seed", type=int, default=0, help="of the moments [0]")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train alone, then under fire, in one folder after another until there were enough kills."""
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "alone"
        begin = time.perf_counter()
        _start(alone, options)
        _finished(alone)
        seconds = time.perf_counter() - begin
        steps: list[int] = []
        same_weights, same_records = [], []
        while len(steps) < options.kills:
            killed = Path(folder) / f"killed-{len(same_weights)}"
            while len(steps) < options.kills and not (killed / "result.json").exists():
                if _killed(killed, options, rng):
                    steps.append(_saved_step(killed))
            _start(killed, options)
            _finished(killed)
            same_weights.append(_digest(alone) == _digest(killed))
            same_records.append(_records(alone) == _records(killed))
        return {
            "kills": len(steps),
            "saved_step": steps,
            "data": options.data,
            "epochs": options.epochs,
            "trainings": len(same_weights),
            "same_weights": all(same_weights),
            "same_records": all(same_records),
            "sha256": _digest(alone),
            "seconds_alone": seconds,
        }


def _killed(out: Path, options: argparse.Namespace, rng: random.Random) -> bool:
    """Start or resume a training and kill it; False if it was done before."""
    wanted = _saved_step(out) + rng.randint(1, options.further)
    _start(out, options)
    if rng.random() < 0.8:  # hit the training itself; otherwise the start may be hit
        while nursery().running() and _saved_step(out) < wanted:
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.5))
    else:
        time.sleep(rng.uniform(0.0, 8.0))
    nursery().kill()
    return nursery().wait().code != 0


def table(figures: dict[str, Any]) -> str:
    """The verdict."""
    return "\n".join(
        [
            f"{figures['data']}, {figures['epochs']} epochs, "
            f"{figures['seconds_alone']:.1f} s if left alone",
            f"killed {figures['kills']} times in {figures['trainings']} trainings; step of the "
            f"checkpoint at each kill: {figures['saved_step']}",
            f"weights the same, bit for bit: {figures['same_weights']}",
            f"records the same but for times:  {figures['same_records']}",
        ]
    )


def _start(out: Path, options: argparse.Namespace) -> None:
    words = ["train", "--resume", "auto", "--out", str(out), "--epochs", str(options.epochs)]
    words += [
        "--data",
        options.data,
        *(["--root", options.root] if options.root else []),
        "--quiet",
    ]
    words += ["--set", "train.keep=best", "--set", "model.dropout=0.1", "--checkpoint-every", "0.1"]
    nursery().start(f"{__file__}:trained", words, options.no_pictures, imports=_IMPORTS)


def trained(words: list[str], no_pictures: bool) -> int:
    """``ddeq`` with these words, in a child; its exit code."""
    if no_pictures:
        training.draw_if_possible = lambda *_: None
    return main(words)


def _finished(out: Path) -> None:
    ended = nursery().wait()
    if ended.answer != 0:
        raise RuntimeError(f"the training in {out} ended by {ended.code}: {ended.error}")


def _saved_step(folder: Path) -> int:
    """Of the checkpoint; 0 without one. A checkpoint is replaced as a whole, so it can be read.

    Only its head is, from one open file: safetensors opens it twice, and by then it may be another.
    """
    try:
        with open(folder / "checkpoint.safetensors", "rb") as file:
            head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    except OSError:
        return 0
    return int(json.loads(head["__metadata__"]["state"])["step"])


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def _records(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if not k.endswith("seconds")} for line in lines
    ]
