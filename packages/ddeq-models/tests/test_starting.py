"""Trainings that begin from trained weights: what is taken, what stays, what does not fit."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from small_estimators import SMALL, rings, small

from ddeq_models import (
    DataConfig,
    DDEQConfig,
    Interrupted,
    RunConfig,
    RunFolder,
    TrainConfig,
    UserError,
    save_pretrained,
    train,
)
from ddeq_models.cli import main
from ddeq_models.cli.configure import assemble
from ddeq_models.cli.main import parse
from ddeq_models.models.base import build_model
from ddeq_models.models.frozen import freeze
from ddeq_models.runs.folder import CHECKPOINT
from ddeq_models.runs.start import starting_weights
from ddeq_models.training import resume_run
from ddeq_models.training.step import optimise

pytestmark = pytest.mark.usefixtures("no_pictures", "one_validation")
CLOUDS, LABELS = rings()
STILL = {"steps": 1, "learning_rate": 1e-12, "options": {**SMALL, "train.weight_decay": 0.0}}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = small(steps=12).fit(CLOUDS, LABELS)
    return Path(made.save(tmp_path_factory.mktemp("source") / "rings"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return RunFolder(folder).model().state_dict()


def same(one: Any, other: Any, name: str) -> bool:
    return torch.allclose(one[name], other[name], atol=1e-6)


def test_all_weights_are_taken_where_the_classes_are_the_same(source: Path) -> None:
    known = weights(source)
    made = small(init=source, **STILL).fit(CLOUDS, LABELS)
    found = made.model_.state_dict()
    frames = [name for name in found if "norms" in name]  # running means move on
    assert all(same(found, known, name) for name in found if name not in frames)
    cold = small(**STILL).fit(CLOUDS, LABELS).model_.state_dict()
    assert not same(cold, known, "marks")


def test_a_head_of_other_classes_begins_anew(source: Path) -> None:
    known = weights(source)
    for labels in (["a", "b", "c", "a"] * 4, ["big", "tiny"] * 8):  # as many are no more the same
        found = small(init=str(source), **STILL).fit(CLOUDS, labels).model_.state_dict()
        assert same(found, known, "marks")
        assert found["head.weight"].shape == (len(set(labels)), 16)
        assert not any(
            torch.allclose(found["head.weight"][0], row, atol=1e-3) for row in known["head.weight"]
        )


@pytest.mark.parametrize("part", ["encoder", "body"])
def test_what_is_frozen_stays(source: Path, part: str) -> None:
    known = weights(source)
    made = small(init=source, freeze=part, steps=3, learning_rate=0.1)
    found = made.fit(CLOUDS, ["a", "b", "c", "a"] * 4).model_.state_dict()
    still = [n for n in found if n.startswith("cell.points." if part == "encoder" else "")]
    still = [name for name in still if not name.startswith(("head.", "direct."))]
    assert len(still) > 10
    assert all(torch.equal(found[name], known[name]) for name in still)  # running means as well
    if part == "encoder":
        assert not same(found, known, "marks")
    assert made.get_params()["freeze"] == part


def test_parts_of_models() -> None:
    model = build_model(DDEQConfig(particles=2, dim=8, heads=2, hidden=8, bilinear_dim=4))
    freeze(model, "encoder")
    still = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert {n.split(".")[1] for n in still} == {"embed", "lift", "encoder"}
    freeze(model, "body")
    moving = {name for name, p in model.named_parameters() if p.requires_grad}
    assert moving == {"head.weight", "head.bias"}
    from ddeq_models import PRESETS

    pointnet = build_model(PRESETS["pointnet-vanilla"])
    with pytest.raises(UserError, match="PointNet has no encoder of its own; take body"):
        freeze(pointnet, "encoder")
    with pytest.raises(UserError, match="has no head beside a body"):
        freeze(build_model(replace(PRESETS["completer"], dim=8, heads=2, hidden=8)), "body")
    with pytest.raises(UserError, match="freeze is body: give init"):
        TrainConfig(freeze="body")


def test_what_does_not_fit(source: Path, tmp_path: Path) -> None:
    spatial = [np.concatenate([c, c[:, :1]], 1) for c in CLOUDS]
    with pytest.raises(UserError, match="point_dim 2 and not 3: its clouds have another dimension"):
        small(init=source).fit(spatial, LABELS)
    with pytest.raises(UserError, match="trained with particles 2 and not 3: take the model"):
        small(init=source, options={**SMALL, "model.particles": 3}).fit(CLOUDS, LABELS)
    with pytest.raises(UserError, match="there is no run folder nowhere"):
        small(init="nowhere").fit(CLOUDS, LABELS)
    with pytest.raises(UserError, match="is for completion; take one for classification"):
        small(init="mnist-completer", options={}).fit(CLOUDS, LABELS)
    model = replace(RunFolder(source).config().model, particles=3)
    clouds = DataConfig("shapes-2d")
    with pytest.raises(UserError, match="trained with particles 2 and not 3"):
        train(model, clouds, TrainConfig(epochs=1, init=str(source)), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    other = replace(RunFolder(source).config(), train=TrainConfig(init="mnist-completer"))
    with pytest.raises(UserError, match="is a model completer and not ddeq"):
        starting_weights(other)


def test_the_words_of_the_command(
    source: Path, tiny: Path, fails: Callable[..., str], mnist: Path
) -> None:
    known = RunFolder(source).config()
    config = assemble(parse(["train", "--data", "mnist", "--init", str(source), "--steps", "3"]))
    assert config.model == known.model
    assert config.data.normalise == known.data.normalise
    assert (config.data.unit, config.data.name) == (0.0, "mnist")
    assert (config.train.init, config.train.steps) == (str(source), 3)
    said = fails("train", "--init", source, "--preset", "pointnet")
    assert "is of the preset ddeq; leave --preset out" in said
    assert "leave --init out, or --task" in fails("train", "--init", source, "--task", "completion")
    relative = Path("elsewhere")
    save_pretrained(source, relative)
    words = ["train", "--data", "mnist", "--root", str(mnist), "--init", "elsewhere"]
    options = ["--freeze", "body", "--epochs", "1", "--quiet", "--out", "run"]
    assert main([*words, *options]) == 0
    run = RunFolder("run")
    assert run.config().train.init == str(relative.absolute())  # of use from everywhere
    assert torch.equal(run.model().state_dict()["marks"], weights(source)["marks"])
    # What is passed on tells nothing of this machine; `--init` of it says so in its name.
    kept = save_pretrained("run", "kept")
    assert RunFolder(kept).config().train.init == "elsewhere"


def test_stopped_before_its_first_checkpoint(source: Path, mnist: Path, tmp_path: Path) -> None:
    """It begins from the same weights once more; after one the source is not needed."""
    plan = TrainConfig(epochs=2, batch_size=8, init=str(source))
    model, data = RunFolder(source).config().model, DataConfig("mnist", root=str(mnist))
    whole = train(model, data, plan, out=tmp_path / "whole", quiet=True)
    begun = RunFolder.create(tmp_path / "begun", RunConfig.from_dict(whole.config().to_dict()))
    resumed = resume_run(begun.path, quiet=True)
    first, second = weights(whole.path), weights(resumed.path)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not (begun.path / CHECKPOINT).exists()


def test_what_begins_with_weights_is_not_fitted_when_it_goes_on(
    source: Path, mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fitted(*_: Any) -> None:
        raise AssertionError("the clouds decided what the weights have decided")

    def stops(task: Any, state: Any, *rest: Any) -> None:
        if state.step == 2:
            raise KeyboardInterrupt
        optimise(task, state, *rest)

    monkeypatch.setattr("ddeq_models.training.loop.fit_to_data", fitted)
    plan = TrainConfig(epochs=2, batch_size=8, init=str(source))
    model, data = RunFolder(source).config().model, DataConfig("mnist", root=str(mnist))
    monkeypatch.setattr("ddeq_models.training.loop.optimise", stops)
    with pytest.raises(Interrupted):
        train(model, data, plan, out=tmp_path / "run", quiet=True, checkpoint_every=0)
    monkeypatch.setattr("ddeq_models.training.loop.optimise", optimise)
    assert (tmp_path / "run" / CHECKPOINT).exists()
    assert resume_run(tmp_path / "run", quiet=True).is_complete()


def test_an_estimator_with_a_start_is_kept(source: Path, tmp_path: Path) -> None:
    made = small(init=source, freeze="body").fit(CLOUDS, LABELS)
    folder = made.save(tmp_path / "kept")
    assert json.loads((folder / "estimator.json").read_text())["parameters"]["init"] == str(source)
    again = type(made).load(folder)
    assert again.get_params()["freeze"] == "body"
    assert_array_equal(again.predict_proba(CLOUDS), made.predict_proba(CLOUDS))
