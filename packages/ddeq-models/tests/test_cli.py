import gzip
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ddeq_models import RECIPES
from ddeq_models.cli import main
from ddeq_models.cli.main import COMMANDS as _COMMANDS

Fails = Callable[..., str]


@pytest.mark.parametrize(
    "command", [[], *([name] for name in _COMMANDS), ["datasets", "show"], ["datasets", "get"]]
)
def test_help_fits_a_screen(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(" ".join(["usage: ddeq", *command]))
    assert len(lines) <= (46 if command == ["train"] else 24)
    assert max(map(len, lines)) <= 82


def test_help_tells_the_defaults_that_are_used(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    plans = [recipe.train for (_, preset), recipe in RECIPES.items() if preset == "ddeq"]
    plan = RECIPES["digits", "ddeq"].train
    for name in ("epochs", "batch_size", "learning_rate"):
        alike = len({getattr(each, name) for each in plans}) == 1
        assert f"[{'' if alike else 'digits '}{getattr(plan, name):g}]" in text


def test_help_all_tells_of_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for option in ("--help", "--help-all", "--help"):
        with pytest.raises(SystemExit, match="0"):
            main(["train", option])
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[2]
    assert "--tensorboard" not in shown[0]
    for option in ("--weight-decay", "--keep", "--release", "--tensorboard", "--checkpoint-every"):
        assert option in shown[1]


def test_version_and_module() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "ddeq_models", "--version"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert ran.stdout == f"ddeq {importlib.metadata.version('ddeq-models')}\n"
    assert ran.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "say what to do: train, "),
        (["tarin"], "invalid choice: 'tarin'"),
        (["train", "--epoch", "3"], "unknown option --epoch of ddeq train; did you mean --epochs?"),
        (["train", "--zzz"], "unknown option --zzz of ddeq train; see ddeq train --help"),
        (["train", "twice"], "unknown argument twice of ddeq train"),
        (["train", "--epochs", "x"], "--epochs: invalid int value: 'x'; see ddeq train --help"),
        (["train", "--epochs"], "--epochs: expected one argument"),
        (["train", "--data", "cifar"], "--data: invalid choice: 'cifar'"),
        (["train", "--preset", "big"], "--preset: invalid choice: 'big'"),
        (["train", "--epochs", "0"], "epochs must be at least 1, got 0"),
        (["train", "--batch-size", "0"], "batch size must be at least 1, got 0"),
        (["train", "--learning-rate", "nan"], "learning rate must be above 0, got nan"),
        (["train", "--ema", "1"], "ema must be at least 0 and below 1, got 1.0"),
        (["train", "--seed", "-1"], "seed must be at least 0, got -1"),
        (["train", "--rtol", "0"], "rtol must be above 0, got 0.0"),
        (["train", "--max-steps", "0"], "max_steps must be at least 1, got 0"),
        (["train", "--adjoint", "none"], "--adjoint: invalid choice: 'none'"),
        (["train", "--device", "quantum"], "the device 'quantum' cannot be used"),
        (["train", "--device", "cuda:99"], "the device 'cuda:99' cannot be used"),
        (["train", "--device", "meta"], "the device 'meta' holds no values"),
        (["train", "--weighted"], "the points of digits always weigh as much as their pixels"),
        (["train", "--data", "shapes-2d", "--weighted"], "no pixels to weigh; leave weighted out"),
        (["train", "--release", "hdf5"], "digits has no release hdf5; leave release out"),
        (["train", "--set", "data.points_at=mean"], "taken as they are; give points (--points N)"),
        (["train", "--sampling", "surface"], "of digits no cloud is sampled by surface"),
        (["train", "--checkpoint-every", "-5"], "seconds of at least 0, got -5"),
        (["train", "--checkpoint-every", "nan"], "seconds of at least 0, got nan"),
        (["embed", "a", "b.npy", "--out", "c.npy", "--split", "test"], "FILE is not; leave either"),
        (["embed", "a", "b.npy", "--out", "c.npy", "--root", "d"], "FILE is not; leave either out"),
        (
            ["embed", "mnist-classifier", "--columns", "x,y", "--out", "c.npy"],
            "are of FILE; leave either out, or give",
        ),
        (
            ["models", "save", "mnist-classifier", "a", "--license", "my own"],
            "SPDX, mit or cc-by-4.0",
        ),
        (
            ["models", "save", "mnist-classifier", "a", "--license", ""],
            "licence must be an identifier",
        ),
        (["models", "save", "mnist-classifier", "a", "--license", "mit\nx"], "identifier"),
        (["datasets", "show", "digits", "--out", "x.txt"], "a name that ends in .png"),
        (
            ["datasets", "show", "digits", "--target", "points"],
            "is known the class; leave --target",
        ),
        (["train", "--data", "mnist"], "say with --root which folder"),
        (["train", "--root", "nowhere"], "leave it out, or take the data set that is there"),
        (["train", "--data", "shapes-2d", "--root", "x"], "nothing is taken from --root"),
        (["train", "--data", "mnist", "--root", "nowhere"], "expected a folder with the files"),
        (["evaluate"], "the following arguments are required: RUN; see ddeq evaluate --help"),
        (["evaluate", "nowhere"], "there is no run folder nowhere"),
        (["evaluate", "nowhere", "--split", "all"], "--split: invalid choice: 'all'"),
        (["predict", "nowhere"], "the following arguments are required: FILE"),
        (["predict", "nowhere", "cloud.npy"], "there is no run folder nowhere"),
    ],
)
def test_bad_words_end_in_one_sentence_and_write_nothing(
    tiny: Path, fails: Fails, arguments: list[str], sentence: str
) -> None:
    assert sentence in fails(*arguments)
    assert list(tiny.iterdir()) == []


def test_the_run_folder_is_looked_at_before_any_work(
    tiny: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: Any) -> NoReturn:
        raise AssertionError("data were opened")

    monkeypatch.setattr("ddeq_models.training.run.open_sets", work)
    (tiny / "full").mkdir()
    (tiny / "full" / "thesis.tex").touch()
    assert "full is not empty; give another folder" in fails("train", "--out", "full")
    (tiny / "file").touch()
    assert "file exists and is not a folder" in fails("train", "--out", "file")
    assert "not a writable folder" in fails("train", "--out", "file/run")
    assert os.listdir(tiny / "full") == ["thesis.tex"]


def test_a_folder_that_cannot_be_written(
    tiny: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert "cannot create the run folder x: Permission denied" in fails("train", "--out", "x")
    assert "cannot create the run folder runs: Permission denied" in fails("train")
    assert list(tiny.iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "garbage", "missing"])
def test_damaged_mnist_files(tiny: Path, mnist: Path, fails: Fails, damage: str) -> None:
    path = mnist / "train-images-idx3-ubyte.gz"
    whole = gzip.decompress(path.read_bytes())
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    elif damage == "garbage":
        path.write_bytes(gzip.compress(whole[:-100]))
    else:
        path.unlink()
    before = sorted(os.listdir(tiny))
    assert "mnist" in fails("train", "--data", "mnist", "--root", mnist)
    assert sorted(os.listdir(tiny)) == before


def test_a_full_disk_is_a_sentence_too(
    tiny: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> NoReturn:
        raise OSError(28, "No space left on device", "runs/x/metrics.jsonl")

    monkeypatch.setattr("ddeq_models.runs.folder.RunFolder.append", full)
    assert (
        fails("train", "--batch-size", "1257", code=1)
        == "runs/x/metrics.jsonl: No space left on device"
    )


def test_broken_run_folders(finished: Path, tmp_path: Path, fails: Fails) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    cloud = tmp_path / "cloud.txt"
    cloud.write_text("1 2\n")
    for command in (["evaluate", empty], ["predict", empty, cloud]):
        assert "is not a run folder: it has no config.json" in fails(*command)
    config = (finished / "config.json").read_text()
    (empty / "config.json").write_text(config)
    for command in (["evaluate", empty], ["predict", empty, cloud]):
        assert "has no model.safetensors" in fails(*command)
    (empty / "config.json").write_text(config.replace('"dim"', '"dmi"'))
    assert "unknown key model.dmi" in fails("evaluate", empty)
    (empty / "config.json").write_text(config[:-30])
    assert "cannot read" in fails("evaluate", empty)


def test_evaluate_gives_what_the_training_gave(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = json.loads((finished / "result.json").read_text())
    assert main(["evaluate", str(finished), "--json", "--batch-size", "77"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["data"], again["split"], again["clouds"]) == ("digits", "test", 360)
    assert again["accuracy"] == result["test_accuracy"]
    assert again["confusion"] == result["confusion"]
    assert again["loss"] == pytest.approx(result["test_loss"], rel=1e-4)
    assert main(["evaluate", str(finished), "--split", "validation"]) == 0
    out, err = capsys.readouterr()
    assert "digits, validation: 180 clouds" in out
    assert f"accuracy {result['validation_accuracy']:.2%}" in out
    assert err == ""


def test_evaluate_by_another_tolerance(
    finished: Path, capsys: pytest.CaptureFixture[str], fails: Fails
) -> None:
    results = []
    for words in ([], ["--rtol", "1e-4", "--max-steps", "400"], ["--max-steps", "2"]):
        assert main(["evaluate", str(finished), "--split", "validation", "--json", *words]) == 0
        results.append(json.loads(capsys.readouterr().out))
    usual, exact, cut = results
    assert cut["solver_steps_max"] == 2 < usual["solver_steps_mean"] < exact["solver_steps_mean"]
    assert cut["solver_failures"] == 180
    assert exact["residual_max"] <= 1e-4 < usual["residual_max"]
    words = ["evaluate", str(finished), "--split", "validation", "--json"]
    words += ["--solver", "euler", "--step", "0.5", "--rtol", "1e-4", "--max-steps", "400"]
    assert main(words) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["solver_steps_mean"] > exact["solver_steps_mean"]
    assert plain["loss"] == pytest.approx(exact["loss"], rel=1e-3)
    assert "rtol must be above 0" in fails("evaluate", finished, "--rtol", "0")
    assert "max_steps must be at least 1" in fails("evaluate", finished, "--max-steps", "0")


def test_evaluate_on_other_data(
    finished: Path, mnist: Path, fails: Fails, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--root" in fails("evaluate", finished, "--data", "mnist")
    assert "at least 1" in fails("evaluate", finished, "--batch-size", "0")
    argv = ["evaluate", str(finished), "--data", "mnist", "--root", str(mnist), "--json"]
    assert main(argv) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["data"], result["clouds"]) == ("mnist", 20)


def test_evaluate_refuses_clouds_of_another_kind(
    finished: Path, tmp_path: Path, fails: Fails
) -> None:
    other = tmp_path / "run"
    other.mkdir()
    (other / "model.safetensors").write_bytes((finished / "model.safetensors").read_bytes())
    config = (finished / "config.json").read_text()
    (other / "config.json").write_text(config.replace('"9"]', '"nine"]'))
    assert "the model knows the classes 0, 1" in fails("evaluate", other)


def test_ctrl_c_outside_a_training(
    finished: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("ddeq_models.measuring.evaluate.measure", interrupt)
    assert fails("evaluate", finished, code=130) == "stopped"


def test_a_reader_that_has_seen_enough(finished: Path) -> None:
    command = [sys.executable, "-m", "ddeq_models", "evaluate", str(finished)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_stopped_while_pytorch_is_imported() -> None:
    """Which takes longer than many a command, so that Ctrl-C often comes then."""
    program = (
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'torch':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from ddeq_models.cli import main\n"
        "sys.exit(main(['evaluate', 'run']))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (130, "ddeq: stopped\n")
