import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ddeq_models import (
    RECIPES,
    DataConfig,
    DDEQConfig,
    Diverged,
    Output,
    RunFolder,
    TrainConfig,
    train,
)
from ddeq_models.cli.configure import OPTIONS
from ddeq_models.cli.main import main, parse
from ddeq_models.registry import MODELS
from wgf_solver import Measure, equilibrium

FAST = TrainConfig(epochs=1, batch_size=16)


@pytest.fixture
def data(mnist: Path) -> DataConfig:
    """44 clouds to train, 4 to validate, 20 to test."""
    return DataConfig("mnist", root=str(mnist), normalise="unit-sphere")


def test_a_run_leaves_a_whole_folder(finished: Path, tiny_config: DDEQConfig) -> None:
    run = RunFolder(finished)
    assert sorted(path.name for path in finished.iterdir()) == [
        "calibration.safetensors",
        "config.json",
        "confusion_matrix.png",
        "flow.png",
        "metrics.jsonl",
        "model.safetensors",
        "result.json",
        "training_curves.png",
    ]
    config = run.config()
    assert (config.preset, config.model, config.train.epochs) == ("ddeq", tiny_config, 2)
    assert config.classes == tuple("0123456789")
    result = run.result()
    assert {
        "test_accuracy", "validation_accuracy", "parameters", "seconds", "solver_steps_mean",
        "solver_failures", "spread", "data", "preset", "seed", "versions",
    } <= set(result)  # fmt: skip
    assert result["test_clouds"] == 360
    assert result["parameters"] == sum(p.numel() for p in run.model().parameters())
    assert sum(map(sum, result["confusion"])) == 360
    records = run.metrics()
    assert [(r["epoch"], r["split"], r["clouds"]) for r in records] == [
        (epoch, split, clouds)
        for epoch in (1, 2)
        for split, clouds in (("train", 1257), ("validation", 180))
    ]
    assert records[-1]["accuracy"] == result["validation_accuracy"]
    assert records[-1]["step"] == 2 * 20
    for record in records[::2]:
        assert 0 < record["solver_seconds"] < record["step_seconds"]
        assert 20 * record["step_seconds"] < record["seconds"] + 1e-3


@pytest.mark.usefixtures("no_pictures")
def test_the_command_says_what_came_out(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--batch-size", "256"]
    assert main([*words, "--adjoint", "implicit", "--rtol", "0.05", "--max-steps", "7"]) == 0
    out, err = capsys.readouterr()
    (folder,) = (tiny / "runs").iterdir()
    assert f"run folder: runs/{folder.name}" in out
    assert "test accuracy" in out
    for word in ("loss", "acc", "steps", "residual", "failed", "validation"):
        assert word in err  # one line an epoch, where there is no terminal
    model = RunFolder(folder).config().model
    assert (model.adjoint, model.rtol, model.max_steps) == ("implicit", 0.05, 7)
    assert RunFolder(folder).metrics()[0]["adjoint_steps_mean"] > 0


def _without_times(run: RunFolder) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in record.items() if not k.endswith("seconds")} for record in run.metrics()
    ]


@pytest.mark.usefixtures("no_pictures")
def test_a_seed_decides_a_run_and_nothing_else_does(
    tmp_path: Path, tiny_config: DDEQConfig, data: DataConfig
) -> None:
    data = replace(data, rotate=10.0, jitter=0.1, drop=0.1)
    model = replace(tiny_config, dropout=0.1)
    runs = []
    for i, seed in enumerate((0, 0, 1)):
        torch.manual_seed(i)  # the state of the process has no say in it, and is left as it was
        before = torch.get_rng_state()
        plan = replace(FAST, epochs=2, seed=seed, ema=0.9)
        runs.append(train(model, data, plan, out=tmp_path / str(i), quiet=True))
        assert torch.equal(before, torch.get_rng_state())
    assert _without_times(runs[0]) == _without_times(runs[1]) != _without_times(runs[2])
    weights = [(run.path / "model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1] != weights[2]


class Counting(nn.Module):
    """A model that knows a cloud by its number of points alone, and solves next to nothing."""

    def __init__(self, config: DDEQConfig) -> None:
        super().__init__()
        self.config = config
        self.table = nn.Embedding(50, config.classes)

    def forward(self, points: Tensor, weights: Tensor, *, trajectory: bool = False) -> Output:
        rest = Measure(torch.ones(len(points), 1, 1))
        return Output(self.table((weights > 0).sum(-1)), equilibrium(lambda mu: mu, rest))


@pytest.mark.usefixtures("no_pictures")
def test_the_loop_learns(
    tmp_path: Path, data: DataConfig, tiny_config: DDEQConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "ddeq", (DDEQConfig, Counting))
    for ema in (0.0, 0.9):
        plan = TrainConfig(epochs=20, batch_size=16, learning_rate=0.3, ema=ema)
        run = train(tiny_config, data, plan, out=tmp_path / str(ema), quiet=True)
        assert run.result()["test_accuracy"] == 1.0
        losses = [record["loss"] for record in run.metrics() if record["split"] == "train"]
        assert losses[-1] < 0.3 < 2 < losses[0]


@pytest.mark.usefixtures("no_pictures")
def test_the_average_is_what_is_measured_and_saved(
    tmp_path: Path, tiny_config: DDEQConfig, data: DataConfig
) -> None:
    plain, averaged = (
        train(tiny_config, data, replace(FAST, ema=ema), out=tmp_path / str(ema), quiet=True)
        for ema in (0.0, 0.99)
    )
    of_training, of_validation = zip(
        *([record["loss"] for record in run.metrics()] for run in (plain, averaged)), strict=True
    )
    assert of_training[0] == of_training[1]  # the average does not act back on the training
    assert of_validation[0] != of_validation[1]
    weights = [load_file(run.path / "model.safetensors") for run in (plain, averaged)]
    assert weights[0].keys() == weights[1].keys()
    assert not torch.equal(weights[0]["head.weight"], weights[1]["head.weight"])


@pytest.mark.usefixtures("no_pictures")
def test_the_best_epoch_is_kept(tmp_path: Path, tiny_config: DDEQConfig, data: DataConfig) -> None:
    # The learning rate rises to something absurd: an early epoch is the best.
    plan = replace(FAST, epochs=6, learning_rate=3.0, warmup=1.0, clip_norm=0.0)
    kept = {}
    for keep in ("best", "last"):
        run = train(tiny_config, data, replace(plan, keep=keep), out=tmp_path / keep, quiet=True)
        kept[keep] = run.result()["epoch"]
        validated = [r for r in run.metrics() if r["split"] == "validation"]
        best = max(validated, key=lambda r: (r["accuracy"], -r["loss"]))
        assert kept["best"] == best["epoch"] < 6
        said = validated[kept[keep] - 1]["accuracy"]
        assert run.result()["validation_accuracy"] == said
    assert kept["last"] == 6


@pytest.mark.usefixtures("no_pictures")
def test_records_cut_a_long_epoch_evenly(
    tmp_path: Path, tiny_config: DDEQConfig, data: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ddeq_models.training.loop.RECORD_EVERY", 3)
    run = train(tiny_config, data, replace(FAST, batch_size=4), out=tmp_path / "run", quiet=True)
    records = [r for r in run.metrics() if r["split"] == "train"]
    assert [r["step"] for r in records] == [2, 5, 8, 11]
    assert sum(r["clouds"] for r in records) == 44


@pytest.mark.parametrize("batch_size", [16, 44])
def test_a_loss_that_is_not_finite_ends_the_training(
    tiny: Path, fails: Any, tiny_config: DDEQConfig, data: DataConfig, batch_size: int
) -> None:
    argv = ["train", "--data", "mnist", "--root", data.root, "--out", "run"]
    argv += ["--learning-rate", "1e38", "--batch-size", batch_size, "--ema", "0"]
    sentence = fails(*argv, code=1)
    # After a single step it is only the validation that sees what became of the weights.
    when = {16: "training, step 3", 44: "validation, epoch 1"}[batch_size]
    assert sentence.startswith(f"the loss is not finite ({when}); run keeps")
    assert not (tiny / "run" / "model.safetensors").exists()
    plan = replace(FAST, learning_rate=1e38)
    with pytest.raises(Diverged):
        train(tiny_config, data, plan, out=tiny / "again", quiet=True)


@pytest.mark.usefixtures("no_pictures")
def test_mnist_from_its_files(tiny: Path, mnist: Path) -> None:
    argv = ["train", "--data", "mnist", "--root", "mnist", "--out", "run", "--batch-size", "16"]
    assert main(argv) == 0
    run = RunFolder("run")
    assert run.config().data.root == str(mnist)  # absolute: it holds from everywhere
    assert run.result()["test_clouds"] == 20
    assert main(["evaluate", "run"]) == 0


@pytest.mark.usefixtures("no_pictures")
def test_the_paper_preset_trains(tiny: Path, mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPES["mnist", "ddeq-paper"]
    small = replace(recipe.model, dim=16, heads=2, hidden=16, max_steps=4)
    monkeypatch.setitem(RECIPES, ("mnist", "ddeq-paper"), replace(recipe, model=small))
    argv = ["train", "--preset", "ddeq-paper", "--out", "run"]
    assert main([*argv, "--data", "mnist", "--root", str(mnist)]) == 0
    result = json.loads((tiny / "run" / "result.json").read_text())
    assert result["solver_failures"] == 20  # four steps reach no equilibrium, and it is said


@pytest.mark.usefixtures("no_pictures")
def test_the_completer_of_the_paper_trains_and_completes(
    tiny: Path, mnist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RECIPES["mnist", "ddeq-paper-completer"]
    small = replace(recipe.model, dim=16, heads=2, hidden=16, max_steps=4)
    monkeypatch.setitem(RECIPES, ("mnist", "ddeq-paper-completer"), replace(recipe, model=small))
    argv = ["train", "--preset", "ddeq-paper-completer", "--data", "mnist", "--root", str(mnist)]
    assert main([*argv, "--out", "run"]) == 0
    result = json.loads((tiny / "run" / "result.json").read_text())
    assert result["test_whole_energy_distance"] < result["test_energy_distance"]
    np.save("half.npy", np.random.default_rng(0).normal(size=(20, 2)))
    assert main(["complete", "run", "half.npy", "--out", "done"]) == 0
    with np.load("done/half.npz") as done:
        assert done["visible"].sum() == 20
        assert len(done["points"]) == 26  # 0.275 for each


def test_options_are_those_of_the_configuration() -> None:
    options = set(vars(parse(["train"])))
    for section, kind in (("data", DataConfig), ("train", TrainConfig), ("model", DDEQConfig)):
        names = set(OPTIONS[section])
        assert names <= options
        assert names <= {field.name for field in fields(kind)}
