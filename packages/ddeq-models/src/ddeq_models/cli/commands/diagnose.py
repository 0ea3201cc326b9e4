"""``ddeq diagnose``: its options, one call, and what is said of it."""

import argparse
from typing import Any

from ddeq_models._internal.files import json_line
from ddeq_models.cli.parser import Parser, add_command
from ddeq_models.cli.shared import RUN, add_device, add_split
from ddeq_models.cli.wording import diagnosis_table
from ddeq_models.measuring.diagnose import diagnose


def add(commands: Any) -> Parser:
    """``ddeq diagnose``."""
    parser = add_command(
        commands,
        "diagnose",
        "RUN ",
        "look at the equilibria of a trained model",
        "For some clouds of the run's data: the largest eigenvalues of the cell's Jacobian\n"
        "at equilibrium (all within the unit disc: the plain iteration converges), the\n"
        "residual of the linear solve behind the exact gradient, and the angle between the\n"
        "one-step phantom gradient and the exact one.",
    )
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("--clouds", type=int, default=8, metavar="N", help="how many clouds [8]")
    parser.add_argument("--root", metavar="DIR", help="folder of the data [the run's]")
    add_split(parser)
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    result = diagnose(
        options.run,
        clouds=options.clouds,
        root=options.root,
        split=options.split,
        device=options.device,
    )
    if options.json:
        print(json_line(result))
        return
    print(diagnosis_table(result))
