"""The folder that a run leaves behind: what is in it, and how it is written and read.

==================  =======================================================================
config.json         the run's `RunConfig`, written first
metrics.jsonl       one record a line, appended while the run goes on
model.safetensors   the weights of the epoch that is kept, replaced as a whole
checkpoint.*        the state of the training until it is complete, see `ddeq_models.state`
result.json         what came out, written when the test clouds are done
*.png               the pictures
==================  =======================================================================

A file that is not appended to is written under another name and then moved to its own in one step
of the file system: whoever reads the folder finds the file whole or not at all.
"""

import json
import os
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ddeq_models.config import RunConfig, differences
from ddeq_models.errors import UserError
from ddeq_models.files import write_atomically
from ddeq_models.registry import build_model

CONFIG, METRICS, WEIGHTS, RESULT = (
    "config.json",
    "metrics.jsonl",
    "model.safetensors",
    "result.json",
)
CHECKPOINT = "checkpoint.safetensors"


def _is_leftover(path: Path) -> bool:
    """Whether `write_atomically` was killed while it wrote this file."""
    names = (CONFIG, WEIGHTS, RESULT, CHECKPOINT)
    return any(path.name.startswith(f".{name}.") for name in names)


def check_out(path: Path) -> None:
    """See that a run can be written to `path`, without writing anything.

    Raises:
        UserError: There is something in the way.
    """
    if path.is_dir():
        if any(not _is_leftover(inside) for inside in path.iterdir()):
            raise UserError(
                f"the run folder {path} is not empty; give another --out or remove it first"
            )
    elif path.exists() or path.is_symlink():
        raise UserError(f"{path} exists and is not a folder; give another --out")
    parent = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise UserError(f"cannot create the run folder {path}: {parent} is not a writable folder")


class RunFolder:
    """One run folder.

    Args:
        path: Where it is.
        writes: Whether this process writes to it: of several, only the first does.

    Attributes:
        listeners: Functions that get every record as well.
    """

    def __init__(self, path: str | Path, *, writes: bool = True) -> None:
        self.path = Path(path)
        self.writes = writes
        self.listeners: list[Callable[[Mapping[str, Any]], None]] = []

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @classmethod
    def create(
        cls, path: str | Path | None, config: RunConfig, *, resume: bool = False
    ) -> "RunFolder":
        """Make the folder and write its ``config.json``.

        Args:
            path: Where; it may exist if it is empty. None makes
                ``runs/<date>-<data>-<preset>``, numbered from the second of a day on.
            config: The run.
            resume: Take the folder as it is if it holds a run of this configuration.

        Raises:
            UserError: The folder is not empty or cannot be made, or its run is another one.
        """
        if resume and path is not None and cls(path).holds_run():
            folder = cls(path)
            if other := differences(folder.config(), config):
                raise UserError(
                    f"{path} holds a run of another configuration, with {', '.join(other)}; give "
                    "the options it was started with, or another --out"
                )
            return folder
        try:
            if path is None:
                path = _new_folder(f"{date.today():%Y%m%d}-{config.data.name}-{config.preset}")
            else:
                check_out(Path(path))
                Path(path).mkdir(parents=True, exist_ok=True)
            folder = cls(path)
            folder._write_json(CONFIG, config.to_dict())
        except OSError as error:
            raise UserError(
                f"cannot create the run folder {path or 'runs'}: {error.strerror}; "
                "give another --out"
            ) from error
        return folder

    def holds_run(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / CONFIG).is_file()

    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        return (self.path / RESULT).is_file()

    def append(self, record: Mapping[str, Any]) -> None:
        """Append a record to ``metrics.jsonl``."""
        if not self.writes:
            return
        for listener in self.listeners:
            listener(record)
        with open(self.path / METRICS, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")

    def write_weights(self, state: Mapping[str, Tensor]) -> None:
        """Write ``model.safetensors`` from a model's ``state_dict()``."""
        if not self.writes:
            return
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        # A second entry of the metadata would come in a random order: equal weights make equal
        # files only with one.
        write_atomically(self.path / WEIGHTS, save(tensors, {"format": "pt"}))

    def sync_metrics(self) -> int:
        """See that ``metrics.jsonl`` is on the disk, and return its size in bytes."""
        path = self.path / METRICS
        if not path.is_file():
            return 0
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        return path.stat().st_size

    def clear_leftovers(self, size: int) -> None:
        """Undo what a run that was killed did after its checkpoint.

        Args:
            size: Bytes of ``metrics.jsonl`` that belong to the checkpoint.
        """
        for path in self.path.iterdir():
            if _is_leftover(path):
                path.unlink()
        if (self.path / METRICS).is_file():
            os.truncate(self.path / METRICS, size)

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write ``result.json``."""
        self._write_json(RESULT, result)

    def config(self) -> RunConfig:
        """The run's configuration.

        Raises:
            UserError: There is no such folder, or its ``config.json`` is missing or damaged.
        """
        if not self.path.is_dir():
            raise UserError(f"there is no run folder {self.path}; `ddeq train` makes one")
        try:
            text = (self.path / CONFIG).read_text(encoding="utf-8")
            config = RunConfig.from_dict(json.loads(text))
            count = getattr(config.model, "classes", len(config.classes))
            if count != len(config.classes):
                raise UserError(
                    f"model.classes is {count}, but classes names {len(config.classes)}"
                )
            return config
        except FileNotFoundError as error:
            raise UserError(
                f"{self.path} is not a run folder: it has no {CONFIG}; `ddeq train` makes one"
            ) from error
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read {self.path / CONFIG}: {error}") from error

    def model(self, device: torch.device | str = "cpu") -> nn.Module:
        """The trained model, in evaluation mode.

        Raises:
            UserError: The folder has no weights, or they are damaged or of another model.
        """
        config = self.config()
        path = self.path / WEIGHTS
        if not path.is_file():
            raise UserError(
                f"the run folder {self.path} has no {WEIGHTS}: its training ended before the "
                "first epoch did; train again"
            )
        with torch.random.fork_rng([]):  # the weights it begins with are replaced
            model = build_model(config.model_at(self.kept_epoch()))
        try:
            model.load_state_dict(load_file(path))
        except (SafetensorError, OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0].rstrip(":.")
            raise UserError(
                f"{path} is damaged or does not fit {CONFIG} ({reason}); train again"
            ) from error
        return model.to(device).eval()

    def kept_epoch(self) -> int:
        """The epoch whose weights are there; the last one, if no record tells."""
        kept = [r["epoch"] for r in self.metrics() if r.get("kept")]
        if not kept and self.is_complete():  # a model folder has no records
            kept = [epoch for epoch in [self.result().get("epoch")] if epoch]
        return int(kept[-1]) if kept else self.config().train.epochs

    def metrics(self) -> list[dict[str, Any]]:
        """The records of ``metrics.jsonl``; a last line that was cut off by a crash is left out."""
        path = self.path / METRICS
        lines = path.read_text(encoding="utf-8").splitlines(True) if path.is_file() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def result(self) -> dict[str, Any]:
        """What ``result.json`` holds.

        Raises:
            UserError: The run has no result (yet).
        """
        try:
            result = json.loads((self.path / RESULT).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read {self.path / RESULT}: {error}") from error
        return dict(result)

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        write_atomically(self.path / name, (_json(content) + "\n").encode())

    def write_picture(self, name: str, png: bytes) -> None:
        """Write a picture."""
        write_atomically(self.path / name, png)


def _json(value: Any, indent: str = "") -> str:
    """JSON with a line for each key, and lists on one line."""
    if not isinstance(value, Mapping) or not value:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    lines = [f"{indent}  {json.dumps(k)}: {_json(v, indent + '  ')}" for k, v in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def _new_folder(name: str) -> Path:
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
