"""Trainings on data sets in memory: the same run as on files, resumed on the same clouds alone."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from ddeq_data import CloudDataset, PackedClouds, PointCloudFolder, fit_frame
from ddeq_models import (
    DataConfig,
    DDEQConfig,
    Interrupted,
    RunFolder,
    TrainConfig,
    UserError,
    diagnose,
    evaluate,
    predict,
    resume_run,
    save_pretrained,
    train,
)
from ddeq_models.cli import main
from ddeq_models.data.arrays import sets_of

PLAN = TrainConfig(epochs=2, batch_size=4)
CONFIG = DataConfig("arrays", normalise="set")


class Items(Dataset[Any]):
    """Any data set."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def bars(count: int, seed: int) -> list[tuple[Any, int]]:
    """Flat clouds and upright ones, of several sizes."""
    rng = np.random.default_rng(seed)
    stretch = np.array([[3.0, 1.0], [1.0, 3.0]])
    sizes = rng.integers(4, 8, count)
    return [(rng.normal(size=(n, 2)) * stretch[i % 2], i % 2) for i, n in enumerate(sizes)]


def three() -> list[Any]:
    return [Items(bars(count, seed)) for seed, count in enumerate((12, 4, 4))]


@pytest.fixture
def run(tiny_config: DDEQConfig, tmp_path: Path, no_pictures: None) -> RunFolder:
    out = tmp_path / "run"
    return train(tiny_config, CONFIG, PLAN, sets=three(), out=out, quiet=True)


def test_a_run_of_clouds_in_memory(run: RunFolder, tmp_path: Path, capsys: Any) -> None:
    config = run.config()
    assert config.data.name == "arrays"
    assert config.data.unit > 0
    assert config.classes == ("0", "1")
    assert run.result()["data"] == "arrays"
    figures = evaluate(run.path, sets=three())
    assert figures["data"] == "arrays"
    assert figures["accuracy"] == run.result()["test_accuracy"]
    assert evaluate(run.path, sets=three(), split="train")["clouds"] == 12
    np.save(tmp_path / "one.npy", bars(1, 9)[0][0])
    assert predict(run.path, [tmp_path / "one.npy"])[0].label in ("0", "1")
    with pytest.raises(UserError, match="came from memory, and no file holds them"):
        evaluate(run.path)
    assert main(["evaluate", str(run.path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "give them again, from Python, as sets=(train, validation, test)" in line
    with pytest.raises(UserError, match="given twice"):
        evaluate(run.path, sets=three(), data="digits")
    # Clouds of one class alone are of the model's all the same.
    first = [Items([item for item in one.items if item[1] == 0]) for one in three()]
    assert evaluate(run.path, sets=first)["clouds"] == len(first[2])
    with pytest.raises(UserError, match="the label 2, which is no class"):
        evaluate(run.path, sets=[Items([(points, 2) for points, _ in bars(3, 1)])] * 3)
    with pytest.raises(UserError, match=r"split must be one of .*, got 'bla'"):
        evaluate(run.path, sets=three(), split="bla")
    with pytest.raises(UserError, match="the solver has no x; there are velocity"):
        evaluate(run.path, sets=three(), solver={"x": "y"})
    assert diagnose(run.path, sets=three(), clouds=2)["clouds"]
    with pytest.raises(UserError, match=r"split must be one of .*, got 'x'"):
        diagnose(run.path, sets=three(), split="x")


def test_the_model_card_says_how_it_is_trained_again(run: RunFolder, tmp_path: Path) -> None:
    folder = save_pretrained(run.path, tmp_path / "model")
    card = (folder / "README.md").read_text()
    assert "ddeq train" not in card
    assert "Clouds for validation were given beside those for training." in card
    (call,) = re.findall(r"```python\n(config = .*?)```", card, re.DOTALL)
    space = {"RunFolder": RunFolder, "FOLDER": folder}
    space["train"] = partial(train, out=tmp_path / "again", quiet=True)
    space |= dict(zip(("train_set", "validation", "test"), three(), strict=True))
    exec(call.replace("sets=(train,", "sets=(train_set,"), space)
    again = RunFolder(tmp_path / "again").model().state_dict()
    for name, tensor in run.model().state_dict().items():
        assert torch.equal(tensor, again[name]), name


def test_validation_clouds_are_learnt_from_where_nothing_is_chosen_by_them(
    tiny_config: DDEQConfig, tmp_path: Path, no_pictures: None, capsys: Any
) -> None:
    data = replace(CONFIG, learn_from="train+validation")
    run = train(tiny_config, data, PLAN, sets=three(), out=tmp_path / "run")
    assert "16 train, 4 validation (learnt from as well), 4 test" in capsys.readouterr().err
    assert run.metrics()[-2]["clouds"] == 16  # of an epoch of training
    assert [row["epoch"] for row in run.metrics() if row["split"] == "validation"] == [2]
    result = run.result()
    assert result["test_clouds"] == 4
    assert not [name for name in result if name.startswith("validation_")]
    assert result["temperature"] == 1
    train_set, validation_set, _ = sets_of(three())
    frame = fit_frame(train_set.joined(validation_set))
    assert run.config().data.centre == frame.centre != fit_frame(train_set).centre
    card = (save_pretrained(run.path, tmp_path / "model") / "README.md").read_text()
    assert "It learnt from the clouds for validation as well." in card
    for choosing in (replace(PLAN, keep="best"), replace(PLAN, patience=2)):
        with pytest.raises(UserError, match="no clouds are left to choose an epoch by"):
            train(tiny_config, data, choosing, sets=three(), out=tmp_path / "none")


def test_the_three_sets_alone_are_trained_like_a_folder(
    tiny_config: DDEQConfig, tmp_path: Path, no_pictures: None
) -> None:
    """The same clouds from files and from memory give the same weights to the bit."""
    root = tmp_path / "files"
    for split, dataset in zip(("train", "validation", "test"), three(), strict=True):
        for i, (points, label) in enumerate(dataset.items):
            (root / str(label) / split).mkdir(parents=True, exist_ok=True)
            np.save(root / str(label) / split / f"{i:02}.npy", points)
    sets = [PointCloudFolder(root, split) for split in ("train", "validation", "test")]
    memory = train(tiny_config, sets, PLAN, out=tmp_path / "one", quiet=True)
    assert memory.config().data.jitter > 0  # the recipe of a folder
    data = replace(memory.config().data, name="folder", root=str(root))
    files = train(tiny_config, data, PLAN, out=tmp_path / "two", quiet=True)
    other = files.model().state_dict()
    for name, tensor in memory.model().state_dict().items():
        assert torch.equal(tensor, other[name]), name


def test_a_stopped_run_goes_on_with_the_same_clouds_alone(
    run: RunFolder, tiny_config: DDEQConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ddeq_models.training import checkpoints

    save = checkpoints.Saver.save_if_due

    def stop(saver: Any) -> None:
        saver.stop.asked = saver.state.step == 4
        save(saver)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.Saver, "save_if_due", stop)
        with pytest.raises(Interrupted, match=r"resume_run\(.*second.*sets=\(\.\.\.\)\)") as error:
            train(tiny_config, CONFIG, PLAN, sets=three(), out=tmp_path / "second", quiet=True)
    assert "--resume" not in str(error.value)
    with pytest.raises(UserError, match=r"not finished; go on with: ddeq_models\.resume_run\("):
        RunFolder(tmp_path / "second").result()  # and not by a command, which has no clouds
    with pytest.raises(UserError, match="came from memory"):
        resume_run(tmp_path / "second", quiet=True)
    others = three()
    others[0].items[0][0][0, 0] += 1e-3
    with pytest.raises(UserError, match="a training with other data"):
        resume_run(tmp_path / "second", sets=others, quiet=True)
    again = resume_run(tmp_path / "second", sets=three(), quiet=True)
    assert again.is_complete()
    expected = run.model().state_dict()
    for name, tensor in again.model().state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_items_of_all_kinds() -> None:
    plain = sets_of(three())
    weighed = [
        Items([(torch.from_numpy(x), np.full(len(x), 5.0), torch.tensor(y)) for x, y in one.items])
        for one in three()
    ]
    words = [Items([(x, "ab"[y]) for x, y in one.items]) for one in three()]
    for made in (sets_of(weighed), sets_of(words)):
        for one, other in zip(made, plain, strict=True):
            assert torch.equal(one.labels, other.labels)
            batch, expected = (x.__getitems__(range(4)) for x in (one, other))
            torch.testing.assert_close(batch.points, expected.points)
            torch.testing.assert_close(batch.weights, expected.weights)
    assert sets_of(words)[0].classes == ["a", "b"]
    tensors = TensorDataset(torch.randn(4, 5, 3), torch.tensor([0, 2, 1, 0]))
    made = sets_of([tensors, tensors, tensors])
    assert made[0].classes == ["0", "1", "2"]
    assert made[0].sizes.tolist() == [5] * 4
    assert torch.equal(made[0][1].points, tensors[1][0])


def test_features_stay_as_they_are(
    tiny_config: DDEQConfig, tmp_path: Path, no_pictures: None
) -> None:
    packed = [
        PackedClouds(torch.randn(24, 3), None, torch.arange(9) * 3, torch.arange(8) % 2, 2)
        for _ in range(3)
    ]
    sets = [CloudDataset(one, ["a", "b"]) for one in packed]
    made = train(tiny_config, sets, replace(PLAN, epochs=1), out=tmp_path / "run", quiet=True)
    assert made.config().data.features == ("2",)
    assert len(made.config().data.centre) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a, b, c: [a, b], "three data sets, .train, validation, test."),
        (lambda a, b, c: [a, b, 7], "the test clouds must be a CloudDataset or a data set"),
        (lambda a, b, c: [a, b, Items([])], "there are no test clouds"),
        (lambda a, b, c: [a, b, Items([np.ones((3, 2))])], "item 0 of test must be .points, label"),
        (lambda a, b, c: [a, b, Items([(np.ones((3, 2)), 0.5)])], "must be whole or a word"),
        (lambda a, b, c: [a, b, Items([(np.ones((3, 2)), -1)])], "item 0 of test has the label -1"),
        (lambda a, b, c: [a, b, Items([(np.ones((3, 2)), "x")])], "words or numbers, these are"),
        (lambda a, b, c: [a, b, Items([(np.ones((3, 3)), 0)])], "points of test have 3 columns"),
        (lambda a, b, c: [a, b, Items([(np.full((3, 2), np.nan), 0)])], "holds NaN or inf"),
    ],
)
def test_sets_that_are_refused(
    change: Any, said: str, tiny_config: DDEQConfig, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        train(tiny_config, change(*three()), PLAN, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_clouds_that_are_given_twice(tiny_config: DDEQConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="given twice"):
        train(tiny_config, three(), PLAN, sets=three(), out=tmp_path / "run")
    with pytest.raises(UserError, match="those of the data set digits; leave sets out"):
        train(tiny_config, DataConfig("digits"), PLAN, sets=three(), out=tmp_path / "run")
    with pytest.raises(UserError, match="came from memory"):
        train(tiny_config, CONFIG, PLAN, out=tmp_path / "run")


@pytest.mark.parametrize("label", [None, b"one", 0.5])
def test_a_label_that_is_none_is_named(label: Any) -> None:
    sets = [Items([(points, label) for points, _ in bars(3, 1)])] * 3
    with pytest.raises(UserError, match="the label of item 0 of train must be whole or a word"):
        sets_of(sets)
