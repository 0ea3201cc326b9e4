"""Temperature, calibration error, and what is unlike the training; where they are kept and told."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.torch import load_file, save_file
from small_estimators import rings, small
from small_targets import PLAN, REGRESSOR, blobs

from ddeq_models import (
    DDEQClassifier,
    UserError,
    calibrate,
    evaluate,
    predict,
    save_pretrained,
    train,
)
from ddeq_models.cli import main
from ddeq_models.measuring.calibrate import chosen_limits, fitted_temperature, whitening
from ddeq_models.runs.calibration import (
    in_words,
    outline,
    read_calibration,
    relative,
    write_calibration,
)
from ddeq_models.tasks.tally import calibration_error

pytestmark = pytest.mark.usefixtures("one_validation")
CLOUDS, LABELS = rings(40)
FILE = "calibration.safetensors"


@pytest.fixture(scope="module")
def fitted() -> Any:
    return small(steps=25, validation_fraction=0.5).fit(CLOUDS, LABELS)


@pytest.fixture(scope="module")
def folder(fitted: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(fitted.save(tmp_path_factory.mktemp("calibrated") / "rings"))


def test_a_temperature_is_found() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 5, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    for scale in (0.2, 1.0, 4.0):  # those who say too little, what is so, and too much
        found = fitted_temperature(scale * logits, labels)
        assert found == pytest.approx(scale, rel=0.05)
        after = (scale * logits / found).softmax(-1).max(-1)
        before = (scale * logits).softmax(-1).max(-1)
        gaps = [calibration_error(x.values, x.indices == labels) for x in (before, after)]
        assert gaps[1] < 0.03
        assert scale == 1 or gaps[0] > 3 * gaps[1]
    # No number of clouds that are all told right makes an answer certain.
    certain = torch.eye(3, dtype=torch.float64)
    assert fitted_temperature(certain, torch.arange(3)) > 0.4
    assert fitted_temperature(certain.repeat(1000, 1), torch.arange(3).repeat(1000)) < 0.2


def test_calibration_error_by_hand() -> None:
    confidence = np.array([0.95, 0.99, 0.5, 0.5])
    right = np.array([True, False, True, False])
    assert calibration_error(confidence, right) == pytest.approx((abs(1 - 1.94) + 0) / 4)
    assert calibration_error([1.0, 0.0], [True, False]) == 0
    assert calibration_error([2 / 15, 2 / 15 + 1e-9], [True, False]) == pytest.approx(
        (1 - 2 / 15 + 2 / 15) / 2, abs=1e-6
    )  # in two intervals: errors do not cancel
    assert math.isnan(calibration_error([], []))


@pytest.mark.parametrize(
    ("n", "least", "most"), [(20, 0.07, 0.1), (60, 0.03, 0.05), (400, 0.04, 0.05)]
)
def test_one_in_twenty_that_come_is_above_a_limit(n: int, least: float, most: float) -> None:
    rng, found = np.random.default_rng(n), []
    for _ in range(1500):
        known, others = torch.from_numpy(rng.exponential(size=(n + 20, 2))).split([n, 20])
        limits = chosen_limits(known)
        found.append((others > limits).any(1).double().mean())
        above = known > limits
        assert int(above[:, 0].sum()) == int(above[:, 1].sum())
    assert least <= np.mean(found) <= most  # twenty tell no share of one in twenty


def test_whitened() -> None:
    rng = torch.Generator().manual_seed(1)
    mixing = torch.tensor([[3.0, 0.0], [1.0, 0.5]], dtype=torch.float64)
    sample = torch.randn(20_000, 2, generator=rng, dtype=torch.float64) @ mixing
    white = sample @ whitening(sample)
    assert torch.allclose(white.T @ white / len(white), torch.eye(2).double(), atol=0.02)
    # More directions than clouds: the covariance is shrunk, and there is no infinity.
    few = torch.randn(5, 40, generator=rng, dtype=torch.float64)
    assert float((few @ whitening(few)).square().mean()) < 3
    assert bool(whitening(torch.zeros(4, 3, dtype=torch.float64)).isfinite().all())
    rough = whitening(torch.zeros(4, 3, dtype=torch.float64), 0.1)
    assert torch.allclose(rough, 10 * torch.eye(3).double())


def test_the_outline_of_a_cloud() -> None:
    points = torch.tensor([[[0.0, 1.0], [4.0, 1.0], [torch.nan, 9.0]]])
    weights = torch.tensor([[0.5, 0.5, 0.0]])
    found = outline(points, weights, torch.tensor([2]), 2)
    # Count, size, place; by the size: extents, distances of the nearest and the farthest.
    assert_allclose(found[0], [2, 2, 2, 1, 1, 0, 1, 1])
    shape = relative(found, torch.tensor([2.0, 0.0]).double(), torch.tensor(2.0).double())
    assert_allclose(shape[0, [0, 1, 4, 5]], [math.log(2), math.log(1.001), 0.5, math.log(1.02)])
    features = torch.cat([points, points], -1)  # only coordinates count
    assert_array_equal(outline(features, weights, torch.tensor([2]), 2), found)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 30), st.integers(0, 1000))
def test_an_outline_is_that_of_the_measure(n: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    points = torch.randn(1, n, 2, generator=rng, dtype=torch.float64)
    weights = torch.rand(1, n, generator=rng, dtype=torch.float64) + 0.1
    weights /= weights.sum()
    count, order = torch.tensor([n]), torch.randperm(n, generator=rng)
    known = outline(points, weights, count, 2)
    assert_allclose(outline(points[:, order], weights[:, order], count, 2), known, atol=1e-9)
    twice = torch.cat([points, points], 1), torch.cat([weights, weights], 1) / 2
    assert_allclose(outline(*twice, count, 2), known, atol=1e-6)  # the extents of a line: √ε
    padded = torch.cat([points, torch.full((1, 3, 2), torch.nan)], 1), weights.new_zeros(1, 3)
    padded_weights = torch.cat([weights, padded[1]], 1)
    assert_allclose(outline(padded[0], padded_weights, count, 2), known, atol=1e-9)


def test_distances_tell_what_extents_do_not() -> None:
    i = torch.arange(100, dtype=torch.float64)
    ring = torch.stack([(math.pi * i / 50).cos(), (math.pi * i / 50).sin()], -1)
    golden = torch.stack([(2.39996 * i).cos(), (2.39996 * i).sin()], -1)
    disc = golden * ((2 * i + 1) / 100).sqrt().unsqueeze(-1)  # mean square distance 1 as well
    weights = torch.full((2, 100), 0.01, dtype=torch.float64)
    found = outline(torch.stack([ring, disc]), weights, torch.tensor([100, 100]), 2)
    assert_allclose(found[0, :-2], found[1, :-2], atol=0.02)
    assert_allclose(found[0, -2:], [1, 1])
    # The fifth of 100 equal points is the first that holds a twentieth of the mass.
    assert_allclose(found[1, -2:], [0.09**0.5, 1.99**0.5], atol=0.01)


def test_what_0_7_knew_of_shapes_is_understood(fitted: Any, folder: Path, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(folder, older)
    known = fitted.calibration_
    kept = replace(known, mean=known.mean[:-2], shape=known.shape[:-2, :-2].clone())
    write_calibration(older, kept)
    assert DDEQClassifier.load(older).unlike([30 * CLOUDS[1]]).tolist() == [True]
    write_calibration(older, replace(known, mean=known.mean[:-1]))
    with pytest.raises(UserError, match="mean has the shape"):
        DDEQClassifier.load(older)


def test_what_is_unlike_is_found(fitted: Any) -> None:
    others, _ = rings(60, seed=3)
    assert fitted.unlike(others).mean() <= 0.4  # 20 clouds tell no share of 5 %
    assert fitted.unlike([10 * cloud for cloud in others]).all()
    assert fitted.unlike([cloud + 40 for cloud in others]).all()
    assert fitted.unlike([cloud * [1, 0] for cloud in others]).mean() > 0.9  # in a line
    rng = np.random.default_rng(0)
    assert fitted.unlike([np.concatenate([c] * 60) for c in others]).all()  # by their number
    noise = [rng.normal(size=(9, 2)) * 3 for _ in range(40)]
    assert fitted.unlike(noise).mean() > 0.5


def test_probabilities_are_at_the_temperature(fitted: Any) -> None:
    known = fitted.calibration_
    assert float(known.temperature) != 1
    assert known.clouds.tolist() == [20, 20]
    cloud = CLOUDS[0]
    seen = next(iter(fitted._batches([cloud], None)))[1]
    with torch.no_grad():
        logits = fitted.model_(seen.points, seen.weights).logits.double()
    expected = (logits / known.temperature).softmax(-1)
    assert_allclose(fitted.predict_proba([cloud]), expected, atol=1e-6)


def test_validated_on_what_it_was_trained_on() -> None:
    made = small(validation_fraction=0.0).fit(CLOUDS[:16], LABELS[:16])
    assert float(made.calibration_.temperature) == 1


def test_it_is_kept_and_read_to_the_bit(fitted: Any, folder: Path, tmp_path: Path) -> None:
    loaded = DDEQClassifier.load(folder)
    for field in fields(fitted.calibration_):
        one, other = (getattr(made.calibration_, field.name) for made in (fitted, loaded))
        assert torch.equal(one, other), field.name
    assert_array_equal(loaded.predict_proba(CLOUDS), fitted.predict_proba(CLOUDS))
    kept = save_pretrained(folder, tmp_path / "kept")
    assert (kept / FILE).read_bytes() == (folder / FILE).read_bytes()


def test_predictions_tell(folder: Path, fitted: Any, capsys: Any, tmp_path: Path) -> None:
    like, far = predict(folder, [CLOUDS[1], 30 * CLOUDS[1]])
    assert (like.unlike, like.why, like.converged) == (False, "", True)
    assert far.unlike is True
    assert "its number of points, size, place or shape (" in far.why
    assert_allclose(list(like.probabilities.values()), fitted.predict_proba(CLOUDS[1:2])[0], 1e-3)
    np.save(tmp_path / "far.npy", 30 * CLOUDS[1])
    assert main(["predict", str(folder), str(tmp_path / "far.npy"), "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert list(told) == [
        "file", "label", "probabilities", "converged", "message", "unlike", "why",
    ]  # fmt: skip
    assert told["unlike"] is True
    assert told["why"] == far.why
    assert f"warning: {tmp_path / 'far.npy'}: unlike all that was seen in training" in err


def test_without_it_nothing_is_claimed(folder: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare)
    (bare / FILE).unlink()
    (found,) = predict(bare, CLOUDS[0])
    assert (found.unlike, found.why) == (None, "")
    made = DDEQClassifier.load(bare)
    assert made.calibration_ is None
    assert_allclose(list(found.probabilities.values()), made.predict_proba(CLOUDS[:1])[0], 1e-3)
    with pytest.raises(UserError, match="nothing is known of the clouds of this model's training"):
        made.unlike(CLOUDS)


def test_the_command_makes_it_again(finished: Path, tmp_path: Path, capsys: Any) -> None:
    again = tmp_path / "again"
    shutil.copytree(finished, again)
    (again / FILE).unlink()
    assert main(["calibrate", str(again)]) == 0
    assert "calibration error of 180 validation clouds" in capsys.readouterr().out
    assert (again / FILE).read_bytes() == (finished / FILE).read_bytes()
    figures = evaluate(again)
    result = json.loads((again / "result.json").read_text())
    for name in ("calibration_error", "calibrated_error"):
        assert figures[name] == pytest.approx(result[f"test_{name}"])
    known = read_calibration(again, 10)
    assert known is not None
    assert result["temperature"] == float(known.temperature)
    with pytest.raises(UserError, match="is no classifier whose answers could be calibrated"):
        calibrate(Path(__file__).parent / "stored" / "completion-0.5")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("temperature", lambda x: x * 0, "the temperature is 0"),
        ("centres", lambda x: x[:, :3], "centres has the shape"),
        ("features", lambda x: x * torch.nan, "features is not finite"),
        ("shape", lambda x: x[:1], "shape has the shape"),
        ("limits", lambda x: -x, "the limits must be above 0"),
        ("size", None, "expected temperature, centres"),
    ],
)
def test_damaged(
    folder: Path,
    tmp_path: Path,
    fails: Callable[..., str],
    name: str,
    change: Callable[[torch.Tensor], torch.Tensor] | None,
    words: str,
) -> None:
    for one in ("config.json", "model.safetensors"):
        shutil.copy(folder / one, tmp_path / one)
    tensors = load_file(folder / FILE)
    if change is None:
        del tensors[name]
    else:
        tensors[name] = change(tensors[name]).contiguous()
    save_file(tensors, tmp_path / FILE)
    np.save(tmp_path / "a.npy", CLOUDS[0])
    said = fails("predict", tmp_path, tmp_path / "a.npy")
    assert f"{FILE} is damaged ({words}" in said
    (tmp_path / FILE).write_bytes(b"none")
    assert "ddeq calibrate makes it again" in fails("predict", tmp_path, tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("factor", "told"),
    [(1.001, "just above the limit"), (1.2, "1.1 times the limit"), (1e4, "100 times the limit")],
)
def test_a_cloud_beyond_a_limit_is_not_at_it(factor: float, told: str) -> None:
    assert in_words(torch.tensor([0.5, factor])).endswith(f"place or shape ({told})")
    assert in_words(torch.tensor([0.5, 1.0])) == ""


def test_what_cannot_be_calibrated_is_said_before_its_data_are_read(
    tmp_path: Path, no_pictures: None
) -> None:
    run = train(REGRESSOR, blobs(), replace(PLAN, epochs=1), out=tmp_path / "run", quiet=True)
    with pytest.raises(UserError, match="is no classifier whose answers could be calibrated"):
        calibrate(run.path)
