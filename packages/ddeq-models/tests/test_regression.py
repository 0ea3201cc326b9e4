"""Regression: its figures, its units, its models, and clouds from anywhere."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from small_targets import PLAN, REGRESSOR, blobs, in_another_unit, plain, told

from ddeq_data import Compose, PointBatch, collate
from ddeq_models import (
    DataConfig,
    DDEQRegressorModel,
    Estimate,
    Numbers,
    RegressionConfig,
    RunConfig,
    UserError,
    evaluate,
    predict,
    train,
)
from ddeq_models.data import normaliser
from ddeq_models.models.base import build_model
from ddeq_models.models.baselines import DeepSetsRegressor, DeepSetsRegressorConfig
from ddeq_models.models.description import Description
from ddeq_models.models.regressor import Moments
from ddeq_models.models.ridge import ridge
from ddeq_models.tasks.base import build_task
from ddeq_models.tasks.peer import cheap_peer_of_numbers
from ddeq_models.tasks.regression import Regression, errors
from ddeq_models.tasks.tally import Tally

metrics = pytest.importorskip("sklearn.metrics")


def task_of(**changes: Any) -> Regression:
    config = RegressionConfig(centre=(1.0, -2.0), unit=(2.0, 0.5), **changes)
    run = RunConfig("x", ("a", "b"), DataConfig("blobs", target="numbers"), REGRESSOR, task=config)
    made = build_task(run)
    assert isinstance(made, Regression)
    return made


def batch_of(truth: Any) -> PointBatch:
    count = len(truth)
    return PointBatch(
        torch.rand(count, 3, 2), torch.full((count, 3), 1 / 3), torch.zeros(count).long(),
        torch.as_tensor(truth),
    )  # fmt: skip


def test_figures_are_those_of_scikit_learn_in_the_users_units() -> None:
    rng = np.random.default_rng(0)
    truth, said = rng.normal(size=(2, 9, 2)) * [10, 0.1] + [5, 7]
    task, tally = task_of(), Tally()
    for some in (slice(0, 4), slice(4, 9)):  # batched as looped
        inputs = task.prepare(batch_of(truth[some]), torch.Generator())
        standard = torch.as_tensor((said[some] - [1, -2]) / [2, 0.5])
        tally.add(task.records(Numbers(standard), inputs))
    figures = task.figures(tally.columns())
    assert figures["r2"] == pytest.approx(metrics.r2_score(truth, said), rel=1e-3)
    assert figures["mae"] == pytest.approx(metrics.mean_absolute_error(truth, said), rel=1e-5)
    assert figures["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, said), rel=1e-5)
    squares = np.square((truth - said) / [2, 0.5]).mean()
    assert figures["loss"] == pytest.approx(squares, rel=1e-5)
    each = task.result(tally.columns())["targets"]
    assert each["b"]["r2"] == pytest.approx(metrics.r2_score(truth[:, 1], said[:, 1]), rel=1e-4)
    assert np.isnan(task.figures({})["r2"])


def test_the_errors_of_a_constant() -> None:
    ones = np.ones(3)
    assert errors(ones, ones)["r2"] == metrics.r2_score(ones, ones) == 1
    assert errors(ones, ones + [0, 0, 1])["r2"] == metrics.r2_score(ones, ones + [0, 0, 1]) == 0


@pytest.mark.parametrize(
    ("loss", "expected"), [("mse", 2.5), ("mae", 1.5), ("huber", (0.5 + 1.5) / 2)]
)
def test_losses(loss: str, expected: float) -> None:
    task = task_of(loss=loss)
    inputs = task.prepare(batch_of([[1.0, -2.0]]), torch.Generator())
    said = Numbers(torch.tensor([[1.0, 2.0]]))
    assert float(task.loss(said, inputs)) == pytest.approx(expected)
    with_penalty = said._replace(penalty=torch.tensor([3.0]))
    assert float(task.loss(with_penalty, inputs)) == pytest.approx(expected + 3)
    assert task_of(loss="huber", delta=0.5).loss(said, inputs) < expected


@pytest.mark.parametrize(
    "changes", [{"delta": 0.0}, {"centre": (1.0,)}, {"centre": (1.0,), "unit": (0.0,)}]
)
def test_options_out_of_range(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"delta must be above 0|centre and unit must be numbers"):
        RegressionConfig(**changes)


def test_units_are_those_of_the_training() -> None:
    clouds = blobs(20)[0]
    config = RegressionConfig().for_data(clouds)
    assert_allclose(config.centre, told(clouds).mean(0))
    assert_allclose(config.unit, told(clouds).std(0))
    assert config.for_data(blobs(5)[0]) == config  # found once
    constant = in_another_unit(clouds, 0.0, 1e9 / 3)
    assert RegressionConfig().for_data(constant).unit == (1.0, 1.0)


def test_a_unit_changes_nothing_but_the_unit(tmp_path: Path) -> None:
    """y and 100 y + 7 are the same training: predictions differ by just that."""
    said = []
    clouds = [cloud.points.numpy() for cloud in map(blobs()[2].__getitem__, range(3))]
    for factor, shift in ((1.0, 0.0), (100.0, 7.0)):
        sets = [in_another_unit(one, factor, shift) for one in blobs()]
        run = train(REGRESSOR, sets, PLAN, out=tmp_path / str(factor), quiet=True)
        found = predict(run.path, clouds)
        assert all(isinstance(one, Estimate) for one in found)
        said.append(np.array([list(one.values.values()) for one in found]))
    assert_allclose(said[1], 100 * said[0] + 7, rtol=1e-3)


def test_clouds_in_memory(tmp_path: Path) -> None:
    sets = blobs()
    lists = [plain(one, weighted=True) for one in sets]
    run = train(REGRESSOR, lists, PLAN, out=tmp_path / "run", quiet=True)
    config, result = run.config(), run.result()
    assert config.classes == ("target 0", "target 1")
    assert (config.data.target, config.data.name, config.task.kind) == (
        "numbers", "arrays", "regression",
    )  # fmt: skip
    assert set(result["targets"]) == set(config.classes)
    assert result["peer"]["r2"] <= 1
    assert (run.path / "estimates.png").exists()
    again = evaluate(run.path, sets=lists)
    assert again["r2"] == pytest.approx(result["test_r2"], abs=1e-5)
    # By words where there is one number, by a name where the data set has one.
    one = [[(points, float(y[0])) for points, y in plain(some)] for some in sets]
    assert train(REGRESSOR, one, PLAN, out=tmp_path / "one", quiet=True).config().classes == (
        "target",
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: (x[0], "wide"), "a regression needs numbers, and the label of item 0 of train"),
        (lambda x: (x[0], np.nan), "must be a finite number or several"),
        (lambda x: (x[0], x[1][:1]), "item 0 of train has 1 numbers, and there are 2"),
    ],
)
def test_labels_that_are_no_numbers(spoil: Any, message: str, tmp_path: Path) -> None:
    sets = [plain(one) for one in blobs(3)]
    sets[0][0] = spoil(sets[0][0])
    with pytest.raises(UserError, match=message):
        train(REGRESSOR, sets, PLAN, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_what_is_known_must_be_what_is_needed(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(
        UserError, match="regression needs numbers of each cloud, and what is known"
    ):
        train(REGRESSOR, DataConfig("digits"), PLAN, out=out)
    same = [in_another_unit(one, 0.0, 1.0) for one in blobs(3)]
    with pytest.raises(UserError, match="have the same clusters, 1: there is nothing to learn"):
        train(REGRESSOR, same, PLAN, out=out)


def test_relevance_is_told_by_numbers_as_by_classes() -> None:
    """The correlation ratio is one of numbers: indicators of classes give that of the classes."""
    torch.manual_seed(0)
    labels = torch.arange(60) % 3
    described = torch.rand(60, 8)
    described[:, 0] = labels + 0.1 * described[:, 0]
    one, other, numeric = (Description(1) for _ in range(3))
    size = one.edges.shape[1]
    described = torch.cat([described, torch.rand(60, size - 8)], 1)
    one.fit(described, labels)
    other.fit(described, torch.nn.functional.one_hot(labels).float())
    assert_allclose(one.relevance, other.relevance, rtol=1e-4)
    numeric.fit(described, described[:, 5:6] * 2 - 1)
    assert int(numeric.relevance.argmax()) == 5


@pytest.mark.parametrize("config", [REGRESSOR, DeepSetsRegressorConfig(dim=8)])
def test_models_are_functions_of_measures(config: Any) -> None:
    torch.manual_seed(0)
    model = build_model(replace(config, outputs=2)).eval()
    assert isinstance(model, DDEQRegressorModel | DeepSetsRegressor)
    points, weights = torch.rand(3, 5, 2), torch.rand(3, 5)
    weights = weights / weights.sum(1, keepdim=True)
    said = model(points, weights).values
    assert said.shape == (3, 2)
    order = torch.randperm(5)
    assert_allclose(
        model(points[:, order], weights[:, order]).values.detach(), said.detach(), atol=1e-5
    )
    padded = torch.cat([points, torch.full((3, 2, 2), torch.nan)], 1)
    mass = torch.cat([weights, torch.zeros(3, 2)], 1)
    assert_allclose(model(padded, mass).values.detach(), said.detach(), atol=1e-5)
    # One cloud that is beyond all bounds leaves the others as they are, bit for bit.
    spoilt = points.clone()
    spoilt[1] = 1e18
    assert torch.equal(model(spoilt, weights).values[[0, 2]], said[[0, 2]])


def test_the_training_begins_with_what_moments_tell() -> None:
    clouds = blobs(40)[0]
    batch = clouds.__getitems__(list(range(40)))
    numbers = torch.from_numpy(told(clouds)).float()
    numbers = (numbers - numbers.mean(0)) / numbers.std(0, correction=0)
    torch.manual_seed(0)
    model = build_model(replace(REGRESSOR, outputs=2))
    assert isinstance(model, DDEQRegressorModel)
    model.fit(batch.points, batch.weights, numbers)
    with torch.no_grad():
        said = model(batch.points, batch.weights).values
    # The second moment is one of the moments.
    assert float((said[:, 1] - numbers[:, 1]).abs().max()) < 0.02
    assert 0.3 < float(1 - (said - numbers)[:, 0].square().mean()) < 1
    model.fit(batch.points, batch.weights, torch.zeros(40).long())  # classes tell it nothing
    bare = build_model(replace(REGRESSOR, direct=False))
    assert isinstance(bare, DDEQRegressorModel)
    assert bare.direct is None
    assert float(bare.head.weight.detach().abs().sum()) > 0


def test_ridge_is_that_of_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 12)) @ rng.normal(size=(12, 12))
    y = x[:, :3] + rng.normal(size=(30, 3)) * [0.1, 3, 20]
    x, y = x - x.mean(0), y - y.mean(0)
    found = ridge(torch.from_numpy(x), torch.from_numpy(y))
    theirs = linear_model.RidgeCV(10.0 ** np.arange(-2, 6.25, 0.5), alpha_per_target=True)
    theirs.fit(x, y)
    assert len(set(theirs.alpha_)) == 3
    assert_allclose(found.slope.numpy().T, theirs.coef_, rtol=1e-6, atol=1e-9)
    for k, penalty in enumerate(theirs.alpha_):  # each row said by the others, one by one
        for i in (0, 7, 29):
            others = np.arange(30) != i
            model = linear_model.Ridge(penalty).fit(x[others], y[others, k])
            missed = model.predict(x[i : i + 1])[0] - y[i, k]
            assert_allclose(float(found.missed[i, k]), missed, rtol=1e-6)


def test_ridge_of_more_columns_than_rows_does_no_worse_than_the_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 40, generator=generator).double()
    y = torch.randn(20, 1, generator=generator).double()
    x, y = x - x.mean(0), y - y.mean(0)
    mean = (y * 20 / 19).square().sum()
    assert float(ridge(x, y).missed.square().sum()) <= 1.01 * float(mean)


def test_a_cheap_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = blobs(60)
    same = Compose([])
    trees = cheap_peer_of_numbers(sets[0], sets[2], same)
    assert 0.3 < (trees.r2 or 0) <= 1
    assert "accuracy" not in trees.to_dict()
    monkeypatch.setattr("ddeq_models.tasks.peer.find_spec", lambda _: None)
    ridge = cheap_peer_of_numbers(sets[0], sets[2], same)
    assert ridge.name.startswith("ridge")
    assert 0.3 < (ridge.r2 or 0) <= 1


def test_a_stored_configuration_comes_back() -> None:
    config = task_of().config
    again = RunConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert normaliser(replace(again.data, normalise="none")) is not None
    assert collate([blobs(2)[0][0]]).targets is not None


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e4])
def test_moments_tell_in_any_unit(unit: float) -> None:
    generator = torch.Generator().manual_seed(0)
    size = 1 + torch.rand(60, 1, 1, generator=generator)
    points, weights = unit * size * torch.randn(60, 30, 2, generator=generator), 1 / 30
    weights = torch.full((60, 30), weights)
    numbers = (points - points.mean(1, keepdim=True)).square().mean((1, 2))[:, None]
    numbers = (numbers - numbers.mean()) / numbers.std()
    moments = Moments(2, False, 1)
    moments.fit(points, weights, numbers)
    assert (moments(points, weights) - numbers).abs().mean() < 0.01
    # Deviations, radius, their squares and the volume, whose units differ, are all of size 1.
    seen = moments._standard(moments._of(points, weights))[:, -7:]
    torch.testing.assert_close(seen.std(0), torch.ones(7), rtol=0.1, atol=0)


@pytest.mark.parametrize("trees", [True, False])
@pytest.mark.parametrize(("factor", "shift"), [(1.0, 1e9), (1e-6, 0.0), (1e3, -1e12)])
def test_a_cheap_peer_is_as_good_in_any_unit(
    monkeypatch: pytest.MonkeyPatch, trees: bool, factor: float, shift: float
) -> None:
    """Sums of the squares of what has an offset say nothing of what differs.

    Trees choose among cuts that are equally good by rounding: they are not the same to the digit.
    """
    if not trees:
        monkeypatch.setattr("ddeq_models.tasks.peer.find_spec", lambda _: None)
    first, _, last = blobs(60)
    plain = cheap_peer_of_numbers(first, last, Compose([]))
    moved = [in_another_unit(one, factor, shift) for one in (first, last)]
    assert cheap_peer_of_numbers(*moved, Compose([])).r2 == pytest.approx(plain.r2, abs=0.1)


def test_smoothing_of_classes_is_refused_where_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="label_smoothing is of classes, and a regression has none"):
        train(REGRESSOR, blobs(), replace(PLAN, label_smoothing=0.1), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("count", "r2", "said"), [(1, 0.0, 0), (4, -2.0, 0), (5, -2.0, 1), (5, 0.1, 0)]
)
def test_of_a_few_clouds_it_is_not_said_that_nothing_was_learnt(
    count: int, r2: float, said: bool
) -> None:
    sets = {"train": blobs()[0], "test": blobs()[2]}
    beside = task_of().aside(sets, lambda *parts: parts[:2], {"r2": r2, "clouds": count}, [])
    assert ("note" in beside) == said
