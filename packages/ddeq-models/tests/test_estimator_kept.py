"""The parameters of an estimator, and what of it is kept: in a folder, in a pickle."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from small_estimators import SMALL, rings, small

from ddeq_models import (
    DataConfig,
    DDEQClassifier,
    DDEQTransformer,
    UserError,
    evaluate,
    predict,
)
from ddeq_models.estimator.fitting import configuration
from ddeq_models.recipes import recipe_for

pytestmark = pytest.mark.usefixtures("one_validation")
CLOUDS, LABELS = rings()


@pytest.fixture(scope="module")
def fitted() -> Any:
    return small(steps=12).fit(CLOUDS, LABELS)


def test_recipe_parameters_options() -> None:
    recipe = recipe_for("folder", "ddeq")
    config = configuration(DDEQClassifier().get_params())
    assert (config.model, config.train) == (recipe.model, recipe.train)
    assert config.data == DataConfig("arrays", normalise="set", jitter=recipe.data.jitter)
    made = DDEQClassifier(
        "pointnet",
        epochs=np.int64(3),  # type: ignore[arg-type]  # as a search gives it
        batch_size=8,
        normalise="z-score",
        max_minutes=2,
        random_state=7,
        options={"train.epochs": 4, "train.betas": (0.8, 0.9)},
    )
    config = configuration(made.get_params())
    assert config.model == recipe_for("folder", "pointnet").model
    assert config.data.jitter == recipe.data.jitter > 0
    once = DDEQClassifier(epochs=np.int64(1))  # type: ignore[arg-type]
    assert configuration(once.get_params()).data.jitter == 0  # every cloud is new as it is
    often = DDEQClassifier(epochs=1, steps=600)  # in how many passes, the clouds decide
    assert configuration(often.get_params()).data.jitter == recipe.data.jitter
    plan = config.train
    assert (plan.epochs, plan.steps, plan.batch_size, plan.seed) == (4, 0, 8, 7)
    assert (plan.max_minutes, plan.betas, config.data.normalise) == (2, (0.8, 0.9), "z-score")


def test_another_preset() -> None:
    made = DDEQClassifier("deep-sets", epochs=1).fit(CLOUDS, LABELS)
    assert made.predict(CLOUDS).shape == (16,)
    assert DDEQTransformer.of(made).transform(CLOUDS).shape == (16, 256)  # what its head is given


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"preset": "completer"}, "the preset completer is for completion"),
        ({"preset": "none"}, "there is no preset none"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": "3"}, "train.epochs must be a whole number"),
        ({"learning_rate": -1.0}, "learning rate must be above 0"),
        ({"normalise": "cube"}, "data.normalise must be one of set"),
        ({"validation_fraction": 0.7}, "validation_fraction must be between 0 and 0.5"),
        ({"class_weight": "even"}, "class_weight must be None"),
        ({"class_weight": {"red": 2}}, "class_weight names the class 'red'"),
        ({"random_state": -1}, "random_state must be a number from 0 on"),
        ({"device": "abacus"}, "the device 'abacus' cannot be used"),
        ({"options": {"model.width": 3}}, "the model ddeq has no key width"),
        ({"options": {"dim": 3}}, "expected SECTION.KEY"),
        ({"options": {"data.root": "x"}}, "leave data.name and data.root out"),
        ({"options": {"data.learn_from": "train+validation"}}, "take validation_fraction=0"),
        ({"options": {"data.name": "digits"}}, "leave data.name and data.root out"),
        ({"options": {"model.velocity": "warp"}}, "velocity"),
    ],
)
def test_parameters_that_are_refused(parameters: dict[str, Any], said: str) -> None:
    made = small(**parameters)
    with pytest.raises(UserError, match=said):
        made.fit(CLOUDS, LABELS)
    assert not hasattr(made, "classes_")


def test_nothing_works_before_fit(tmp_path: Path) -> None:
    for call in (small().predict, small(DDEQTransformer).transform):
        with pytest.raises(ValueError, match="is not fitted; call fit before"):
            call(CLOUDS)
    with pytest.raises(ValueError, match="is not fitted"):
        small().save(tmp_path / "x")


def test_points_of_another_dimension(fitted: Any) -> None:
    with pytest.raises(UserError, match="X has 3 features, but DDEQClassifier is expecting 2"):
        fitted.predict([np.ones((4, 3))])


def test_saved_loaded_and_used_by_the_commands(fitted: Any, tmp_path: Path) -> None:
    folder = fitted.save(tmp_path / "model")
    again = DDEQClassifier.load(folder)
    assert again.get_params() == {**fitted.get_params(), "device": "auto"}
    assert_array_equal(again.predict_proba(CLOUDS), fitted.predict_proba(CLOUDS))
    assert again.n_iter_ == fitted.n_iter_
    file = tmp_path / "cloud.npy"
    np.save(file, CLOUDS[0])
    (answer,) = predict(folder, [file])
    expected = fitted.predict_proba(CLOUDS[:1])[0]
    # The file holds float64, in memory are float32 where these are enough.
    assert_allclose(list(answer.probabilities.values()), expected, atol=2e-3)
    with pytest.raises(UserError, match="came from memory"):
        evaluate(folder)
    with pytest.raises(UserError, match="not empty"):
        fitted.save(folder)
    (folder / "estimator.json").write_text('{"labels": "float99", "parameters": {}}')
    with pytest.raises(UserError, match="is not the type of labels"):
        DDEQClassifier.load(folder)
    (folder / "estimator.json").write_text('{"labels": "object", "parameters": {"epoch": 1}}')
    with pytest.raises(UserError, match="DDEQClassifier has no parameter epoch"):
        DDEQClassifier.load(folder)
    (folder / "estimator.json").write_text("[]")
    with pytest.raises(UserError, match="expected an object of labels"):
        DDEQClassifier.load(folder)


def test_parameters_are_kept_as_far_as_json_holds_them(tmp_path: Path) -> None:
    made = small(
        random_state=np.random.RandomState(0),
        class_weight={"large": np.float64(2.0), "small": 1},
        options={"train.betas": (np.float64(0.9), 0.99)},
    ).fit(CLOUDS, LABELS)
    kept = DDEQClassifier.load(made.save(tmp_path / "kept")).get_params()
    assert kept["class_weight"] == {"large": 2.0, "small": 1}
    assert kept["options"] == {**SMALL, "train.betas": [0.9, 0.99]}
    assert kept["random_state"] is None
    assert kept["steps"] == 2


def test_a_shipped_model() -> None:
    made = DDEQClassifier.load("mnist-classifier")
    assert made.classes_.tolist() == list("0123456789")
    column = np.stack([np.full(20, 3.0), np.arange(20.0)], 1)
    assert made.predict([column]).tolist() == ["1"]
    with pytest.raises(UserError, match="is a model for completion"):
        DDEQClassifier.load("mnist-completer")
    with pytest.raises(UserError, match="there is no run folder nowhere"):
        DDEQClassifier.load("nowhere")


def test_pickled(fitted: Any) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(again.predict_proba(CLOUDS), fitted.predict_proba(CLOUDS))
    assert not again.model_.training


def test_parameters_by_name() -> None:
    made = small(epochs=3)
    assert made.get_params()["epochs"] == 3
    assert made.set_params(epochs=4, verbose=True) is made
    assert (made.epochs, made.verbose) == (4, True)
    with pytest.raises(UserError, match="DDEQClassifier has no parameter epoch; it has preset"):
        made.set_params(steps=9, epoch=5)
    assert made.steps == 2
    assert repr(DDEQClassifier("pointnet", epochs=2)) == (
        "DDEQClassifier(preset='pointnet', epochs=2)"
    )
    with pytest.raises(TypeError):
        DDEQClassifier(epoch=2)  # type: ignore[call-arg]
