"""The options of `ddeq datasets`."""

import argparse
from typing import Any, get_args

from ddeq_models.arguments.parser import Parser, add_columns, add_command, add_split
from ddeq_models.config import Release


def add_datasets(commands: Any) -> Parser:
    """``ddeq datasets`` and its actions."""
    parser = add_command(
        commands,
        "datasets",
        "[show NAME | get NAME] ",
        "list the data sets, draw or fetch one",
        "List the data sets, what of them is on disk, and how to get the rest.",
    )
    parser.add_argument("--root", default="data", metavar="DIR", help="folder to look in [data]")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions")
    show = add_command(
        actions,
        "show",
        "NAME ",
        "draw a page of clouds",
        "Draw some clouds of each class into a PNG file.",
        command="datasets show",
    )
    get = add_command(
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
    add_split(show, "train")
    add_columns(show)
    show.add_argument("--out", metavar="FILE", help="the picture [NAME.png]")
    return parser
