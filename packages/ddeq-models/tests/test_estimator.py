"""What the estimators promise, on rings of two sizes; `test_estimator_sklearn` has the company."""

import copy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from small_estimators import SMALL, rings, small

from ddeq_data import CloudDataset, PackedClouds
from ddeq_models import (
    DDEQClassifier,
    DDEQTransformer,
    UserError,
    train,
)
from ddeq_models.estimator.clouds import read_clouds
from ddeq_models.estimator.fitting import configuration, split
from ddeq_models.estimator.labels import odds

pytestmark = pytest.mark.usefixtures("one_validation")
CLOUDS, LABELS = rings()


@pytest.fixture(scope="module")
def fitted() -> Any:
    return small(steps=25).fit(CLOUDS, LABELS)


def test_it_learns(fitted: Any) -> None:
    others, labels = rings(40, seed=1)
    assert fitted.score(others, labels) > 0.9
    assert fitted.score(others, labels[::-1]) < 0.1
    assert fitted.score(others, np.arange(40)) == 0
    assert fitted.score(others, labels, labels == fitted.predict(others)) == 1
    probabilities = fitted.predict_proba(others)
    assert_allclose(probabilities.sum(1), 1)
    assert_array_equal(fitted.classes_[probabilities.argmax(1)], fitted.predict(others))
    assert fitted.n_features_in_ == 2
    assert fitted.n_iter_ == 25  # one step an epoch
    assert [r["epoch"] for r in fitted.history_ if r["split"] == "validation"][-1] == 25


def test_a_seed_decides() -> None:
    def say(seed: Any) -> Any:
        return small(random_state=seed).fit(CLOUDS, LABELS).predict_proba(CLOUDS)

    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert_array_equal(say(3), say(np.int64(3)))
    assert not np.array_equal(say(3), say(4))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert_array_equal(say(np.random.RandomState(5)), say(np.random.RandomState(5)))
    assert not np.array_equal(say(None), say(None))


def test_nothing_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    small().fit(CLOUDS, LABELS).predict(CLOUDS)
    assert list(tmp_path.iterdir()) == []


def test_it_is_the_training_of_the_package(tmp_path: Path, no_pictures: None) -> None:
    """The same clouds, trained by `train`, give the same weights to the bit."""
    made = small(steps=4).fit(CLOUDS, LABELS)
    numbers = torch.from_numpy(np.searchsorted(made.classes_, LABELS))
    kept, held = split(numbers, 0.15, 0)
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(len(CLOUDS)))
    packed = read_clouds(CLOUDS).clouds
    whole = PackedClouds(packed.points, packed.weights, packed.offsets, numbers)
    sets = [CloudDataset(whole.select(some), ["large", "small"]) for some in (kept, held, held)]
    config = configuration(made.get_params())
    run = train(config.model, sets, config.train, preset="ddeq", out=tmp_path / "run", quiet=True)
    assert run.config() == made.config_
    for name, tensor in run.model().state_dict().items():
        assert torch.equal(tensor, made.model_.state_dict()[name]), name
    loaded = DDEQClassifier.load(run.path)
    assert_array_equal(loaded.predict(CLOUDS), made.predict(CLOUDS))


def test_what_is_held_out() -> None:
    numbers = torch.tensor([0] * 10 + [1] * 3 + [2] * 2)
    kept, held = split(numbers, 0.15, 0)
    assert torch.bincount(numbers[held], minlength=3).tolist() == [1, 1, 0]
    assert torch.bincount(numbers[kept], minlength=3).tolist() == [9, 2, 2]
    for seed in range(20):
        kept, held = split(numbers, 0.5, seed)
        assert set(numbers[kept].tolist()) == {0, 1, 2}
        assert 2 not in numbers[held]
    for share, labels in ((0.0, numbers), (0.15, torch.tensor([0, 0, 1, 1]))):
        kept, held = split(labels, share, 0)
        assert kept.tolist() == held.tolist() == list(range(len(labels)))


def test_a_warm_start_goes_on_from_the_weights() -> None:
    warm = small(steps=12).fit(CLOUDS, LABELS)
    frame = warm.config_.data
    before = {name: x.clone() for name, x in warm.model_.named_parameters()}
    warm.set_params(warm_start=True, steps=1, learning_rate=1e-12)
    warm.fit([cloud + 1 for cloud in CLOUDS], LABELS)
    for name, x in warm.model_.named_parameters():
        torch.testing.assert_close(x, before[name], atol=1e-6, rtol=1e-6)
    assert warm.config_.data == frame
    assert warm.classes_.tolist() == ["large", "small"]
    cold = small(steps=1, learning_rate=1e-12).fit(CLOUDS, LABELS)
    assert not torch.allclose(cold.model_.head.weight, before["head.weight"], atol=1e-3)
    with pytest.raises(UserError, match="warm_start knows the classes large, small"):
        warm.fit(CLOUDS, ["large", "other"] * 8)
    with pytest.raises(UserError, match="expecting 2 features"):
        warm.fit([np.ones((3, 4))] * 16, LABELS)
    with pytest.raises(UserError, match="another model"):
        warm.set_params(options={**SMALL, "model.particles": 3}).fit(CLOUDS, LABELS)
    assert warm.config_.data == frame


def test_sample_weight_is_how_often_a_cloud_is_drawn() -> None:
    """Each cloud is there twice, once as each class: what is drawn nine times as often wins."""
    twice = CLOUDS[:8] * 2
    labels = np.array(["a"] * 8 + ["b"] * 8)
    shares = []
    for of_a in (9.0, 1.0):
        weights = np.where(labels == "a", of_a, 10 - of_a)
        made = small(steps=20, validation_fraction=0.0).fit(twice, labels, weights)
        shares.append(made.predict_proba(CLOUDS[:8])[:, 0].mean())
    assert shares[0] > 0.7
    assert shares[1] < 0.3


def test_a_cloud_of_weight_0_is_left_out() -> None:
    weights = (np.arange(16) < 10).astype(float)
    poisoned = [*CLOUDS[:10], *(np.full((1, 2), 1e6) for _ in range(6))]
    one = small().fit(poisoned, LABELS, weights)
    other = small().fit(CLOUDS[:10], LABELS[:10])
    assert_array_equal(one.predict_proba(CLOUDS), other.predict_proba(CLOUDS))


def test_balanced_classes_are_drawn_equally_often() -> None:
    numbers = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2])
    drawn = odds(numbers, np.array([4, 5, 6]), None, "balanced")
    assert drawn is not None
    assert_allclose(np.bincount(numbers, weights=drawn), 3)
    drawn = odds(numbers, np.array([4, 5, 6]), np.arange(1.0, 10), "balanced")
    assert drawn is not None
    assert np.ptp(np.bincount(numbers, weights=drawn)) < 1e-9
    drawn = odds(numbers, np.array([4, 5, 6]), None, {6: 2.5})
    assert drawn is not None
    assert drawn.tolist() == [1.0] * 8 + [2.5]


def test_class_weight_reaches_the_training() -> None:
    clouds, labels = CLOUDS[:1] * 16, ["a"] * 13 + ["b"] * 3
    plain, balanced = (
        small(steps=30, validation_fraction=0.0, class_weight=weight)
        .fit(clouds, labels)
        .predict_proba(clouds[:1])[0, 0]
        for weight in (None, "balanced")
    )
    assert plain > 0.65
    assert 0.3 < balanced < 0.6


def test_a_failed_fit_leaves_what_was_there(fitted: Any) -> None:
    before = fitted.predict_proba(CLOUDS)
    with pytest.raises(UserError):
        fitted.fit(CLOUDS, ["a"] * 16)
    assert_array_equal(fitted.predict_proba(CLOUDS), before)


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from ddeq_models.training import loop

    step, handler = loop.optimise, signal.getsignal(signal.SIGINT)

    def stopped(*arguments: Any) -> None:
        step(*arguments)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop, "optimise", stopped)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = small(steps=50)
    with pytest.raises(KeyboardInterrupt):
        made.fit(CLOUDS, LABELS)
    assert not hasattr(made, "model_")
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_loss_that_is_not_finite_is_told() -> None:
    from ddeq_models import Diverged

    with pytest.raises(Diverged, match="try a smaller learning_rate") as error:
        small(steps=4, learning_rate=1e30, options={"train.clip_norm": 0.0}).fit(CLOUDS, LABELS)
    assert "run" not in str(error.value)


def test_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = small().fit(CLOUDS, LABELS)
    assert capsys.readouterr() == ("", "")
    loud = small(verbose=True).fit(CLOUDS, LABELS)
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch 2/2" in err
    assert_array_equal(loud.predict_proba(CLOUDS), quiet.predict_proba(CLOUDS))


def test_features(fitted: Any) -> None:
    made = DDEQTransformer.of(fitted)
    features = made.transform(CLOUDS)
    assert features.shape == (16, 2 * SMALL["model.dim"])  # maximum and mean
    assert features.dtype == np.float32
    head: Any = fitted.model_.head
    assert fitted.model_.direct.share() > 0  # beside the head, moments have a share in the answer
    alone = copy.deepcopy(fitted)
    alone.model_.direct.forget()
    with torch.no_grad():
        logits = head(torch.from_numpy(features)).double() / fitted.calibration_.temperature
    assert_allclose(logits.softmax(-1).numpy(), alone.predict_proba(CLOUDS), atol=1e-5)
    # One array with NaN for padding, beside its weights.
    array, weights = np.full((16, 12, 2), np.nan), np.zeros((16, 12))
    for row, mass, cloud in zip(array, weights, CLOUDS, strict=True):
        row[-len(cloud) :], mass[-len(cloud) :] = cloud, 1
    assert_allclose(made.transform(array, weights=weights), features, atol=1e-4)
    own = small(DDEQTransformer, steps=25)
    assert_array_equal(own.fit_transform(CLOUDS, LABELS), features)
    with pytest.raises(ValueError, match="is not fitted"):
        DDEQTransformer.of(small())


def test_without_scikit_learn() -> None:
    """It is neither needed nor imported."""
    code = f"""
import sys
sys.modules["sklearn"] = None
import numpy as np
from ddeq_models import DDEQClassifier
clouds = np.random.default_rng(0).normal(size=(8, 4, 2))
made = DDEQClassifier(epochs=1, options={SMALL!r}).fit(clouds, ["a", "b"] * 4)
assert made.predict(clouds).shape == (8,)
try:
    DDEQClassifier().predict(clouds)
except ValueError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "this DDEQClassifier is not fitted; call fit before\n"
