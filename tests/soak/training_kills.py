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
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from safetensors import safe_open

FURTHER = 12  # steps between two kills, at most; a training of digits has 20 an epoch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the benchmark."""
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=6, help="on digits [6]")
    parser.add_argument("--seed", type=int, default=0, help="of the moments [0]")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train alone, then under fire, in one folder after another until there were enough kills."""
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "alone"
        begin = time.perf_counter()
        _start(alone, options.epochs).wait()
        seconds = time.perf_counter() - begin
        steps: list[int] = []
        same_weights, same_records = [], []
        while len(steps) < options.kills:
            killed = Path(folder) / f"killed-{len(same_weights)}"
            while len(steps) < options.kills and not (killed / "result.json").exists():
                if _killed(killed, options.epochs, rng):
                    steps.append(_saved_step(killed))
            _start(killed, options.epochs).wait()
            same_weights.append(_digest(alone) == _digest(killed))
            same_records.append(_records(alone) == _records(killed))
        return {
            "kills": len(steps),
            "saved_step": steps,
            "epochs": options.epochs,
            "trainings": len(same_weights),
            "same_weights": all(same_weights),
            "same_records": all(same_records),
            "sha256": _digest(alone),
            "seconds_alone": seconds,
        }


def _killed(out: Path, epochs: int, rng: random.Random) -> bool:
    """Start or resume a training and kill it; False if it was done before."""
    wanted = _saved_step(out) + rng.randint(1, FURTHER)
    job = _start(out, epochs)
    if rng.random() < 0.8:  # hit the training itself; otherwise the start may be hit
        while job.poll() is None and _saved_step(out) < wanted:
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.5))
    else:
        time.sleep(rng.uniform(0.0, 8.0))
    job.kill()
    return job.wait() != 0


def table(figures: dict[str, Any]) -> str:
    """The verdict."""
    return "\n".join(
        [
            f"digits, {figures['epochs']} epochs, {figures['seconds_alone']:.1f} s if left alone",
            f"killed {figures['kills']} times in {figures['trainings']} trainings; step of the "
            f"checkpoint at each kill: {figures['saved_step']}",
            f"weights the same, bit for bit: {figures['same_weights']}",
            f"records the same but for times:  {figures['same_records']}",
        ]
    )


def _start(out: Path, epochs: int) -> "subprocess.Popen[bytes]":
    words = ["train", "--resume", "auto", "--out", str(out), "--epochs", str(epochs), "--quiet"]
    words += ["--set", "train.keep=best", "--set", "model.dropout=0.1", "--checkpoint-every", "0.1"]
    return subprocess.Popen(
        [sys.executable, "-m", "ddeq_models", *words], stdout=subprocess.DEVNULL
    )


def _saved_step(folder: Path) -> int:
    """Of the checkpoint; 0 without one. A checkpoint is replaced as a whole, so it can be read."""
    try:
        with safe_open(folder / "checkpoint.safetensors", framework="pt") as file:
            return int(json.loads(file.metadata()["state"])["step"])
    except OSError:
        return 0


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def _records(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if not k.endswith("seconds")} for line in lines
    ]
