"""What is said beside a result: the cheap peer, advice, the time, and what is refused before."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ddeq_data import Cloud, CloudDataset, PackedClouds
from ddeq_models import DataConfig, DDEQConfig, RunFolder, TrainConfig, UserError, train
from ddeq_models.config import passes
from ddeq_models.data import framed, normaliser, open_split
from ddeq_models.data.presence import warn_of_absent
from ddeq_models.tasks.advice import advice
from ddeq_models.tasks.peer import cheap_peer
from ddeq_models.training.forecast import announce, duration, shortened


def sizes_tell(count: int, seed: int) -> CloudDataset:
    generator = torch.Generator().manual_seed(seed)
    made = []
    for i in range(count):
        n = (10, 20, 40)[i % 3] + int(torch.randint(5, (), generator=generator))
        made.append(Cloud(torch.randn(n, 2, generator=generator), torch.full((n,), 1 / n), i % 3))
    return CloudDataset(PackedClouds.from_clouds(made), ["few", "some", "many"])


def same(points: torch.Tensor, weights: torch.Tensor, generator: object = None) -> tuple:
    return points, weights


@pytest.mark.parametrize("trees", [True, False])
def test_a_cheap_peer_tells_what_moments_tell(monkeypatch: pytest.MonkeyPatch, trees: bool) -> None:
    if not trees:
        monkeypatch.setattr("ddeq_models.tasks.peer.find_spec", lambda name: None)
    peer = cheap_peer(sizes_tell(90, 0), sizes_tell(30, 1), same)
    assert peer.accuracy > (0.9 if trees else 0.6)
    assert peer.name.startswith("extra trees" if trees else "nearest class mean")
    assert peer.train_clouds == 90
    assert json.loads(json.dumps(peer.to_dict()))["accuracy"] == peer.accuracy


def test_a_peer_learns_from_some_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ddeq_models.tasks.peer.CLOUDS", 40)
    assert cheap_peer(sizes_tell(90, 0), sizes_tell(30, 1), same).train_clouds == 30


def test_advice() -> None:
    counts = [50, 50]
    record = {"split": "train", "step": 40, "epoch": 2, "accuracy": 0.5}
    assert advice(0.8, counts, [record]) is None
    assert advice(0.65, counts, [record]) is None
    few = advice(0.55, counts, [record])
    assert few is not None
    assert "learned nothing: 55.0% of the validation clouds" in few
    assert "tells 50.0%" in few
    assert "only 40 steps: give --epochs 10" in few
    heart = advice(0.5, counts, [{**record, "accuracy": 0.99}])
    assert heart is not None
    assert "99% of the training clouds by heart" in heart
    long = advice(0.5, counts, [{**record, "step": 4000}])
    assert long is not None
    assert "smaller --learning-rate" in long
    assert advice(0.5, [0, 0], []) is None
    # 90 % is chance where one class has 90 % of the clouds.
    assert advice(0.9, [90, 10], [record]) is not None


@pytest.mark.parametrize("counts", [[1, 1], [2, 2], [3, 1], [99, 1], [1, 1, 1]])
def test_few_clouds_that_are_all_told_are_no_sign_of_chance(counts: list[int]) -> None:
    record = {"split": "train", "step": 600, "epoch": 600, "accuracy": 1.0}
    assert advice(1.0, counts, [record]) is None
    assert advice(max(counts) / sum(counts), counts, [record]) is not None


def test_times() -> None:
    plan = TrainConfig(epochs=100, max_minutes=1.0)
    assert shortened(plan, 10, 0.001) == 100
    assert shortened(plan, 10, 0.1) == 54
    assert shortened(plan, 10, 100.0) == 1
    assert shortened(replace(plan, max_minutes=0.0), 10, 100.0) == 100
    assert [duration(s) for s in (40, 180, 9000)] == ["40 s", "3 min", "2.5 h"]


@pytest.mark.parametrize(
    ("minutes", "seconds", "told"), [(0, 1, True), (0, 0.1, False), (5, 1, False)]
)
def test_a_long_training_says_how_it_is_made_shorter(minutes, seconds, told, capsys) -> None:
    announce(TrainConfig(epochs=10, max_minutes=minutes), 10, 100, seconds)
    assert ("--max-minutes N" in capsys.readouterr().err) == told


def test_few_clouds_are_passed_through_more_often() -> None:
    plan = TrainConfig(epochs=20, steps=600, batch_size=32)
    assert passes(plan, 60).epochs == 300
    assert passes(plan, 640).epochs == 30
    assert passes(plan, 100_000).epochs == 20
    assert passes(passes(plan, 60), 60) == passes(plan, 60)
    assert passes(replace(plan, steps=0), 60).epochs == 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes that differ in nothing but the number of points."""
    root = tmp_path / "clouds"
    rng = np.random.default_rng(0)
    for name, low in (("few", 10), ("some", 20), ("many", 40)):
        (root / name).mkdir(parents=True)
        for i in range(12):
            np.save(root / name / f"{i}.npy", rng.normal(size=(low + i % 4, 2)))
    return root


@pytest.mark.usefixtures("no_pictures")
def test_a_training_says_how_long_it_takes_and_keeps_to_it(
    folder: Path, tmp_path: Path, tiny_config: DDEQConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    data = DataConfig("folder", root=str(folder), normalise="set")
    plan = TrainConfig(epochs=100_000, batch_size=8, max_minutes=0.02)
    run = train(tiny_config, data, plan, out=tmp_path / "run")
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("clouds: 26 train, 3 validation, 7 test; 3 classes; all about (")
    assert "--max-minutes; about " in said[1]
    assert run.result()["seconds"] < 20
    config = run.config()
    assert config.data.unit > 0
    assert len(config.data.centre) == 2
    assert config.data == framed(data, open_split(data, "train"))
    assert run.result()["peer"]["accuracy"] > 0.6
    # At most some fifty validations, however many epochs there are.
    assert 1 <= sum(r["split"] == "validation" for r in run.metrics()) <= 110


@pytest.mark.usefixtures("no_pictures")
def test_to_say_how_long_it_takes_changes_nothing(
    folder: Path, tmp_path: Path, tiny_config: DDEQConfig
) -> None:
    data = DataConfig("folder", root=str(folder), normalise="set", jitter=0.1)
    model, plan = replace(tiny_config, dropout=0.1), TrainConfig(epochs=2, batch_size=8)
    weights = []
    for quiet in (True, False):
        run = train(model, data, plan, out=tmp_path / str(quiet), quiet=quiet)
        weights.append((run.path / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


@pytest.mark.usefixtures("no_pictures")
def test_when_the_time_is_over_the_epoch_is_validated_and_kept(
    folder: Path, tmp_path: Path, tiny_config: DDEQConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ddeq_models.training.loop.late", lambda plan, state: state.step >= 3 * 4)
    data = DataConfig("folder", root=str(folder), normalise="set")
    plan = TrainConfig(epochs=1000, batch_size=8)  # every 20th epoch would be validated
    run = train(tiny_config, data, plan, out=tmp_path / "run", quiet=True)
    assert [r["epoch"] for r in run.metrics() if r["split"] == "validation"] == [3]
    assert run.result()["epoch"] == 3


def test_a_frame_must_be_known_and_whole() -> None:
    with pytest.raises(UserError, match=r"data\.centre and data\.unit are missing"):
        normaliser(DataConfig("digits", normalise="set"))
    with pytest.raises(UserError, match="give both, or leave both out"):
        DataConfig("digits", normalise="set", unit=2.0)
    known = DataConfig("digits", normalise="set", centre=(1.0, 2.0), unit=2.0)
    assert framed(known, open_split(known, "train")) is known


def test_one_class_or_an_empty_split_is_refused_before_the_training(
    folder: Path, tmp_path: Path, tiny_config: DDEQConfig
) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (folder / "few").rename(alone / "few")
    with pytest.raises(UserError, match="all clouds to train on are of one class, few"):
        train(tiny_config, DataConfig("folder", root=str(alone)), TrainConfig(), out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


@pytest.mark.usefixtures("no_pictures")
def test_a_training_at_chance_says_so(tmp_path: Path, tiny_config: DDEQConfig) -> None:
    plan = TrainConfig(epochs=1, learning_rate=1e-9)
    run: RunFolder = train(tiny_config, DataConfig(), plan, out=tmp_path / "run", quiet=True)
    assert "learned nothing" in run.result()["note"]
    assert "only 20 steps: give --epochs 10" in run.result()["note"]


def two_of_three(labels: list[int]) -> CloudDataset:
    clouds = [Cloud(torch.rand(4, 2), torch.full((4,), 1 / 4), label) for label in labels]
    return CloudDataset(PackedClouds.from_clouds(clouds), ["few", "some", "many"])


def test_a_class_that_a_split_lacks_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_absent({"train": two_of_three([0, 1, 2]), "test": two_of_three([2, 1, 0])})
    assert not caplog.records
    warn_of_absent({"train": two_of_three([0, 1]), "test": two_of_three([1])})
    (line,) = [record.getMessage() for record in caplog.records]  # nobody has any of "many"
    assert line == (
        "the test clouds have none of few, and the train clouds do: the figures of the test tell "
        "nothing of them"
    )
    caplog.clear()
    warn_of_absent({"train": two_of_three([0, 1]), "test": two_of_three([0, 1, 2])})
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("the train clouds have none of many, and the test clouds do: nothing")


def test_a_training_tells_of_a_class_that_its_test_lacks(
    tmp_path: Path,
    tiny_config: DDEQConfig,
    caplog: pytest.LogCaptureFixture,
    no_pictures: None,
) -> None:
    sets = [two_of_three([0, 1, 2, 0]), two_of_three([0, 1, 2]), two_of_three([0, 1])]
    plan = TrainConfig(epochs=1, batch_size=2)
    train(tiny_config, sets, plan, out=tmp_path / "run", quiet=True)
    assert "the test clouds have none of many, and the train clouds do" in caplog.text


def test_many_classes_of_few_clouds_are_told_without_a_warning() -> None:
    pytest.importorskip("sklearn")
    labels = [i // 2 for i in range(60)]
    clouds = [Cloud(torch.rand(4, 2), torch.full((4,), 1 / 4), label) for label in labels]
    made = CloudDataset(PackedClouds.from_clouds(clouds), [str(i) for i in range(30)])
    assert cheap_peer(made, made, same).train_clouds == 60
