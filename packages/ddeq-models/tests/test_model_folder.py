"""Model folders are read as run folders are; the card's head is YAML that the Hub reads."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from ddeq_data import CloudDataset, read_cloud
from ddeq_data.datasets.images import pack_images
from ddeq_models import (
    DDEQ,
    PRESETS,
    RECIPES,
    DataConfig,
    DDEQConfig,
    RunConfig,
    RunFolder,
    SolverPhase,
    TrainConfig,
    UserError,
    evaluate,
    from_pretrained,
    predict,
    save_pretrained,
    shipped_names,
)
from ddeq_models.cli import main
from ddeq_models.cli.configure import assemble
from ddeq_models.cli.main import parse
from ddeq_models.config import differences
from ddeq_models.models.base import build_model
from ddeq_models.registry import DATA_SETS
from ddeq_models.runs.card import kept_of, model_card, train_command
from ddeq_models.runs.pretrained import SHIPPED

STORED = Path(__file__).parent / "stored"
Fails = Callable[..., str]


@pytest.fixture(scope="module")
def digit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("digit") / "one.npy"
    np.save(path, np.stack([np.zeros(20), np.linspace(0, 300, 20)], 1))
    return path


@pytest.fixture(scope="module")
def folder(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny"
    assert main(["models", "save", str(finished), str(path), "--license", "mit"]) == 0
    return path


def test_a_model_folder_holds_what_the_hub_expects(folder: Path, finished: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "calibration.safetensors",
        "config.json",
        "model.safetensors",
        "result.json",
    ]
    for name in ("calibration.safetensors", "model.safetensors", "result.json"):
        assert (folder / name).read_bytes() == (finished / name).read_bytes()
    head = front_matter((folder / "README.md").read_text())
    assert head["license"] == "mit"
    assert head["library_name"] == "ddeq-models"
    (entry,) = head["model-index"]
    (result,) = entry["results"]
    assert entry["name"] == "tiny"
    assert result["dataset"] == {"type": "digits", "name": "Digits", "split": "test"}
    accuracy = RunFolder(finished).result()["test_accuracy"]
    assert result["metrics"][0] == {
        "type": "accuracy",
        "value": pytest.approx(accuracy, abs=1e-5),
        "name": "Accuracy",
    }


def front_matter(card: str) -> dict[str, Any]:
    empty, head, _ = card.split("---\n", 2)
    assert empty == ""
    values = yaml.safe_load(head)
    assert isinstance(values, dict)
    return values


def test_a_model_folder_stands_for_its_run(
    folder: Path, finished: Path, digit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = (predict(source, [digit])[0] for source in (finished, folder))
    assert one == other
    said = []
    for source in (finished, folder):
        assert main(["evaluate", str(source), "--json"]) == 0
        said.append(json.loads(capsys.readouterr().out))
        del said[-1]["seconds"]
    assert said[0] == said[1]
    page = folder.parent / "page.html"
    assert main(["report", str(folder), "--out", str(page)]) == 0
    assert main(["diagnose", str(folder), "--clouds", "1"]) == 0
    assert "tiny" in page.read_text()


def test_load_save_load(folder: Path, tmp_path: Path) -> None:
    model = from_pretrained(folder)
    assert isinstance(model, DDEQ)
    assert not model.training
    again = save_pretrained(model, tmp_path / "tiny")
    for name in ("config.json", "model.safetensors"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    assert "Not measured." in (again / "README.md").read_text()
    model.configure(replace(model.config, rtol=0.125))
    other = from_pretrained(save_pretrained(model, tmp_path / "other"))
    assert other.config == model.config
    bare = build_model(model.config)
    with pytest.raises(UserError, match="give save_pretrained a config"):
        save_pretrained(bare, tmp_path / "bare")
    save_pretrained(bare, tmp_path / "bare", config=model.run_config)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="is not empty"):
        save_pretrained(bare, tmp_path / "bare", config=model.run_config)  # type: ignore[arg-type]


def test_the_solver_is_that_of_the_epoch_that_was_kept(
    tmp_path: Path, tiny_config: DDEQConfig
) -> None:
    phases = (SolverPhase(2, max_steps=30), SolverPhase(3, max_steps=40))
    plan = TrainConfig(epochs=3, solver_phases=phases)
    config = RunConfig("ddeq", tuple("0123456789"), DataConfig(root="/home/me"), tiny_config, plan)
    run = RunFolder.create(tmp_path / "run", config)
    run.append({"split": "validation", "epoch": 2, "kept": True})
    run.write_weights(build_model(tiny_config).state_dict())
    saved = save_pretrained(run.path, tmp_path / "saved")
    assert from_pretrained(saved).config.max_steps == 30  # type: ignore[union-attr]
    assert RunFolder(saved).config().data.root is None
    assert "/home/me" not in (saved / "README.md").read_text()


def test_a_stored_folder_stays_loadable(digit: Path) -> None:
    """Written by ddeq-models 0.2; what it says must not change."""
    stored = STORED / "model-0.2"
    (prediction,) = predict(stored, [digit])
    expected = json.loads((stored / "prediction.json").read_text())
    assert prediction.label == expected["label"]
    assert prediction.probabilities == pytest.approx(expected["probabilities"], abs=1e-5)


@pytest.mark.parametrize("name", ["run-0.5", "completion-0.5"])
def test_a_stored_run_stays_usable(name: str, tmp_path: Path) -> None:
    """Written by ddeq-models 0.5, before its modules moved: its figures come out again."""
    then, now = RunFolder(STORED / name).result(), evaluate(STORED / name)
    told = {key.removeprefix("test_"): x for key, x in then.items() if key.startswith("test_")}
    assert len(told) >= 3
    for key, value in told.items():
        assert now[key] == pytest.approx(value, rel=1e-3, abs=1e-3), key
    assert main(["report", str(STORED / name), "--out", str(tmp_path / "page.html")]) == 0
    assert main(["models", "save", str(STORED / name), str(tmp_path / "saved")]) == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"modle": {}}, "unknown key modle; known are"),
        ({"model": {"kind": "ddeq", "dmi": 8}}, "unknown key model.dmi"),
        ({"model": {"kind": "dqe"}}, "model.kind must be one of ddeq, "),
        ({"model": {"kind": "ddeq", "heads": 0}}, "heads must be at least 1"),
        ({"data": {"normalise": "zscore"}}, "data.normalise must be"),
        ({"classes": ["a", "b"]}, "model.classes is 10, but classes names 2"),
    ],
)
def test_a_bad_config_is_named(
    folder: Path, tmp_path: Path, fails: Fails, digit: Path, change: dict[str, Any], sentence: str
) -> None:
    values = json.loads((folder / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(values))
    said = fails("predict", tmp_path, digit)
    assert sentence in said
    assert str(tmp_path / "config.json") in said


def test_the_command_of_a_card_assembles_the_run(tiny_config: DDEQConfig) -> None:
    for (data, preset), recipe in RECIPES.items():
        if preset not in ("ddeq", "ddeq-paper", "completer-given", "pointnet", "pcn"):
            continue
        changed = replace(
            recipe.train, epochs=3, ema=0.9, solver_phases=(SolverPhase(2, rtol=0.5),)
        )
        wanted = RunConfig(
            preset,
            (),
            replace(recipe.data, jitter=0.25, root="/x y" if DATA_SETS[data].find else None),
            recipe.model,
            changed,
            task=recipe.task,
        )
        words = shlex.split(train_command(wanted).replace("--root DIR", "--root '/x y'"))
        assert differences(assemble(parse(words[1:])), wanted) == []


def test_models_lists_every_preset_and_every_shipped_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert all(PRESETS.texts[name] for name in PRESETS)
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    starts = [line.split()[0] for line in out.splitlines() if line]
    for name in (*PRESETS, *shipped_names()):
        assert name in starts
    assert max(map(len, out.splitlines())) <= 120


def test_errors(finished: Path, folder: Path, tmp_path: Path, fails: Fails) -> None:
    assert "no model of that name comes with the package (fashion-" in fails("predict", "nth", "a")
    assert "has no model card; ddeq models save" in fails("models", "show", finished)
    assert "is not empty" in fails("models", "save", finished, folder)
    (tmp_path / "empty").mkdir()
    assert "is not a run folder: it has no config.json" in fails(
        "models", "save", tmp_path / "empty", tmp_path / "out"
    )
    assert "required: RUN, DIR" in fails("models", "save")
    assert "invalid choice: 'load'" in fails("models", "load")
    with pytest.raises(UserError, match="leave config out"):
        save_pretrained(finished, tmp_path / "out", config=RunFolder(finished).config())
    assert not (tmp_path / "out").exists()


SHIPPED_DATA = {
    "fashion-classifier": ("zalando-datasets/fashion_mnist", "(MIT)"),
    "mnist-classifier": ("ylecun/mnist", "CC BY-SA 3.0"),
    "mnist-completer": ("ylecun/mnist", "CC BY-SA 3.0"),
}


@pytest.mark.parametrize("name", SHIPPED_DATA)
def test_shipped_models_are_small_and_have_cards(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data, terms = SHIPPED_DATA[name]
    assert name in shipped_names()
    assert all(path.stat().st_size < 2e6 for path in (SHIPPED / name).iterdir())
    assert main(["models", "show", name]) == 0
    card = capsys.readouterr().out
    head = front_matter(card)
    assert head["license"] == "mit"
    assert head["datasets"] == [data]
    assert head["model-index"][0]["results"][0]["metrics"]
    assert terms in card
    assert "y upwards" in card
    config = RunFolder(SHIPPED / name).config()
    assert config.data.root is None
    assert train_command(config) in card
    model = from_pretrained(name)
    assert all(torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.parametrize("name", ["fashion-classifier", "mnist-classifier"])
def test_an_image_becomes_the_cloud_that_the_model_learnt_from(tmp_path: Path, name: str) -> None:
    """By the code of the card; the frame of a set is not turned over by a sign alone."""
    card = (SHIPPED / name / "README.md").read_text()
    image = np.zeros((28, 28), np.uint8)
    image[4:24, 9:19] = np.arange(1, 201, dtype=np.uint8).reshape(20, 10)
    found: dict[str, Any] = {"np": np, "image": image, "FILE": tmp_path / "cloud.npz"}
    (points,) = re.findall(r"`(points = np\.stack[^`]*)`", card)
    (places,) = re.findall(r"`(rows, columns = [^`]*)`", card)
    (kept,) = re.findall(r"`(np\.savez[^`]*)`", card) or ["np.savez(FILE, points=points)"]
    for line in (places, points, kept):
        exec(line, found)
    weighted = from_pretrained(name).run_config.data.weighted  # type: ignore[union-attr]
    assert weighted == ("weights" in kept)
    packed = pack_images(image[None], torch.zeros(1, dtype=torch.int64), weighted=weighted)
    points, weights, *_ = read_cloud(found["FILE"])
    cloud = CloudDataset(packed, ("0",))[0]
    assert torch.equal(points, cloud.points.double())
    if weighted:  # a file without weights says nothing of them
        torch.testing.assert_close(weights, cloud.weights.double(), atol=1e-7, rtol=0)
    else:
        assert weights is None


@pytest.mark.parametrize(
    "wrap",
    [
        partial(torch.compile, backend="eager"),
        torch.nn.DataParallel,
        torch.optim.swa_utils.AveragedModel,
    ],
)
def test_a_wrapped_model_is_saved_as_what_it_wraps(tmp_path: Path, wrap: Any) -> None:
    model = from_pretrained("mnist-classifier")
    save_pretrained(wrap(model), tmp_path / "saved", config=model.run_config)  # type: ignore[arg-type]
    saved = from_pretrained(tmp_path / "saved").state_dict()
    assert saved.keys() == model.state_dict().keys()
    assert all(torch.equal(saved[name], x) for name, x in model.state_dict().items())


def test_a_folder_goes_before_a_shipped_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist-classifier").mkdir()  # holds no model: the name counts
    assert from_pretrained("mnist-classifier").run_config.data.name == "mnist"  # type: ignore[union-attr]
    (tmp_path / "mnist-classifier").rmdir()
    (tmp_path / "mnist-classifier").symlink_to(folder)
    assert from_pretrained("mnist-classifier").run_config.data.name == "digits"  # type: ignore[union-attr]


def test_a_model_folder_saved_again_has_its_licence_and_its_notes(
    folder: Path, tmp_path: Path
) -> None:
    saved = save_pretrained(folder, tmp_path / "tiny")
    assert (saved / "README.md").read_text() == (folder / "README.md").read_text()
    for name in shipped_names():
        card = (SHIPPED / name / "README.md").read_text()
        saved = save_pretrained(name, tmp_path / name)
        assert kept_of((saved / "README.md").read_text()) == kept_of(card)
        assert front_matter((saved / "README.md").read_text()) == front_matter(card)
        assert kept_of(card)[1]
    noted = save_pretrained(
        folder, tmp_path / "a", license="cc-by-4.0", notes="One.\n\n## Two\n\nA."
    )
    again = save_pretrained(noted, tmp_path / "b" / "a")
    assert (again / "README.md").read_text() == (noted / "README.md").read_text()
    assert "\n\nOne.\n\n## Two\n\nA.\n\n## Use\n" in (again / "README.md").read_text()
    other = save_pretrained(noted, tmp_path / "c", license="mit", notes="Else.")
    assert kept_of((other / "README.md").read_text()) == ("mit", "Else.")


@pytest.mark.parametrize(
    ("card", "kept"),
    [
        ("", (None, "")),
        ("---\nlicense: apache-2.0\n---\n# Mine\n\nMy words.\n", ("apache-2.0", "My words.")),
        ("---\nlicense:\n  - mit\n---\nWords\n## Use\n\nnone", (None, "Words")),
        ("license: mit\n", (None, "license: mit")),
    ],
)
def test_a_card_that_somebody_wrote_is_kept_as_notes(
    card: str, kept: tuple[str | None, str]
) -> None:
    assert kept_of(card) == kept


PROMISE = "gives the same weights, to the bit"


def test_a_card_promises_what_will_be_repeated(finished: Path) -> None:
    config, result = RunFolder(finished).config(), RunFolder(finished).result()
    assert PROMISE in model_card("a", config, 1, result)
    timed = replace(config, train=replace(config.train, max_minutes=5.0))
    card = model_card("a", timed, 1, result)
    assert "had 5 minutes (`--max-minutes`)" in card
    assert PROMISE not in card
    card = model_card("a", config, 1, None)
    assert "Whether the training was finished is not known" in card
    assert PROMISE not in card


def test_a_run_that_is_not_finished_says_so_wherever_it_is_used(
    finished: Path, tmp_path: Path, digit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    (run / "result.json").unlink()
    records = [r for r in RunFolder(finished).metrics() if r["epoch"] == 1]
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in records))
    for words in (
        ("evaluate", run),
        ("predict", run, digit),
        ("embed", run, digit, "--out", tmp_path / "a.npy"),
        ("models", "save", run, tmp_path / "saved"),
    ):
        capsys.readouterr()
        assert main([str(word) for word in words]) == 0
        lines = [line for line in capsys.readouterr().err.splitlines() if "digit" not in line]
        (line,) = lines
        assert line.startswith(f"ddeq: warning: the training of {run} is not finished: these are")
        assert "after epoch 1 of 2" in line
    card = (tmp_path / "saved" / "README.md").read_text()
    assert "The weights are those after epoch 1 of 2." in card
    assert "The training was not finished" in card
    assert PROMISE not in card
    assert main(["predict", str(tmp_path / "saved"), str(digit)]) == 0
    assert "not finished" not in capsys.readouterr().err
