"""Figures that are kept as they come, a line of JSON each: what was stopped goes on with them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read(path: Path | None) -> list[dict[str, Any]]:
    """What was recorded before; nothing where there is no file."""
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def append(path: Path | None, record: Mapping[str, Any]) -> None:
    """Add a record, if there is a file to keep it in."""
    if path is not None:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
