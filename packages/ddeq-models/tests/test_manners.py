"""In parts, by workers, compiled, in a process group of the caller's: the same training."""

import json
import os
import socket
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from ddeq_data import Compose, PointBatch, RandomRotation
from ddeq_models import DataConfig, DDEQConfig, RunFolder, TrainConfig, UserError, train
from ddeq_models.config import RunConfig
from ddeq_models.data import open_split
from ddeq_models.distributed import Ranks, join_ranks
from ddeq_models.models.base import build_model
from ddeq_models.runs.identity import identity
from ddeq_models.tasks.base import build_task
from ddeq_models.training.checkpoints import Manner
from ddeq_models.training.feeding import Feed
from ddeq_models.training.state import State
from ddeq_models.training.step import optimise

pytestmark = pytest.mark.usefixtures("no_pictures", "one_validation")
HERE = torch.device("cpu")


@pytest.fixture
def config(mnist: Path, tiny_config: DDEQConfig) -> RunConfig:
    data = DataConfig("mnist", root=str(mnist), rotate=20.0, jitter=0.1, drop=0.2)
    plan = TrainConfig(epochs=2, batch_size=10, learning_rate=0.01)
    return RunConfig("", tuple("0123456789"), data, tiny_config, plan)


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    return run.model().state_dict()


def feed(config: RunConfig, ranks: Ranks = Ranks(HERE), **options: Any) -> Feed:  # noqa: B008
    return Feed(build_task(config), open_split(config.data, "train"), ranks, **options)


def test_each_process_prepares_its_share_of_the_same_clouds(config: RunConfig) -> None:
    whole = [one.inputs for one in feed(config).epoch(1)]
    assert [len(one.labels) for one in whole] == [10, 10, 10, 10, 4]
    every = [list(feed(config, Ranks(HERE, rank, 6)).epoch(1)) for rank in range(6)]
    for step, expected in enumerate(whole):
        parts = [steps[step] for steps in every]
        assert {part.clouds for part in parts} == {len(expected.labels)}
        parts = [part.inputs for part in parts if part.inputs is not None]
        assert len(parts) == min(6, len(expected.labels))
        assert torch.equal(torch.cat([part.labels for part in parts]), expected.labels)
        start = 0
        for part in parts:
            n = part.points.shape[1]  # padded to the largest of its own
            mine = slice(start, start := start + len(part.labels))
            torch.testing.assert_close(part.points, expected.points[mine, :n])
            torch.testing.assert_close(part.weights, expected.weights[mine, :n])
            assert not expected.weights[mine, n:].any()
    assert any(part.points.shape[1] < expected.points.shape[1] for part in parts)


def test_an_epoch_goes_on_where_it_was(config: RunConfig) -> None:
    one = feed(config)
    whole = list(one.epoch(2))
    rest = list(one.epoch(2, 3))
    assert [len(whole), len(rest)] == [5, 2]
    for before, after in zip(whole[3:], rest, strict=True):
        assert torch.equal(before.inputs.points, after.inputs.points)
    assert not torch.equal(next(one.epoch(1)).inputs.points, whole[0].inputs.points)


def test_workers_change_nothing(config: RunConfig) -> None:
    plain, ahead = feed(config), feed(config, workers=1)
    next(ahead.epoch(1))  # what was not fetched is forgotten
    for epoch in (1, 2):
        for one, other in zip(plain.epoch(epoch), ahead.epoch(epoch), strict=True):
            assert one.clouds == other.clouds
            assert all(map(torch.equal, one.inputs, other.inputs))


def test_a_step_in_parts_is_the_step(config: RunConfig) -> None:
    (prepared, *_) = feed(config).epoch(1)
    found = []
    for parts in (1, 3, 40):  # of 10 clouds
        run = replace(config, train=replace(config.train, accumulate=parts, clip_norm=0.1))
        torch.manual_seed(0)
        state = State(build_model(run.model).train(), run.train)
        before = {name: x.clone() for name, x in state.model.state_dict().items()}
        optimise(build_task(run), state, prepared, 0.01, Ranks(HERE))
        assert len(state.tally) == 10
        found.append({n: x - before[n] for n, x in state.model.state_dict().items()})
    size = sum(float(x.square().sum()) for x in found[0].values())
    for other in found[1:]:
        apart = sum(float((other[n] - x).square().sum()) for n, x in found[0].items())
        assert apart < 1e-3 * size


def test_compiled(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def compiled(model: torch.nn.Module) -> Any:
        asked.append(model)
        return model.forward

    monkeypatch.setattr(torch, "compile", compiled)
    plan = replace(config.train, epochs=1)
    one = train(config.model, config.data, plan, out=tmp_path / "a", quiet=True)
    other = train(config.model, config.data, plan, out=tmp_path / "b", quiet=True, compile=True)
    assert len(asked) == 1
    assert weights(one).keys() == weights(other).keys()
    assert all(torch.equal(x, weights(other)[name]) for name, x in weights(one).items())


def test_an_older_checkpoint_goes_on(config: RunConfig) -> None:
    """Keys that it did not know, at their defaults, make no other training."""
    known = identity(config, [])
    values = replace(config, data=replace(config.data, root=None)).to_dict()
    for name in ("init", "freeze", "accumulate"):
        del values["train"][name]
    text = json.dumps(values, sort_keys=True).encode()
    assert known["configuration"] == blake2b(text, digest_size=16).hexdigest()
    other = replace(config, train=replace(config.train, accumulate=2))
    assert identity(other, []) != known


def test_workers_are_a_number() -> None:
    with pytest.raises(UserError, match="workers must be between 0 and 1024, got -1"):
        Manner(workers=-1)
    with pytest.raises(UserError, match="accumulate must be at least 1"):
        TrainConfig(accumulate=0)


def test_a_process_group_of_the_callers_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    try:
        with join_ranks("cpu") as ranks:
            assert (ranks.rank, ranks.count) == (0, 1)
        assert dist.is_initialized()
        # What it says counts, and not what the environment does.
        monkeypatch.setenv("WORLD_SIZE", "7")
        with join_ranks("cpu") as ranks:
            assert ranks.count == 1
        monkeypatch.setattr(dist, "get_world_size", lambda: 2)
        with join_ranks("cpu") as ranks:
            assert (ranks.rank, ranks.count) == (0, 2)
        assert dist.is_initialized()
    finally:
        dist.destroy_process_group()
    assert "RANK" not in os.environ


def test_what_is_passed_over_was_drawn() -> None:
    from ddeq_models.data.chance import pass_over

    points, weights_ = torch.randn(7, 5, 2), torch.full((7, 5), 0.2)
    batch = PointBatch(points, weights_, torch.zeros(7, dtype=torch.int64))
    whole = batch.map(Compose([RandomRotation(90.0)]), torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    pass_over(generator, 4)
    part = PointBatch(points[4:], weights_[4:], batch.labels[4:]).map(
        RandomRotation(90.0), generator
    )
    assert torch.equal(part.points, whole.points[4:])
