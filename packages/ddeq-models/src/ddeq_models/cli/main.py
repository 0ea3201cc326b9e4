"""The `ddeq` command: a command in, one sentence out if anything is wrong.

Only what a command needs is imported: ``ddeq --help`` answers before PyTorch would have been read.
"""

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from itertools import pairwise
from typing import Any

from ddeq_models.cli.parser import STYLE, Parser
from ddeq_models.errors import UserError

# What each command does; the module of its name in `ddeq_models.cli.commands` does it.
COMMANDS = {
    "train": "train a model, test it, leave a run folder",
    "evaluate": "measure a trained model on a split",
    "predict": "label files of points",
    "complete": "complete files of points",
    "embed": "write the features of clouds",
    "export": "write a model for programs without this package",
    "calibrate": "calibrate the answers of an older run",
    "diagnose": "look at the equilibria of a trained model",
    "report": "one HTML page about runs, side by side",
    "datasets": "list the data sets, draw or fetch one",
    "models": "list the models, show a card, save a run as one",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments; None takes those of the process.

    Returns:
        The exit code: 0, or what the error says, whose sentence then stands on standard error.
    """
    _prepare_streams()
    log, told = logging.getLogger("ddeq_models"), _Warnings()
    log.addHandler(told)
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        _module(options.command).run(options)
        sys.stdout.flush()
    except UserError as error:
        return _tell(error)
    except KeyboardInterrupt:
        print("ddeq: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        from ddeq_models._internal.text import shown  # by way of PyTorch

        name = shown(os.fsdecode(error.filename or "standard output or a file"))
        print(f"ddeq: {name}: {error.strerror or error}", file=sys.stderr)
        return 1
    except ValueError as error:
        from ddeq_data import DataError  # whose package imports PyTorch

        if not isinstance(error, DataError):
            raise
        return _tell(error)
    finally:
        log.removeHandler(told)
    return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command (`command`) and its options; those that were not given are None.

    Raises:
        UserError: An option is not known, is missing, or its value is not of its kind.
        SystemExit: After --help or --version.
    """
    parser = Parser(
        prog="ddeq",
        description="Distributional deep equilibrium models on point clouds.",
        epilog=("Start with ddeq train: digits, a minute or two. ddeq COMMAND --help explains."),
        **STYLE,
    )
    parser.add_argument("--version", action="version", version=f"ddeq {version('ddeq-models')}")
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module, or a file.py, with models, tasks or data",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    known, wanted = _before_command(argv), next((a for a in argv if a in COMMANDS), None)
    for module in known:
        import_plugin(module)
    for name, text in COMMANDS.items():
        if name == wanted:  # the options of the others are not asked for
            chosen = _module(name).add(commands)
        else:
            commands.add_parser(name, help=text)
    options, unknown = parser.parse_known_args(list(argv))
    if options.command is None:
        *most, last = COMMANDS
        parser.error(f"say what to do: {', '.join(most)} or {last}")
    if unknown:
        chosen.refuse(unknown[0])
    return options


def _module(command: str) -> Any:
    return import_module(f"ddeq_models.cli.commands.{command}")


def _before_command(argv: Sequence[str]) -> list[str]:
    """The modules to import before the options of a command can be known."""
    stop = next((i for i, word in enumerate(argv) if word in COMMANDS), len(argv))
    words = list(argv[:stop])
    joined = [word.removeprefix("--import=") for word in words if word.startswith("--import=")]
    return joined + [after for word, after in pairwise(words) if word == "--import"]


def import_plugin(module: str) -> None:
    """Import a module of the user's, from the folder the command is given in or by its path.

    Args:
        module: ``my_package.my_module``, or ``folder/my_module.py``.

    Raises:
        UserError: It cannot be imported.
    """
    folder, name = os.getcwd(), module
    if module.endswith(".py"):
        folder, name = os.path.split(os.path.abspath(module))
        name = name.removesuffix(".py")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        import_module(name)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"--import {module}: {type(error).__name__}: {error}") from error


class _Warnings(logging.Handler):
    """Prints on standard error what the package warns of, each sentence once a command."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print one, unless another process does."""
        from ddeq_models._internal.text import shown  # by way of PyTorch

        text = record.getMessage()
        if text not in self._said and os.environ.get("RANK", "0") == "0":
            self._said.add(text)
            print(f"ddeq: warning: {shown(text)}", file=sys.stderr)


def _tell(error: Exception) -> int:
    """Print what is wrong, and return the exit code."""
    from ddeq_models._internal.text import shown  # by way of PyTorch

    # What went wrong on one process only is told by the first: see `Ranks.together`.
    if os.environ.get("RANK", "0") == "0":
        lines = getattr(error, "lines", (str(error),))
        print("ddeq: " + "\n  ".join(map(shown, lines)), file=sys.stderr)
    code: int = getattr(error, "exit_code", UserError.exit_code)
    return code


def _prepare_streams() -> None:
    """See that there are streams to print to, and that no character stops a result."""
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:  # it was closed: >&-
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
