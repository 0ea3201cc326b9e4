"""Messages name options that there are."""

import argparse
import ast
import re
from importlib import import_module
from pathlib import Path

import ddeq_data
import ddeq_models
from ddeq_models.cli.main import COMMANDS
from ddeq_models.cli.parser import Parser

# Of torchrun, of TensorBoard, of CSS, and those that `ddeq` itself adds.
_OTHERS = {"--nproc-per-node", "--logdir", "--share", "--import", "--help", "--version"}


def _options(parser: argparse.ArgumentParser) -> set[str]:
    found: set[str] = set()
    for action in parser._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                found |= _options(inner)
    return found


def test_every_option_that_a_text_names_is_one_of_a_command() -> None:
    known = set(_OTHERS)
    for name in COMMANDS:
        commands = Parser(prog="ddeq").add_subparsers()
        known |= _options(import_module(f"ddeq_models.cli.commands.{name}").add(commands))
    named: dict[str, Path] = {}
    for package in (ddeq_models, ddeq_data):
        for path in Path(str(package.__file__)).parent.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    named |= dict.fromkeys(
                        re.findall(r"(?<![\w-])--[a-z][a-z-]*", node.value), path
                    )
    assert len(named) > 20
    assert {option: path for option, path in named.items() if option not in known} == {}
