"""What the estimators promise, on rings of two sizes; `test_estimator_sklearn` has the company."""

import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from ddeq_data import CloudDataset, PackedClouds, PointBatch
from ddeq_models import (
    DataConfig,
    DDEQClassifier,
    DDEQTransformer,
    UserError,
    evaluate,
    predict,
    train,
)
from ddeq_models.estimator.clouds import read_clouds
from ddeq_models.estimator.fitting import configuration, split
from ddeq_models.estimator.labels import odds
from ddeq_models.recipes import recipe_for

SMALL = {
    "model.dim": 8,
    "model.heads": 2,
    "model.hidden": 8,
    "model.bilinear_dim": 4,
    "model.particles": 2,
    "model.pooled": 8,
    "model.scales": 0,
    "model.max_steps": 10,
    "train.ema": 0.0,
}


@pytest.fixture(scope="module", autouse=True)
def one_validation() -> Iterator[None]:
    """At the end: of an epoch of one step every other one would take as long as the step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ddeq_models.training.loop.VALIDATIONS", 1)
        yield


def small(kind: Any = DDEQClassifier, **parameters: Any) -> Any:
    """An estimator that is trained in a moment."""
    options = {**SMALL, **parameters.pop("options", {})}
    return kind(**{"steps": 2, "learning_rate": 1e-2, "options": options, **parameters})


def rings(count: int = 16, seed: int = 0) -> tuple[list[Any], Any]:
    rng = np.random.default_rng(seed)
    labels = np.array(["small", "large"])[np.arange(count) % 2]
    clouds = []
    for label in labels:
        angles = rng.uniform(0, 2 * np.pi, rng.integers(6, 12))
        places = np.stack([np.cos(angles), np.sin(angles)], 1)
        clouds.append((2 if label == "large" else 1) * places + 0.05 * rng.normal(size=(1, 2)))
    return clouds, labels


CLOUDS, LABELS = rings()


@pytest.fixture(scope="module")
def fitted() -> Any:
    return small(steps=25).fit(CLOUDS, LABELS)


def padded() -> tuple[Any, Any]:
    """The clouds as one array, NaN in its padding, and the weights."""
    width = max(map(len, CLOUDS))
    array, weights = np.full((len(CLOUDS), width, 2), np.nan), np.zeros((len(CLOUDS), width))
    for row, mass, cloud in zip(array, weights, CLOUDS, strict=True):
        row[: len(cloud)], mass[: len(cloud)] = cloud, 3.0
    return array, weights


def batch() -> PointBatch:
    packed = read_clouds(CLOUDS).clouds
    return packed.gather(torch.arange(len(packed)))


def geometric() -> Any:
    from torch_geometric.data import Batch, Data

    labels = torch.arange(len(CLOUDS))[:, None] % 2
    pairs = zip(CLOUDS, labels, strict=True)
    return Batch.from_data_list([Data(pos=torch.from_numpy(cloud), y=y) for cloud, y in pairs])


def forms() -> dict[str, Any]:
    packed = read_clouds(CLOUDS).clouds
    return {
        "tensors": [torch.from_numpy(cloud) for cloud in CLOUDS],
        "nested lists": [cloud.tolist() for cloud in CLOUDS],
        "objects": np.array([*CLOUDS, None], dtype=object)[:-1],
        "pairs": [(cloud, np.ones(len(cloud))) for cloud in CLOUDS],
        "packed": packed,
        "data set": CloudDataset(packed, ["any"]),
        "clouds": list(CloudDataset(packed, ["any"])),
        "batch": batch(),
    }


@pytest.mark.parametrize("name", forms())
def test_every_form_holds_the_same_clouds(name: str) -> None:
    expected, found = read_clouds(CLOUDS).clouds, read_clouds(forms()[name]).clouds
    assert_same(found, expected)


def assert_same(found: PackedClouds, expected: PackedClouds) -> None:
    assert torch.equal(found.offsets, expected.offsets)
    torch.testing.assert_close(found.points, expected.points, check_dtype=False)
    one, other = (x.gather(torch.arange(len(x))).weights for x in (found, expected))
    torch.testing.assert_close(one, other, check_dtype=False)


def test_padding_is_left_out() -> None:
    array, weights = padded()
    assert_same(read_clouds(array, weights).clouds, read_clouds(CLOUDS).clouds)
    pair = read_clouds(torch.from_numpy(array), torch.from_numpy(weights)).clouds
    assert_same(pair, read_clouds(CLOUDS).clouds)
    with pytest.raises(UserError, match="NaN"):
        read_clouds(array)


@pytest.mark.filterwarnings("ignore")  # what torch_geometric warns of is its own
def test_batches_of_geometric() -> None:
    given = read_clouds(geometric())
    assert_same(given.clouds, read_clouds(CLOUDS).clouds)
    assert given.labels.tolist() == [i % 2 for i in range(len(CLOUDS))]
    single = geometric().get_example(3)  # its batch is None
    single.batch = None
    assert_same(read_clouds(single).clouds, read_clouds(CLOUDS[3:4]).clouds)


def test_an_array_of_two_dimensions_is_clouds_of_one_point() -> None:
    table = np.arange(12.0).reshape(4, 3)
    expected = read_clouds([row[None] for row in table]).clouds
    for form in (table, table.tolist(), list(table), torch.from_numpy(table)):
        assert_same(read_clouds(form).clouds, expected)


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


def test_every_form_is_predicted_alike(fitted: Any) -> None:
    expected = fitted.predict_proba(CLOUDS)
    for form in forms().values():
        assert_allclose(fitted.predict_proba(form), expected, atol=1e-5)
    array, weights = padded()
    assert_allclose(fitted.predict_proba(array, weights=weights), expected, atol=1e-5)
    order = np.random.default_rng(0).permutation(len(CLOUDS))
    mixed = fitted.predict_proba([CLOUDS[i] for i in order])
    assert_allclose(mixed, expected[order], atol=1e-5)


@pytest.mark.parametrize("form", ["data set", "batch"])
def test_data_sets_bring_their_labels(form: str) -> None:
    numbers = torch.arange(len(CLOUDS)) % 2
    packed = read_clouds(CLOUDS).clouds
    packed = PackedClouds(packed.points, None, packed.offsets, numbers)
    given: Any = CloudDataset(packed, ["first", "second"])
    if form == "batch":
        given = given.__getitems__(range(len(CLOUDS)))
    made = small().fit(given)
    assert made.classes_.tolist() == (["first", "second"] if form == "data set" else [0, 1])
    score = made.score(given)
    assert score == made.score(CLOUDS, made.classes_[numbers])


@pytest.mark.parametrize(
    "names",
    [
        np.array(["b", "a"]),
        np.array(["b", "a"], dtype=object),
        np.array([7, -3], dtype=np.int16),
        np.array([True, False]),
        np.array([2.0, 1.0]),
    ],
    ids=lambda names: str(names.dtype),
)
def test_labels_of_any_kind_come_back(names: Any, tmp_path: Path) -> None:
    given = names[np.arange(len(CLOUDS)) % 2]
    made = small().fit(CLOUDS, given)
    predicted = made.predict(CLOUDS)
    assert predicted.dtype == names.dtype
    assert set(predicted.tolist()) <= set(names.tolist())
    again = DDEQClassifier.load(made.save(tmp_path / "kept"))
    assert again.classes_.dtype == names.dtype
    assert_array_equal(again.predict(CLOUDS), predicted)
    assert_array_equal(small().fit(CLOUDS, given.tolist()).predict(CLOUDS), predicted)


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
    plan = config.train
    assert (plan.epochs, plan.steps, plan.batch_size, plan.seed) == (4, 0, 8, 7)
    assert (plan.max_minutes, plan.betas, config.data.normalise) == (2, (0.8, 0.9), "z-score")


def test_another_preset() -> None:
    made = DDEQClassifier("deep-sets", epochs=1).fit(CLOUDS, LABELS)
    assert made.predict(CLOUDS).shape == (16,)
    with pytest.raises(UserError, match="no equilibrium whose features"):
        DDEQTransformer.of(made)


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
        ({"options": {"data.name": "digits"}}, "leave data.name and data.root out"),
        ({"options": {"model.velocity": "warp"}}, "velocity"),
    ],
)
def test_parameters_that_are_refused(parameters: dict[str, Any], said: str) -> None:
    made = small(**parameters)
    with pytest.raises(UserError, match=said):
        made.fit(CLOUDS, LABELS)
    assert not hasattr(made, "classes_")


@pytest.mark.parametrize(
    ("clouds", "labels", "said"),
    [
        ([], [], "there are no clouds"),
        (np.zeros((0, 2)), [], "0 sample"),
        (np.zeros(5), [0] * 5, "Reshape your data"),
        (np.zeros((2, 2, 2, 2)), [0, 1], "got the shape"),
        (7, [0], "expected clouds, got int"),
        ("path", [0], "expected clouds, got str"),
        ([np.ones((3, 2)), np.ones((3, 3))], [0, 1], "cloud 1 must have points of shape"),
        ([np.ones((3, 2)), np.ones((0, 2))], [0, 1], "cloud 1 has no points"),
        ([np.ones((3, 2)), np.full((1, 2), np.inf)], [0, 1], "cloud 1 holds NaN or inf"),
        ([(np.ones((3, 2)), -np.ones(3))], [0], "cloud 0 has a weight that is negative"),
        ([(np.ones((3, 2)), np.ones(2))], [0], "cloud 0 has 3 points and weights of shape"),
        ([(np.ones((3, 2)), np.ones(3)), np.ones((3, 2))], [0, 1], "all clouds are pairs"),
        ([[1.0, 2.0], [1.0]], [0, 1], "rows of several lengths"),
        (CLOUDS, LABELS[:3], "there are 16 clouds and labels of shape"),
        (CLOUDS, None, "requires y to be passed, but the target y is None"),
        (CLOUDS, np.linspace(0, 1, 16), "Unknown label type: continuous"),
        (CLOUDS, [None] * 8 + ["a"] * 8, "contains NaN or None"),
        (CLOUDS, ["a"] * 16, "all clouds to train on are of one class"),
        (CLOUDS, np.array([1, "1"] * 8, dtype=object), "labels must be of one kind"),
    ],
)
def test_clouds_and_labels_that_are_refused(clouds: Any, labels: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        small().fit(clouds, labels)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0, 2.0], "one number for each of 16 clouds"),
        ([-1.0] * 16, "finite and at least 0"),
        ([0.0] * 16, "zero for all clouds"),
    ],
)
def test_weights_of_clouds_that_are_refused(weights: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        small().fit(CLOUDS, LABELS, weights)


def test_nothing_works_before_fit(tmp_path: Path) -> None:
    for call in (small().predict, small(DDEQTransformer).transform):
        with pytest.raises(ValueError, match="is not fitted; call fit before"):
            call(CLOUDS)
    with pytest.raises(ValueError, match="is not fitted"):
        small().save(tmp_path / "x")


def test_points_of_another_dimension(fitted: Any) -> None:
    with pytest.raises(UserError, match="X has 3 features, but DDEQClassifier is expecting 2"):
        fitted.predict([np.ones((4, 3))])


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
    assert_allclose(list(answer.probabilities.values()), expected, atol=1e-4)
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


def test_features(fitted: Any) -> None:
    made = DDEQTransformer.of(fitted)
    features = made.transform(CLOUDS)
    assert features.shape == (16, 2 * SMALL["model.dim"])  # maximum and mean
    assert features.dtype == np.float32
    head: Any = fitted.model_.head
    with torch.no_grad():
        logits = head(torch.from_numpy(features)).double()
    assert_allclose(logits.softmax(-1).numpy(), fitted.predict_proba(CLOUDS), atol=1e-5)
    array, weights = padded()
    assert_allclose(made.transform(array, weights=weights), features, atol=1e-4)
    own = small(DDEQTransformer, steps=25)
    assert_array_equal(own.fit_transform(CLOUDS, LABELS), features)
    with pytest.raises(ValueError, match="is not fitted"):
        DDEQTransformer.of(small())


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
