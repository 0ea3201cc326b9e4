"""The estimators in the company of scikit-learn: its searches, and what it checks of everybody."""

import warnings
from pathlib import Path
from typing import Any
from unittest import SkipTest

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone, is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import (
    check_classifiers_train,
    check_estimator,
    check_estimator_sparse_tag,
    check_estimators_pickle,
    check_n_features_in_after_fitting,
    check_transformer_general,
    check_transformers_unfitted,
)
from sklearn.utils.validation import check_is_fitted
from small_estimators import small

from ddeq_models import DDEQTransformer, UserError

pytestmark = pytest.mark.usefixtures("one_validation")
# What scikit-learn asks of estimators that these do not keep to, and why.
EXCEPTIONS = {
    "check_sample_weight_equivalence_on_dense_data": (
        "clouds are drawn: the same chances, and not the same draws, as with repeated clouds"
    ),
    "check_methods_subset_invariance": (
        "sums of float32 differ in the last digits with the number of clouds in a batch"
    ),
    "check_methods_sample_order_invariance": (
        "sums of float32 differ in the last digits with the place of a cloud in its batch"
    ),
}


def lengths(count: int = 18) -> tuple[list[Any], Any]:
    """Ragged clouds on a line, short ones and long ones."""
    rng = np.random.default_rng(0)
    labels = np.array(["short", "long"])[np.arange(count) % 2]
    size = {"short": 1.0, "long": 3.0}
    return [rng.uniform(0, size[x], (rng.integers(4, 9), 2)) for x in labels], labels


CLOUDS, LABELS = lengths()


def test_what_scikit_learn_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    def wants_a_trained_model(*_: Any, **__: Any) -> None:
        raise SkipTest("tried below, with more steps than the other checks need")

    monkeypatch.setattr(estimator_checks, "check_classifiers_train", wants_a_trained_model)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Estimator .* does not inherit from `sklearn.base")
        results = check_estimator(
            small(steps=4, batch_size=512, learning_rate=2e-2),
            expected_failed_checks=EXCEPTIONS,
            on_fail=None,
            on_skip=None,
        )
    failed = {one["check_name"]: one["exception"] for one in results if one["status"] == "failed"}
    assert not failed, failed
    states = [one["status"] for one in results]
    assert states.count("passed") > 45
    weighed = [r["status"] for r in results if "sample_weight_equivalence" in r["check_name"]]
    assert weighed == ["xfail"]


@pytest.mark.parametrize(
    "check",
    [
        check_transformer_general,
        check_transformers_unfitted,
        check_estimators_pickle,
        check_n_features_in_after_fitting,
        check_estimator_sparse_tag,
    ],
)
def test_what_scikit_learn_checks_of_transformers(check: Any) -> None:
    """What the two share is checked above."""
    check("DDEQTransformer", small(DDEQTransformer, batch_size=512))


def test_it_learns_what_scikit_learn_asks_for() -> None:
    check_classifiers_train("DDEQClassifier", small(steps=25, batch_size=512, learning_rate=2e-2))


def test_clone() -> None:
    made = small(options={"model.dim": 8}, verbose=True)
    again = clone(made)
    assert again is not made
    assert again.get_params() == made.get_params()
    assert is_classifier(made)
    with pytest.raises(ValueError, match="is not fitted"):
        check_is_fitted(again)
    check_is_fitted(small().fit(CLOUDS, LABELS))


def test_search_and_validation_of_ragged_clouds() -> None:
    search = GridSearchCV(small(), {"steps": [1, 30], "random_state": [0]}, cv=2)
    search.fit(CLOUDS, LABELS)
    assert search.best_params_["steps"] == 30
    assert search.predict(CLOUDS).shape == (18,)
    pairs = [(cloud, np.ones(len(cloud))) for cloud in CLOUDS]
    plain = cross_val_score(small(steps=4), CLOUDS, LABELS, cv=2)
    assert_array_equal(cross_val_score(small(steps=4), pairs, LABELS, cv=2), plain)
    with pytest.raises(UserError, match="epochs must be at least 1"):
        cross_val_score(small(epochs=0), CLOUDS, LABELS, cv=2, error_score="raise")


def test_pipelines() -> None:
    halve = FunctionTransformer(lambda clouds: [cloud / 2 for cloud in clouds])
    line = Pipeline([("halve", halve), ("model", small())]).fit(CLOUDS, LABELS)
    expected = small().fit([cloud / 2 for cloud in CLOUDS], LABELS)
    assert_array_equal(
        line.predict_proba(CLOUDS), expected.predict_proba([cloud / 2 for cloud in CLOUDS])
    )
    line = make_pipeline(small(DDEQTransformer, steps=25), LogisticRegression())
    assert line.fit(CLOUDS, LABELS).score(CLOUDS, LABELS) > 0.9
    assert line.set_params(ddeqtransformer__steps=3)[0].steps == 3


def test_joblib(tmp_path: Path) -> None:
    made = small().fit(CLOUDS, LABELS)
    joblib.dump(made, tmp_path / "made.joblib")
    again = joblib.load(tmp_path / "made.joblib")
    assert_array_equal(again.predict_proba(CLOUDS), made.predict_proba(CLOUDS))
    assert repr(again) == repr(made)
