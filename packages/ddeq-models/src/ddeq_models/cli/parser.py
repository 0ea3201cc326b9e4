"""How the command line is read: one parser a command. Nothing here imports PyTorch."""

import argparse
import difflib
import shutil
from collections.abc import Sequence
from typing import Any, NoReturn

from ddeq_models.errors import UserError


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
