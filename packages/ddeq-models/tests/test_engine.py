"""What the training engine offers beside the loop: precision, schedules, early stop, memory."""

import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from ddeq_models import DDEQ, DataConfig, DDEQConfig, RunConfig, TrainConfig, UserError, train
from ddeq_models.config import SolverPhase
from ddeq_models.distributed import Ranks
from ddeq_models.tasks.classification import Classification, Labelled
from ddeq_models.training.feeding import Prepared
from ddeq_models.training.optimiser import learning_rate
from ddeq_models.training.state import State
from ddeq_models.training.step import optimise

pytestmark = pytest.mark.usefixtures("no_pictures")
FAST = TrainConfig(epochs=1, batch_size=16)


@pytest.fixture
def data(mnist: Path) -> DataConfig:
    return DataConfig("mnist", root=str(mnist))


def test_bf16_trains_close_to_float32_and_measures_in_float32(
    tmp_path: Path, tiny_config: DDEQConfig, data: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[torch.dtype]] = {"train": set(), "measure": set()}
    answer = Classification.answer

    def watched(task: Any, model: Any, inputs: Any) -> Any:
        output = answer(task, model, inputs)
        seen["train" if model.training else "measure"].add(output.logits.dtype)
        return output

    monkeypatch.setattr(Classification, "answer", watched)
    config = replace(tiny_config, rtol=1e-4)  # which no map in eight bits could keep
    plans = {p: replace(FAST, precision=p, epochs=2) for p in ("float32", "bf16")}
    runs = {p: train(config, data, plan, out=tmp_path / p, quiet=True) for p, plan in plans.items()}
    assert seen == {"train": {torch.float32, torch.bfloat16}, "measure": {torch.float32}}
    first, second = (run.metrics() for run in runs.values())
    for a, b in zip(first, second, strict=True):
        assert a["loss"] != b["loss"]
        assert b["loss"] == pytest.approx(a["loss"], rel=0.02)
        assert b["solver_failures"] == 0
    dtypes = {p.dtype for p in runs["bf16"].model().parameters()}
    assert dtypes == {torch.float32}


def test_the_learning_rate_falls_in_steps_of_epochs() -> None:
    config = TrainConfig(
        epochs=7, schedule="step", decay_epochs=2, decay_factor=0.5, learning_rate=8.0, warmup=0.1
    )
    rates = [learning_rate(config, step, 70) for step in range(70)]
    assert rates[:7] == pytest.approx([8 * (i + 1) / 7 for i in range(7)])
    assert rates[7:20] == [8.0] * 13
    assert [rates[i] for i in (20, 39, 40, 59, 60, 69)] == [4, 4, 2, 2, 1, 1]


def test_the_solver_changes_from_an_epoch_on(
    tmp_path: Path, tiny_config: DDEQConfig, data: DataConfig
) -> None:
    phases = (SolverPhase(3, max_steps=5), SolverPhase(2, max_steps=2, step=0.5))
    plan = replace(FAST, epochs=3, solver_phases=phases)
    model = replace(tiny_config, rtol=1e-9, max_steps=3, training_max_steps=1)
    run = train(model, data, plan, out=tmp_path / "run", quiet=True)
    steps = {(r["split"], r["epoch"]): r["solver_steps_max"] for r in run.metrics()}
    for split, first in (("train", 1), ("validation", 3)):
        assert [steps[split, epoch] for epoch in (1, 2, 3)] == [first, 2, 5]
    trained = run.model()
    assert isinstance(trained, DDEQ)
    assert (trained.config.max_steps, trained.config.step) == (5, 0.5)  # the step of epoch 2 stays
    assert run.config().model == model.for_data(2, 10)
    assert run.result()["solver_steps_max"] == 5


def test_a_kept_model_has_the_settings_of_its_epoch(
    tmp_path: Path, tiny_config: DDEQConfig, data: DataConfig
) -> None:
    # A learning rate of its own accord too large: the first epoch is the best, the second kept not.
    plan = replace(
        FAST, epochs=2, keep="best", learning_rate=3.0, warmup=1.0, clip_norm=0.0,
        solver_phases=(SolverPhase(2, max_steps=1),),
    )  # fmt: skip
    run = train(tiny_config, data, plan, out=tmp_path / "run", quiet=True)
    kept = run.result()["epoch"]
    assert [r["kept"] for r in run.metrics() if r["split"] == "validation"] == [True, kept == 2]
    trained = run.model()
    assert isinstance(trained, DDEQ)
    assert trained.config.max_steps == {1: tiny_config.max_steps, 2: 1}[kept]


def test_patience_ends_a_training(
    tmp_path: Path, tiny_config: DDEQConfig, data: DataConfig
) -> None:
    plan = replace(FAST, epochs=30, learning_rate=1e-12, patience=2, keep="best")
    run = train(tiny_config, data, plan, out=tmp_path / "run", quiet=True)
    validated = [r for r in run.metrics() if r["split"] == "validation"]
    best = max(range(len(validated)), key=lambda i: (
        validated[i]["accuracy"], -validated[i]["loss"], -i
    ))  # fmt: skip
    assert len(validated) == best + 1 + 2 < 30
    assert run.result()["epoch"] == best + 1


def test_patience_is_kept_where_not_every_epoch_is_validated(
    tmp_path: Path, tiny_config: DDEQConfig, data: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ddeq_models.training.loop.VALIDATIONS", 2)  # epochs 6 and 12 by itself
    plan = replace(FAST, epochs=12, learning_rate=1e-12, ema=0.0, patience=4)
    run = train(tiny_config, data, plan, out=tmp_path / "run", quiet=True)
    validated = [r["epoch"] for r in run.metrics() if r["split"] == "validation"]
    assert validated in ([4, 8], [4, 8, 12])  # the second time, or the third, nothing was better


def test_phases_of_a_model_without_such_settings(tiny_config: DDEQConfig) -> None:
    from ddeq_models import ModelConfig

    class Plain(ModelConfig):
        kind = "plain"

    plan = replace(FAST, solver_phases=(SolverPhase(1, step=2.0),))
    with pytest.raises(UserError, match="solver_phases change step, which the model plain does"):
        RunConfig("", (), DataConfig(), Plain(), plan).model_at(1)
    with pytest.raises(UserError, match="epoch must be at least 1, got 0"):
        SolverPhase(0)


def test_a_phase_that_is_wrong_is_told_before_the_training(
    tmp_path: Path, tiny_config: DDEQConfig, data: DataConfig
) -> None:
    plan = replace(FAST, epochs=9, solver_phases=(SolverPhase(9, max_steps=0),))
    with pytest.raises(UserError, match="solver_phases: max_steps must be at least 1, got 0"):
        train(tiny_config, data, plan, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def _peak(config: DDEQConfig) -> int:
    """Bytes that one training step holds at most for the backward pass."""
    run = RunConfig("", tuple("0123456789"), DataConfig(), config, replace(FAST, clip_norm=0.0))
    torch.manual_seed(0)
    state = State(DDEQ(config), run.train)
    points = torch.randn(4, 30, 2)
    inputs = Labelled(points, torch.full((4, 30), 1 / 30), torch.arange(4))
    held = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal held
        held += tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        prepared = Prepared(inputs, len(points))
        optimise(Classification(run), state, prepared, 1e-3, Ranks(torch.device("cpu")))
    assert int(state.tally.columns()["solver_steps"].max()) == config.max_steps
    return held


@pytest.mark.parametrize("adjoint", ["phantom", "implicit"])
def test_memory_of_a_step_does_not_depend_on_the_solvers_budget(
    tiny_config: DDEQConfig, adjoint: Any
) -> None:
    config = replace(tiny_config, rtol=1e-12, adjoint=adjoint, integrator="euler", step=0.5)
    short, long = (_peak(replace(config, max_steps=steps)) for steps in (5, 40))
    assert short == long


class Writer:
    """Stands for TensorBoard's writer."""

    made: ClassVar[list["Writer"]] = []

    def __init__(self, folder: str, purge_step: int | None) -> None:
        self.folder, self.purge_step = folder, purge_step
        self.scalars: list[tuple[str, float, int]] = []
        Writer.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))

    def flush(self) -> None:
        pass


def test_records_for_tensorboard(
    tmp_path: Path, tiny_config: DDEQConfig, data: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    run = train(tiny_config, data, FAST, out=tmp_path / "run", quiet=True, tensorboard=True)
    (writer,) = Writer.made
    assert (writer.folder, writer.purge_step) == (str(tmp_path / "run" / "tensorboard"), None)
    record = run.metrics()[0]
    assert ("train/loss", record["loss"], record["step"]) in writer.scalars
    assert any(name == "validation/accuracy" for name, _, _ in writer.scalars)


def test_without_tensorboard_there_is_a_remedy(
    tiny: Path, fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    sentence = fails("train", "--tensorboard", "--out", "run")
    assert sentence == "--tensorboard needs: pip install 'ddeq-models[tensorboard]'"
    assert not (tiny / "run").exists()
