"""Imports run downward only: the three lower packages know nothing of each other."""

import ast
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parents[1] / "packages"
SIBLINGS = {"wgf_solver", "set_attention", "ddeq_data", "ddeq_models"}


@pytest.mark.parametrize("name", sorted(SIBLINGS - {"ddeq_models"}))
def test_lower_packages_import_no_sibling(name: str) -> None:
    for path in (PACKAGES / name.replace("_", "-") / "src").rglob("*.py"):
        imported = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
        assert not imported & (SIBLINGS - {name}), path


def test_nothing_names_a_device() -> None:
    """No source file puts a tensor on a device of its own choice."""
    for path in PACKAGES.glob("*/src/**/*.py"):
        text = path.read_text(encoding="utf-8")
        for word in (".cuda()", 'to("cuda")', 'device="cuda"', "set_default_device"):
            assert word not in text, f"{path}: {word}"
