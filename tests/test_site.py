"""The site that `hatch run docs` writes: its pages, their links, and the notebook among them."""

import importlib
import re
import runpy
import warnings
from pathlib import Path

import pytest

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(Path(__file__).parents[1]))
    address, links, notebook, pages = (
        importlib.import_module(name)
        for name in ("tools.address", "tools.site.links", "tools.site.notebook", "tools.site.pages")
    )

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs/tutorials/first_model.py"


def test_the_notebook_runs(capsys: pytest.CaptureFixture[str]) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    figures = len(plt.get_fignums())
    space = runpy.run_path(str(NOTEBOOK))
    assert len(plt.get_fignums()) == figures + 2
    plt.close("all")
    assert "CONVERGED after" in capsys.readouterr().out
    assert space["right"] > 0.4  # chance is 0.25
    assert space["output"].solution.measure.spread(relative=True).min() > 0.01


def test_a_notebook_becomes_a_page() -> None:
    script = (
        "# left out\n\n# %% [markdown]\n# # Title\n#\n# text\n\n# %%\nx = 1\n\n# not Markdown\n"
    )
    assert notebook.cells(script) == [
        ("markdown", "# Title\n\ntext"),
        ("code", "x = 1\n\n# not Markdown"),
    ]
    page = "# Title\n\ntext\n\n```python\nx = 1\n\n# not Markdown\n```\n"
    assert notebook.markdown(script) == page


def test_links_of_pages_hold_on_the_site() -> None:
    source, known = ROOT / "docs/tutorials/arrays.md", set(pages.sources())

    def linked(target: str) -> str:
        return pages.linked(f"[x]({target})", source, known)[4:-1]

    assert linked("equilibrium.md#a") == "equilibrium.md#a"
    assert linked("first_model.py") == "first_model.md"  # the notebook is a page
    assert linked("../../packages/wgf-solver") == "../../packages/wgf-solver/README.md"
    assert linked(f"{address.ADDRESS}/blob/main/docs/results.md") == "../results.md"
    assert linked("../../examples") == f"{address.ADDRESS}/tree/main/examples"
    assert linked("../../examples/ldpc.py") == f"{address.ADDRESS}/blob/main/examples/ldpc.py"
    assert linked("https://arxiv.org/abs/2503.01140") == "https://arxiv.org/abs/2503.01140"
    with pytest.raises(FileNotFoundError, match=r"docs/tutorials/arrays.md links to ../gone.md"):
        linked("../gone.md")
    code = "```python\nf[0](gone)\n```\nand `f[0](gone)`"
    assert pages.linked(code, source, known) == code


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text('<p id="here"><a href="sub/a.html#b">')
    (tmp_path / "sub/a.html").write_text(
        '<a name="b" href="..#here"></a><a href="#b"></a><img src="gone.png"><a href="../#c"></a>'
        '<a href="https://example.org/x"></a><a href="mailto:a@b"></a>'
    )
    assert links.broken_links(tmp_path) == ["sub/a.html: gone.png", "sub/a.html: ../#c"]


def test_all_pages_are_written_and_their_links_hold(tmp_path: Path) -> None:
    """Without those of the public names, which take the longest; `hatch run docs` has them."""
    pytest.importorskip("mkdocs")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of other people's
        site = importlib.import_module("tools.site.__main__")
        site.write_site(tmp_path / "site", api=False)
    broken = links.broken_links(tmp_path / "site")
    assert [b for b in broken if not b.startswith("docs/api.html: ../api/")] == []
    assert len(broken) == len(address.PACKAGES)
    text = (tmp_path / "site/docs/tutorials/first_model.html").read_text()
    assert "A first model" in text
    assert "DDEQClassifier" in text


def test_every_picture_and_example_is_in_the_gallery() -> None:
    page = (ROOT / "docs/gallery.md").read_text()
    for picture in (ROOT / "docs/pictures").glob("*.png"):
        assert f"](pictures/{picture.name})" in page
    for example in (ROOT / "examples").glob("*.py"):
        assert f"](../examples/{example.name})" in page
    assert re.search(r"^# Gallery$", page, re.MULTILINE)
