"""A report of several runs: what one of them lacks costs the others nothing."""

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from ddeq_models.cli import main
from ddeq_models.report import story, write_report
from ddeq_models.report.markup import of_classes
from ddeq_models.runs.pretrained import open_model

Fails = Callable[..., str]


@pytest.fixture(autouse=True)
def no_clouds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What models do with clouds is of no matter here, and takes its time."""
    monkeypatch.setattr(story, "STORIES", {})


def _copy(run: Path, to: Path, **changes: Any) -> Path:
    """A copy of a run with other values in sections of its configuration."""
    shutil.copytree(run, to)
    config = json.loads((to / "config.json").read_text())
    for section, values in changes.items():
        config[section] |= values
    (to / "config.json").write_text(json.dumps(config))
    return to


def test_one_bad_run_loses_nothing_of_the_others(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, page = _copy(finished, tmp_path / "good"), tmp_path / "page.html"
    stopped, damaged = (_copy(finished, tmp_path / name) for name in ("stopped", "damaged"))
    (stopped / "result.json").unlink()
    (damaged / "config.json").write_text("{")
    words = [str(stopped), str(good), str(damaged), str(tmp_path / "nowhere")]
    assert main(["report", *words, "--out", str(page)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{page}\n"
    warnings = err.splitlines()
    assert [line.split(" is left out: ")[0] for line in warnings] == [
        f"ddeq: warning: {tmp_path / name}" for name in ("stopped", "damaged", "nowhere")
    ]
    text = page.read_text()
    assert re.findall(r'<section class="run" id="run-(\d)"><h2>(.*?)</h2>', text) == [("0", "good")]
    for line in warnings:
        assert line.removeprefix("ddeq: warning: ").split(":")[0] in text
    assert text.count('<p class="note">') == 3 + 0


def test_if_no_run_can_be_told_of_there_is_no_page(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = _copy(finished, tmp_path / "stopped")
    (stopped / "result.json").unlink()
    page = tmp_path / "page.html"
    assert main(["report", str(stopped), str(tmp_path / "nowhere"), "--out", str(page)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    first, *rest = err.splitlines()
    assert first == "ddeq: none of 2 runs can be told of, no page:"
    assert [line.split(" is left out")[0].strip() for line in rest] == [
        str(stopped), str(tmp_path / "nowhere"),
    ]  # fmt: skip
    assert not page.exists()


def test_from_python_a_run_that_is_left_out_is_logged(
    finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_report([finished, tmp_path / "nowhere"], tmp_path / "page.html")
    assert "nowhere is left out: there is no run folder" in caplog.text


def test_the_keys_in_which_runs_differ_are_shown(finished: Path, tmp_path: Path) -> None:
    other = _copy(finished, tmp_path / "other", train={"learning_rate": 0.125})
    table = _what_differs(write_report([finished, other], tmp_path / "page.html"))
    assert re.findall(r'<tr><th scope="row">(.*?)</th>', table) == ["train.learning_rate"]
    assert re.findall("<td>(.*?)</td>", table)[1] == "0.125"
    alike = write_report([finished, finished], tmp_path / "alike.html")
    assert "<p>No key of the configurations of these runs.</p>" in _what_differs(alike)
    assert "What differs" not in write_report([finished], tmp_path / "one.html").read_text()


def test_what_a_model_of_another_kind_does_not_have(finished: Path, tmp_path: Path) -> None:
    completer = open_model("mnist-completer").path
    table = _what_differs(write_report([finished, completer], tmp_path / "page.html"))
    assert re.search(r"What differs: \d+ keys of the configurations</summary>", table)
    rows = dict(re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', table))
    assert rows["model.ratio"] == "<td>–</td><td>0.275</td>"
    assert rows["task.kind"] == "<td>classification</td><td>completion</td>"
    assert "version" not in rows


def _what_differs(page: Path) -> str:
    return (
        page.read_text()
        .split("What differs", 1)[1]
        .join(["What differs", ""])
        .split("</section>")[0]
    )


def test_more_classes_than_are_shown_are_counted() -> None:
    assert story.FLOWS >= 9
    assert of_classes(12, 40) == " Shown are 12 of 40 classes."
    assert of_classes(9, 9) == ""


class _Table(HTMLParser):
    """The least width of each column of the results, in pixels."""

    def __init__(self, size: float, padding: float) -> None:
        super().__init__()
        self.size, self.padding, self.column = size, padding, -1
        self.columns: list[float] = []
        self.row = self.bold = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.column = -1
        if tag in ("th", "td"):
            self.column += 1
            self.row = dict(attrs).get("scope") == "row"
            self.bold = tag == "th" or dict(attrs).get("class") == "best"
            self.columns += [0.0] * (self.column + 1 - len(self.columns))

    def handle_data(self, data: str) -> None:
        # The names of runs break anywhere, headings between words, numbers nowhere.
        for word in [] if self.row else data.split():
            font = FontProperties(family="DejaVu Sans", weight="bold" if self.bold else "normal")
            wide = TextPath((0, 0), word, size=self.size, prop=font).get_extents().width
            self.columns[self.column] = max(self.columns[self.column], wide + 2 * self.padding)


def test_the_table_of_completions_fits_a_window_of_1200(tmp_path: Path) -> None:
    """By the metrics of a wide font, DejaVu Sans; a browser measures it where there is one."""
    run = _copy(
        open_model("mnist-completer").path, tmp_path / "20261129-modelnet40-completer-given"
    )
    result = json.loads((run / "result.json").read_text())
    for name in ("solver_steps_mean", "residual_max", "seconds", "test_loss", "test_wasserstein"):
        result.setdefault(name, 12345.6)
    result |= {"parameters": 1_234_567, "test_clouds": 12_345, "solver_failures": 1234}
    (run / "result.json").write_text(json.dumps(result))
    text = write_report([run, run], tmp_path / "page.html").read_text()
    style = files("ddeq_models.report").joinpath("page.css").read_text()

    def rem(pattern: str) -> float:
        found = re.search(pattern, style)
        assert found is not None
        return float(found[1])

    size = 16 * rem(r"\.results \{ font-size: ([\d.]+)rem")
    padding = 16 * rem(r"\.results th, \.results td \{ padding: [\d.]+rem ([\d.]+)rem")
    least = 16 * rem(r'\.results th\[scope="row"\] \{ min-width: ([\d.]+)rem')
    room = min(1200 - 16, rem(r"main \{ max-width: (\d+)px")) - 2 * 16
    table = _Table(size, padding)
    table.feed(text[text.index('<table class="results">') : text.index("</table>")])
    assert len(table.columns) == 14
    table.columns[0] = max(table.columns[0], least)
    assert sum(table.columns) <= room
