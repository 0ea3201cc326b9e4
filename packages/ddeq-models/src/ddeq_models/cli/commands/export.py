"""``ddeq export``: its options, one call, and what is said of it."""

import argparse
from typing import Any

import torch

from ddeq_models._internal.text import shown
from ddeq_models.cli.parser import Parser, add_command
from ddeq_models.cli.shared import RUN
from ddeq_models.using.export import STEPS, export


def add(commands: Any) -> Parser:
    """``ddeq export``."""
    parser = add_command(
        commands,
        "export",
        "RUN --out FILE.pt2 ",
        "write a model for programs without this package",
        "Write a classifier as one file that PyTorch runs without this package, for any\n"
        "number of clouds and points: torch.export.load(FILE).module()(points, weights)\n"
        "gives probabilities and whether the solver converged. It is compared with the\n"
        "model before it is written. A solve is written out: that takes some minutes.",
    )
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("--out", required=True, metavar="FILE", help="NAME.pt2")
    parser.add_argument(
        "--steps", type=int, metavar="N", help=f"evaluations of the solver [{STEPS}, at most]"
    )
    return parser


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    made = export(options.run, options.out, steps=options.steps)
    several = "s" * (made.steps != 1)
    steps = f", {made.steps} evaluation{several} of the solver" if made.steps else ""
    wide = "; takes float64, since the clouds are far from 0" if made.dtype == torch.float64 else ""
    print(f"{shown(str(made.path))}{steps}; {made.difference:.1e} from the model at most{wide}")
