"""Clouds of a user's that are completed: arrays, and more points than the model has seen."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ddeq_data import Cloud, PointBatch, collate
from ddeq_models.config import DataConfig, RunConfig
from ddeq_models.data import view
from ddeq_models.models.completer import CompleterConfig, DDEQCompleter
from ddeq_models.runs.folder import RunFolder
from ddeq_models.runs.pretrained import open_model
from ddeq_models.tasks.base import build_task
from ddeq_models.tasks.completion import CompletionConfig
from ddeq_models.using.complete import complete


def _run(path: Path, points: int) -> Path:
    """A run whose training saw so many points of each cloud."""
    run = shutil.copytree(open_model("mnist-completer").path, path)
    config = json.loads((run / "config.json").read_text())
    config["data"]["points"] = points
    (run / "config.json").write_text(json.dumps(config))
    return run


def test_a_large_cloud_is_thinned_for_the_model_and_kept_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run(tmp_path / "run", 20)
    rng = np.random.default_rng(0)
    clouds = [rng.normal(size=(n, 2)) for n in (80, 12, 40, 80)]
    seen: list[tuple[int, int | None]] = []
    forward = DDEQCompleter.forward

    def watched(model: Any, points: Tensor, weights: Tensor, count: int | None = None) -> Any:
        seen.append((int((weights > 0).sum(-1).max()), count))
        return forward(model, points, weights, count)

    monkeypatch.setattr(DDEQCompleter, "forward", watched)
    done = complete(run, clouds, tmp_path / "out")
    assert max(rows for rows, _ in seen) == 20
    assert [file.file for file in done] == ["cloud 0", "cloud 1", "cloud 2", "cloud 3"]
    # The ratio is one to all points: what is added is as dense as what is there.
    assert [(f.visible, f.completed) for f in done] == [(80, 22), (12, 4), (40, 11), (80, 22)]
    for cloud, file in zip(clouds, done, strict=True):
        written = np.load(file.out)
        assert np.array_equal(written["points"][: len(cloud)], cloud)
        assert written["visible"].sum() == len(cloud)
        assert file.out.name == f"{file.file}.npz"
    # The model is shown what `view` shows of a cloud where such a run is measured.
    model = RunFolder(run).model()
    batch = collate([Cloud(torch.tensor(clouds[0]).float(), torch.full((80,), 1 / 80), 0)])
    thinned = batch.map(view(DataConfig(points=20, normalise="none")))
    with torch.no_grad():
        expected = model(thinned.points, thinned.weights, 22).points[0]
    found = torch.tensor(np.load(done[0].out)["points"][80:]).float()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    # And no completion depends on the others.
    (alone,) = complete(run, clouds[3], tmp_path / "alone", batch_size=1)
    np.testing.assert_allclose(
        np.load(alone.out)["points"], np.load(done[3].out)["points"], atol=1e-3
    )
    (asked,) = complete(run, clouds[0], tmp_path / "asked", count=5)
    assert asked.completed == 5


def test_arrays_are_completed_as_files_are(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(30, 2))
    np.save(tmp_path / "a.npy", points)
    (file,) = complete("mnist-completer", str(tmp_path / "a.npy"), tmp_path / "files")
    (array,) = complete("mnist-completer", torch.tensor(points), tmp_path / "arrays")
    assert array.out == tmp_path / "arrays" / "cloud 0.npz"
    assert np.array_equal(np.load(array.out)["points"], np.load(file.out)["points"])


@pytest.mark.parametrize("protocol", ["ddeqs", "half-space", "viewpoint"])
def test_features_have_no_part_in_what_is_missing(protocol: Any) -> None:
    places = torch.randn(4, 20, 2, generator=torch.Generator().manual_seed(0))
    weights, labels = torch.full((4, 20), 1 / 20), torch.zeros(4).long()
    model = CompleterConfig().for_data(3, 1, 2)
    config = CompletionConfig(protocol)
    data = DataConfig("folder", features=("i",))
    task = build_task(RunConfig("x", ("a",), data, model, task=config))
    seen: list[Tensor] = []
    for colour in (0 * places[..., :1], 100 * places[..., 1:]):
        batch = PointBatch(torch.cat([places, colour], -1), weights, labels)
        cut: Any = task.prepare(batch, torch.Generator().manual_seed(1))
        seen.append(cut.points[..., :2])
    assert torch.equal(*seen)
