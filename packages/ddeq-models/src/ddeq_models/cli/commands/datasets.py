"""``ddeq datasets``: its options, one call, and what is said of it."""

import argparse
from pathlib import Path
from typing import Any, get_args

from ddeq_data.datasets import TargetKind
from ddeq_models._internal.files import write_output
from ddeq_models._internal.text import shown
from ddeq_models.cli.data_table import listing
from ddeq_models.cli.parser import Parser, add_command
from ddeq_models.cli.shared import add_columns, add_split
from ddeq_models.config import DataConfig, Release
from ddeq_models.data import entry, open_split
from ddeq_models.errors import UserError
from ddeq_models.recipes import recipe_for
from ddeq_models.report.pictures.clouds import draw_clouds
from ddeq_models.report.pictures.panels import draw_targets
from ddeq_models.report.pictures.projection import up_of


def add(commands: Any) -> Parser:
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
    show.add_argument(
        "--target",
        choices=get_args(TargetKind),
        metavar="KIND",
        help="what of a folder's clouds is shown: class, numbers (of targets.csv) or points (their "
        "labels) [class]",
    )
    show.add_argument("--out", metavar="FILE", help="the picture [NAME.png]")
    return parser


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    root = Path(options.root)
    if options.action is None:
        print("\n".join(map(shown, listing(root).split("\n"))))
        return
    chosen = entry(options.name)
    there = options.action == "show" and options.release is None
    release: Release = chosen.release(root) if there else options.release or "meshes"
    if options.release is not None and options.release not in chosen.releases:
        of = f"; it has {', '.join(chosen.releases)}" if chosen.releases else ""
        raise UserError(f"{chosen.name} has no release {options.release}{of}")
    if options.action == "get":
        if chosen.download is None:
            why = "is always there" if chosen.find is None else "is read from files of your own"
            raise UserError(f"{chosen.name} {why}; nothing is fetched")
        try:
            chosen.download(root, release)
        except ModuleNotFoundError as error:
            raise UserError("ddeq datasets get needs: pip install 'ddeq-data[download]'") from error
        print("; ".join(chosen.find(root)) if chosen.find else "")
        return

    out = Path(options.out or f"{chosen.name}.png")
    if out.suffix.lower() != ".png":
        raise UserError(f"{out}: the picture is a PNG file; give a name that ends in .png")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder for the picture; make it first")
    config = DataConfig(
        chosen.name,
        root=None if chosen.find is None else str(root),
        weighted=recipe_for(chosen.name, "ddeq").data.weighted,
        release=release,
        columns=options.columns or (),
        features=options.features or (),
        target=options.target or "class",
    )
    clouds = open_split(config, options.split)
    if options.target not in (None, clouds.target_kind):
        raise UserError(f"of {chosen.name} is known the {clouds.target_kind}; leave --target out")
    name = f"{chosen.name} ({release})" if chosen.releases else chosen.name
    title = f"{name}, {options.split}: {len(clouds):,} clouds"
    draw = draw_clouds if clouds.target_kind == "class" else draw_targets
    write_output(out, draw(clouds, title, up_of(release)))
    print("\n".join(map(shown, [*str(clouds).splitlines(), f"picture: {out}"])))
