"""The regressor in the manner of scikit-learn."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_regressor
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import (
    check_fit2d_1sample,
    check_regressor_data_not_an_array,
    check_regressor_multioutput,
    check_regressors_int,
    check_regressors_no_decision_function,
    check_regressors_train,
    check_requires_y_none,
    check_supervised_y_2d,
    check_supervised_y_no_nan,
)
from small_estimators import small
from small_targets import blobs, told

from ddeq_models import DDEQClassifier, DDEQRegressor, UserError, predict

pytestmark = pytest.mark.usefixtures("one_validation")


def spreads(count: int = 18) -> tuple[list[Any], Any]:
    """Ragged clouds, and how far apart their points are."""
    rng = np.random.default_rng(0)
    sizes = rng.uniform(1, 3, count)
    return [rng.uniform(0, size, (rng.integers(4, 9), 2)) for size in sizes], 1000 * sizes


CLOUDS, Y = spreads()


def regressor(**parameters: Any) -> Any:
    return small(DDEQRegressor, **parameters)


@pytest.mark.parametrize(
    "check",
    [
        check_fit2d_1sample,
        check_regressor_data_not_an_array,
        check_regressor_multioutput,
        check_regressors_int,
        check_regressors_no_decision_function,
        check_requires_y_none,
        check_supervised_y_2d,
        check_supervised_y_no_nan,
    ],
)
def test_what_scikit_learn_checks_of_regressors(check: Any) -> None:
    """What the estimators share is checked of the classifier."""
    check("DDEQRegressor", regressor(steps=2, batch_size=512))


def test_it_learns_what_scikit_learn_asks_for() -> None:
    check_regressors_train("DDEQRegressor", regressor(steps=4, batch_size=512))


def test_numbers_in_their_units() -> None:
    made = regressor(steps=20).fit(CLOUDS, Y)
    assert is_regressor(made)
    said = made.predict(CLOUDS)
    assert said.shape == (18,)
    assert made.score(CLOUDS, Y) == pytest.approx(r2_score(Y, said))
    assert made.score(CLOUDS, Y) > 0.5
    weights = np.arange(18.0)
    assert made.score(CLOUDS, Y, weights) == pytest.approx(r2_score(Y, said, sample_weight=weights))
    assert made.target_names_ == ("target",)
    assert not hasattr(made, "classes_")
    # One cloud by itself is told as among the others.
    assert_allclose(made.predict(CLOUDS[3:4]), said[3:4], rtol=1e-4)
    assert_array_equal(pickle.loads(pickle.dumps(made)).predict(CLOUDS), said)


def test_several_numbers_of_a_data_set(tmp_path: Path) -> None:
    train_set, _, test_set = blobs()
    made = regressor().fit(train_set)
    said = made.predict(test_set)
    assert said.shape == (12, 2)
    assert made.score(test_set) == pytest.approx(r2_score(told(test_set), said))
    assert made.config_.task.unit == pytest.approx(told(train_set).std(0), rel=0.2)
    folder = made.save(tmp_path / "kept")
    again = DDEQRegressor.load(folder)
    assert_array_equal(again.predict(test_set), said)
    assert again.target_names_ == ("target 0", "target 1")
    cloud = test_set[0].points.numpy()
    assert list(predict(folder, cloud)[0].values.values()) == pytest.approx(said[0], rel=2e-3)
    with pytest.raises(UserError, match="is a model for regression; give one for classification"):
        DDEQClassifier.load(folder)
    with pytest.raises(UserError, match="the preset ddeq is for classification; take one for reg"):
        regressor(preset="ddeq").fit(train_set)


def test_going_on_keeps_the_units() -> None:
    made = regressor(warm_start=True).fit(CLOUDS, Y)
    unit = made.config_.task.unit
    made.fit(CLOUDS, 2 * Y)
    assert made.config_.task.unit == unit
    with pytest.raises(
        UserError, match="warm_start knows 1 numbers of each cloud, and there are 2"
    ):
        made.fit(CLOUDS, np.stack([Y, Y], 1))


def test_searches() -> None:
    search = GridSearchCV(regressor(), {"loss": ["mse", "huber"]}, cv=2).fit(CLOUDS, Y)
    assert search.predict(CLOUDS).shape == (18,)
    assert clone(regressor(loss="mae")).loss == "mae"
    assert "class_weight" not in regressor().get_params()


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "the target y is None"),
        (["a"] * 18, "a regressor needs numbers as y"),
        (Y[:-1], "there are 18 clouds and y of shape"),
        (np.where(Y > 2000, np.nan, Y), "Input y contains NaN"),
        (1j * Y, "Complex data not supported"),
        (torch.full((18,), 3.0), "have the same target, 3: there is nothing to learn"),
    ],
)
def test_what_is_no_target(y: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        regressor().fit(CLOUDS, y)
