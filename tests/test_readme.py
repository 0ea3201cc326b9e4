"""What the READMEs show runs, and what they name exists."""

import re
from pathlib import Path

import pytest

from ddeq_models.cli.main import parse

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)


def test_python_of_the_readme_runs() -> None:
    found = blocks(README, "python")
    assert found
    for block in found:
        exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def test_commands_of_the_readme_are_commands() -> None:
    lines = [line for block in blocks(README, "(?:bash|console|sh)") for line in block.splitlines()]
    commands = [line.split("ddeq ", 1)[1] for line in lines if "hatch run ddeq " in line]
    assert commands
    for command in commands:
        words = command.split("#")[0].split()
        if "--help" in words:
            with pytest.raises(SystemExit, match="0"):
                parse(words)
        else:
            parse(words)


def test_links_and_pictures_of_the_readme_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README.read_text()):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("name", ["wgf-solver", "set-attention", "ddeq-data", "ddeq-models"])
def test_the_readme_names_each_package(name: str) -> None:
    assert f"[`{name}`](packages/{name})" in README.read_text()
