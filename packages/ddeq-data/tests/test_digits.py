import runpy
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from ddeq_data import Digits, ZScore, collate

PARTS = {"train": 1257, "validation": 180, "test": 360}


@pytest.fixture(scope="module")
def oracle():
    """scikit-learn's images as clouds, pixel by pixel: a set of (x, y, weight) for each."""
    digits = load_digits()
    clouds = []
    for image in digits.images:
        cloud = {
            (column, 7 - row, round(image[row, column] / image.sum(), 6))
            for row in range(8)
            for column in range(8)
            if image[row, column] > 0
        }
        clouds.append(frozenset(cloud))
    return clouds, digits.target


def as_set(cloud):
    rows = zip(cloud.points.tolist(), cloud.weights.tolist(), strict=True)
    return frozenset((x, y, round(weight, 6)) for (x, y), weight in rows)


def test_the_parts_are_scikit_learns_digits(oracle):
    clouds, target = oracle
    expected = sorted(
        (int(label), sorted(cloud)) for cloud, label in zip(clouds, target, strict=True)
    )
    found = sorted((c.label, sorted(as_set(c))) for part in PARTS for c in Digits(part))
    assert found == expected


def test_clouds_keep_the_order_of_the_source(oracle):
    clouds, _ = oracle
    where = {cloud: i for i, cloud in enumerate(clouds)}
    for part in PARTS:
        order = [where[as_set(cloud)] for cloud in Digits(part)]
        assert order == sorted(order)


def test_the_split_is_stratified_and_complete():
    whole = np.bincount(load_digits().target)
    for part, count in PARTS.items():
        digits = Digits(part)
        assert len(digits) == count
        share = whole * count / 1797
        assert np.abs(torch.bincount(digits.labels).numpy() - share).max() < 1.5
    both = Digits("train+validation")
    assert len(both) == PARTS["train"] + PARTS["validation"]
    parts = {as_set(c) for part in ("train", "validation") for c in Digits(part)}
    assert {as_set(c) for c in both} == parts


def test_digits_stand_upright():
    # A seven has its bar on top and one stroke below, a printed "L" would be the opposite.
    sevens = [c for c in Digits("train") if c.label == 7]
    top = sum(float(c.weights[c.points[:, 1] >= 4].sum()) for c in sevens) / len(sevens)
    assert top > 0.5
    width = [
        torch.stack([c.points[c.points[:, 1] == y][:, 0].std() for c in sevens]).nanmean()
        for y in (6, 1)
    ]
    assert width[0] > 1.5 * width[1]


def test_it_says_what_it_is():
    digits = Digits("test", transform=ZScore())
    assert digits.classes == list("0123456789")
    assert digits.class_to_idx["7"] == 7
    assert digits.dim == 2
    assert repr(digits) == (
        "Digits\n    split: test\n    clouds: 360 in 10 classes\n"
        "    classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9\n"
        f"    points: {digits.sizes.min()} to {digits.sizes.max()} per cloud, "
        f"median {digits.sizes.median()}, dimension 2\n"
        "    transform: ZScore()\n    licence: CC BY 4.0"
    )
    with pytest.raises(ValueError, match="split must be one of train, validation, test, train"):
        Digits("training")


def test_the_embedded_file_is_small_attributed_and_reproducible(tmp_path):
    folder = files("ddeq_data").joinpath("data")
    with files("ddeq_data").joinpath("data/digits.npz").open("rb") as file:
        content = file.read()
    assert len(content) < 100_000
    note = folder.joinpath("digits-attribution.md").read_text("utf-8")
    assert all(word in note for word in ("Alpaydin", "Kaynak", "CC BY 4.0", "Changes"))
    script = Path(__file__).parent.parent / "tools" / "pack_digits.py"
    runpy.run_path(str(script))["pack"](tmp_path / "again.npz")
    with np.load(tmp_path / "again.npz") as again, np.load(folder.joinpath("digits.npz")) as kept:
        assert set(again) == set(kept)
        for key in kept:
            np.testing.assert_array_equal(again[key], kept[key])


def test_a_batch_follows_the_convention():
    digits = Digits("validation", transform=ZScore())
    batch = digits.__getitems__(list(range(len(digits)))).check()
    assert torch.equal(batch.sizes, digits.sizes)
    same = collate([digits[i] for i in range(len(digits))])
    torch.testing.assert_close(batch.points, same.points)
    assert torch.equal(batch.weights, same.weights)
