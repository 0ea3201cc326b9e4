"""A training that is stopped or killed goes on as if it had not been, to the bit."""

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from ddeq_models import (
    DataConfig,
    DDEQConfig,
    Interrupted,
    RunFolder,
    TrainConfig,
    UserError,
    train,
)
from ddeq_models.cli import main
from ddeq_models.config import SolverPhase
from ddeq_models.runs.folder import CHECKPOINT
from ddeq_models.training import resume_run

pytestmark = pytest.mark.usefixtures("no_pictures")

# With everything that could be forgotten: an average, dropout, augmentation, best epoch, phases.
PLAN = TrainConfig(
    epochs=3,
    batch_size=8,
    ema=0.9,
    keep="best",
    warmup=0.3,
    solver_phases=(SolverPhase(2, max_steps=3),),
)


@pytest.fixture
def model(tiny_config: DDEQConfig) -> DDEQConfig:
    return replace(tiny_config, dropout=0.1)


@pytest.fixture
def data(mnist: Path) -> DataConfig:
    """44 clouds to train: six steps an epoch."""
    return DataConfig("mnist", root=str(mnist), rotate=10.0, jitter=0.1)


def _left(run: RunFolder) -> tuple[bytes, list[dict[str, Any]], dict[str, Any]]:
    """What a run leaves, but for times."""
    records = [{k: v for k, v in r.items() if not k.endswith("seconds")} for r in run.metrics()]
    result = {k: v for k, v in run.result().items() if not k.endswith("seconds")}
    result["peer"] = {k: v for k, v in result["peer"].items() if k != "seconds"}
    return (run.path / "model.safetensors").read_bytes(), records, result


class Stopping:
    """Raises at a step: as a second Ctrl-C does, or a crash, wherever it is."""

    def __init__(self, patch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
        self.steps, self.act, self.when = 0, act, -1
        from ddeq_models.training.optimiser import Average

        update = Average.update

        def counted(average: Average, trained: Any) -> None:
            self.steps += 1
            if self.steps == self.when:  # in the middle of a step: the weights have changed
                self.act()
            update(average, trained)

        patch.setattr(Average, "update", counted)

    def at(self, step: int) -> None:
        self.steps, self.when = 0, step


def _crash() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("every", [0.0, 1e9])
def test_a_crash_at_any_step_changes_nothing(
    tmp_path: Path,
    model: DDEQConfig,
    data: DataConfig,
    monkeypatch: pytest.MonkeyPatch,
    every: float,
) -> None:
    """With a checkpoint at each step, and with none: then it starts anew."""
    whole = _left(train(model, data, PLAN, out=tmp_path / "whole", quiet=True))
    stopping = Stopping(monkeypatch, _crash)
    out = tmp_path / "run"

    def go_on() -> RunFolder:
        return train(model, data, PLAN, out=out, resume=True, checkpoint_every=every, quiet=True)

    for step in (1, 3, 7, 5) if every == 0 else (2, 8):
        stopping.at(step)
        with pytest.raises(Interrupted, match=r"go on with: ddeq train --resume .*/run"):
            go_on()
    assert (out / CHECKPOINT).is_file() == (every == 0)
    stopping.at(-1)
    assert _left(go_on()) == whole
    assert not (out / CHECKPOINT).exists()
    assert stopping.steps == (18 - 12 if every == 0 else 18)  # what was done was not done again
    before = os.stat(out / "result.json").st_mtime_ns
    assert _left(resume_run(out)) == whole  # a complete run stays as it is
    assert os.stat(out / "result.json").st_mtime_ns == before


def test_epochs_that_are_not_validated_are_saved_too(
    tmp_path: Path, model: DDEQConfig, data: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ddeq_models.training.loop.VALIDATIONS", 4)
    plan = TrainConfig(epochs=8, batch_size=64)  # of one step each; every second is validated
    whole = _left(train(model, data, plan, out=tmp_path / "whole", quiet=True))
    assert sum(record["split"] == "validation" for record in whole[1]) == 4
    stopping, out = Stopping(monkeypatch, _crash), tmp_path / "run"
    stopping.at(4)
    with pytest.raises(Interrupted):
        train(model, data, plan, out=out, checkpoint_every=0, quiet=True)
    stopping.at(-1)
    assert _left(resume_run(out, quiet=True)) == whole
    assert stopping.steps == 8 - 3  # the checkpoint was that of the third epoch


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(
    tmp_path: Path,
    model: DDEQConfig,
    data: DataConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = _left(train(model, data, PLAN, out="whole", quiet=True))
    stopping = Stopping(monkeypatch, lambda: signal.raise_signal(number))
    stopping.at(9)
    handler = signal.getsignal(number)
    with pytest.raises(Interrupted) as error:
        train(model, data, PLAN, out="a run", quiet=True)
    assert signal.getsignal(number) is handler
    assert error.value.exit_code == 128 + number
    command = "ddeq train --resume 'a run'"
    assert str(error.value) == f"stopped after step 9, which is saved; go on with: {command}"
    stopping.at(-1)
    assert main(["train", "--resume", "a run"]) == 0
    assert "run folder: a run" in capsys.readouterr().out
    assert stopping.steps == 18 - 9
    assert _left(RunFolder("a run")) == whole


def test_a_second_signal_stops_at_once(
    tmp_path: Path, model: DDEQConfig, data: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    Stopping(monkeypatch, twice).at(4)
    with pytest.raises(Interrupted, match=r"^stopped; go on with: ddeq train --resume"):
        train(model, data, PLAN, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run" / CHECKPOINT).exists()


def test_what_a_killed_process_left_is_cleared(
    tmp_path: Path, model: DDEQConfig, data: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _left(train(model, data, PLAN, out=tmp_path / "whole", quiet=True))
    out = tmp_path / "run"
    stopping = Stopping(monkeypatch, _crash)
    stopping.at(8)
    with pytest.raises(Interrupted):
        train(model, data, PLAN, out=out, checkpoint_every=0, quiet=True)
    with open(out / "metrics.jsonl", "a") as file:  # a line after the checkpoint, cut off
        file.write('{"split": "train", "epo')
    (out / ".model.safetensors.x7a").write_bytes(b"half a file")
    stopping.at(-1)
    assert _left(resume_run(out, quiet=True)) == whole
    assert not list(out.glob(".*"))


def test_an_empty_folder_or_half_a_configuration_is_a_start(
    tmp_path: Path, model: DDEQConfig, data: DataConfig
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / ".config.json.q1w").write_bytes(b"{")  # killed while it wrote its first file
    run = train(model, data, replace(PLAN, epochs=1), out=out, resume=True, quiet=True)
    assert run.is_complete()
    assert not list(out.glob(".*"))


def test_another_configuration_is_named(
    tmp_path: Path, model: DDEQConfig, data: DataConfig, finished: Path, fails: Callable[..., str]
) -> None:
    out = tmp_path / "run"
    plan = replace(PLAN, epochs=1)
    train(model, data, plan, out=out, quiet=True)
    other = replace(plan, epochs=2, learning_rate=0.5)
    with pytest.raises(UserError) as error:
        train(replace(model, dim=32), data, other, out=out, resume=True, quiet=True)
    for words in ("model.dim 16 and not 32", "train.epochs 1 and not 2", "train.learning_rate"):
        assert words in str(error.value)
    assert "another --out" in str(error.value)
    with pytest.raises(UserError, match="is not empty; give another folder"):
        train(model, data, plan, out=out, quiet=True)
    sentence = fails("train", "--resume", finished, "--epochs", 3)
    assert "is a run with train.epochs 2 and not 3; leave these options out" in sentence
    assert "leave --out out" in fails("train", "--resume", finished, "--out", tmp_path / "x")
    assert main(["train", "--resume", str(finished), "--epochs", "2", "--quiet"]) == 0
    assert "needs --out" in fails("train", "--resume", "auto")
    assert "there is no run folder nowhere" in fails("train", "--resume", "nowhere")


def test_the_folder_of_the_data_may_be_another_one(
    tmp_path: Path, model: DDEQConfig, data: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, stopping = tmp_path / "run", Stopping(monkeypatch, _crash)
    plan = replace(PLAN, epochs=1, solver_phases=())

    def go_on(root: str) -> RunFolder:
        clouds = replace(data, root=root)
        return train(model, clouds, plan, out=out, resume=True, checkpoint_every=0, quiet=True)

    stopping.at(2)
    with pytest.raises(Interrupted):
        go_on(str(tmp_path / "mnist"))
    moved = [str(shutil.move(tmp_path / "mnist", tmp_path / "first"))]
    stopping.at(2)
    with pytest.raises(Interrupted):
        go_on(moved[0])
    assert RunFolder(out).config().data.root == moved[0]
    stopping.at(-1)
    moved += [str(shutil.move(moved[0], tmp_path / "second"))]
    assert main(["train", "--resume", str(out), "--root", moved[1], "--quiet"]) == 0
    assert RunFolder(out).is_complete()
    assert RunFolder(out).config().data.root == moved[1]


def test_a_damaged_checkpoint_is_named(
    tmp_path: Path, model: DDEQConfig, data: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    Stopping(monkeypatch, _crash).at(3)
    with pytest.raises(Interrupted):
        train(model, data, PLAN, out=out, checkpoint_every=0, quiet=True)
    whole = (out / CHECKPOINT).read_bytes()
    (out / CHECKPOINT).write_bytes(whole[:-20])
    with pytest.raises(UserError, match=r"checkpoint\.safetensors is damaged or of another model"):
        resume_run(out, quiet=True)


@pytest.mark.parametrize("what", ["data", "configuration", "records", "moments"])
def test_only_what_was_begun_is_continued(
    tmp_path: Path, model: DDEQConfig, data: DataConfig, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    out = tmp_path / "run"
    stopping = Stopping(monkeypatch, _crash)
    stopping.at(8)
    with pytest.raises(Interrupted):
        train(model, data, PLAN, out=out, checkpoint_every=0, quiet=True)
    stopping.at(-1)
    words = f"is of a training with other {what}, changed since then"
    match what:
        case "data":  # two labels are swapped
            file = tmp_path / "mnist" / "train-labels-idx1-ubyte"
            content = bytearray(file.read_bytes())
            content[8], content[9] = content[9], content[8]
            file.write_bytes(content)
        case "configuration":
            text = (out / "config.json").read_text()
            assert '"epochs": 3' in text
            (out / "config.json").write_text(text.replace('"epochs": 3', '"epochs": 2'))
        case "records":
            size = (out / "metrics.jsonl").stat().st_size
            os.truncate(out / "metrics.jsonl", size - 10)
            words = "it was cut, or copied in part"
        case _:
            with safe_open(out / CHECKPOINT, "pt") as file:
                kept = {n: file.get_tensor(n) for n in file.keys() if "exp_avg_sq" not in n}  # noqa: SIM118
                save_file(kept, out / CHECKPOINT, file.metadata())
            words = "another checksum than when it was written"
    before = (out / "metrics.jsonl").read_bytes()
    for _ in range(2):
        with pytest.raises(UserError, match=words):
            resume_run(out, quiet=True)
    assert (out / "metrics.jsonl").read_bytes() == before
    assert not (out / ".lock").exists()


def test_a_second_training_into_a_folder_is_refused(
    tmp_path: Path, model: DDEQConfig, data: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _left(train(model, data, PLAN, out=tmp_path / "whole", quiet=True))
    out = tmp_path / "run"
    stopping = Stopping(monkeypatch, _crash)
    stopping.at(4)
    with pytest.raises(Interrupted):
        train(model, data, PLAN, out=out, checkpoint_every=0, quiet=True)
    stopping.at(-1)
    first = RunFolder(out)
    first.claim()
    before = {path: path.read_bytes() for path in out.iterdir()}
    for go_on in (
        lambda: resume_run(out, quiet=True),
        lambda: train(model, data, PLAN, out=out, resume=True, quiet=True),
    ):
        with pytest.raises(UserError, match="another process is writing to the run folder"):
            go_on()
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    first.release()
    assert _left(resume_run(out, quiet=True)) == whole


def test_a_full_disk_costs_what_came_after_the_checkpoint(
    tmp_path: Path, model: DDEQConfig, data: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _left(train(model, data, PLAN, out=tmp_path / "whole", quiet=True))
    out, sync = tmp_path / "run", os.fsync

    def full(handle: int) -> None:
        full.left -= 1  # type: ignore[attr-defined]
        if full.left <= 0:  # type: ignore[attr-defined]
            raise OSError(28, "No space left on device")
        sync(handle)

    for writes in (2, 5, 9):
        full.left = writes  # type: ignore[attr-defined]
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises((OSError, UserError), match=r"No space left on device") as error:
            train(model, data, PLAN, out=out, resume=True, checkpoint_every=0, quiet=True)
        assert "run" in str(error.value)  # the file is named
        monkeypatch.setattr(os, "fsync", sync)
    assert _left(train(model, data, PLAN, out=out, resume=True, quiet=True)) == whole
    assert not list(out.glob(".*"))


def test_a_folder_that_is_removed_is_named(
    tmp_path: Path, model: DDEQConfig, data: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    Stopping(monkeypatch, lambda: shutil.rmtree(out)).at(4)
    with pytest.raises(OSError, match=r"No such file or directory: '.*run") as error:
        train(model, data, PLAN, out=out, checkpoint_every=0, quiet=True)
    assert isinstance(error.value, FileNotFoundError)
    assert not out.exists()
