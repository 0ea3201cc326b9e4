"""``ddeq embed``: its options, one call, and what is said of it."""

import argparse
import sys
from typing import Any

from ddeq_data import CloudDataset
from ddeq_models._internal.text import shown
from ddeq_models.cli.parser import Parser, add_command
from ddeq_models.cli.shared import RUN, add_columns, add_device, add_split
from ddeq_models.errors import UserError
from ddeq_models.runs.clouds import open_clouds
from ddeq_models.runs.pretrained import open_model
from ddeq_models.using.clouds import Clouds
from ddeq_models.using.embed import check_embedding, embed, write_embedding


def add(commands: Any) -> Parser:
    """``ddeq embed``."""
    parser = add_command(
        commands,
        "embed",
        "RUN [FILE...] --out FILE ",
        "write the features of clouds",
        "Write what a trained model reads its answer from, the features of the equilibrium,\n"
        "of files of points, or without FILE of a split of the run's own data.\n"
        "--out NAME.npy holds the features alone, NAME.npz and NAME.csv names and labels.",
    )
    parser.add_argument("run", metavar="RUN", help=RUN)
    parser.add_argument("files", metavar="FILE", nargs="*", help="as for predict")
    parser.add_argument("--out", required=True, metavar="FILE", help=".npy, .npz or .csv")
    add_split(parser)
    parser.set_defaults(split=None)
    parser.add_argument("--root", metavar="DIR", help="folder of the split's files [the run's]")
    add_columns(parser)
    add_device(parser)
    return parser


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    check_embedding(options.out)
    if options.files and (options.split or options.root):
        raise UserError(
            "--split and --root are of the run's own data, and FILE is not; leave either out"
        )
    if not options.files and (options.columns or options.features):
        raise UserError("--columns and --features are of FILE; leave either out, or give files")
    clouds: Clouds | CloudDataset = options.files
    if not options.files:
        clouds = open_clouds(open_model(options.run), options.split or "test", options.root)
    found = embed(
        options.run,
        clouds,
        columns=options.columns or (),
        features=options.features or (),
        device=options.device,
    )
    path = write_embedding(found, options.out)
    for name, converged in zip(found.names, found.converged, strict=True):
        if not converged:
            print(f"ddeq: warning: {shown(name)}: its equilibrium was not reached", file=sys.stderr)
    count, width = found.features.shape
    print(f"{count:,} clouds, {width} features each: {shown(str(path))}")
