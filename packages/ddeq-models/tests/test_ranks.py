"""Two processes train as one does at the same batch, up to the order of additions."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ddeq_models import DataConfig, DDEQConfig, RunFolder, TrainConfig, UserError, train
from ddeq_models.distributed import Ranks, join_ranks

JOB = """
import sys
import torch
import ddeq_models.training.run
from ddeq_models import DataConfig, DDEQConfig, TrainConfig, train

torch.set_num_threads(1)
ddeq_models.training.run.draw_if_possible = lambda *_: None
train({model!r}, {data!r}, {plan!r}, out=sys.argv[1], resume=True, quiet=True)
"""


@pytest.mark.usefixtures("no_pictures")
def test_two_processes_train_as_one(tmp_path: Path, tiny_config: DDEQConfig, mnist: Path) -> None:
    # 44 clouds in batches of 43: shares are uneven, and of the last batch one process has none.
    model = replace(tiny_config, adjoint="implicit")
    data = DataConfig("mnist", root=str(mnist), rotate=10.0, jitter=0.1)
    plan = TrainConfig(epochs=5, batch_size=43, learning_rate=0.01, clip_norm=0.1, ema=0.5)
    one = train(model, data, plan, out=tmp_path / "one", quiet=True)
    job = tmp_path / "job.py"
    job.write_text(JOB.format(model=model, data=data, plan=plan))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    ran = subprocess.run(
        [*torchrun, str(job), str(tmp_path / "two")], capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    two = RunFolder(tmp_path / "two")
    assert two.result()["processes"] == 2
    assert two.result()["confusion"] == one.result()["confusion"]
    records = list(zip(one.metrics(), two.metrics(), strict=True))
    assert len(records) == 10
    for first, second in records:
        assert first["clouds"] == second["clouds"]
        for name in ("loss", "spread", "accuracy", "solver_steps_mean"):
            assert second[name] == pytest.approx(first[name], rel=1e-4), name
    losses = [first["loss"] for first, _ in records]
    assert losses[0] > 1.001 * losses[8]  # there was something to train
    weights, others = (load_file(run.path / "model.safetensors") for run in (one, two))
    # As a whole: Adam divides by the size of a gradient, so that where that is next to 0 rounding
    # moves a weight as far as a gradient would.
    apart = sum(float((others[name] - tensor).square().sum()) for name, tensor in weights.items())
    size = sum(float(tensor.square().sum()) for tensor in weights.values())
    assert apart < 1e-8 * size


@pytest.mark.parametrize("clouds", [0, 1, 2, 7, 8])
def test_shares_are_all_clouds_once(clouds: int) -> None:
    every = list(range(clouds))
    shares = [every[Ranks(torch.device("cpu"), rank, 3).mine(clouds)] for rank in range(3)]
    assert [cloud for share in shares for cloud in share] == every
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_alone_nothing_is_exchanged() -> None:
    with join_ranks("cpu") as ranks:
        assert ranks.mine(3) == slice(0, 3)
        assert (ranks.rank, ranks.count, ranks.any(True, False)) == (0, 1, (True, False))
        assert ranks.of_first("x") == "x"


def test_half_an_environment_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tiny: Path, fails: Callable[..., str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "RANK" not in os.environ
    with pytest.raises(UserError, match="RANK is not set; start the processes with torchrun"):
        join_ranks("cpu").__enter__()
    assert "torchrun --nproc-per-node N -m ddeq_models train" in fails("train", "--out", "x")
    assert list(tiny.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("WORLD_SIZE", "abc", "WORLD_SIZE must be a whole number, got 'abc'"),
        ("WORLD_SIZE", "0", "WORLD_SIZE must be a whole number"),
        ("RANK", "5", "RANK is 5 and LOCAL_RANK 0, but they must be below WORLD_SIZE, which is 2"),
        ("RANK", "-1", "RANK must be a whole number"),
        ("LOCAL_RANK", "2", "must be below WORLD_SIZE"),
    ],
)
def test_numbers_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    for known, number in {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", name: value}.items():
        monkeypatch.setenv(known, number)
    with pytest.raises(UserError, match=words):
        join_ranks("cpu").__enter__()


def test_what_fails_on_one_process_fails_on_all_and_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others: list[object] = []

    def gather(parts: list[object], own: object) -> None:
        parts[:] = [*others, own] if rank else [own, *others]

    monkeypatch.setattr("torch.distributed.all_gather_object", gather)
    for rank in (0, 1):
        ranks = Ranks(torch.device("cpu"), rank, 2)
        others[:] = [None]
        assert ranks.together(lambda: 3) == 3
        with pytest.raises(ZeroDivisionError):
            ranks.together(lambda: 1 // 0)
        others[:] = ["no data"]
        with pytest.raises(UserError, match=f"process {1 - rank} of 2: no data"):
            ranks.together(lambda: 3)
        others[:] = [{"data": "a", "configuration": "b"}]
        ranks.same({"data": "a", "configuration": "b"})
        with pytest.raises(UserError, match="process 1 of 2 has another data than process 0"):
            ranks.same({"data": "c", "configuration": "b"})
