"""Every data set of ddeq-data trains from the command line."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ddeq_data import ModelNet10
from ddeq_models import DataConfig, RunFolder, evaluate, predict
from ddeq_models.cli import main
from ddeq_models.data import augmentation, open_split, view

pytestmark = pytest.mark.usefixtures("no_pictures")


def _solid(path: Path, seed: int, stretch: float) -> None:
    """A tetrahedron, long or not."""
    rng = np.random.default_rng(seed)
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]) + 0.1 * rng.normal(size=(4, 3))
    rows = [" ".join(f"{x:.4f}" for x in row) for row in points * [1, 1, stretch]]
    faces = ["3 0 1 2", "3 0 1 3", "3 0 2 3", "3 1 2 3"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["OFF", "4 4 0", *rows, *faces]) + "\n")


@pytest.fixture(scope="module")
def solids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("solids")
    for name, stretch in (("flat", 1.0), ("long", 9.0)):
        for part, count in (("train", 20), ("test", 4)):
            for i in range(count):
                _solid(root / name / part / f"{name}_{i:04}.off", i, stretch)
    return root


def test_a_folder_of_meshes(tiny: Path, solids: Path) -> None:
    words = ["train", "--data", "folder", "--root", str(solids), "--sampling", "surface"]
    words += ["--points", "32", "--epochs", "10", "--batch-size", "8", "--out", "run", "--quiet"]
    assert main(words) == 0
    run = RunFolder("run")
    config = run.config()
    assert (config.classes, config.model.point_dim) == (("flat", "long"), 3)
    first, second = (evaluate("run", batch_size=size) for size in (3, 8))
    assert first["loss"] == pytest.approx(second["loss"], rel=1e-4)
    assert first["loss"] == pytest.approx(run.result()["test_loss"], rel=1e-4)
    cloud = tiny / "cloud.npy"
    np.save(cloud, np.random.default_rng(0).normal(size=(100, 3)))
    twice = [predict("run", [cloud])[0].probabilities for _ in range(2)]
    assert twice[0] == twice[1]  # a function of the file, though it has more points than 32


@pytest.mark.parametrize(
    ("words", "sizes"),
    [([], {1024}), (["--sampling", "vertices"], {4}), (["--points", "16"], {16})],
)
def test_modelnet_from_its_meshes(
    tiny: Path, solids: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], sizes: set[int]
) -> None:
    monkeypatch.setattr(ModelNet10, "counts", {"flat": (20, 4), "long": (20, 4)})
    shutil.copytree(solids, tiny / "ModelNet10")
    seen: set[int] = set()
    from ddeq_models.tasks.classification import Classification

    prepare = Classification.prepare

    def watched(task: Any, batch: Any, generator: Any) -> Any:
        seen.add(batch.points.shape[1])
        return prepare(task, batch, generator)

    monkeypatch.setattr(Classification, "prepare", watched)
    line = ["train", "--data", "modelnet10", "--root", ".", "--epochs", "1", "--out", "run"]
    assert main([*line, *words, "--quiet"]) == 0
    run = RunFolder("run")
    assert run.result()["test_clouds"] == 8
    assert run.config().data.root == str(tiny)
    assert seen == sizes


def test_fashion_mnist(tiny: Path, mnist: Path) -> None:
    line = ["train", "--data", "fashion-mnist", "--root", str(mnist), "--out", "run", "--weighted"]
    assert main([*line, "--quiet"]) == 0
    config = RunFolder("run").config()
    assert config.data.weighted
    assert "Sneaker" in config.classes


def test_what_is_trained_on_is_sampled_as_what_is_measured() -> None:
    """By place alone, features or not, and with the mass that is there."""
    place = torch.tensor([[0.0, 0], [0.1, 5e3], [4, 0], [4, 1], [9, -7e3], [9, 0.5]])
    weights = torch.tensor([0.3, 0.1, 0.05, 0.05, 0.2, 0.3])
    for features, count, columns in ((("i",), 3, place), ((), 6, place)):
        config = DataConfig("folder", points=count, features=features)
        measured = view(replace(config, normalise="none"))(columns[None], weights[None], None)
        for seed in range(5):
            seeded = torch.Generator().manual_seed(seed)
            drawn = augmentation(config)(columns[None], weights[None], seeded)
            for points, mass in (measured, drawn):
                if count == 6:
                    order = torch.cdist(points[0], place).argmin(0)
                    torch.testing.assert_close(points[0][order], place)
                    torch.testing.assert_close(mass[0][order], weights)
                else:
                    near = (points[0, :, 0] / 4).round()
                    assert sorted(near.tolist()) == [0, 1, 2]
                    expected = torch.tensor([0.4, 0.1, 0.5])
                    torch.testing.assert_close(mass[0][near.argsort()], expected)


def test_points_are_drawn_anew_in_training_and_fixed_in_measuring(solids: Path) -> None:
    config = DataConfig("folder", root=str(solids), sampling="surface", points=32)
    cloud = open_split(config, "test")[0]
    assert len(cloud.points) == 1024
    assert len(open_split(replace(config, sampling="default"), "test")[0].points) == 4
    points, weights = cloud.points[None], cloud.weights[None]
    first, second = (
        augmentation(config)(points, weights, torch.Generator().manual_seed(i))[0] for i in (0, 1)
    )
    assert first.shape == second.shape == (1, 32, 3)
    assert not torch.equal(first, second)
    seen, weighed = view(config)(points, weights, None)
    assert seen.shape == (1, 32, 3)
    torch.testing.assert_close(weighed.sum(), torch.tensor(1.0))
    assert torch.equal(seen, view(config)(points, weights, None)[0])


def test_points_in_the_mean_keep_the_mean_of_the_cloud(solids: Path) -> None:
    config = DataConfig("folder", root=str(solids), sampling="surface", points=8)
    points, weights, _ = open_split(config, "test")[0]
    own, meant = (view(replace(config, points_at=at)) for at in ("chosen", "mean"))
    whole = view(replace(config, points=0))(points[None], weights[None], None)[0][0]
    kept = {tuple(row) for row in whole.tolist()}
    assert all(tuple(row) in kept for row in own(points[None], weights[None], None)[0][0].tolist())
    moved, mass = meant(points[None], weights[None], None)
    centre = (mass[0, :, None] * moved[0]).sum(0)
    torch.testing.assert_close(centre, (weights[:, None] * whole).sum(0), atol=1e-5, rtol=0)
    assert not {tuple(row) for row in moved[0].tolist()} & kept
    seen = augmentation(replace(config, points_at="mean"))(
        whole[None], weights[None], torch.Generator().manual_seed(0)
    )[0][0]
    assert not {tuple(row) for row in seen.tolist()} & kept
