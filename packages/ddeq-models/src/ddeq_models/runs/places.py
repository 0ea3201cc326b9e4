"""Where the files of a run go: their names, and folders that a run can have."""

import os
import re
import shlex
from pathlib import Path

from ddeq_models.config import ARRAYS
from ddeq_models.errors import UserError

CONFIG, METRICS, WEIGHTS, RESULT = (
    "config.json",
    "metrics.jsonl",
    "model.safetensors",
    "result.json",
)
CHECKPOINT, LOCK = "checkpoint.safetensors", ".lock"
CALIBRATION = "calibration.safetensors"


def is_leftover(path: Path) -> bool:
    """Whether a process that was killed left this file: a lock, or half of a file."""
    return path.name == LOCK or _PARTIAL.fullmatch(path.name) is not None


# `mkstemp` adds some letters; a file of another name this program did not make.
_FILES = "|".join(map(re.escape, (CONFIG, WEIGHTS, RESULT, CHECKPOINT, CALIBRATION)))
_PARTIAL = re.compile(rf"\.({_FILES})\.[a-z0-9_]{{1,8}}")


def check_out(path: Path) -> None:
    """See that a run can be written to `path`, without writing anything.

    Raises:
        UserError: There is something in the way.
    """
    if path.is_dir():
        if any(not is_leftover(inside) for inside in path.iterdir()):
            raise UserError(
                f"the run folder {path} is not empty; give another folder, or remove it first"
            )
    elif path.exists() or path.is_symlink():
        raise UserError(f"{path} exists and is not a folder; give another one")
    parent = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise UserError(f"cannot create the run folder {path}: {parent} is not a writable folder")


def how_to_go_on(path: Path, data: str) -> str:
    """What goes on with a run: a command, or of clouds in memory, which no command has, a call."""
    if data == ARRAYS:
        return f"go on with: ddeq_models.resume_run({str(path)!r}, sets=(...))"
    return f"go on with: ddeq train --resume {shlex.quote(str(path))}"


def new_folder(name: str) -> Path:
    """A folder that did not exist before, also when several runs start in the same moment."""
    root = Path("runs")
    root.mkdir(exist_ok=True)
    number = 1
    while True:
        path = root / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path
