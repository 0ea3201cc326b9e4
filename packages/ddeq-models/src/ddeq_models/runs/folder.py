"""The folder that a run leaves behind: what is in it, and how it is written and read.

==================  =======================================================================
config.json         the run's `RunConfig`, written first
metrics.jsonl       one record a line, appended while the run goes on
model.safetensors   the weights of the epoch that is kept, replaced as a whole
calibration.*       how far answers can be trusted, see `ddeq_models.runs.calibration`
checkpoint.*        the state of the training until it is complete, see `ddeq_models.training.state`
.lock               held by the process that writes to the folder, and means nothing without it
result.json         what came out, written when the test clouds are done
*.png               the pictures
==================  =======================================================================

A file that is not appended to is written under another name and then moved to its own in one step
of the file system: whoever reads the folder finds the file whole or not at all.

A folder may come from somebody else, or be damaged. What is read is checked, see
`ddeq_models.runs.records` and `ddeq_models.config.decoding`; links that lead out of the folder are
not followed, see `ddeq_models._internal.files`; and what is damaged of the records of the training
stops neither a prediction nor an evaluation.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ddeq_data.storage import Lock
from ddeq_models._internal.files import (
    json_document,
    owned_file,
    parse_json,
    read_owned,
    write_atomically,
)
from ddeq_models.config import RunConfig, differences
from ddeq_models.errors import UserError
from ddeq_models.models.base import build_model
from ddeq_models.runs.metrics import Metrics
from ddeq_models.runs.places import (
    CHECKPOINT,
    CONFIG,
    LOCK,
    METRICS,
    RESULT,
    WEIGHTS,
    check_out,
    how_to_go_on,
    is_leftover,
    new_folder,
)
from ddeq_models.runs.records import checked_result
from ddeq_models.runs.weights import load_weights

__all__ = ["CHECKPOINT", "RunFolder", "check_out"]

_LOG = logging.getLogger(__name__)


class RunFolder:
    """One run folder.

    Args:
        path: Where it is.
        writes: Whether this process writes to it: of several, only the first does.

    Attributes:
        records: The file of its records; whoever listens to them is told there.
        identity: What the training is a training of, by name: what a checkpoint must agree with.
    """

    def __init__(self, path: str | Path, *, writes: bool = True) -> None:
        self.path = Path(path)
        self.writes = writes
        self.records = Metrics(self.path)
        self.identity: dict[str, str] = {}
        self._lock: Lock | None = None

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
            UserError: The folder is not empty or cannot be made, its run is another one, or
                another process writes to it.
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
                path = new_folder(f"{date.today():%Y%m%d}-{config.data.name}-{config.preset}")
            else:
                check_out(Path(path))
                Path(path).mkdir(parents=True, exist_ok=True)
            folder = cls(path)
            folder.claim()
            try:
                check_out(folder.path)  # once more: now nobody else can begin a run here
                folder._write_json(CONFIG, config.to_dict())
            finally:
                folder.release()
        except OSError as error:
            raise UserError(
                f"cannot create the run folder {path or 'runs'}: {error.strerror}; "
                "give another folder"
            ) from error
        return folder

    def holds_run(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / CONFIG).is_file()

    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        return (self.path / RESULT).is_file()

    def is_unfinished(self) -> bool:
        """Whether a training was begun here and did not end; a model folder has no trace of one."""
        begun = any((self.path / name).is_file() for name in (METRICS, CHECKPOINT))
        return begun and not self.is_complete()

    def claim(self) -> None:
        """Be the only process that writes here, until `release` or the end of the process.

        Raises:
            UserError: Another process is.
        """
        if self._lock is not None or not self.writes:
            return
        try:
            self._lock = Lock.take(self.path / LOCK)
        except OSError as error:
            raise UserError(
                f"cannot write to the run folder {self.path}: {error.strerror or error}"
            ) from error
        if self._lock is None:
            raise UserError(
                f"another process is writing to the run folder {self.path}; wait for it, or give "
                "another --out"
            )

    def release(self) -> None:
        """Let other processes write here."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def append(self, record: Mapping[str, Any]) -> None:
        """Append a record to ``metrics.jsonl``."""
        if self.writes:
            self.records.append(record)

    def write_weights(self, state: Mapping[str, Tensor]) -> None:
        """Write ``model.safetensors`` from a model's ``state_dict()``."""
        if not self.writes:
            return
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        # A second entry of the metadata would come in a random order: equal weights make equal
        # files only with one.
        write_atomically(self.path / WEIGHTS, save(tensors, {"format": "pt"}))

    def clear_leftovers(self, size: int) -> None:
        """Undo what a run that was killed did after its checkpoint.

        Args:
            size: Bytes of ``metrics.jsonl`` that belong to the checkpoint.

        Raises:
            UserError: There are fewer: records are missing.
        """
        for path in self.path.iterdir():
            if is_leftover(path) and path.name != LOCK:
                path.unlink()
        self.records.cut(size)

    def write_root(self, root: str | None) -> None:
        """Say in ``config.json`` where the files of the data are now."""
        config = self.config()
        if self.writes and config.data.root != root:
            moved = replace(config, data=replace(config.data, root=root))
            self._write_json(CONFIG, moved.to_dict())

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
            config = RunConfig.from_dict(parse_json(read_owned(self.path, CONFIG)))
            for name in ("classes", "outputs"):
                count = getattr(config.model, name, len(config.classes))
                if count != len(config.classes):
                    raise UserError(
                        f"model.{name} is {count}, but classes names {len(config.classes)}"
                    )
            return config
        except FileNotFoundError as error:
            raise UserError(
                f"{self.path} is not a run folder: it has no {CONFIG}; `ddeq train` makes one"
            ) from error
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read {self.path / CONFIG}: {_reason(error)}") from error

    def model(self, device: torch.device | str = "cpu") -> nn.Module:
        """The trained model, in evaluation mode.

        Who only reads the folder is warned of a training that did not end.

        Raises:
            UserError: The folder has no weights, or they are damaged or of another model.
        """
        config = self.config()
        path = self.path / WEIGHTS
        if not path.is_file():
            raise UserError(
                f"the run folder {self.path} has no {WEIGHTS}: its training ended before the "
                f"first epoch did; {self._how_to_go_on() or 'train again'}"
            )
        epoch = self.kept_epoch()
        with torch.random.fork_rng([]):  # the weights it begins with are replaced
            model = build_model(config.model_at(epoch))
        load_weights(model, owned_file(self.path, WEIGHTS))
        trains = self.writes or self.identity  # of several processes all know what they train
        if not trains and self.is_unfinished():
            go_on = self._how_to_go_on()
            _LOG.warning(
                "the training of %s is not finished: these are its weights after epoch %d of %d%s",
                self.path, epoch, config.train.epochs, go_on and f"; {go_on}",
            )  # fmt: skip
        return model.to(device).eval()

    def kept_epoch(self) -> int:
        """The epoch whose weights are there; the last one, if no record tells."""
        config = self.config()
        if not config.train.solver_phases:  # then no setting of the model depends on it
            return self._known_epoch(strict=False) or config.train.epochs
        return self._known_epoch(strict=True) or config.train.epochs

    def _known_epoch(self, *, strict: bool) -> int | None:
        # What is damaged of the records is no reason not to use the weights, unless they decide
        # how the model solves.
        try:
            kept = [r["epoch"] for r in self.metrics() if r.get("kept") and "epoch" in r]
            if not kept and self.is_complete():  # a model folder has no records
                kept = [epoch for epoch in [self.result().get("epoch")] if epoch]
        except UserError:
            if strict:
                raise
            return None
        return int(kept[-1]) if kept else None

    def metrics(self) -> list[dict[str, Any]]:
        """The records of ``metrics.jsonl``; a last line that was cut off by a crash is left out.

        Lines that are damaged are left out; `damaged_records` counts them.

        Raises:
            UserError: It is no file of this folder, or cannot be read.
        """
        return self.records.read()[0]

    def damaged_records(self) -> int:
        """How many lines of ``metrics.jsonl`` are no records."""
        return self.records.read()[1]

    def result(self) -> dict[str, Any]:
        """What ``result.json`` holds; see `ddeq_models.runs.records`.

        Raises:
            UserError: The run has no result (yet), or it is damaged.
        """
        try:
            return checked_result(parse_json(read_owned(self.path, RESULT)))
        except (OSError, ValueError) as error:
            stopped = isinstance(error, FileNotFoundError) and self._how_to_go_on()
            if stopped:
                raise UserError(
                    f"{self.path} has no {RESULT}: its training is not finished; {stopped}"
                ) from error
            raise UserError(f"cannot read {self.path / RESULT}: {_reason(error)}") from error

    def _how_to_go_on(self) -> str:
        # With a checkpoint there is nothing to train anew.
        begun = (self.path / CHECKPOINT).is_file()
        return how_to_go_on(self.path, self.config().data.name) if begun else ""

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        write_atomically(self.path / name, (json_document(content) + "\n").encode())

    def write_picture(self, name: str, png: bytes) -> None:
        """Write a picture."""
        write_atomically(self.path / name, png)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
