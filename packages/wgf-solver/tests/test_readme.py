import re
import subprocess
import sys
from pathlib import Path

import pytest

import wgf_solver

PAGE = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def test_there_are_examples():
    assert len(BLOCKS) == 3
    assert len(BLOCKS[0].strip().splitlines()) <= 20


@pytest.mark.parametrize("code", BLOCKS, ids=["example", "flow", "extending"])
def test_the_examples_run(code, capsys):
    exec(compile(code, str(PAGE), "exec"), {"__name__": "readme"})
    if "print(" in code:
        assert capsys.readouterr().out.startswith("CONVERGED after ")


def test_all_public_names_are_in_the_table():
    named = set(re.findall(r"[A-Za-z]\w*", " ".join(re.findall(r"`([^`]*)`", PAGE.read_text()))))
    assert set(wgf_solver.__all__) <= named


def test_the_docstring_examples_run():
    # In a process of its own: doctest compares what is printed, and torch's format is global.
    command = [sys.executable, "-m", "doctest", "-o", "NORMALIZE_WHITESPACE"]
    module = Path(wgf_solver.__file__).parent / "equilibrium.py"
    result = subprocess.run([*command, str(module)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_star_import_gives_what_is_promised():
    space: dict[str, object] = {}
    exec("from wgf_solver import *", space)
    assert set(wgf_solver.__all__) <= set(space)
    assert wgf_solver.__version__
