"""``ddeq report``: its options, one call, and what is said of it."""

import argparse
from typing import Any

from ddeq_models._internal.text import shown
from ddeq_models.cli.parser import Parser, add_command
from ddeq_models.cli.shared import add_device
from ddeq_models.report import write_report


def add(commands: Any) -> Parser:
    """``ddeq report``."""
    parser = add_command(
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
    parser.add_argument("--root", metavar="DIR", help="folder of the data [each run's]")
    add_device(parser)
    return parser


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    page = write_report(
        options.runs,
        options.out,
        root=options.root,
        device=options.device,
    )
    print(shown(str(page)))
