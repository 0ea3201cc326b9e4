"""How the command line is read: one parser a command, and what several of them share."""

import argparse
import difflib
import shutil
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, get_args

from ddeq_models.data import SPLITS
from ddeq_models.errors import UserError
from ddeq_models.solver import AdjointName, IntegratorName, VelocityName

# The three choices of a solver; no name is in two of them.
SOLVER: dict[str, tuple[str, ...]] = {
    "velocity": get_args(VelocityName),
    "integrator": get_args(IntegratorName),
    "adjoint": get_args(AdjointName),
}
RUN = "a run folder, a model folder, or a name: ddeq models"


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations and whose errors are one sentence."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.hidden: list[tuple[argparse.Action, str]] = []

    def error(self, message: str) -> NoReturn:
        """Raise UserError."""
        raise UserError(f"{message.removeprefix('argument ')}; see {self.prog} --help")

    def rare(self, group: Any, option: str, text: str, **settings: Any) -> None:
        """Add an option that only --help-all explains."""
        action = group.add_argument(option, help=argparse.SUPPRESS, **settings)
        self.hidden.append((action, text))

    def refuse(self, unknown: str) -> NoReturn:
        """Raise the error for an option or argument that there is not."""
        kind = "option" if unknown.startswith("-") else "argument"
        close = difflib.get_close_matches(unknown.split("=")[0], self._option_string_actions, 1)
        hint = f"did you mean {close[0]}?" if close else f"see {self.prog} --help"
        raise UserError(f"unknown {kind} {unknown} of {self.prog}; {hint}")


class HelpAll(argparse.Action):
    """Show the help with every option."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        """Print it, and end."""
        assert isinstance(parser, Parser)
        for action, text in parser.hidden:
            action.help = text
        parser.print_help()
        parser.exit()


def _layout(prog: str) -> argparse.HelpFormatter:
    width = min(shutil.get_terminal_size().columns, 100) - 2
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=width)


STYLE: dict[str, Any] = {"formatter_class": _layout, "allow_abbrev": False}


def add_command(
    commands: Any, name: str, usage: str, short: str, description: str, command: str = ""
) -> Parser:
    """A parser for ``ddeq NAME``, or for an action of it: ``ddeq COMMAND``."""
    command = command or name
    parser = commands.add_parser(
        name,
        help=short,
        prog=f"ddeq {command}",
        usage=f"ddeq {command} {usage}[options]",
        description=description,
        **STYLE,
    )
    assert isinstance(parser, Parser)
    return parser


def add_device(parser: Any) -> None:
    """The option ``--device``."""
    parser.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda, ... [auto]"
    )


def add_columns(parser: Any, add: Any = None) -> None:
    """The options ``--columns`` and ``--features``."""
    for name, text in (
        ("columns", "columns that are coordinates, by name or by number from 0 [x,y,z]"),
        ("features", "columns that the points keep beside them: nx,ny,nz [none]"),
    ):
        settings: dict[str, Any] = {"type": _names, "metavar": "A,B,..."}
        if add is None:
            parser.add_argument(f"--{name}", help=text, **settings)
        else:
            add(parser, f"--{name}", text, **settings)


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
