"""The options of `ddeq train`."""

from pathlib import Path
from typing import Any, get_args

from ddeq_models.arguments.parser import (
    SOLVER,
    HelpAll,
    Parser,
    add_columns,
    add_command,
    add_device,
    add_solver,
    listed,
)
from ddeq_models.config import Normalisation, Release
from ddeq_models.data import DATA_SETS
from ddeq_models.presets import PRESETS
from ddeq_models.recipes import DEFAULT_PRESETS, RECIPES
from ddeq_models.registry import TASKS

_METAVARS = {int: "N", float: "X"}


def add_train(commands: Any) -> Parser:
    """``ddeq train``."""
    parser = add_command(
        commands,
        "train",
        "",
        "train a model, test it, leave a run folder",
        "Train a model, test it, and leave a run folder with weights, figures and pictures.\n"
        "Defaults are in [brackets]; other data sets than digits have their own.",
    )
    group = parser.add_argument_group("what")
    group.add_argument(
        "--data", choices=DATA_SETS, metavar="NAME", help=f"{listed(DATA_SETS)} [digits]"
    )
    group.add_argument(
        "--root", type=_absolute, metavar="DIR", help="folder of its files; digits are built in"
    )
    group.add_argument(
        "--task",
        choices=tuple(TASKS),
        default="classification",
        metavar="NAME",
        help=f"{listed(TASKS)} [classification]",
    )
    group.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        metavar="NAME",
        help=f"{listed(PRESETS)} [{', '.join(DEFAULT_PRESETS.values())}]",
    )
    group.add_argument(
        "--normalise",
        choices=get_args(Normalisation),
        metavar="NAME",
        help=f"{listed(get_args(Normalisation))} [set]",
    )
    group.add_argument("--points", type=int, metavar="N", help="points of each cloud, 0: all [0]")
    group.add_argument("--out", metavar="DIR", help="the run folder [runs/<date>-<data>-<preset>]")
    group.add_argument(
        "--resume",
        metavar="auto|RUN",
        help="go on with that run; auto: with that in --out",
    )
    add_device(group)

    group = parser.add_argument_group("training")
    for option, kind, text in (
        ("--epochs", int, "passes over the training clouds"),
        ("--max-minutes", float, "that the training may take, 0: any"),
        ("--batch-size", int, "clouds in a step, of all processes"),
        ("--learning-rate", float, "at its peak"),
        ("--seed", int, "of everything random"),
    ):
        metavar, default = _METAVARS[kind], _default(option[2:].replace("-", "_"))
        group.add_argument(option, type=kind, metavar=metavar, help=f"{text} [{default}]")

    group = parser.add_argument_group("solver [the preset's]")
    add_solver(group)
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
        "--help-all", action=HelpAll, help="show the options that are seldom needed as well"
    )
    rare = parser.rare
    for option, names in SOLVER.items():
        text = f"as --solver: {listed(names)}"
        rare(group, f"--{option}", text, choices=names, metavar="NAME")
    rare(group, "--steps", "pass on until it is so many steps, at least", type=int, metavar="N")
    rare(group, "--ema", "decay of the averaged weights", type=float, metavar="X")
    rare(group, "--precision", "of the forward pass [float32]", choices=("float32", "bf16"))
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
    add_columns(group, rare)
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


def _default(name: str) -> str:
    """The default of a field of `TrainConfig` in words."""
    by_data = {data: getattr(RECIPES[data, "ddeq"].train, name) for data in DATA_SETS}
    same = len(set(by_data.values())) == 1
    return f"{by_data['digits']:g}" if same else f"digits {by_data['digits']:g}"


def _absolute(path: str) -> str:
    return str(Path(path).absolute())  # a run folder shall be of use from everywhere
