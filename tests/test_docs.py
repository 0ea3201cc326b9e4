"""The code of the guide runs, its commands are commands, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from ddeq_models.cli import main
from ddeq_models.cli.main import parse

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def run(page: Path) -> None:
    """The Python of a page, in order and in one namespace."""
    space = {"__name__": page.stem}
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), space)


def test_an_equilibrium_of_your_own() -> None:
    run(DOCS / "tutorials/equilibrium.md")


def test_from_your_files_to_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python makes the files, trains and predicts; then the commands, on the same folder."""
    monkeypatch.chdir(tmp_path)
    page = DOCS / "tutorials/your_files.md"
    run(page)
    commands = [line for block in blocks(page, "bash") for line in block.splitlines()]
    assert len(commands) == 4
    for command in commands:
        words = command.removeprefix("hatch run ddeq ").split()
        if words[0] == "train":  # as `train` above
            parse(words)
            Path("second").rename("first")
        else:
            assert main(words) == 0
    assert Path("scans.png").is_file()
    assert Path("first.html").is_file()


def test_clouds_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(DOCS / "tutorials/arrays.md")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts", "rings", "run"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(#[^)]*)?\)", page.read_text()):
        path = page.parent / target if target else page
        assert path.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles}
            assert anchor[1:] in anchors, f"{target}{anchor}"
