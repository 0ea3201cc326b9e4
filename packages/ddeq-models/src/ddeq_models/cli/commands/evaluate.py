"""``ddeq evaluate``: its options, one call, and what is said of it."""

import argparse
from typing import Any

from ddeq_models._internal.files import json_line
from ddeq_models.cli.parser import Parser, add_command
from ddeq_models.cli.shared import RUN, add_device, add_option, add_solver, add_split
from ddeq_models.config import options_of
from ddeq_models.data import DATA_SETS
from ddeq_models.measuring.evaluate import evaluate
from ddeq_models.models.solver import SolverConfig
from ddeq_models.runs.pretrained import open_model
from ddeq_models.tasks.base import build_task


def add(commands: Any) -> Parser:
    """``ddeq evaluate``."""
    parser = add_command(
        commands,
        "evaluate",
        "RUN ",
        "measure a trained model on a split",
        "Measure a trained model on a split of its data set, or of another with\n"
        "the same classes. The clouds are normalised as in the training.",
    )
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("--data", choices=DATA_SETS, metavar="NAME", help="data set [the run's]")
    parser.add_argument("--root", metavar="DIR", help="folder of its files [the run's]")
    add_split(parser)
    parser.add_argument(
        "--batch-size", type=int, default=256, metavar="N", help="clouds at once [256]"
    )
    add_solver(parser)
    for one in options_of(SolverConfig):
        if one.common:
            add_option(parser, one, "the run's")
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    result = evaluate(
        options.run,
        data=options.data,
        root=options.root,
        split=options.split,
        batch_size=options.batch_size,
        solver=options.solver,
        step=options.step,
        rtol=options.rtol,
        max_steps=options.max_steps,
        device=options.device,
    )
    if options.json:
        print(json_line(result))
        return
    print(f"{result['data']}, {result['split']}: {result['clouds']:,} clouds")
    print(build_task(open_model(options.run).config()).told(result))
    if "solver_steps_mean" in result:
        print(
            f"solver: {result['solver_steps_mean']:.1f} steps on average, at most "
            f"{result['solver_steps_max']}; residual {result['residual_mean']:.1e} on average; "
            f"{result['solver_failures']} failures; relative spread {result['spread']:.2f}"
        )
