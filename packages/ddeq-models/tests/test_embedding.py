"""Features of files, arrays and splits, as the estimators give them; and the files they go to."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from small_estimators import rings, small

from ddeq_data import CloudDataset
from ddeq_models import DDEQClassifier, DDEQTransformer, UserError, embed
from ddeq_models.cli import main
from ddeq_models.estimator.clouds import read_clouds

pytestmark = pytest.mark.usefixtures("one_validation")
CLOUDS, LABELS = rings()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = small().fit(CLOUDS, LABELS)
    return Path(made.save(tmp_path_factory.mktemp("embedding") / "rings"))


def test_they_are_those_of_the_estimator(folder: Path) -> None:
    found = embed(folder, CLOUDS)
    expected = DDEQTransformer.of(DDEQClassifier.load(folder)).transform(CLOUDS)
    assert found.features.dtype == np.float32
    assert_allclose(found.features, expected, atol=0.03)  # the solver's tolerance
    assert found.names[3] == "cloud 3"
    assert found.labels == ()
    assert found.converged.mean() > 0.5  # of a model that has hardly learned
    assert_allclose(embed(folder, CLOUDS[::-1], batch_size=3).features, expected[::-1], atol=0.03)
    dataset = CloudDataset(read_clouds(CLOUDS).clouds, ["first", "second"])
    told = embed(folder, dataset)
    assert_allclose(told.features, expected, atol=0.03)
    assert told.labels == ("first",) * 16


def test_a_solve_that_does_not_settle_is_told(folder: Path, tmp_path: Path, capsys: Any) -> None:
    import json
    import shutil

    hasty = tmp_path / "hasty"
    shutil.copytree(folder, hasty)
    config = json.loads((hasty / "config.json").read_text())
    config["model"] |= {"rtol": 1e-9, "max_steps": 2}
    (hasty / "config.json").write_text(json.dumps(config))
    assert not embed(hasty, CLOUDS[0]).converged.any()
    np.save(tmp_path / "one.npy", CLOUDS[0])
    assert main(["embed", str(hasty), str(tmp_path / "one.npy"), "--out", "one.npy"]) == 0
    assert "one.npy: its equilibrium was not reached" in capsys.readouterr().err


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_files(folder: Path, capsys: Any) -> None:
    for name, cloud in (("a", CLOUDS[0]), ("b", CLOUDS[1])):
        np.save(f"{name}.npy", cloud)
    expected = embed(folder, ["a.npy", "b.npy"]).features
    for out in ("out.npy", "out.npz", "out.csv"):
        assert main(["embed", str(folder), "a.npy", "b.npy", "--out", out]) == 0
        assert "2 clouds, 16 features each: out." in capsys.readouterr().out
    assert_array_equal(np.load("out.npy"), expected)
    kept = np.load("out.npz")
    assert_array_equal(kept["features"], expected)
    assert kept["names"].tolist() == ["a.npy", "b.npy"]
    assert set(kept) == {"features", "names", "converged"}
    head, *rows = csv.reader(Path("out.csv").read_text().splitlines())
    assert head[:3] == ["name", "converged", "feature_0"]
    assert [row[:2] for row in rows] == [["a.npy", "1"], ["b.npy", "1"]]
    assert_array_equal(np.array([row[2:] for row in rows], dtype=np.float32), expected)


def test_a_split_of_the_run(finished: Path) -> None:
    assert main(["embed", str(finished), "--split", "validation", "--out", "v.npz"]) == 0
    kept = np.load("v.npz")
    assert kept["features"].shape == (180, 16)
    assert set(kept["labels"].tolist()) == set("0123456789")


def test_errors(folder: Path, fails: Callable[..., str]) -> None:
    assert "ends in .npy, .npz, .csv" in fails("embed", folder, "a.npy", "--out", "a.txt")
    assert "no such folder" in fails("embed", folder, "a.npy", "--out", "no/a.npy")
    assert "a.npy" in fails("embed", folder, "a.npy", "--out", "b.npy")
    said = fails("embed", "mnist-completer", "a.npy", "--out", "b.npy")
    assert "the model completer has no features of a whole cloud" in said
    assert "came from memory" in fails("embed", folder, "--out", "b.npy")
    with pytest.raises(UserError, match="there are no clouds"):
        embed(folder, [])
    wide = CloudDataset(read_clouds([np.ones((3, 4))]).clouds, ["a"])
    with pytest.raises(UserError, match="trained on points of dimension 2, these"):
        embed(folder, wide)
