"""``ddeq complete``: its options, one call, and what is said of it."""

import argparse
import sys
from typing import Any

from ddeq_models._internal.text import shown
from ddeq_models.cli.parser import Parser, add_command
from ddeq_models.cli.shared import RUN, add_columns, add_device
from ddeq_models.using.complete import complete


def add(commands: Any) -> Parser:
    """``ddeq complete``."""
    parser = add_command(
        commands,
        "complete",
        "RUN FILE... --out DIR ",
        "complete files of points",
        "Add the points that are missing to files of points, with a trained completer:\n"
        "ddeq complete mnist-completer FILE... --out DIR\n"
        "x goes to the right and y upwards. Each FILE becomes DIR/<name>.npz: all points,\n"
        "the file's first, their weights, and which were visible; and DIR/<name>.png.\n"
        "A run with data.points sees so many points of a larger file, which keeps them all.",
    )
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="npy, npz, txt, csv, xyz, pts, off, ply or pcd"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--count", type=int, metavar="N", help="points to add to each file [in the run's ratio]"
    )
    add_columns(parser)
    add_device(parser)
    return parser


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    files = complete(
        options.run,
        options.files,
        options.out,
        count=options.count,
        columns=options.columns or (),
        features=options.features or (),
        device=options.device,
    )
    for file in files:
        name, place = shown(file.file), shown(str(file.out))
        if not file.converged:
            print(f"ddeq: warning: {name}: {file.message}", file=sys.stderr)
        print(f"{name}: {file.visible} points and {file.completed} more in {place}")
