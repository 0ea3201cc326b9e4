"""Every command works with a regression and with a segmentation of a user's own files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_targets import PARTS, SET, blobs, moons, told

from ddeq_models import from_pretrained
from ddeq_models.cli import main
from ddeq_models.data import DATA_SETS
from ddeq_models.recipes import default_preset, recipe_for

TRAIN = ["--epochs", "1", "--batch-size", "4", *SET]


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on files beside a table of numbers."""
    root = tmp_path_factory.mktemp("numbers")
    lines = ["file,clusters,inertia"]
    for part, clouds in zip(PARTS, blobs(4), strict=True):
        (root / "files" / part).mkdir(parents=True)
        for i, row in enumerate(told(clouds)):
            name = f"{part}/{i}.npy"
            np.save(root / "files" / name, clouds[i].points.numpy())
            lines.append(f"{name},{row[0]},{row[1]}")
    (root / "files" / "targets.csv").write_text("\n".join(lines))
    words = ["train", "--task", "regression", "--data", "folder", "--root", str(root / "files")]
    assert main([*words, *TRAIN, "--out", str(root / "run"), "--set", "task.loss=huber"]) == 0
    return root


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on files with a label in each row."""
    root = tmp_path_factory.mktemp("labels")
    for part, clouds in zip(PARTS, moons(4), strict=True):
        (root / "files" / part).mkdir(parents=True)
        for i, (points, _, label) in enumerate(map(clouds.__getitem__, range(4))):
            assert isinstance(label, torch.Tensor)
            table = np.column_stack([points.numpy(), label.numpy()])
            name = root / "files" / part / f"{i}.csv"
            np.savetxt(name, table, delimiter=",", header="x,y,label", comments="")
    (root / "files" / "classes.txt").write_text("first\nsecond\n")
    words = ["train", "--preset", "ddeq-segmenter", "--data", "folder"]
    words += ["--root", str(root / "files"), "--out", str(root / "run")]
    assert main([*words, *TRAIN]) == 0
    return root


def test_regression(numbers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, file = str(numbers / "run"), str(numbers / "files" / "test" / "0.npy")
    result = json.loads((numbers / "run" / "result.json").read_text())
    config = json.loads((numbers / "run" / "config.json").read_text())
    assert config["classes"] == ["clusters", "inertia"]
    assert config["data"]["target"] == "numbers"
    assert config["task"]["loss"] == "huber"
    assert len(config["task"]["centre"]) == 2
    assert result["targets"].keys() == {"clusters", "inertia"}

    assert main(["evaluate", run]) == 0
    printed = capsys.readouterr().out
    assert f"R2 {result['test_r2']:.4f}" in printed
    assert "inertia: R2" in printed
    assert main(["evaluate", run, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["targets"] == result["targets"]
    assert main(["predict", run, file, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said.keys() == {"file", "values", "converged", "message"}
    assert main(["predict", run, file]) == 0
    assert f"clusters {said['values']['clusters']:.6g}" in capsys.readouterr().out
    assert main(["diagnose", run, "--clouds", "1"]) == 0
    assert main(["models", "save", run, str(numbers / "kept")]) == 0
    card = (numbers / "kept" / "README.md").read_text()
    assert "It says of each cloud 2 numbers: clusters, inertia." in card
    assert "task.loss=huber" in card
    assert "task.centre" not in card
    kept = from_pretrained(numbers / "kept")
    assert kept.run_config.task.unit == tuple(config["task"]["unit"])  # type: ignore[union-attr]
    capsys.readouterr()
    assert main(["predict", str(numbers / "kept"), file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == said


def test_segmentation(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, file = str(labels / "run"), str(labels / "files" / "test" / "0.csv")
    result = json.loads((labels / "run" / "result.json").read_text())
    assert result["ious"].keys() == {"first", "second"}
    assert main(["evaluate", run]) == 0
    printed = capsys.readouterr().out
    assert f"mIoU {result['test_miou']:.2%}" in printed
    assert "IoU: first" in printed
    assert main(["predict", run, file, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["classes"] == ["first", "second"]
    assert len(said["labels"]) == len(moons(4)[2][0].points)
    assert main(["predict", run, file]) == 0
    assert f"{len(said['labels'])} points" in capsys.readouterr().out
    assert main(["diagnose", run, "--clouds", "1"]) == 0
    assert main(["models", "save", run, str(labels / "kept")]) == 0
    assert "one of 2 labels: first, second." in (labels / "kept" / "README.md").read_text()


def test_one_report_of_both(
    numbers: Path, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    runs = [str(numbers / "run"), str(labels / "run")]
    assert main(["report", *runs, "--out", str(page)]) == 0
    text = page.read_text()
    for word in ("Regression of folder", "Segmentation of folder", "Test figures of each", "mIoU"):
        assert word in text
    for picture in ("estimates", "parts"):
        assert f'<img alt="{picture}" src="data:image/png;base64,' in text
    assert "The test clouds are not at hand" not in text


def test_data_sets_are_drawn(numbers: Path, labels: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "page.png")
    for root, kind in ((numbers, "numbers"), (labels, "points")):
        words = ["datasets", "show", "folder", "--root", str(root / "files")]
        assert main([*words, "--target", kind, "--out", out]) == 0
        assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    found = DATA_SETS["folder"].find
    assert found is not None
    assert found(numbers / "files") == ["12 files with targets.csv"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "regression", "--data", "digits"], "regression needs numbers of each cloud"),
        (["--task", "segmentation", "--data", "blobs"], "segmentation needs a label of each point"),
        (["--task", "regression", "--preset", "ddeq"], "the preset ddeq is for classification"),
        (["--preset", "ddeq-segmenter", "--set", "model.rows=9"], "rows must be 0"),
        (["--task", "regression", "--set", "task.loss=median"], "must be one of mse, mae, huber"),
    ],
)
def test_mistakes_are_one_sentence(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *words, "--out", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_without_a_table_the_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 2)))
    words = ["train", "--task", "regression", "--data", "folder", "--root", str(tmp_path)]
    assert main([*words, "--out", str(tmp_path / "run")]) != 0
    error = capsys.readouterr().err
    assert "targets.csv: expected a table with the column file" in error
    assert error.count("\n") == 1


def test_recipes() -> None:
    assert default_preset("regression") == "ddeq-regressor"
    assert default_preset("segmentation") == "ddeq-segmenter"
    for preset, kind in (("ddeq-regressor", "numbers"), ("pointnet-segmenter", "points")):
        recipe = recipe_for("folder", preset)
        assert recipe.data.target == kind
        assert recipe.data.normalise == "set"
    # An augmentation would change the numbers.
    data = recipe_for("digits", "deep-sets-regressor").data
    assert not any((data.rotate, data.scale, data.stretch, data.shear, data.jitter, data.shift))
