"""What a configuration gets wrong with its clouds is said before a run folder is made."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ddeq_models import DataConfig, DDEQConfig, RunFolder, TrainConfig, UserError, train
from ddeq_models.cli import main
from ddeq_models.data import open_split
from ddeq_models.report import write_report
from ddeq_models.tasks.classification import Classification
from ddeq_models.training import resume_run

pytestmark = pytest.mark.usefixtures("no_pictures")


def _folder(root: Path, dim: int) -> Path:
    """Two classes of twelve clouds of points in so many dimensions."""
    rng = np.random.default_rng(0)
    for kind in ("a", "b"):
        (root / kind).mkdir(parents=True)
        for i in range(12):
            np.save(root / kind / f"{i}.npy", rng.normal(size=(20, dim)) + (kind == "b"))
    return root


def _words(root: Path, *more: object) -> tuple[object, ...]:
    return ("train", "--data", "folder", "--root", root, "--out", "run", "--epochs", 1, *more)


@pytest.mark.parametrize("dim", [1, 5])
def test_points_that_cannot_be_turned(tiny: Path, fails: Callable[..., str], dim: int) -> None:
    root = _folder(tiny / "clouds", dim)
    sentence = fails(*_words(root, "--set", "data.rotate=15"))
    assert sentence == (
        "data.rotate is 15, but only points of 2 or 3 coordinates can be turned and these have "
        f"{dim}; take --set data.rotate=0"
    )
    assert not (tiny / "run").exists()
    assert main([*map(str, _words(root, "--quiet", "--set", "train.steps=1"))]) == 0


def test_a_centre_of_another_dimension(tiny: Path, fails: Callable[..., str]) -> None:
    config = DataConfig(
        "folder", root=str(_folder(tiny / "clouds", 3)), normalise="set", centre=(0, 0), unit=1
    )
    with pytest.raises(UserError, match=r"data\.centre must have 3 numbers, .* got 2"):
        train(DDEQConfig(dim=16, heads=2), config, TrainConfig(epochs=1), out=tiny / "run")
    assert not (tiny / "run").exists()


@pytest.mark.parametrize("error", [ValueError, RuntimeError])
def test_whatever_would_stop_the_first_step(
    tmp_path: Path,
    tiny_config: DDEQConfig,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
) -> None:
    plan = TrainConfig(epochs=1)
    run = RunFolder.create(tmp_path / "begun", _run_config(tiny_config))
    before = sorted(path.name for path in run.path.iterdir())

    def refuse(*_: Any) -> None:
        raise error("shapes do not fit\nand more")

    monkeypatch.setattr(Classification, "loss", refuse)
    said = r"does not go with these clouds, and nothing was written: shapes do not fit; change"
    with pytest.raises(UserError, match=said):
        train(tiny_config, DataConfig(), plan, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match=said):
        resume_run(run.path, quiet=True)
    assert sorted(path.name for path in run.path.iterdir()) == before


def _run_config(model: DDEQConfig) -> Any:
    from ddeq_models import RunConfig

    digits = open_split(DataConfig(), "train")
    fitted = model.for_data(digits.dim, len(digits.classes))
    return RunConfig("ddeq", tuple(digits.classes), DataConfig(), fitted, TrainConfig(epochs=1))


def test_a_rehearsal_moves_no_random_numbers(tmp_path: Path, tiny_config: DDEQConfig) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(
        replace(tiny_config, dropout=0.5),
        DataConfig(),
        TrainConfig(epochs=1, batch_size=512),
        out=tmp_path / "run",
        quiet=True,
    )
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("seed", [2**63, 2**64 - 1, 2**70])
def test_a_seed_that_is_too_large(tiny: Path, fails: Callable[..., str], seed: int) -> None:
    for words in (["--seed", seed], ["--set", f"train.seed={seed}"]):
        assert "seed must be" in fails("train", "--out", "run", *words)
    with pytest.raises(UserError, match=r"seed must be below 2\^63"):
        TrainConfig(seed=seed)
    assert list(tiny.iterdir()) == []


def test_the_largest_seed_makes_a_run_that_is_read(tiny: Path) -> None:
    """The result was refused where it was read: it knew no whole number above 2^53."""
    words = ["train", "--out", "run", "--quiet", "--batch-size", "512", "--seed", str(2**63 - 1)]
    assert main(words) == 0
    assert RunFolder("run").result()["seed"] == 2**63 - 1
    assert f"seed {2**63 - 1}" in write_report(["run"], "page.html").read_text()
