"""From the words of `ddeq train` to a configuration."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ddeq_models import RECIPES, RunConfig, UserError
from ddeq_models.cli import main
from ddeq_models.cli.configure import assemble
from ddeq_models.cli.main import parse
from ddeq_models.data import DATA_SETS
from ddeq_models.recipes import recipe_for

Fails = Callable[..., str]


def assembled(*words: str) -> RunConfig:
    return assemble(parse(["train", *words]))


@pytest.mark.parametrize("data", DATA_SETS)
@pytest.mark.parametrize("preset", ["ddeq", "ddeq-paper"])
def test_without_options_it_is_the_recipe(data: Any, preset: str) -> None:
    config = assembled("--data", data, "--preset", preset)
    recipe = RECIPES[data, preset]
    assert (config.model, config.data, config.train, config.task) == (
        recipe.model, recipe.data, recipe.train, recipe.task
    )  # fmt: skip
    assert config.preset == preset


def test_epochs_and_points_choose_the_recipe_and_what_is_said_counts_over_it() -> None:
    words = ("--data", "fashion-mnist", "--epochs", "1", "--points", "64")
    config = assembled(*words)
    recipe = recipe_for("fashion-mnist", "ddeq", points=64, epochs=1)
    assert (config.model, config.data) == (recipe.model, replace(recipe.data, points=64))
    assert config.data.rotate == 0 < RECIPES["fashion-mnist", "ddeq"].data.rotate
    assert assembled(*words, "--set", "data.rotate=7").data.rotate == 7
    # With steps beside it an epoch is no single pass.
    again = assembled("--data", "folder", "--root", "x", "--epochs", "1", "--steps", "600")
    assert (again.train.epochs, again.train.steps) == (1, 600)
    assert again.data.jitter == RECIPES["folder", "ddeq"].data.jitter > 0
    # Keys are taken as they are, as the command in a model's card has them.
    keys = assembled(
        "--data", "fashion-mnist", "--set", "train.epochs=1", "--set", "data.points=64"
    )
    assert keys.model == RECIPES["fashion-mnist", "ddeq"].model
    assert keys.data.rotate == RECIPES["fashion-mnist", "ddeq"].data.rotate


def test_every_named_option_arrives(tmp_path: Path) -> None:
    words = (
        "--root data --points 64 --release hdf5 --sampling vertices --weighted --epochs 7 "
        "--batch-size 5 --learning-rate 0.5 --weight-decay 0.25 --label-smoothing 0.125 --ema 0.5 "
        "--seed 9 --keep best --precision bf16 --patience 3 --schedule step --velocity frozen "
        "--integrator euler --adjoint implicit --step 0.75 --rtol 0.01 --max-steps 11"
    )
    config = assembled("--data", "modelnet40", *words.split())
    for section, values in {
        "data": {"points": 64, "release": "hdf5", "sampling": "vertices", "weighted": True},
        "train": {
            "epochs": 7, "batch_size": 5, "learning_rate": 0.5, "weight_decay": 0.25,
            "label_smoothing": 0.125, "ema": 0.5, "seed": 9, "keep": "best", "precision": "bf16",
            "patience": 3, "schedule": "step",
        },
        "model": {
            "velocity": "frozen", "integrator": "euler", "adjoint": "implicit", "step": 0.75,
            "rtol": 0.01, "max_steps": 11,
        },
    }.items():  # fmt: skip
        part = getattr(config, section)
        assert {name: getattr(part, name) for name in values} == values
    assert config.data.root is not None
    assert Path(config.data.root).is_absolute()


def test_a_solver_in_one_word() -> None:
    model: Any = assembled("--solver", "implicit/frozen/euler").model
    assert (model.velocity, model.integrator, model.adjoint) == ("frozen", "euler", "implicit")
    model = assembled("--solver", "heavy-ball", "--adjoint", "unrolled").model
    assert (model.velocity, model.integrator, model.adjoint) == (
        "residual", "heavy-ball", "unrolled"
    )  # fmt: skip


def test_what_counts_over_what(tmp_path: Path) -> None:
    file = tmp_path / "my.json"
    file.write_text(json.dumps({"train": {"epochs": 3, "seed": 3, "ema": 0.3}}))
    words = ["--config", str(file), "--seed", "4", "--ema", "0.4", "--set", "train.ema=0.5"]
    train = assembled(*words).train
    recipe = RECIPES["digits", "ddeq"].train
    assert train == replace(recipe, epochs=3, seed=4, ema=0.5)


def test_set_takes_json_and_words() -> None:
    config = assembled(
        "--set", "train.solver_phases=[{\"epoch\": 2, \"max_steps\": 9}]",
        "--set", "data.normalise=unit-sphere", "--set", "model.marked=false",
        "--set", "data.root=null", "--set", "data.label=3",
    )  # fmt: skip
    assert config.train.solver_phases[0].max_steps == 9
    assert (config.data.normalise, config.data.label) == ("unit-sphere", "3")
    assert not config.model.marked  # type: ignore[attr-defined]


@pytest.mark.usefixtures("no_pictures")
def test_the_configuration_of_a_run_repeats_it(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    words = ["train", "--config", str(finished / "config.json"), "--out", str(out), "--quiet"]
    assert main(words) == 0
    for name in ("config.json", "model.safetensors"):
        assert (out / name).read_bytes() == (finished / name).read_bytes()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--set", "epochs=3"],
            "--set takes SECTION.KEY=VALUE with a section of task, data, model",
        ),
        (["--set", "train.epochs"], "--set takes SECTION.KEY=VALUE"),
        (["--set", "train.epohcs=3"], "train has no key epohcs; known are epochs, steps"),
        (["--set", "model.size=3"], "the model ddeq has no key size; known are kind, point_dim"),
        (["--set", "train.epochs=many"], "train.epochs must be a whole number, got 'many'"),
        (
            ["--set", "train.precision=fp8"],
            "train.precision must be one of float32, bf16, got 'fp8'",
        ),
        (["--set", "data.points=-1"], "points must be at least 0, got -1"),
        (["--set", "model.kind=zzz"], "model.kind must be one of "),
        (["--config", "nowhere.json"], "cannot read --config nowhere.json: No such file"),
        (["--preset", "zzz"], "--preset: invalid choice: 'zzz'"),
        (["--task", "zzz"], "--task: invalid choice: 'zzz'"),
        (["--solver", "zzz"], "--solver: there is no 'zzz'; there are residual, frozen"),
        (["--solver", "euler/lbfgs"], "euler and lbfgs are both a choice of the integrator"),
        (["--preset", "pointnet", "--solver", "euler"], "model pointnet has no key integrator"),
        (["--velocity", "zzz"], "--velocity: invalid choice: 'zzz'"),
        (["--integrator", "zzz"], "--integrator: invalid choice: 'zzz'"),
        (["--precision", "fp8"], "--precision: invalid choice: 'fp8'"),
        (["--schedule", "zzz"], "--schedule: invalid choice: 'zzz'"),
        (["--release", "zzz"], "--release: invalid choice: 'zzz'"),
        (["--sampling", "zzz"], "--sampling: invalid choice: 'zzz'"),
        (["--points", "x"], "--points: invalid int value: 'x'"),
        (["--patience", "-1"], "patience must be at least 0, got -1"),
        (["--checkpoint-every", "x"], "--checkpoint-every: invalid float value: 'x'"),
        (["--data", "modelnet10"], "--data modelnet10 reads files: say with --root"),
        (["--data", "folder"], "--data folder reads files: say with --root"),
        (["--data", "fashion-mnist", "--root", "x"], "expected a folder with the files"),
        (["--data", "modelnet40", "--root", "nowhere"], "nowhere"),
        (["--data", "folder", "--root", "nowhere"], "nowhere"),
        (
            ["--data", "modelnet10", "--root", "x", "--release", "hdf5"],
            "modelnet10 has no release hdf5; it has meshes, resampled",
        ),
        (
            ["--data", "modelnet40", "--root", "x", "--release", "hdf5", "--sampling", "surface"],
            "the release hdf5 holds points and no meshes to sample",
        ),
    ],
)
def test_errors_name_what_is_wrong_and_write_nothing(
    tiny: Path, fails: Fails, words: list[str], sentence: str
) -> None:
    assert sentence in fails("train", *words)
    assert list(tiny.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "cannot read --config f.json: Expecting property name"),
        ("[]", "must hold an object with some of the objects task, data, model, train"),
        ('{"train": 3}', "must hold an object with some of the objects"),
        ('{"trian": {}}', "unknown key trian in --config f.json; known are task, data"),
        ('{"train": {"epohcs": 3}}', "unknown key train.epohcs"),
        ('{"data": {"name": "cifar"}}', "there is no data set cifar"),
        ('{"preset": "zzz"}', "there is no preset zzz; expected one of ddeq, "),
        ('{"model": {"kind": "zzz"}}', "model.kind must be one of "),
    ],
)
def test_files_that_are_no_configuration(
    tiny: Path, fails: Fails, text: str, sentence: str
) -> None:
    (tiny / "f.json").write_text(text)
    assert sentence in fails("train", "--config", "f.json")


def test_a_preset_of_another_task(monkeypatch: pytest.MonkeyPatch) -> None:
    options = parse(["train", "--preset", "ddeq"])
    options.task = "completion"
    with pytest.raises(UserError, match="the preset ddeq is for classification; leave --preset"):
        assemble(options)


def test_preset_and_data_count_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of another run is taken for what it says of the rest."""
    monkeypatch.chdir(tmp_path)
    run = assembled("--points", "7", "--epochs", "3", "--step", "0.5").to_dict()
    (tmp_path / "f.json").write_text(json.dumps({**run, "preset": "ddeq"}))
    same = assembled("--config", "f.json")
    assert (same.model.kind, same.data.points, same.train.epochs) == ("ddeq", 7, 3)
    other = assembled("--config", "f.json", "--preset", "pointnet")
    assert (other.preset, other.model) == ("pointnet", RECIPES["digits", "pointnet"].model)
    assert other.train == RECIPES["digits", "pointnet"].train
    assert other.data.points == 7
    of_same = assembled("--config", "f.json", "--preset", "ddeq")
    assert of_same.model == same.model
    task = assembled("--config", "f.json", "--preset", "completer")
    assert (task.task.kind, task.model.kind) == ("completion", "completer")

    run["data"] |= {"name": "folder", "root": "/here", "columns": ["x", "y"], "jitter": 0.5}
    (tmp_path / "g.json").write_text(json.dumps({"data": run["data"]}))
    moved = assembled("--config", "g.json", "--data", "mnist", "--root", "/there")
    assert (moved.data.name, moved.data.root, moved.data.columns) == ("mnist", "/there", ())
    assert moved.data.jitter == 0.5
    (tmp_path / "h.json").write_text(json.dumps({"model": {"kind": "pointnet", "dropout": 0.5}}))
    assert assembled("--config", "h.json").model.kind == "pointnet"
    assert assembled("--config", "h.json", "--preset", "ddeq").model.kind == "ddeq"
