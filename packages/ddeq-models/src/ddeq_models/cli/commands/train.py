"""``ddeq train``: its options, one call, and what is said of the run."""

import argparse
from pathlib import Path
from typing import Any

from ddeq_models.cli.configure import assemble
from ddeq_models.cli.parser import HelpAll, Parser, add_command
from ddeq_models.cli.shared import add_device, add_option, add_solver, listed
from ddeq_models.cli.wording import diagnosis_table, summary
from ddeq_models.config import (
    DataConfig,
    RunConfig,
    TaskConfig,
    TrainConfig,
    differences,
    options_of,
)
from ddeq_models.data import DATA_SETS
from ddeq_models.distributed import is_first
from ddeq_models.errors import UserError
from ddeq_models.measuring.diagnose import diagnose
from ddeq_models.models.solver import SolverConfig
from ddeq_models.recipes import default_preset, recipe_for
from ddeq_models.registry import PRESETS, TASKS
from ddeq_models.runs.folder import RunFolder
from ddeq_models.training import resume_run, train
from ddeq_models.training.memory import keep_freed_memory


def add(commands: Any) -> Parser:
    """``ddeq train``."""
    parser = add_command(
        commands,
        "train",
        "",
        "train a model, test it, leave a run folder",
        "Train a model, test it, and leave a run folder with weights, figures and pictures.\n"
        "Defaults are in [brackets]; other data sets than digits have their own.",
    )
    rare = parser.rare
    what = parser.add_argument_group("what")
    what.add_argument(
        "--data", choices=DATA_SETS, metavar="NAME", help=f"{listed(DATA_SETS)} [digits]"
    )
    what.add_argument(
        "--root", type=_absolute, metavar="DIR", help="folder of its files; digits are built in"
    )
    what.add_argument(
        "--task",
        choices=tuple(TASKS),
        metavar="NAME",
        help=f"{listed(TASKS)} [the preset's, {TaskConfig.default_kind}]",
    )
    what.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        metavar="NAME",
        help=f"as 'ddeq models' lists them [{', '.join(map(default_preset, TASKS))}]",
    )
    training = parser.add_argument_group("training")
    solver = parser.add_argument_group("solver [the preset's]")
    add_solver(solver)
    more = parser.add_argument_group("more")
    # Each option of a field is told of where the field is: see `ddeq_models.config.options`.
    for config, group in ((DataConfig, what), (TrainConfig, training), (SolverConfig, solver)):
        for one in options_of(config):
            default = "" if config is SolverConfig else _default(config, one.name)
            if one.common:
                add_option(group, one, default)
            else:
                add_option(more, one, default, rare)

    what.add_argument("--out", metavar="DIR", help="the run folder [runs/<date>-<data>-<preset>]")
    what.add_argument(
        "--resume",
        metavar="auto|RUN",
        help="go on with that run; auto: with that in --out",
    )
    add_device(what)
    solver.add_argument(
        "--diagnose", action="store_true", help="look at the equilibria afterwards: ddeq diagnose"
    )
    more.add_argument(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        help="any key of a run's config.json: model.dim=32",
    )
    more.add_argument("--config", metavar="FILE", help="take such keys from a JSON file")
    more.add_argument(
        "--help-all", action=HelpAll, help="show the options that are seldom needed as well"
    )
    rare(
        more,
        "--checkpoint-every",
        "seconds between two checkpoints [30]",
        type=float,
        default=30.0,
        metavar="X",
    )
    rare(more, "--tensorboard", "write the records for TensorBoard as well", action="store_true")
    rare(more, "--compile", "ask torch.compile for the passes", action="store_true")
    rare(
        more,
        "--workers",
        "processes that prepare the clouds ahead of time [0]",
        type=int,
        default=0,
        metavar="N",
    )
    rare(more, "--quiet", "show no progress", action="store_true")
    return parser


def _default(config: type[Any], name: str) -> str:
    """The default of an option in words: the recipes', of which those of digits stand for all."""
    section = "data" if config is DataConfig else "train"
    if name == "columns":
        return "x,y,z"
    values = [getattr(getattr(recipe_for(data, "ddeq"), section), name) for data in DATA_SETS]
    first = values[0]  # of digits
    if isinstance(first, bool):
        return ""
    text = f"{first:g}" if isinstance(first, int | float) else str(first or "none")
    return text if len(set(values)) == 1 else f"digits {text}"


def _absolute(path: str) -> str:
    return str(Path(path).absolute())  # a run folder shall be of use from everywhere


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    keep_freed_memory()
    manner = {
        "device": options.device,
        "quiet": options.quiet,
        "checkpoint_every": options.checkpoint_every,
        "tensorboard": options.tensorboard,
        "compile": options.compile,
        "workers": options.workers,
    }
    if options.init and RunFolder(options.init).holds_run():
        options.init = _absolute(options.init)
    if options.resume in (None, "auto"):
        if options.resume and options.out is None:
            raise UserError("--resume auto needs --out, the run folder to go on with or to start")
        config = assemble(options)
        _check_diagnose(options, config)
        run = train(
            config.model,
            config.data,
            config.train,
            task=config.task,
            preset=config.preset,
            out=options.out,
            resume=options.resume is not None,
            **manner,
        )
    else:
        config = _check_resumed(options)
        _check_diagnose(options, config)
        run = resume_run(options.resume, root=config.data.root, **manner)
    if is_first():
        print(summary(run))
        if options.diagnose:
            print(diagnosis_table(diagnose(run.path, device=options.device)))


def _check_diagnose(options: argparse.Namespace, config: RunConfig) -> None:
    """See that there will be something to diagnose, before the training."""
    if options.diagnose and not config.model.solves:
        raise UserError(f"the model {config.model.kind} solves nothing; leave --diagnose out")


def _check_resumed(options: argparse.Namespace) -> RunConfig:
    """The run to go on with; of the other options only --root may ask for something else."""
    if options.out is not None and Path(options.out).absolute() != Path(options.resume).absolute():
        raise UserError(f"--resume {options.resume} goes on in that folder; leave --out out")
    config = RunFolder(options.resume).config()
    wanted = assemble(options, config)
    if other := differences(config, wanted):
        raise UserError(
            f"{options.resume} is a run with {', '.join(other)}; leave these options out, or start "
            "another run with --out"
        )
    return wanted
