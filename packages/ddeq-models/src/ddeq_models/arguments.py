"""The words of the command line: every option of every command, and its help."""

import argparse
import difflib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args

from ddeq_models import __version__
from ddeq_models.config import Release
from ddeq_models.data import DATA_SETS, SPLITS
from ddeq_models.errors import UserError
from ddeq_models.presets import PRESETS
from ddeq_models.recipes import DEFAULT_PRESETS, RECIPES
from ddeq_models.registry import TASKS
from ddeq_models.solver import AdjointName, IntegratorName, VelocityName


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

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.hidden: list[tuple[argparse.Action, str]] = []

    def error(self, message: str) -> NoReturn:
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


class _HelpAll(argparse.Action):
    """Show the help with every option."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        assert isinstance(parser, _Parser)
        for action, text in parser.hidden:
            action.help = text
        parser.print_help()
        parser.exit()


def _layout(prog: str) -> argparse.HelpFormatter:
    width = min(shutil.get_terminal_size().columns, 100) - 2
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=width)


# The three choices of a solver; no name is in two of them.
SOLVER: dict[str, tuple[str, ...]] = {
    "velocity": get_args(VelocityName),
    "integrator": get_args(IntegratorName),
    "adjoint": get_args(AdjointName),
}
_STYLE: dict[str, Any] = {"formatter_class": _layout, "allow_abbrev": False}
_RUN = "a run folder, a model folder, or a name: ddeq models"
_METAVARS = {int: "N", float: "X"}


def _train(commands: Any) -> _Parser:
    parser = _add(
        commands,
        "train",
        "",
        "train a model, test it, leave a run folder",
        "Train a model, test it, and leave a run folder with weights, figures and pictures.\n"
        "Defaults are in [brackets]; other data sets than digits have their own.",
    )
    group = parser.add_argument_group("what")
    group.add_argument(
        "--data", choices=DATA_SETS, metavar="NAME", help=f"{_listed(DATA_SETS)} [digits]"
    )
    group.add_argument(
        "--root", type=_absolute, metavar="DIR", help="folder of its files; digits are built in"
    )
    group.add_argument(
        "--task",
        choices=tuple(TASKS),
        default="classification",
        metavar="NAME",
        help=f"{_listed(TASKS)} [classification]",
    )
    group.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        metavar="NAME",
        help=f"{_listed(PRESETS)} [{', '.join(DEFAULT_PRESETS.values())}]",
    )
    group.add_argument("--points", type=int, metavar="N", help="points of each cloud, 0: all [0]")
    group.add_argument("--out", metavar="DIR", help="the run folder [runs/<date>-<data>-<preset>]")
    group.add_argument(
        "--resume",
        metavar="auto|RUN",
        help="go on with that run; auto: with that in --out",
    )
    _add_device(group)

    group = parser.add_argument_group("training")
    for option, kind, text in (
        ("--epochs", int, "passes over the training clouds"),
        ("--batch-size", int, "clouds in a step, of all processes"),
        ("--learning-rate", float, "at its peak"),
        ("--ema", float, "decay of the averaged weights"),
        ("--seed", int, "of everything random"),
    ):
        metavar, default = _METAVARS[kind], _default(option[2:].replace("-", "_"))
        group.add_argument(option, type=kind, metavar=metavar, help=f"{text} [{default}]")
    group.add_argument(
        "--precision", choices=("float32", "bf16"), help="of the forward pass [float32]"
    )

    group = parser.add_argument_group("solver [the preset's]")
    _add_solver(group)
    group.add_argument("--step", type=float, metavar="X", help="the integrator's step")
    group.add_argument("--rtol", type=float, metavar="X", help="relative tolerance")
    group.add_argument("--max-steps", type=int, metavar="N", help="budget of evaluations")
    group.add_argument(
        "--diagnose", action="store_true", help="look at the equilibria afterwards: ddeq diagnose"
    )

    group = parser.add_argument_group("more")
    group.add_argument(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        help="any key of a run's config.json: model.dim=32",
    )
    group.add_argument("--config", metavar="FILE", help="take such keys from a JSON file")
    group.add_argument(
        "--help-all", action=_HelpAll, help="show the options that are seldom needed as well"
    )
    rare = parser.rare
    for option, names in SOLVER.items():
        text = f"as --solver: {_listed(names)}"
        rare(group, f"--{option}", text, choices=names, metavar="NAME")
    rare(group, "--weight-decay", "of the weights of linear maps", type=float, metavar="X")
    rare(
        group,
        "--label-smoothing",
        "share of the target spread over all classes",
        type=float,
        metavar="X",
    )
    rare(
        group,
        "--keep",
        "epoch to keep, the last or the best on validation [last]",
        choices=("last", "best"),
    )
    rare(
        group,
        "--patience",
        "end after N epochs without a better validation, 0: never [0]",
        type=int,
        metavar="N",
    )
    rare(group, "--schedule", "how the learning rate falls [cosine]", choices=("cosine", "step"))
    rare(group, "--release", "files of ModelNet to read [meshes]", choices=get_args(Release))
    rare(
        group,
        "--sampling",
        "points of a mesh [surface; of a folder: all there are]",
        choices=("surface", "vertices"),
    )
    rare(
        group,
        "--weighted",
        "points of images weigh as much as their pixels",
        action="store_true",
        default=None,
    )
    rare(
        group,
        "--checkpoint-every",
        "seconds between two checkpoints [30]",
        type=float,
        default=30.0,
        metavar="X",
    )
    rare(group, "--tensorboard", "write the records for TensorBoard as well", action="store_true")
    rare(group, "--quiet", "show no progress", action="store_true")
    return parser


def _evaluate(commands: Any) -> _Parser:
    parser = _add(
        commands,
        "evaluate",
        "RUN ",
        "measure a trained model on a split",
        "Measure a trained model on a split of its data set, or of another with\n"
        "the same classes. The clouds are normalised as in the training.",
    )
    parser.add_argument("run", metavar="RUN", help=_RUN)
    parser.add_argument("--data", choices=DATA_SETS, metavar="NAME", help="data set [the run's]")
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
    _add_solver(parser)
    parser.add_argument("--step", type=float, metavar="X", help="the integrator's step [the run's]")
    parser.add_argument(
        "--rtol", type=float, metavar="X", help="the solver's relative tolerance [the run's]"
    )
    parser.add_argument(
        "--max-steps", type=int, metavar="N", help="its budget of evaluations [the run's]"
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
        "Label files of points with a trained model: ddeq predict mnist-classifier FILE...\n"
        "The clouds are normalised as in the training. x goes to the right and y upwards.\n"
        "If files are bad, all of them are named and nothing is done.",
    )
    parser.add_argument("run", metavar="RUN", help=_RUN)
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


def _complete(commands: Any) -> _Parser:
    parser = _add(
        commands,
        "complete",
        "RUN FILE... --out DIR ",
        "complete files of points",
        "Add the points that are missing to files of points, with a trained completer:\n"
        "ddeq complete mnist-completer FILE... --out DIR\n"
        "x goes to the right and y upwards. Each FILE becomes DIR/<name>.npz: all points,\n"
        "the file's first, their weights, and which were visible; and DIR/<name>.png.",
    )
    parser.add_argument("run", metavar="RUN", help=_RUN)
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="npy, npz, txt, csv, xyz, pts, off, ply or pcd"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--count", type=int, metavar="N", help="points to add to each file [in the run's ratio]"
    )
    _add_device(parser)
    return parser


def _diagnose(commands: Any) -> _Parser:
    parser = _add(
        commands,
        "diagnose",
        "RUN ",
        "look at the equilibria of a trained model",
        "For some clouds of the run's data: the largest eigenvalues of the cell's Jacobian\n"
        "at equilibrium (all within the unit disc: the plain iteration converges), the\n"
        "residual of the linear solve behind the exact gradient, and the angle between the\n"
        "one-step phantom gradient and the exact one.",
    )
    parser.add_argument("run", metavar="RUN", help=_RUN)
    parser.add_argument("--clouds", type=int, default=8, metavar="N", help="how many clouds [8]")
    parser.add_argument("--root", metavar="DIR", help="folder of the data [the run's]")
    parser.add_argument(
        "--split", choices=SPLITS, default="test", metavar="SPLIT", help=f"{_listed(SPLITS)} [test]"
    )
    _add_device(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
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
    parser.add_argument("runs", metavar="RUN", nargs="+", help="run folders, or as for predict")
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="the page; one that exists is replaced"
    )
    _add_device(parser)
    return parser


def _datasets(commands: Any) -> _Parser:
    parser = _add(
        commands,
        "datasets",
        "[show NAME | get NAME] ",
        "list the data sets, draw or fetch one",
        "List the data sets, what of them is on disk, and how to get the rest.",
    )
    parser.add_argument("--root", default="data", metavar="DIR", help="folder to look in [data]")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions")
    show = _add(
        actions,
        "show",
        "NAME ",
        "draw a page of clouds",
        "Draw some clouds of each class into a PNG file.",
        command="datasets show",
    )
    get = _add(
        actions,
        "get",
        "NAME ",
        "fetch a data set",
        "Fetch a data set, unless it is there. What was cut goes on where it was.",
        command="datasets get",
    )
    for action in (show, get):
        action.add_argument("name", metavar="NAME", help="the data set; ddeq datasets lists them")
        action.add_argument(
            "--root", default=argparse.SUPPRESS, metavar="DIR", help="folder of its files [data]"
        )
        action.add_argument(
            "--release",
            choices=get_args(Release),
            help="of ModelNet: meshes, hdf5 or resampled "
            + ("[the one that is there]" if action is show else "[meshes]"),
        )
    show.add_argument(
        "--split",
        choices=SPLITS,
        default="train",
        metavar="SPLIT",
        help="train, validation or test [train]",
    )
    show.add_argument("--out", metavar="FILE", help="the picture [NAME.png]")
    return parser


def _models(commands: Any) -> _Parser:
    parser = _add(
        commands,
        "models",
        "[show NAME | save RUN DIR] ",
        "list the models, show a card, save a run as one",
        "List the architectures that can be trained, and the trained models that come with\n"
        "the package: their names stand for a run folder in every other command.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions")
    show = _add(
        actions,
        "show",
        "NAME ",
        "print a model card",
        "Print the card of a model: what it expects, how it was trained, its figures.",
        command="models show",
    )
    show.add_argument("run", metavar="NAME", help="a shipped model, or a model folder")
    save = _add(
        actions,
        "save",
        "RUN DIR ",
        "make a model folder of a run",
        "Make a model folder of a run, to keep or to pass on: config.json,\n"
        "model.safetensors and a model card, in the layout of the Hugging Face Hub.",
        command="models save",
    )
    save.add_argument("run", metavar="RUN", help="the run folder")
    save.add_argument("folder", metavar="DIR", help="empty or not there; names the model")
    save.add_argument("--license", metavar="ID", help="of the weights: mit, cc-by-4.0, ... [none]")
    return parser


def _add(
    commands: Any, name: str, usage: str, short: str, description: str, command: str = ""
) -> _Parser:
    command = command or name
    parser = commands.add_parser(
        name,
        help=short,
        prog=f"ddeq {command}",
        usage=f"ddeq {command} {usage}[options]",
        description=description,
        **_STYLE,
    )
    assert isinstance(parser, _Parser)
    return parser


def _add_device(parser: Any) -> None:
    parser.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda, ... [auto]"
    )


def _add_solver(parser: Any) -> None:
    parser.add_argument(
        "--solver",
        type=_solver,
        metavar="A/B/C",
        help="velocity, integrator and adjoint, or some of them: "
        + "; ".join(_listed(names) for names in SOLVER.values()),
    )


def _solver(text: str) -> dict[str, str]:
    """The choices by what they choose, ``frozen/euler`` say in any order."""
    chosen: dict[str, str] = {}
    for name in text.split("/"):
        kind = next((kind for kind, names in SOLVER.items() if name in names), None)
        if kind is None:
            every = [known for names in SOLVER.values() for known in names]
            raise argparse.ArgumentTypeError(f"there is no {name!r}; there are {_listed(every)}")
        if kind in chosen:
            raise argparse.ArgumentTypeError(
                f"{chosen[kind]} and {name} are both a choice of the {kind}; give one"
            )
        chosen[kind] = name
    return chosen


def _default(name: str) -> str:
    """The default of a field of `TrainConfig` in words."""
    by_data = {data: getattr(RECIPES[data, "ddeq"].train, name) for data in DATA_SETS}
    same = len(set(by_data.values())) == 1
    return f"{by_data['digits']:g}" if same else f"digits {by_data['digits']:g}"


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def _absolute(path: str) -> str:
    return str(Path(path).absolute())  # a run folder shall be of use from everywhere


_COMMANDS = {
    "train": _train,
    "evaluate": _evaluate,
    "predict": _predict,
    "complete": _complete,
    "diagnose": _diagnose,
    "report": _report,
    "datasets": _datasets,
    "models": _models,
}
