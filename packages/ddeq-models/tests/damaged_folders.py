"""Damaged run folders, model folders and caches: used rightly or refused in a sentence.

Each key of each JSON document is left out, or gets a value of another kind; bytes of each file are
cut, doubled or zeroed. The process may take 1 GB beyond what its imports take, and 10 seconds of
wall time for a case: then it is killed, and the case is found in a file.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from safetensors.torch import load, save

from ddeq_data import DataError
from ddeq_models import (
    DataConfig,
    DDEQConfig,
    Interrupted,
    RunFolder,
    TrainConfig,
    UserError,
    evaluate,
    predict,
    train,
)
from ddeq_models.report import write_report
from ddeq_models.runs.pretrained import save_pretrained
from ddeq_models.training import resume_run
from ddeq_models.training.optimiser import Average
from ddeq_models.training.state import _digest

MEMORY = 2**30
SECONDS = float(os.environ.get("DDEQ_FUZZ_SECONDS", "10"))  # of wall time, for a case
MISSING = object()
DEEP: Any = []
for _ in range(500):
    DEEP = [DEEP]
VALUES: tuple[Any, ...] = (
    MISSING, None, True, 0, -1, 1, 3, 1.5, -0.5, 2**31, 2**64, 10**300, float("nan"), float("inf"),
    -float("inf"), 1e308, "", "x", "ddeq", "x" * 10**6, "\ud800", "\x1b[2J", "$_$^$", "../..", [],
    {}, [0], [[]], {"kind": "pcn"}, DEEP, [1e9] * 1000, ["x"] * 1000,
)  # fmt: skip
FILES = (
    "config.json", "result.json", "metrics.jsonl", "model.safetensors", "checkpoint.safetensors",
    "data",
)  # fmt: skip


def make(root: Path) -> None:
    """A finished run, `root/whole`, one that is not, `root/half`, and their data, `root/data`."""
    chance = np.random.default_rng(0)
    for k, kind in enumerate("ab"):
        (root / "data" / kind).mkdir(parents=True)
        for i in range(10):
            np.save(root / "data" / kind / f"{i}.npy", chance.normal(size=(9, 2)) + k)
    model = DDEQConfig(
        particles=3, dim=8, heads=2, hidden=8, bilinear_dim=2, rtol=1e-2, max_steps=6
    )
    data = DataConfig("folder", root=str(root / "data"))
    plan = TrainConfig(epochs=2, batch_size=4)

    def stop(average: Average, trained: object) -> None:
        stop.left -= 1  # type: ignore[attr-defined]
        if stop.left == 0:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    stop.left = 7  # type: ignore[attr-defined]
    with mock.patch("ddeq_models.training.run.draw_if_possible"):
        with mock.patch.object(Average, "update", stop), contextlib.suppress(Interrupted):
            train(model, data, plan, out=root / "half", checkpoint_every=0, quiet=True)
        shutil.copytree(root / "half", root / "whole")
        resume_run(root / "whole", quiet=True)


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in a document."""
    for key in document if isinstance(document, dict) else ():
        yield (*path, key)
        yield from places(document[key], (*path, key))


def changed(document: Any, chance: random.Random) -> Any:
    """A document with another value somewhere, or another key."""
    document = copy.deepcopy(document)
    every = list(places(document))
    path, value = chance.choice(every), chance.choice(VALUES)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    if value is not MISSING and chance.random() < 0.05:
        inner[chance.choice(("", "kind", "\x1b", "x" * 1000))] = value
    elif value is MISSING:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return document


def bytes_changed(content: bytes, chance: random.Random) -> bytes:
    """Content of which a range is cut, doubled, zeroed or put elsewhere."""
    start = chance.randrange(len(content) + 1)
    stop = min(len(content), start + chance.choice((1, 8, 100, 10**9)))
    part = content[start:stop]
    match chance.randrange(5):
        case 0:
            return content[:start] + content[stop:]
        case 1:
            return content[:stop] + part + content[stop:]
        case 2:
            return content[:start] + bytes(len(part)) + content[stop:]
        case 3:
            return content[:start] + chance.randbytes(len(part)) + content[stop:]
        case _:
            return content[:start]


def damage(folder: Path, data: Path, chance: random.Random) -> str:
    """Damage a file of a folder; what was done, in words."""
    name = chance.choice([name for name in FILES if name == "data" or (folder / name).exists()])
    file = folder / name if name != "data" else next((data / ".processed").glob("*.clouds"))
    content = file.read_bytes()
    if name == "data" or chance.random() < 0.3:
        file.write_bytes(bytes_changed(content, chance))
        return f"bytes of {name}"
    match name:
        case "metrics.jsonl":
            lines = content.splitlines()
            at = chance.randrange(len(lines))
            lines[at] = json.dumps(changed(json.loads(lines[at]), chance)).encode()
            file.write_bytes(b"\n".join(lines) + b"\n")
        case "checkpoint.safetensors" | "model.safetensors":
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            state = json.loads(header.get("__metadata__", {}).get("state", "{}"))
            tensors = load(content)
            key = chance.choice(sorted(tensors))
            if state and chance.random() < 0.5:
                state = changed(state, chance)
            else:
                make: Callable[[torch.Tensor], torch.Tensor] = chance.choice(
                    (torch.zeros_like, lambda t: t * torch.nan, lambda t: t.double(),
                     lambda t: t.int(), lambda t: t.reshape(-1)[:1], lambda t: t > 0)
                )  # fmt: skip
                tensors[key] = make(tensors[key])
                if chance.random() < 0.3:
                    del tensors[key]
            if isinstance(state, dict) and "digest" in state and chance.random() < 0.5:
                del state["digest"]
                state["digest"] = _digest(state, tensors)  # as if nothing had happened
            file.write_bytes(save(tensors, {"state": json.dumps(state)}))
        case _:
            file.write_text(json.dumps(changed(json.loads(content), chance)))
    return name


def use(folder: Path, cloud: Path, out: Path, chance: random.Random) -> None:
    """Do with a folder what users do with it."""
    match chance.randrange(6):
        case 0 | 1:
            found = predict(folder, [cloud])
            assert all(np.isfinite(list(found[0].probabilities.values())))
        case 2:
            evaluate(folder)
        case 3:
            write_report([folder], out / "page.html")
        case 4:
            save_pretrained(folder, out / "saved")
        case _:
            run = RunFolder(folder)
            run.config(), run.metrics(), run.kept_epoch()
            resume_run(folder, quiet=True)


def fuzz(root: Path, turns: int, seed: int, most: float = float("inf")) -> dict[str, Any]:
    """So many cases, or as many as fit in some seconds: used, refused, and gone wrong."""
    end = time.monotonic() + most
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    cloud = root / "data" / "a" / "0.npy"
    chance = random.Random(seed)
    outcome: dict[str, Any] = {"used": 0, "refused": 0, "slowest": 0.0}
    wrong: list[str] = []
    with (
        tempfile.TemporaryDirectory() as place,
        mock.patch("ddeq_models.training.run.draw_if_possible"),
    ):
        work = Path(place)
        for base in ("whole", "half"):  # whatever is loaded late is loaded now
            shutil.copytree(root / base, work / base)
            predict(work / base, [cloud])
            resume_run(work / base, quiet=True)
            write_report([work / base], work / "page.html")
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for turn in range(turns):
            if time.monotonic() > end:
                break
            folder, out = work / f"{turn}", work / f"{turn}-out"
            shutil.copytree(root / chance.choice(("whole", "half")), folder)
            out.mkdir()
            what = damage(folder, root / "data", chance)
            (root / "case").write_text(f"seed {seed}, turn {turn}: {what}")
            signal.setitimer(signal.ITIMER_REAL, SECONDS)  # not handled: it ends the process
            start = time.process_time()  # of the wall, a busy machine takes its share
            try:
                use(folder, cloud, out, chance)
                outcome["used"] += 1
            except (UserError, DataError) as error:
                outcome["refused"] += 1
                if "\x1b" in str(error) or len(str(error)) > 3000:
                    wrong.append(f"turn {turn}, {what}: the message {str(error)[:500]!r}")
            except Exception as error:
                wrong.append(f"turn {turn}, {what}: {type(error).__name__}: {str(error)[:300]}")
            signal.setitimer(signal.ITIMER_REAL, 0)
            passed = time.process_time() - start
            if passed > outcome["slowest"]:
                outcome |= {"slowest": passed, "slowest_case": f"turn {turn}, {what}"}
            shutil.rmtree(folder)
            shutil.rmtree(out)
    return {**outcome, "wrong": wrong}


if __name__ == "__main__":
    root = Path(sys.argv[1])
    if not (root / "whole").exists():
        make(root)
    print(json.dumps(fuzz(root, int(sys.argv[2]), int(sys.argv[3]), *map(float, sys.argv[4:]))))
