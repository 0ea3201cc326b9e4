import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from ddeq_models import DDEQ, RECIPES, DataConfig, DDEQConfig
from ddeq_models.cli import main
from ddeq_models.config import RunConfig
from ddeq_models.data import open_split, view
from ddeq_models.report import write_report
from ddeq_models.report.attention import particle_attention
from ddeq_models.report.markup import sha256_of
from ddeq_models.report.samples import completed_clouds, one_of_each
from ddeq_models.report.story import _flows
from ddeq_models.report.svg import Series, fitted, line_chart, ticks
from ddeq_models.runs.folder import RunFolder
from ddeq_models.runs.pretrained import open_model
from ddeq_models.tasks.base import build_task
from ddeq_models.tasks.completion import Completion

CHROMIUM = shutil.which("chromium")
# Without the flags against background networking, a closed network costs minutes.
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--hide-scrollbars",
]


@pytest.fixture(scope="module")
def page(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report([finished, finished], tmp_path_factory.mktemp("report") / "report.html")


class _Links(HTMLParser):
    """Collects whatever a browser would fetch, and the ids that are linked to."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.targets: list[str] = []
        self.ids: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.ids.add(str(given["id"]))
        href = given.get("href")
        if tag == "a" and href is not None:
            self.targets.append(href)
        elif href is not None:
            self.fetched.append(href)
        if given.get("src") is not None:
            self.fetched.append(str(given["src"]))
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_well_formed_and_needs_nothing_else(page: Path) -> None:
    text = page.read_text()
    links = _Links()
    links.feed(text)
    assert links.open == []
    assert [f for f in links.fetched if not f.startswith("data:")] == []
    assert {t.removeprefix("#") for t in links.targets} <= links.ids
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", text)


def test_page_tells_the_results(page: Path, finished: Path) -> None:
    result, text = RunFolder(finished).result(), page.read_text()
    assert f"{result['test_accuracy']:.2%}" in text
    assert f"{result['parameters']:,}" in text
    sections = ("Results", "Training", "Solver", "Confusion matrix", "Flow to the", "Failures")
    for section in sections:
        assert section in text
    wrong = sum(map(sum, result["confusion"])) - sum(
        row[i] for i, row in enumerate(result["confusion"])
    )
    assert f"{wrong} test clouds were given a wrong class" in text
    assert "label smoothing" in text  # the configuration
    assert "residual / anderson / phantom" in text
    assert f"{result['solver_failures']:,} of 360 clouds" in text
    assert f"at most {result['residual_max']:.1e}" in text


def test_flows_end_at_rest_and_attention_is_of_the_points_shown(page: Path) -> None:
    blocks = re.findall(r'<script type="application/json">(.*?)</script>', page.read_text())
    assert len(blocks) == 2
    for flow in json.loads(blocks[0]):
        assert len(flow["path"]) == len(flow["gaps"]) > 1
        assert flow["gaps"][-1] == 0
        assert np.array(flow["attention"]).shape == (len(flow["rest"]), len(flow["cloud"]))
        assert np.array(flow["cloud"])[:, :2].min() >= 0
        assert np.array(flow["cloud"])[:, :2].max() <= 100


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("change", ["--points=12", "model.rows=12"])
def test_of_a_large_cloud_the_points_are_shown_that_the_model_saw(
    tmp_path: Path, tiny_config: DDEQConfig, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    config = replace(tiny_config, encoder="moments", pooled=8, readout="max-mean")
    recipe = RECIPES["digits", "ddeq"]
    tiny = replace(recipe, model=config, train=replace(recipe.train, epochs=1))
    monkeypatch.setitem(RECIPES, ("digits", "ddeq"), tiny)
    words = [change] if change.startswith("--") else ["--set", change]
    assert main(["train", "--out", str(tmp_path / "run"), "--quiet", *words]) == 0
    page = write_report([tmp_path / "run"], tmp_path / "report.html")
    blocks = re.findall(r'<script type="application/json">(.*?)</script>', page.read_text())
    for flow in json.loads(blocks[0]):
        assert len(flow["cloud"]) == 12
        assert np.array(flow["attention"]).shape == (len(flow["rest"]), 12)


@torch.no_grad()
def test_attention_is_that_of_each_point_also_beside_a_larger_cloud(
    tiny_config: DDEQConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of digits, 16 to 42 points, those above 30 are thinned; the others come in another order.
    torch.manual_seed(0)
    config = replace(tiny_config, encoder="moments", pooled=8, readout="max-mean", rows=30)
    data = DataConfig("digits", normalise="unit-sphere")
    model = DDEQ(config).eval()
    run = RunFolder.create(
        tmp_path / "run",
        RunConfig("ddeq", tuple("0123456789"), data, config),
    )
    test_set, device = open_split(data, "test"), torch.device("cpu")
    flows = _flows(run, model, test_set, device)
    small = 0
    for index, flow in zip(one_of_each(test_set, len(flows)), flows, strict=True):
        batch = test_set.__getitems__([index]).map(view(data))
        assert len(flow.cloud) == min(batch.points.shape[1], 30)
        if batch.points.shape[1] > 30:
            continue
        small += 1
        context = model.encode(batch.points, batch.weights)
        rest = model.equilibrium(context).measure.points
        alone = particle_attention(model, context, rest)[0].T.numpy()
        told = {tuple(p.round(4)): a for p, a in zip(batch.points[0].numpy(), alone, strict=True)}
        for point, attention in zip(flow.cloud, flow.attention.T, strict=True):
            np.testing.assert_allclose(attention, told[tuple(point[:2].round(4))], atol=1e-3)
    assert 0 < small < len(flows)


@pytest.mark.parametrize("cross_blocks", [0, 1, 2])
def test_attention_is_a_measure_on_the_points_and_permutes_with_them(
    tiny_config: DDEQConfig, cross_blocks: int
) -> None:
    torch.manual_seed(0)
    model = DDEQ(replace(tiny_config, cross_blocks=cross_blocks)).double().eval()
    points = torch.randn(2, 7, 2, dtype=torch.float64)
    weights = torch.tensor([[1.0, 2, 1, 1, 1, 0, 0], [1.0] * 7], dtype=torch.float64)
    weights = weights / weights.sum(-1, keepdim=True)
    particles = torch.randn(2, 3, tiny_config.dim, dtype=torch.float64)

    def attention(order: torch.Tensor) -> torch.Tensor:
        context = model.encode(points[:, order], weights[:, order])
        return particle_attention(model, context, particles)

    plain = attention(torch.arange(7))
    torch.testing.assert_close(plain.sum(-1), torch.ones(2, 3, dtype=torch.float64))
    assert (plain[0, :, 5:] == 0).all()  # padding
    order = torch.randperm(7)
    torch.testing.assert_close(attention(order), plain[..., order])
    # Without attention nothing but the masses tells the points apart.
    assert torch.equal(plain, weights[:, None].expand(-1, 3, -1)) == (cross_blocks == 0)


def test_a_run_whose_clouds_are_gone_says_so(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["data"] |= {"name": "mnist", "root": str(tmp_path / "gone")}
    (run / "config.json").write_text(json.dumps(config))
    text = write_report([run], tmp_path / "page.html").read_text()
    assert "The test clouds are not at hand" in text
    assert "Confusion matrix" in text


def test_completions_stand_beside_the_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(open_model("mnist-completer").path, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["data"] |= {"name": "digits", "root": None}
    (run / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("ddeq_models.report.story.JUDGED", 6)
    text = write_report([run], tmp_path / "page.html").read_text()
    assert "data:image" not in text
    shown = re.findall(r"<figure><div>.*?energy distance ([\d.]+)", text)
    assert len(shown) == 9 + 4
    worst = [float(x) for x in shown[9:]]
    assert worst == sorted(worst, reverse=True)

    folder = RunFolder(run)
    task, dataset = build_task(folder.config()), open_split(folder.config().data, "test")
    assert isinstance(task, Completion)
    device = torch.device("cpu")
    model, indices = folder.model(device), one_of_each(dataset, 9)
    expected = completed_clouds(task, model, dataset, indices, device)
    assert expected[0].missing is not None
    first = text[text.index("<figure><div>") :]
    first = first[: first.index("</figure>")]
    for style, count in (
        ("seen", 3 * len(expected[0].visible)),
        ("added", len(expected[0].completed)),
        ("truth", len(expected[0].missing)),
    ):
        groups = re.findall(rf'<g class="{style}">(.*?)</g>', first)
        assert "".join(groups).count("<circle") == count
    assert float(shown[0]) == pytest.approx(expected[0].distance, abs=6e-4)


def test_the_folder_of_the_data_can_be_given(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["data"] |= {"name": "mnist", "root": None}
    (run / "config.json").write_text(json.dumps(config))
    page, gone = tmp_path / "page.html", tmp_path / "not-here"
    assert main(["report", str(run), "--root", str(gone), "--out", str(page)]) == 0
    assert str(gone) in page.read_text()


def test_names_are_escaped(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "<script>alert(1)&")
    config = json.loads((run / "config.json").read_text())
    config["classes"][0] = "</script><b>"
    (run / "config.json").write_text(json.dumps(config))
    text = write_report([run], tmp_path / "page.html").read_text()
    assert "<script>alert" not in text
    assert "</script><b>" not in text


def test_errors(finished: Path, tmp_path: Path, fails: Callable[..., str]) -> None:
    assert "are required: --out" in fails("report", finished)
    assert "there is no run folder" in fails("report", tmp_path / "x", "--out", tmp_path / "p.html")
    assert "is a folder" in fails("report", finished, "--out", tmp_path)
    assert "there is no folder" in fails("report", finished, "--out", tmp_path / "a" / "p.html")
    unfinished = shutil.copytree(finished, tmp_path / "unfinished")
    (unfinished / "result.json").unlink()
    assert "result.json" in fails("report", unfinished, "--out", tmp_path / "p.html")
    assert list(tmp_path.glob("*.html")) == []


def test_command(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    assert main(["report", str(finished), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert out.read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("low", [-3.0, 0.0, 0.97, 1e-6])
@pytest.mark.parametrize("span", [1e-5, 0.3, 7.0, 12345.0])
def test_ticks_are_few_and_span_the_range(low: float, span: float) -> None:
    marks = ticks(low, low + span)
    assert marks[0] <= low + 1e-9 * span
    assert marks[-1] >= low + span - 1e-9 * span
    assert 3 <= len(marks) <= 7


def test_chart_leaves_out_what_is_not_known() -> None:
    series = Series("loss", "first", [1, 2, 3, 4], [1.0, None, float("nan"), 0.5])
    chart = line_chart([series], "loss")
    (points,) = re.findall(r'<polyline class="line first" points="([^"]*)"', chart)
    assert len(points.split()) == 2
    assert line_chart([Series("x", "first", [1], [None])], "nothing") == ""
    assert line_chart([Series("x", "first", [1], [-1.0])], "nothing", log=True) == ""
    assert "dot first" in line_chart([Series("x", "first", [1], [2.0])], "one")


def test_clouds_fit_their_square_upright() -> None:
    places, radii = fitted(np.array([[0.0, 0.0, 1.0], [1.0, 10.0, 0.5]]))
    assert places[1][1] < places[0][1]  # SVG counts downwards
    assert 0 < radii[1] < radii[0]
    assert all(0 <= c <= 100 for place in places for c in place)


# What a reader does, and what the page then holds, written where `--dump-dom` shows it.
_VISIT = """
<script>
addEventListener("load", () => {
  const box = document.querySelector(".flow");
  const all = (where, name) =>
    [...box.querySelectorAll(where)].map((circle) => circle.getAttribute(name));
  const places = () => all(".particles circle", "cx");
  const shades = () => all(".input circle:not(.particle)", "opacity");
  const looks = () => box.querySelectorAll(".input line").length;
  const seen = { width: document.documentElement.scrollWidth, window: innerWidth };
  seen.flows = box.querySelectorAll(".choices button").length;
  seen.start = places();
  seen.mean = shades();
  seen.looks = [looks()];
  const slider = box.querySelector(".step");
  slider.value = slider.max;
  slider.dispatchEvent(new Event("input"));
  seen.end = places();
  seen.where = box.querySelector(".where").textContent;
  box.querySelector(".rest circle").dispatchEvent(new MouseEvent("click"));
  seen.one = shades();
  seen.looks.push(looks());
  seen.chosen = all(".particle.chosen title", "x").length;
  box.querySelectorAll(".choices button")[1].click();
  seen.pressed = [...box.querySelectorAll(".choices button")].map((b) => b.ariaPressed);
  seen.ground = getComputedStyle(document.body).backgroundColor;
  document.body.dataset.seen = JSON.stringify(seen);
});
addEventListener("error", (event) => { document.body.dataset.error = event.message; });
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_a_reader_moves_the_slider_and_picks_a_particle(page: Path, tmp_path: Path) -> None:
    visited = tmp_path / "visited.html"
    # The page's policy lets its own script run and no other: the visitor's has to be let in.
    script = _VISIT.split("<script>")[1].split("</script>")[0]
    policy = f"script-src 'sha256-{sha256_of(script)}' "
    text = page.read_text().replace("script-src ", policy, 1)
    visited.write_text(text.replace("</body>", _VISIT + "</body>"))
    dom = subprocess.run(
        [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'user'}",
         "--window-size=500,900", "--dump-dom", visited.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    assert "data-error" not in dom
    match = re.search(r'data-seen="([^"]*)"', dom)
    assert match is not None
    seen = json.loads(match[1].replace("&quot;", '"'))
    assert seen["width"] <= seen["window"]  # nothing sticks out of a narrow window
    assert seen["flows"] == 10
    assert seen["start"] != seen["end"]
    assert seen["where"].endswith("the equilibrium")
    assert seen["mean"] != seen["one"]
    assert seen["looks"][0] == 0 < seen["looks"][1]  # lines of the chosen particle
    assert seen["chosen"] == 3  # in each of the three panels
    assert seen["pressed"] == ["false", "true", *["false"] * 8]
    assert seen["ground"] == "rgb(255, 255, 255)"


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
def test_a_phone_shows_all_of_it_in_the_dark(page: Path, tmp_path: Path) -> None:
    """In a frame as wide as a phone: a window of Chromium is at least 500 wide."""
    frame = tmp_path / "phone.html"
    probe = (
        f'<body><iframe width="360" height="800" src="{page.as_uri()}"></iframe><script>'
        "addEventListener('load', () => { const page = document.querySelector('iframe')"
        ".contentDocument; document.body.dataset.width = page.documentElement.scrollWidth;"
        "document.body.dataset.ground = getComputedStyle(page.body).backgroundColor; });"
        "</script></body>"
    )
    frame.write_text(probe)
    dom = subprocess.run(
        [str(CHROMIUM), *FLAGS, "--allow-file-access-from-files", "--force-dark-mode",
         f"--user-data-dir={tmp_path / 'user'}", "--dump-dom", frame.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    match = re.search(r'data-width="(\d+)"', dom)
    assert match is not None
    assert int(match[1]) <= 360
    assert 'data-ground="rgb(21, 24, 28)"' in dom
