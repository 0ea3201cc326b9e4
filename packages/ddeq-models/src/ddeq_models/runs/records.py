"""What ``result.json`` and ``metrics.jsonl`` may hold: one schema, checked where they are read.

Both may come from somebody else, or be damaged. A key may be missing, since older versions wrote
fewer; what is there must be of its kind. A key that is not known may hold anything, and nothing
makes use of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ddeq_models._internal.files import parse_json
from ddeq_models._internal.text import shortened
from ddeq_models.errors import UserError

__all__ = ["checked_record", "checked_result", "parse_records"]

_Check = Callable[[Any], bool]
_LARGEST = 2**53  # the largest count that every reader of JSON reads alike


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 4096


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST


def _seed(value: Any) -> bool:
    # As many as `ddeq_models.TrainConfig` takes.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _ordinal(value: Any) -> bool:
    return _count(value) and value > 0


def _figure(value: Any) -> bool:
    # A number, or null where it is not known. JSON knows no others: `parse_json` sees to that.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (number and abs(value) <= 1e300)


def _versions(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_text, [*value, *value.values()]))


def _peer(value: Any) -> bool:
    kinds = {"name": _text, "train_clouds": _count, "seconds": _figure}
    figure = "r2" if isinstance(value, dict) and "r2" in value else "accuracy"
    return isinstance(value, dict) and all(
        name in value and kind(value[name]) for name, kind in {**kinds, figure: _figure}.items()
    )


def _figures_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_text, value)) and all(map(_figure, value.values()))


def _targets(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(map(_text, value))
        and all(
            _figures_by_name(one) and {"r2", "mae", "rmse"} <= one.keys() for one in value.values()
        )
    )


def _confusion(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(row, list) and len(row) == len(value) and all(map(_count, row)) for row in value
    )


_KINDS: dict[_Check, str] = {
    _text: "text of at most 4096 characters",
    _count: "a whole number of at least 0",
    _seed: "a whole number of at least 0 and below 2^63",
    _ordinal: "a whole number of at least 1",
    _figure: "a number or null",
    _versions: "an object of texts",
    _peer: "an object of name, accuracy or r2, train_clouds and seconds",
    _figures_by_name: "an object of numbers",
    _targets: "an object of the figures r2, mae and rmse by name",
    _confusion: "a square of whole numbers of at least 0",
}
_RESULT: dict[str, _Check] = {
    **dict.fromkeys(("task", "data", "preset", "device"), _text),
    **dict.fromkeys(("parameters", "test_clouds", "validation_clouds"), _count),
    **dict.fromkeys(("epoch", "processes", "threads"), _ordinal),
    **dict.fromkeys(("solver_steps_max", "solver_failures"), _count),
    **dict.fromkeys(("seconds", "solver_steps_mean", "spread", "completed_points"), _figure),
    "temperature": _figure,
    **dict.fromkeys(("residual_mean", "residual_max"), _figure),
    "seed": _seed,
    "confusion": _confusion,
    **dict.fromkeys(("versions", "clouds"), _versions),
    "peer": _peer,
    "targets": _targets,
    "ious": _figures_by_name,
    "note": _text,
}
_RECORD: dict[str, _Check] = {
    "split": lambda value: value in ("train", "validation"),
    "epoch": _ordinal,
    "step": _ordinal,
    "kept": lambda value: isinstance(value, bool),
}
_FIGURES = ("test_", "validation_")  # what begins so is a figure
_OF_A_RECORD = (
    "loss", "accuracy", "energy_distance", "chamfer_l1", "r2", "mae", "rmse", "miou", "cloud_miou",
    "solver_steps_mean", "residual_mean", "spread", "seconds", "step_seconds", "solver_seconds",
    "learning_rate",
)  # fmt: skip


def checked_result(values: Any, classes: int | None = None) -> dict[str, Any]:
    """What a ``result.json`` holds.

    Args:
        values: The document.
        classes: How many classes the run has; None where that is of no matter.

    Raises:
        UserError: It is no object, or a value is not of its kind.
    """
    if not isinstance(values, dict):
        raise UserError(f"it must be an object, got {shortened(repr(values))}")
    for name, value in values.items():
        check = _RESULT.get(name, _figure if name.startswith(_FIGURES) else None)
        unknown = value is None and check in (_count, _seed)
        if check is not None and not unknown and not check(value):
            kind = _KINDS[check]
            raise UserError(f"{name} must be {kind}, got {shortened(repr(value))}")
    confusion = values.get("confusion")
    if confusion is not None and classes is not None and len(confusion) != classes:
        raise UserError(f"confusion must have {classes} rows, one for each class")
    return values


def checked_record(values: Any) -> dict[str, Any] | None:
    """A line of ``metrics.jsonl``, or None if it is none."""
    if not isinstance(values, dict):
        return None
    for name, value in values.items():
        check = _RECORD.get(name, _figure if name in _OF_A_RECORD else None)
        if check is not None and not check(value):
            return None
    return values


def parse_records(content: bytes) -> tuple[list[dict[str, Any]], int]:
    """The lines of a ``metrics.jsonl``, and how many of them are damaged and left out.

    A last line without an end was cut off by a crash, and counts for neither.
    """
    records, damaged = [], 0
    for line in content.split(b"\n")[:-1]:
        try:
            record = checked_record(parse_json(line))
        except ValueError:
            record = None
        if record is None:
            damaged += 1
        else:
            records.append(record)
    return records, damaged


def missing(records: Mapping[str, Any], *names: str) -> bool:
    """Whether one of some figures is not known."""
    return any(records.get(name) is None for name in names)
