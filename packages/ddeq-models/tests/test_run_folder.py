import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch

from ddeq_models import DDEQ, DataConfig, DDEQConfig, RunConfig, RunFolder, UserError
from ddeq_models._internal.files import write_atomically
from ddeq_models.runs.folder import CHECKPOINT, check_out


@pytest.fixture
def config(tiny_config: DDEQConfig) -> RunConfig:
    return RunConfig("ddeq", tuple("0123456789"), DataConfig(), tiny_config)


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"first")
    assert path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == 0o644

    def crash(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    for name in ("replace", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, crash)
            with pytest.raises(KeyboardInterrupt):
                write_atomically(path, b"second")
        assert path.read_bytes() == b"first"
        assert os.listdir(tmp_path) == ["file"]  # and nothing is left over


def test_what_is_written_is_read(tmp_path: Path, config: RunConfig) -> None:
    run = RunFolder.create(tmp_path / "a" / "run", config)
    assert run.config() == config
    assert run.metrics() == []
    model = DDEQ(config.model)
    run.write_weights(model.state_dict())
    loaded = run.model()
    assert not loaded.training
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    run.append({"step": 1})
    run.append({"step": 2})
    assert [record["step"] for record in run.metrics()] == [1, 2]
    run.write_result({"a": [1, 2], "b": {"c": None}})
    assert run.result() == {"a": [1, 2], "b": {"c": None}}
    assert '  "a": [1, 2],\n' in (run.path / "result.json").read_text()


def test_a_record_that_a_crash_cut_off_is_left_out(tmp_path: Path, config: RunConfig) -> None:
    run = RunFolder.create(tmp_path / "run", config)
    run.append({"step": 1})
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 2, "lo')
    assert run.metrics() == [{"step": 1}]


def test_folders_by_default_never_meet(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second, third = (RunFolder.create(None, config).path for _ in range(3))
    assert first.parent == Path("runs")
    assert first.name.endswith("-digits-ddeq")
    assert (second.name, third.name) == (f"{first.name}-2", f"{first.name}-3")


def test_an_empty_folder_may_be_there(tmp_path: Path, config: RunConfig) -> None:
    assert RunFolder.create(tmp_path, config).config() == config
    with pytest.raises(UserError, match="is not empty; give another folder"):
        RunFolder.create(tmp_path, config)


def test_looking_writes_nothing(tmp_path: Path) -> None:
    check_out(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match=r"not a (writable )?folder"):
            check_out(path)


def test_a_damaged_model_is_named(tmp_path: Path, config: RunConfig) -> None:
    run = RunFolder.create(tmp_path / "run", config)
    with pytest.raises(UserError, match=r"has no model\.safetensors"):
        run.model()
    run.write_weights(DDEQ(config.model).state_dict())
    path = run.path / "model.safetensors"
    whole = path.read_bytes()
    for content in (whole[:-10], whole[:5], b""):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"model\.safetensors is damaged or does not fit"):
            run.model()
    path.write_bytes(whole)
    values = json.loads((run.path / "config.json").read_text())
    values["model"]["hidden"] = 17
    (run.path / "config.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"does not fit config\.json"):
        run.model()


def test_no_result_yet(tmp_path: Path, config: RunConfig) -> None:
    with pytest.raises(UserError, match=r"cannot read .*result\.json"):
        RunFolder.create(tmp_path / "run", config).result()


def test_a_run_that_was_stopped_says_how_it_goes_on(
    tmp_path: Path, config: RunConfig, fails: Callable[..., str]
) -> None:
    run = RunFolder.create(tmp_path / "a run", config)
    np.save(tmp_path / "cloud.npy", np.zeros((3, 2)))
    commands = [
        ("evaluate", run.path),
        ("predict", run.path, tmp_path / "cloud.npy"),
        ("diagnose", run.path),
        ("report", run.path, "--out", tmp_path / "page.html"),
    ]
    for words in commands:  # nothing was saved: there is nothing to go on with
        assert "--resume" not in fails(*words)
    (run.path / CHECKPOINT).touch()
    for words in commands:
        assert fails(*words).endswith(f"; go on with: ddeq train --resume '{run.path}'")
    with pytest.raises(UserError, match=re.escape(f"ddeq train --resume '{run.path}'")):
        run.model()
