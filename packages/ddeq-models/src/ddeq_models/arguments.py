"""The words of the command line: every option of every command, and its help."""

import argparse
import difflib
import shutil
from collections.abc import Sequence
from typing import Any, NoReturn

from ddeq_models import __version__
from ddeq_models.data import DATA_SETS, SPLITS
from ddeq_models.errors import UserError
from ddeq_models.presets import PRESETS
from ddeq_models.recipes import RECIPES


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command (`command`) and its options; those that were not given are None.

    Raises:
        UserError: An option is not known, is missing, or its value is not of its kind.
        SystemExit: After --help or --version.
    """
    parser = _Parser(
        prog="ddeq",
        description="Distributional deep equilibrium models on point clouds.",
        epilog=(
            "ddeq COMMAND --help explains a command. Start with: ddeq train\n"
            "which trains on the digits that come with the package, in about a minute."
        ),
        **_STYLE,
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


class _Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations and whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message.removeprefix('argument ')}; see {self.prog} --help")

    def refuse(self, unknown: str) -> NoReturn:
        """Raise the error for an option or argument that there is not."""
        kind = "option" if unknown.startswith("-") else "argument"
        close = difflib.get_close_matches(unknown.split("=")[0], self._option_string_actions, 1)
        hint = f"did you mean {close[0]}?" if close else f"see {self.prog} --help"
        raise UserError(f"unknown {kind} {unknown} of {self.prog}; {hint}")


def _layout(prog: str) -> argparse.HelpFormatter:
    width = min(shutil.get_terminal_size().columns, 100) - 2
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=width)


_STYLE: dict[str, Any] = {"formatter_class": _layout, "allow_abbrev": False}
_METAVARS = {int: "N", float: "X"}


def _train(commands: Any) -> _Parser:
    parser = _add(
        commands,
        "train",
        "",
        "train a model, test it, leave a run folder",
        "Train a model, test it, and leave a run folder with weights, figures and pictures.\n"
        "Defaults are in [brackets].",
    )
    data = parser.add_argument_group("data and model")
    data.add_argument(
        "--data", choices=DATA_SETS, default="digits", help="data set; digits is built in [digits]"
    )
    data.add_argument("--root", metavar="DIR", help="folder of its files (mnist: the IDX files)")
    data.add_argument("--preset", choices=tuple(PRESETS), default="ddeq", help="model [ddeq]")
    data.add_argument("--out", metavar="DIR", help="the run folder [runs/<date>-<data>-<preset>]")
    training = parser.add_argument_group("training")
    for option, kind, text in (
        ("--epochs", int, "passes over the training clouds"),
        ("--batch-size", int, "clouds in a step"),
        ("--learning-rate", float, "at its peak"),
        ("--weight-decay", float, "of the weights of linear maps"),
        ("--label-smoothing", float, "share of the target spread over all classes"),
        ("--ema", float, "decay of the weights' moving average, 0: none"),
        ("--seed", int, "of everything random"),
    ):
        name = option[2:].replace("-", "_")
        text = f"{text} [{_defaults(name)}]"
        training.add_argument(option, type=kind, metavar=_METAVARS[kind], help=text)
    training.add_argument(
        "--keep", choices=("last", "best"), help="epoch to keep, best on validation [last]"
    )
    _add_device(training)
    solver = parser.add_argument_group("solver")
    solver.add_argument(
        "--adjoint",
        choices=("implicit", "phantom"),
        metavar="NAME",
        help="implicit (exact) or phantom (one step) [the preset's]",
    )
    solver.add_argument("--rtol", type=float, metavar="X", help="relative tolerance [the preset's]")
    solver.add_argument(
        "--max-steps", type=int, metavar="N", help="budget of evaluations [the preset's]"
    )
    return parser


def _evaluate(commands: Any) -> _Parser:
    parser = _add(
        commands,
        "evaluate",
        "RUN ",
        "measure a trained model on a split",
        "Measure the model of a run folder on a split of its data set, or of another with\n"
        "the same classes. The clouds are normalised as in the training.",
    )
    parser.add_argument("run", metavar="RUN", help="the run folder")
    parser.add_argument("--data", choices=DATA_SETS, help="data set [the run's]")
    parser.add_argument("--root", metavar="DIR", help="folder of its files [the run's]")
    parser.add_argument(
        "--split",
        choices=SPLITS,
        default="test",
        metavar="SPLIT",
        help="train, validation or test [test]",
    )
    parser.add_argument(
        "--batch-size", type=int, default=256, metavar="N", help="clouds at once [256]"
    )
    _add_device(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _predict(commands: Any) -> _Parser:
    parser = _add(
        commands,
        "predict",
        "RUN FILE... ",
        "label files of points",
        "Label files of points with the model of a run folder. The clouds are normalised as\n"
        "in the training. If files are bad, all of them are named and none is predicted.",
    )
    parser.add_argument("run", metavar="RUN", help="the run folder")
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="npy, npz (points, perhaps weights), txt, csv, xyz, pts, off, ply or pcd. "
        "Without weights all points weigh the same; for digits give the pixels' values.",
    )
    _add_device(parser)
    parser.add_argument(
        "--json",
        action="store_true",
        help="print a JSON object a line: file, label, probabilities",
    )
    return parser


def _report(commands: Any) -> _Parser:
    parser = _add(
        commands,
        "report",
        "RUN... --out FILE ",
        "one HTML page about runs, side by side",
        "Write one HTML page that needs no network and no other file: results, curves,\n"
        "confusion matrix, the particles' flow and what they attend to, failures.",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="the run folders")
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="the page; one that exists is replaced"
    )
    _add_device(parser)
    return parser


def _add(commands: Any, name: str, usage: str, short: str, description: str) -> _Parser:
    parser = commands.add_parser(
        name,
        help=short,
        prog=f"ddeq {name}",
        usage=f"ddeq {name} {usage}[options]",
        description=description,
        **_STYLE,
    )
    assert isinstance(parser, _Parser)
    return parser


def _add_device(parser: Any) -> None:
    parser.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda, ... [auto]"
    )


def _defaults(name: str) -> str:
    """The default of a field of `TrainConfig` in words, for each data set where they differ."""
    by_data = {data: getattr(RECIPES[data, "ddeq"].train, name) for data in DATA_SETS}
    if len(set(by_data.values())) == 1:
        return f"{by_data[DATA_SETS[0]]:g}"
    return ", ".join(f"{data} {value:g}" for data, value in by_data.items())


_COMMANDS = {"train": _train, "evaluate": _evaluate, "predict": _predict, "report": _report}
