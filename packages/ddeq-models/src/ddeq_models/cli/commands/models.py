"""``ddeq models``: its options, one call, and what is said of it."""

import argparse
from typing import Any

from ddeq_models._internal.text import shown
from ddeq_models.cli.models_table import listing
from ddeq_models.cli.parser import Parser, add_command
from ddeq_models.errors import UserError
from ddeq_models.runs.pretrained import card_of, open_model, save_pretrained


def add(commands: Any) -> Parser:
    """``ddeq models`` and its actions."""
    parser = add_command(
        commands,
        "models",
        "[show NAME | save RUN DIR] ",
        "list the models, show a card, save a run as one",
        "List the architectures that can be trained, and the trained models that come with\n"
        "the package: their names stand for a run folder in every other command.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions")
    show = add_command(
        actions,
        "show",
        "NAME ",
        "print a model card",
        "Print the card of a model: what it expects, how it was trained, its figures.",
        command="models show",
    )
    show.add_argument("run", metavar="NAME", help="a shipped model, or a model folder")
    save = add_command(
        actions,
        "save",
        "RUN DIR ",
        "make a model folder of a run",
        "Make a model folder of a run, to keep or to pass on: config.json,\n"
        "model.safetensors and a model card, in the layout of the Hugging Face Hub.",
        command="models save",
    )
    save.add_argument("run", metavar="RUN", help="the run folder")
    save.add_argument("folder", metavar="DIR", help="empty or not there; names the model")
    save.add_argument("--license", metavar="ID", help="of the weights: mit, cc-by-4.0, ... [none]")
    return parser


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    if options.action is None:
        print(listing())
    elif options.action == "save":
        made = save_pretrained(options.run, options.folder, license=options.license)
        print(shown(str(made)))
    else:
        card = card_of(open_model(options.run))
        if not card:
            raise UserError(
                f"{options.run} has no model card; ddeq models save {options.run} DIR makes one"
            )
        print("\n".join(map(shown, card.split("\n"))), end="")
