"""The main job through the installed command, in processes of its own, from nothing to a label."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from ddeq_data import Digits
from ddeq_models import predict


def ddeq(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "ddeq"), *arguments],
        cwd=cwd, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_train_evaluate_predict(tmp_path: Path) -> None:
    done = ddeq("train", "--epochs", "1", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    result = json.loads((run / "result.json").read_text())
    assert {
        "test_accuracy", "parameters", "seconds", "solver_steps_mean", "solver_failures", "spread",
    } <= result.keys()  # fmt: skip
    assert result["test_accuracy"] > 0.8  # chance is 0.1
    for name in ("config.json", "metrics.jsonl", "model.safetensors"):
        assert (run / name).stat().st_size > 0
    assert len(list(run.glob("*.png"))) == 3

    done = ddeq("evaluate", "run", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["accuracy"] == result["test_accuracy"]

    cloud = Digits("test")[0]
    np.savez(tmp_path / "cloud.npz", points=cloud.points.numpy(), weights=cloud.weights.numpy())
    np.savetxt(tmp_path / "cloud.csv", cloud.points.numpy(), delimiter=",")
    done = ddeq("predict", "run", "cloud.npz", "cloud.csv", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [s["file"] for s in said] == ["cloud.npz", "cloud.csv"]
    assert all(abs(sum(s["probabilities"].values()) - 1) < 1e-5 for s in said)
    clouds = [tmp_path / name for name in ("cloud.npz", "cloud.csv")]
    again = predict(run, clouds)  # in this process
    assert [p.label for p in again] == [s["label"] for s in said]
    assert [p.probabilities for p in again] == [s["probabilities"] for s in said]


def test_errors_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments in (["evaluate", "empty"], ["train", "--epochz", "3"]):
        done = ddeq(*arguments, cwd=tmp_path)
        assert done.returncode not in (0, -9)
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]
