"""Batch norms have the statistics of training clouds, for the weights that are kept."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ddeq_data import SyntheticShapes
from ddeq_models.config import DataConfig, RunConfig, TrainConfig
from ddeq_models.data import normaliser, open_split, view
from ddeq_models.models.base import build_model
from ddeq_models.registry import PRESETS
from ddeq_models.tasks.base import Task, build_task
from ddeq_models.training import statistics, train
from ddeq_models.training.forecast import fit_to_data
from ddeq_models.training.statistics import take_statistics
from set_attention import MeasureBatchNorm

DATA = DataConfig("digits", normalise="none")
CLOUDS = SyntheticShapes(count=30, sizes=(8, 12))
CPU = torch.device("cpu")


def model_of(preset: str) -> tuple[Task, nn.Module]:
    small = {"dim": 8, "heads": 2, "hidden": 8, "pooled": 8} if preset == "ddeq" else {}
    config = replace(PRESETS[preset], classes=4, **small)
    task = build_task(RunConfig(preset, tuple(CLOUDS.classes), DATA, config, TrainConfig()))
    torch.manual_seed(0)
    return task, build_model(config)


def take(task: Task, model: nn.Module, trained: nn.Module | None = None) -> None:
    take_statistics(task, model, trained or model, CLOUDS, normaliser(DATA), CPU)


def test_they_are_those_of_the_clouds_as_the_model_sees_them() -> None:
    task, model = model_of("ddeq")
    first = next(one for one in model.modules() if isinstance(one, MeasureBatchNorm))
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    take(task, model)
    ((rows, weights),) = seen  # 30 clouds are one batch
    share = weights / weights.sum()
    torch.testing.assert_close(first.running_mean, share @ rows)
    torch.testing.assert_close(
        first.running_variance, share @ (rows - share @ rows).square(), rtol=1e-4, atol=1e-6
    )
    assert first.momentum == 0.1
    assert not any(one.training for one in model.modules())


def test_of_several_batches_they_are_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    task, model = model_of("ddeq")
    norm = next(one for one in model.modules() if isinstance(one, MeasureBatchNorm))
    take(task, model)
    whole = norm.running_mean.clone()
    monkeypatch.setattr(statistics, "BATCH", 10)
    take(task, model)
    torch.testing.assert_close(norm.running_mean, whole, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(statistics, "CLOUDS", 10)
    take(task, model)
    assert not torch.allclose(norm.running_mean, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("preset", ["ddeq", "pointnet-vanilla"])
def test_what_it_was_before_does_not_matter(preset: str) -> None:
    task, model = model_of(preset)
    take(task, model)
    once = {name: value.clone() for name, value in model.named_buffers()}
    for module in model.modules():
        if isinstance(getattr(module, "momentum", None), float):
            for buffer in module.buffers(recurse=False):
                buffer.fill_(7)
    take(task, model)
    for name, value in model.named_buffers():
        torch.testing.assert_close(value, once[name], msg=name)


def test_a_frozen_part_keeps_its_own() -> None:
    task, model = model_of("ddeq")
    _, trained = model_of("ddeq")
    for parameter in trained.cell.points.parameters():
        parameter.requires_grad_(False)
    before = [b.clone() for b in model.buffers()]
    take(task, model, trained)
    assert all(map(torch.equal, before, model.buffers()))


def test_a_model_without_such_norms_is_not_shown_anything() -> None:
    task, model = model_of("deep-sets")
    model.forward = None  # type: ignore[method-assign,assignment]
    model.train()
    take(task, model)
    assert not model.training


@pytest.mark.parametrize("points", [0, 6])
def test_a_training_measures_and_keeps_them(tmp_path: Path, points: int) -> None:
    """Of clouds as they are measured: of as many points."""
    config = replace(PRESETS["ddeq"], dim=8, heads=2, hidden=8, pooled=8, scales=0)
    run = train(
        config,
        DataConfig("digits", normalise="set", points=points),
        TrainConfig(epochs=1, batch_size=256, ema=0.9),
        out=tmp_path / "run",
        quiet=True,
    )
    kept, again = run.model(), run.model()
    train_set = open_split(run.config().data, "train")
    task = build_task(run.config())
    seen = view(run.config().data)
    take_statistics(task, again, again, train_set, seen, CPU)
    fresh: Any = build_model(run.config().model)
    assert fit_to_data(task, fresh, train_set, seen, CPU) == ""  # where digits lie tells little
    fresh.fit, fit = (lambda *_: fresh), fresh.fit  # as estimators have it: no words
    assert fit_to_data(task, fresh, train_set, seen, CPU) == ""
    fresh.fit = fit
    told = {name: x for name, x in kept.named_buffers() if name.endswith((".unit", ".reach"))}
    assert len(told) == 2
    for name, x in told.items():
        torch.testing.assert_close(fresh.get_buffer(name), x, msg=name)
    for (name, one), other in zip(kept.named_buffers(), again.buffers(), strict=True):
        torch.testing.assert_close(one, other, msg=name)
