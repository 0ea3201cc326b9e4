"""The records of a training: ``metrics.jsonl``, a line each, appended while the run goes on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ddeq_models._internal.files import json_line, open_owned, read_owned
from ddeq_models.errors import UserError
from ddeq_models.runs.places import METRICS
from ddeq_models.runs.records import parse_records

__all__ = ["Metrics"]

_MOST = 1 << 30  # bytes: some million records


class Metrics:
    """The file of the records.

    Args:
        folder: The run folder that it is in.

    Attributes:
        path: The file.
        listeners: Functions that get every record as well.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS
        self.listeners: list[Callable[[Mapping[str, Any]], None]] = []

    def append(self, record: Mapping[str, Any]) -> None:
        """Append a record."""
        for listener in self.listeners:
            listener(record)
        handle = open_owned(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            with open(handle, "ab") as file:
                file.write((json_line(record) + "\n").encode())
        except OSError as error:  # which knows no name
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def sync(self) -> int:
        """See that the file is on the disk, and return its size in bytes."""
        try:
            handle = open_owned(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return 0
        try:
            with open(handle, "rb") as file:
                os.fsync(file.fileno())
                return os.fstat(file.fileno()).st_size
        except OSError as error:  # which knows no name
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def cut(self, size: int) -> None:
        """Leave out what a run that was killed recorded after its checkpoint.

        Args:
            size: Bytes that belong to the checkpoint.

        Raises:
            UserError: There are fewer: records are missing.
        """
        there = self.sync()
        if there < size:
            raise UserError(
                f"{self.path} has {there} bytes, {size} belong to the checkpoint: it was cut, or "
                "copied in part; copy the run folder again, or train anew with another --out"
            )
        if there > size:
            handle = open_owned(self.path, os.O_WRONLY)
            try:
                os.ftruncate(handle, size)
            finally:
                os.close(handle)

    def read(self) -> tuple[list[dict[str, Any]], int]:
        """The records, and how many lines are damaged and left out; see `parse_records`.

        Raises:
            UserError: It is no file of this folder, or cannot be read.
        """
        try:
            return parse_records(read_owned(self.path.parent, self.path.name, _MOST))
        except FileNotFoundError:
            return [], 0
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {error.strerror or error}") from error
