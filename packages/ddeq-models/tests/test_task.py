"""A task and a model that the package does not know, written from outside."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from ddeq_data import PointBatch
from ddeq_models import (
    DataConfig,
    DDEQConfig,
    ModelConfig,
    Output,
    RunConfig,
    RunFolder,
    Task,
    TaskConfig,
    TrainConfig,
    UserError,
    diagnose,
    evaluate,
    predict,
    train,
)
from ddeq_models.registry import MODELS, TASKS
from ddeq_models.tasks.base import build_task
from ddeq_models.tasks.tally import Records, mean


@dataclass(frozen=True)
class MeanConfig(ModelConfig):
    """Classifies by the mean of the points: no solver."""

    kind: ClassVar[str] = "mean"
    classes: int = 10
    width: int = 16


class MeanModel(nn.Module):
    def __init__(self, config: MeanConfig) -> None:
        super().__init__()
        self.head = nn.Linear(config.point_dim, config.classes)

    def forward(self, points: Tensor, weights: Tensor) -> Output:
        return Output(self.head((weights[..., None] * points).sum(-2)))


@dataclass(frozen=True)
class SizeConfig(TaskConfig):
    """How many points has a cloud?"""

    kind: ClassVar[str] = "size"
    power: float = 2.0


@dataclass(frozen=True)
class GuessConfig(ModelConfig):
    kind: ClassVar[str] = "guess"
    task: ClassVar[str] = "size"


class Guess(nn.Module):
    def __init__(self, config: GuessConfig) -> None:
        super().__init__()
        self.size = nn.Parameter(torch.zeros(()))

    def forward(self, points: Tensor, weights: Tensor) -> Tensor:
        return self.size.expand(len(points))


class Sizes(NamedTuple):
    points: Tensor
    weights: Tensor
    target: Tensor


class Size(Task):
    def prepare(self, batch: PointBatch, generator: torch.Generator) -> Sizes:
        noise = 1e-3 * torch.rand(len(batch), generator=generator)
        return Sizes(batch.points, batch.weights, batch.sizes / 100 + noise)

    def records(self, answer: Tensor, inputs: Sizes, thorough: bool = False) -> Records:
        more = {"guess": answer} if thorough else {}
        return {**super().records(answer, inputs), **more}

    def figures(self, columns: Any) -> dict[str, float]:
        more = {"guess": mean(columns["guess"])} if "guess" in columns else {}
        return {**super().figures(columns), **more}

    def headline(self, figures: Any) -> str:
        return f"error {figures['loss']:.3f}"

    def draw(self, run: RunFolder, *_: Any) -> None:
        run.write_picture("sizes.png", b"")

    def losses(self, answer: Tensor, inputs: Sizes) -> Tensor:
        task = self.config.task
        assert isinstance(task, SizeConfig)
        return (answer - inputs.target).abs() ** task.power


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "mean", (MeanConfig, MeanModel))
    monkeypatch.setitem(MODELS, "guess", (GuessConfig, Guess))
    monkeypatch.setitem(TASKS, "size", (SizeConfig, Size))


def test_a_model_without_a_solver_is_trained_evaluated_and_asked(
    tmp_path: Path, mnist: Path
) -> None:
    data = DataConfig("mnist", root=str(mnist), normalise="none")
    plan = TrainConfig(epochs=6, batch_size=11, learning_rate=0.3)
    run = train(MeanConfig(), data, plan, out=tmp_path / "run", quiet=True)
    names = sorted(path.name for path in run.path.iterdir() if path.suffix == ".png")
    assert names == ["confusion_matrix.png", "training_curves.png"]  # and no flow
    config = run.config()
    assert isinstance(config.model, MeanConfig)
    assert (config.model.point_dim, config.model.classes) == (2, 10)
    assert "solver_steps_mean" not in run.metrics()[0]
    result = evaluate(run.path)
    assert result["accuracy"] == run.result()["test_accuracy"]
    assert "solver_failures" not in result
    with pytest.raises(UserError, match="the model mean solves nothing; leave rtol out"):
        evaluate(run.path, rtol=0.1)
    with pytest.raises(UserError, match=r"the model mean of .* solves nothing"):
        diagnose(run.path)
    cloud = tmp_path / "cloud.txt"
    cloud.write_text("9 11\n9 12\n")
    (prediction,) = predict(run.path, [cloud])
    assert prediction.converged
    assert prediction.label in config.classes


def test_a_task_of_another_kind(tmp_path: Path, mnist: Path) -> None:
    data = DataConfig("mnist", root=str(mnist))
    plan = TrainConfig(epochs=30, batch_size=11, learning_rate=0.02, keep="best", weight_decay=0.0)
    run = train(
        GuessConfig(), data, plan, task=SizeConfig(power=1.5), out=tmp_path / "run", quiet=True
    )
    assert run.config().task == SizeConfig(power=1.5)
    assert (run.path / "sizes.png").is_file()
    records = [r for r in run.metrics() if r["split"] == "validation"]
    best = min(records, key=lambda r: float(r["loss"]))
    assert run.result()["epoch"] == best["epoch"]
    assert run.result()["validation_loss"] == best["loss"] < records[0]["loss"]
    assert "guess" not in best
    assert run.result()["test_guess"] > 0  # the thorough look at the test clouds
    first, second = (evaluate(run.path, batch_size=size) for size in (3, 20))
    assert first["loss"] == pytest.approx(second["loss"])  # the same chance in any batch
    with pytest.raises(UserError, match="is a run of size, which labels nothing"):
        predict(run.path, ["cloud.txt"])


def test_models_and_tasks_come_back_from_json_by_their_kind() -> None:
    config = RunConfig("x", ("a",), DataConfig(), GuessConfig(3), task=SizeConfig(power=3.0))
    values = json.loads(json.dumps(config.to_dict()))
    assert values["model"] == {"kind": "guess", "point_dim": 3}
    assert values["task"] == {"kind": "size", "power": 3.0}
    assert RunConfig.from_dict(values) == config
    for section in ("model", "task"):
        wrong = {**values, section: {"kind": "zzz"}}
        with pytest.raises(UserError, match=rf"{section}\.kind must be one of .*, got 'zzz'"):
            RunConfig.from_dict(wrong)
    with pytest.raises(UserError, match=r"unknown key model\.dim; known are point_dim"):
        RunConfig.from_dict({**values, "model": {"kind": "guess", "dim": 3}})


def test_a_run_folder_from_before_there_were_tasks() -> None:
    values = RunConfig("ddeq", ("a",), DataConfig(), DDEQConfig(dim=8)).to_dict()
    assert values["task"] == {"kind": "classification"}
    del values["task"], values["model"]["kind"]
    config = RunConfig.from_dict(values)
    assert config.model == DDEQConfig(dim=8)
    assert config.task.kind == "classification"


def test_a_model_of_another_task_is_refused() -> None:
    with pytest.raises(UserError, match="guess is made for size, the task is classification"):
        build_task(RunConfig("x", ("a",), DataConfig(), GuessConfig()))
