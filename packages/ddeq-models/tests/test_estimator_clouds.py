"""In how many forms clouds and labels may come, and which are none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from small_estimators import rings, small

from ddeq_data import CloudDataset, PackedClouds, PointBatch
from ddeq_models import (
    DDEQClassifier,
    UserError,
)
from ddeq_models.estimator.clouds import read_clouds
from ddeq_models.using.clouds import listed
from ddeq_models.using.clouds import read_clouds as given_clouds

pytestmark = pytest.mark.usefixtures("one_validation")
CLOUDS, LABELS = rings()


@pytest.fixture(scope="module")
def fitted() -> Any:
    return small(steps=12).fit(CLOUDS, LABELS)


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


def test_a_mask_is_refused_and_never_forgotten(fitted: Any) -> None:
    """A plain array made of a masked one has what was masked."""
    hidden = np.zeros(CLOUDS[0].shape, dtype=bool)
    hidden[0] = True
    masked = np.ma.masked_array(CLOUDS[0], mask=hidden)
    array, weights = padded()
    whole = np.ma.masked_invalid(array)
    for clouds in ([masked], [masked, CLOUDS[1]], whole, [(masked, np.ones(len(masked)))]):
        with pytest.raises(UserError, match="entries masked, and what is masked"):
            fitted.predict(clouds)
    with pytest.raises(UserError, match="entries masked"):
        fitted.predict(array, weights=np.ma.masked_equal(weights, 0))
    names = np.ma.masked_array(LABELS, mask=LABELS == "small")
    with pytest.raises(UserError, match="labels come in a masked array with 8 entries masked"):
        small().fit(CLOUDS, names)
    for given in (masked, (CLOUDS[0], np.ma.masked_less(np.ones(len(masked)), 2))):
        with pytest.raises(UserError, match=r"cloud 0: .* entries masked"):
            given_clouds(listed(given), fitted.config_)
    plain = np.ma.masked_array(CLOUDS[0], mask=False)
    assert_same(read_clouds([plain]).clouds, read_clouds(CLOUDS[:1]).clouds)


def test_a_training_in_memory_warns_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Its folder has no result, and nobody will go on with it."""
    small().fit(CLOUDS, LABELS)
    assert not caplog.records


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
