"""The words of the command line: every option of every command, and its help."""

import argparse
from collections.abc import Sequence

from ddeq_models import __version__
from ddeq_models.arguments.data_sets import add_datasets
from ddeq_models.arguments.parser import SOLVER, STYLE, Parser
from ddeq_models.arguments.training import add_train
from ddeq_models.arguments.using import (
    add_complete,
    add_diagnose,
    add_evaluate,
    add_models,
    add_predict,
    add_report,
)

__all__ = ["SOLVER", "parse"]

_COMMANDS = {
    "train": add_train,
    "evaluate": add_evaluate,
    "predict": add_predict,
    "complete": add_complete,
    "diagnose": add_diagnose,
    "report": add_report,
    "datasets": add_datasets,
    "models": add_models,
}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command (`command`) and its options; those that were not given are None.

    Raises:
        UserError: An option is not known, is missing, or its value is not of its kind.
        SystemExit: After --help or --version.
    """
    parser = Parser(
        prog="ddeq",
        description="Distributional deep equilibrium models on point clouds.",
        epilog=(
            "ddeq COMMAND --help explains a command. Start with: ddeq train\n"
            "which trains on the digits that come with the package, in one to two minutes."
        ),
        **STYLE,
    )
    parser.add_argument("--version", action="version", version=f"ddeq {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    of_command = {name: add(commands) for name, add in _COMMANDS.items()}
    options, unknown = parser.parse_known_args(list(argv))
    if options.command is None:
        *most, last = of_command
        parser.error(f"say what to do: {', '.join(most)} or {last}")
    if unknown:
        of_command[options.command].refuse(unknown[0])
    return options
