"""Clouds that were learnt from never count as others because somebody changed the files."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ddeq_models import calibrate, embed, evaluate
from ddeq_models.cli import main
from ddeq_models.runs.clouds import open_clouds
from ddeq_models.runs.folder import RunFolder

pytestmark = pytest.mark.usefixtures("no_pictures")

Fails = Callable[..., str]


def clouds(root: Path, start: int, count: int, part: str = "") -> None:
    """Clouds of two classes, numbered from `start` on."""
    for kind in ("disc", "line"):
        folder = root / kind / part
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(start, start + count):
            points = np.random.default_rng([i, len(kind)]).normal(size=(8, 2))
            points[:, 1] *= kind == "disc"
            np.save(folder / f"{i:03}.npy", points)


def trained(root: Path, run: Path) -> None:
    words = ["--data", "folder", "--root", str(root), "--epochs", "1"]
    assert main(["train", *words, "--set", "train.steps=0", "--out", str(run), "--quiet"]) == 0


@pytest.fixture
def run(tiny: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A run whose split chance drew, of the folder `flat` beside it."""
    clouds(tiny / "flat", 100, 12)
    trained(tiny / "flat", tiny / "run")
    capsys.readouterr()
    return tiny / "run"


def test_other_files_draw_another_split(run: Path, tiny: Path) -> None:
    """Why it is refused at all: a cloud that was learnt from would be measured."""
    from ddeq_data import PointCloudFolder

    before = set(PointCloudFolder(tiny / "flat", "train").files)
    clouds(tiny / "flat", 0, 7)
    after = PointCloudFolder(tiny / "flat", "test")
    assert after.drawn
    assert before & set(after.files)


def test_a_split_that_was_drawn_anew_is_refused(run: Path, tiny: Path, fails: Fails) -> None:
    assert main(["evaluate", str(run)]) == 0
    clouds(tiny / "flat", 0, 7)
    message = fails("evaluate", run)
    for word in ("test clouds of", "flat", "not those of the training", "drawn anew", "a folder"):
        assert word in message
    assert fails("evaluate", run, "--split", "validation").startswith("the validation clouds")
    assert fails("embed", run, "--out", tiny / "a.npy").startswith("the test clouds")
    assert not (tiny / "a.npy").exists()
    # What never was among the training is measured as before.
    clouds(tiny / "own", 0, 7, "test")
    assert main(["evaluate", str(run), "--root", str(tiny / "own")]) == 0


def test_every_way_to_the_clouds_looks(run: Path, tiny: Path, fails: Fails) -> None:
    shutil.rmtree(tiny / "flat")
    clouds(tiny / "flat", 50, 12)
    with pytest.raises(ValueError, match=r"train clouds .* drawn anew"):
        calibrate(run)
    with pytest.raises(ValueError, match=r"test clouds .* drawn anew"):
        open_clouds(RunFolder(run), "test")
    assert main(["report", str(run), "--out", "page.html"]) == 0
    assert "drawn anew" in (tiny / "page.html").read_text()


def test_a_model_folder_knows_it_too(run: Path, tiny: Path, fails: Fails) -> None:
    assert main(["models", "save", str(run), "model"]) == 0
    assert main(["evaluate", "model", "--root", "flat"]) == 0
    clouds(tiny / "flat", 0, 7)
    assert "drawn anew" in fails("evaluate", "model", "--root", "flat")


def test_a_split_of_its_own_is_only_told_of(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part, start in (("train", 0), ("test", 50)):
        clouds(tiny / "parted", start, 12, part)
    trained(tiny / "parted", tiny / "run")
    capsys.readouterr()
    assert main(["evaluate", "run"]) == 0
    assert capsys.readouterr().err == ""
    clouds(tiny / "parted", 70, 3, "test")
    assert main(["evaluate", "run"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ddeq: warning: the test clouds of")
    assert line.endswith("its files were changed since then")
    assert main(["evaluate", "run", "--root", "parted"]) == 0  # whoever names it knows it
    assert capsys.readouterr().err == ""
    assert evaluate("run", split="train")["clouds"] == 22
    clouds(tiny / "parted", 90, 3, "train")
    with pytest.raises(ValueError, match=r"validation clouds .* drawn anew"):
        evaluate("run", split="validation")


def test_a_run_that_does_not_know_its_clouds_is_measured(run: Path, tiny: Path) -> None:
    """One of an older version, or one whose records are damaged."""
    for text in ('{"test_accuracy": 1.0}', "no JSON"):
        (run / "result.json").write_text(text)
        assert evaluate(run)["clouds"] > 0
    assert len(embed(run, open_clouds(RunFolder(run), "test")).features) > 0
