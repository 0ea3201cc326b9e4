"""Options that several commands share."""

import argparse
from collections.abc import Iterable
from typing import Any, get_args

from ddeq_models.config import SPLITS, DataConfig, Option, options_of
from ddeq_models.models.solver import AdjointName, IntegratorName, VelocityName

# The three choices of a solver; no name is in two of them.
SOLVER: dict[str, tuple[str, ...]] = {
    "velocity": get_args(VelocityName),
    "integrator": get_args(IntegratorName),
    "adjoint": get_args(AdjointName),
}
RUN = "a run folder, a model folder, or a name: ddeq models"
_METAVARS: dict[type[Any], str] = {int: "N", float: "X"}


def add_device(parser: Any) -> None:
    """The option ``--device``."""
    parser.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda, ... [auto]"
    )


def add_option(
    parser: Any, one: Option, default: str = "", add: Any = None, *, text: str = ""
) -> None:
    """An option of a configuration's field.

    Args:
        parser: The parser, or a group of it.
        one: The option.
        default: What is taken without it, in words.
        add: Adds it, where that is not ``parser.add_argument``: as one that is seldom needed.
        text: Another help than that of the field.
    """
    settings: dict[str, Any] = {"type": one.kind, "metavar": _METAVARS.get(one.kind, "NAME")}
    if one.several:
        settings = {"type": _names, "metavar": "A,B,..."}
    elif one.choices:
        settings = {"choices": one.choices, "metavar": "NAME"}
    elif one.kind is bool:
        settings = {"action": "store_true", "default": None}
    said = (text or one.text) + (f" [{default}]" if default else "")
    if add is None:
        parser.add_argument(one.flag, help=said, **settings)
    else:
        add(parser, one.flag, said, **settings)


def add_columns(parser: Any) -> None:
    """The options ``--columns`` and ``--features``."""
    for one in options_of(DataConfig):
        if one.several:
            add_option(parser, one, {"columns": "x,y,z", "features": "none"}[one.name])


def _names(text: str) -> tuple[str, ...]:
    """The names between commas."""
    return tuple(name.strip() for name in text.split(","))


def add_split(parser: Any, default: str = "test") -> None:
    """The option ``--split``."""
    parser.add_argument(
        "--split",
        choices=SPLITS,
        default=default,
        metavar="SPLIT",
        help=f"{listed(SPLITS)} [{default}]",
    )


def add_solver(parser: Any) -> None:
    """The option ``--solver``."""
    parser.add_argument(
        "--solver",
        type=_solver,
        metavar="A/B/C",
        help="velocity, integrator and adjoint, or some of them: "
        + "; ".join(listed(names) for names in SOLVER.values()),
    )


def _solver(text: str) -> dict[str, str]:
    """The choices by what they choose, ``frozen/euler`` say in any order."""
    chosen: dict[str, str] = {}
    for name in text.split("/"):
        kind = next((kind for kind, names in SOLVER.items() if name in names), None)
        if kind is None:
            every = [known for names in SOLVER.values() for known in names]
            raise argparse.ArgumentTypeError(f"there is no {name!r}; there are {listed(every)}")
        if kind in chosen:
            raise argparse.ArgumentTypeError(
                f"{chosen[kind]} and {name} are both a choice of the {kind}; give one"
            )
        chosen[kind] = name
    return chosen


def listed(names: Iterable[str]) -> str:
    """Names as a sentence lists them."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
