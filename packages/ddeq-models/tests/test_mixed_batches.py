"""Clouds whose number of points tells the class: sorted batches would each hold one class alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ddeq_models import PRESETS, RECIPES, DataConfig, train

CLASSES = ("ring", "line", "blob")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """180 clouds of three shapes, of 20 to 29, 30 to 39 and 40 to 49 points."""
    root = tmp_path_factory.mktemp("sizes")
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (root / name).mkdir()
        for i in range(60):
            n = 20 + 10 * label + i % 10
            angle, along = rng.uniform(0, 2 * np.pi, n), rng.uniform(-1, 1, n)
            points = {
                "ring": np.stack([np.cos(angle), np.sin(angle)], 1),
                "line": np.stack([along, along], 1),
                "blob": rng.normal(scale=0.3, size=(n, 2)),
            }[name]
            np.save(root / name / f"{i}.npy", points + rng.normal(scale=0.05, size=(n, 2)))
    return root


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("preset", "seed"),
    [("ddeq", 0), ("ddeq", 1), ("ddeq", 2), ("deep-sets", 0), ("pointnet-vanilla", 1)],
)
def test_it_is_learned_from_every_seed(
    folder: Path, tmp_path: Path, preset: str, seed: int
) -> None:
    small = {"dim": 16, "heads": 2, "hidden": 32, "pooled": 32, "description": False}
    epochs = {"ddeq": 12, "deep-sets": 25, "pointnet-vanilla": 16}[preset]
    plan = replace(RECIPES["folder", preset].train, seed=seed, epochs=epochs, steps=0)
    data = DataConfig("folder", root=str(folder), normalise="set")
    model = replace(PRESETS[preset], **(small if preset == "ddeq" else {}))
    run = train(model, data, plan, preset=preset, out=tmp_path / "run", quiet=True)
    assert run.result()["test_accuracy"] > 0.95
