"""Numbers of clouds and labels of points: they follow their clouds and points wherever these go."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ddeq_data import (
    Cloud,
    CloudDataset,
    DataError,
    HalfSpaceCrop,
    PackedClouds,
    PointBatch,
    PointCloudFolder,
    SurfacePoints,
    SyntheticBlobs,
    SyntheticMoons,
    collate,
    pack,
    unpack,
)
from ddeq_data.datasets import list_files
from ddeq_data.storage.clouds_file import read_clouds, write_clouds
from ddeq_data.transforms import (
    Compose,
    DropPoints,
    FarthestSample,
    RandomSample,
    RandomShift,
    UnitSphere,
)


def side(points: Tensor) -> Tensor:
    """A label that a point tells by itself: its rank among 5 along the first axis."""
    return (points[..., 0] * 5).floor().clamp(0, 4).long()


def clouds(sizes: list[int], seed: int = 0) -> PackedClouds:
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(sum(sizes), 2, generator=generator)
    offsets = torch.tensor([0, *sizes]).cumsum(0)
    labels = torch.zeros(len(sizes), dtype=torch.int64)
    return PackedClouds(points, None, offsets, labels, targets=side(points))


def with_numbers(sizes: list[int]) -> PackedClouds:
    made = clouds(sizes)
    numbers = torch.arange(2.0 * len(sizes)).double().view(-1, 2)
    return PackedClouds(made.points, None, made.offsets, made.labels, targets=numbers)


def check_labels(batch: PointBatch) -> None:
    assert batch.targets is not None
    assert torch.equal(batch.targets, torch.where(batch.mask, side(batch.points), -1))


def test_two_sets_of_clouds_are_joined() -> None:
    for make in (clouds, with_numbers):
        one, other = make([3, 0, 2]), make([1, 4])
        weighted = replace(other, weights=torch.tensor([1.0, 0.1, 0.2, 0.3, 0.4]))
        for second in (other, weighted):
            both = one.joined(second)
            assert len(both) == 5
            for i in range(5):
                found, expected = both.cloud(i), (one.cloud(i) if i < 3 else second.cloud(i - 3))
                assert torch.equal(found.points, expected.points)
                torch.testing.assert_close(found.weights, expected.weights)
                assert torch.equal(torch.as_tensor(found.label), torch.as_tensor(expected.label))
    plain = replace(one, targets=None)
    assert plain.joined(plain).targets is None
    with pytest.raises(ValueError, match="targets of all clouds or of none"):
        one.joined(plain)
    with pytest.raises(ValueError, match="of the same coordinates, got 1 and None"):
        replace(one, coordinates=1).joined(one)
    flat = CloudDataset(plain, ["a"])
    joined = flat.joined(CloudDataset(plain, ["a"]))
    assert (len(joined), joined.classes) == (6, ["a"])
    for other_set in (CloudDataset(plain, ["b"]), CloudDataset(plain, ["a"], UnitSphere())):
        with pytest.raises(ValueError, match="the same classes and the same transform"):
            flat.joined(other_set)


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    count=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_labels_follow_their_points(sizes: list[int], count: int, seed: int) -> None:
    packed = clouds(sizes, seed)
    batch = unpack(packed)
    check_labels(batch)
    transform = Compose([RandomSample(count), DropPoints(0.3), FarthestSample(count)])
    drawn = batch.map(transform, torch.Generator().manual_seed(seed))
    check_labels(drawn)
    bare = PointBatch(batch.points, batch.weights, batch.labels)
    plain = bare.map(transform, torch.Generator().manual_seed(seed))
    assert torch.equal(drawn.points, plain.points)
    assert torch.equal(drawn.weights, plain.weights)
    check_labels(drawn.compact())
    cut = HalfSpaceCrop(0.5)(batch, torch.Generator().manual_seed(seed))
    check_labels(cut.visible)
    check_labels(cut.missing)
    again = pack(batch)
    assert torch.equal(again.targets, packed.targets)  # type: ignore[arg-type]


def test_a_transform_that_moves_rows_without_a_word_is_refused() -> None:
    def halve(
        points: Tensor, weights: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        return points[..., ::2, :], weights[..., ::2]

    batch = unpack(clouds([6]))
    with pytest.raises(ValueError, match="no method with_labels, so that labels"):
        batch.map(halve)
    shifted = batch.map(RandomShift(3.0), torch.Generator())
    assert torch.equal(shifted.targets, batch.targets)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [clouds, with_numbers])
def test_ways_there_and_back(make: Callable[[list[int]], PackedClouds], tmp_path: Path) -> None:
    packed = make([3, 5, 2])
    dataset = CloudDataset(packed, list("abcde" if make is clouds else "ab"))
    assert dataset.target_kind == ("points" if make is clouds else "numbers")
    one = collate([dataset[1], dataset[0]])
    other = dataset.__getitems__([1, 0])
    for batch in (other, pickle.loads(pickle.dumps(other)), one.to(torch.device("cpu"))):
        assert batch.targets is not None
        assert torch.equal(batch.targets, one.targets)  # type: ignore[arg-type]
        assert torch.equal(batch.points, one.points)
    chosen = packed.select(torch.tensor([2, 0]))
    assert torch.equal(unpack(chosen).targets, dataset.__getitems__([2, 0]).targets)  # type: ignore[arg-type]
    file = tmp_path / "kept.clouds"
    write_clouds(file, packed)
    assert torch.equal(read_clouds(file).targets, packed.targets)  # type: ignore[arg-type]
    print_ = dataset.fingerprint()
    assert packed.targets is not None
    changed = PackedClouds(
        packed.points, None, packed.offsets, packed.labels, targets=packed.targets.flip(0)
    )
    assert CloudDataset(changed, dataset.classes).fingerprint() != print_
    sampled = CloudDataset(packed, dataset.classes, FarthestSample(2))[1]
    assert len(sampled.points) == 2
    if make is clouds:
        assert torch.equal(sampled.label, side(sampled.points))  # type: ignore[arg-type]


def test_what_does_not_fit_is_named() -> None:
    packed = clouds([3, 2])
    with pytest.raises(ValueError, match=r"targets must be floating of shape \(2, k\)"):
        PackedClouds(packed.points, None, packed.offsets, packed.labels, targets=torch.zeros(3, 1))
    with pytest.raises(ValueError, match=r"torch.int64 of shape \(1, 2\), a label for each point"):
        PointBatch(
            torch.zeros(1, 2, 2),
            torch.full((1, 2), 0.5),
            torch.zeros(1).long(),
            torch.zeros(1, 3).long(),
        )
    with pytest.raises(ValueError, match=r"labels of points must be in 0\.\.1"):
        CloudDataset(packed, ["a", "b"])
    with pytest.raises(ValueError, match="2 numbers each, and 3 are named"):
        CloudDataset(with_numbers([2]), ["a", "b", "c"])
    points, weights = torch.zeros(2, 2), torch.full((2,), 0.5)
    with pytest.raises(ValueError, match="label of cloud 0 must be an int, numbers"):
        collate([Cloud(points, weights, torch.zeros(3).long())])
    with pytest.raises(ValueError, match="label of cloud 1 must be an int, got 1"):
        collate([Cloud(points, weights, torch.zeros(1)), Cloud(points, weights, 1)])


def write(root: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, np.ndarray):
            np.save(path, content)
        else:
            path.write_text(content, encoding="utf-8")
    return root


def points_of(i: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(i).random((4 + i, 2))


NUMBERS = {
    **{f"{i}.npy": points_of(i) for i in range(3)},
    "test/3.npy": points_of(3),
    "validation/4.npy": points_of(4),
    "targets.csv": "file,mass,split,volume\n0.npy,1,,10\n1.npy, 2.5 ,validation,20\n2.npy,3,,30\n"
    "test/3.npy,4,,40\nvalidation/4.npy,-5e3,,50\n",
    "README.md": "passed over",
}


def test_a_folder_with_numbers(tmp_path: Path) -> None:
    root = write(tmp_path, NUMBERS)
    train, validation, test = (
        PointCloudFolder(root, split, target="numbers") for split in ("train", "validation", "test")
    )
    assert train.classes == ["mass", "volume"]
    assert train.targets is not None
    assert train.targets.tolist() == [[1, 10], [3, 30]]
    assert validation.targets is not None
    assert validation.targets.tolist() == [[2.5, 20], [-5e3, 50]]
    assert test[0].label.tolist() == [4, 40]  # type: ignore[union-attr]
    np.testing.assert_allclose(train[1].points, points_of(2), rtol=1e-6)
    assert len(list_files(root).files) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected names of columns"),
        ("file\na.npy\n", "line 1: expected names of columns"),
        ("file,y,y\na.npy,1,2\n", "line 1: expected names of columns"),
        ("file,y\na.npy,1\n", "expected a row for b.npy, found none"),
        ("file,y\na.npy,1\nb.npy,2\nc.npy,3\n", "expected a cloud c.npy, found none"),
        ("file,y\na.npy,1\nb.npy,wide\n", "line 3: expected a finite number as y, found 'wide'"),
        ("file,y\na.npy,1\nb.npy,inf\n", "line 3: expected a finite number as y, found 'inf'"),
        ("file,y\na.npy,1\na.npy,2\n", "line 3: expected each file once"),
        ("file,y\na.npy,1\nb.npy\n", "line 3: expected 2 cells, found 1"),
        ("file,y,split\na.npy,1,some\nb.npy,2,\n", "line 2: expected a split of train"),
        (None, "targets.csv: expected a table with the column file"),
        ("file;y\n0.npy;1,5\n", "line 1: expected cells separated by commas, found semicolons"),
        ("file\ty\n0.npy\t1\n", "expected cells separated by commas, found tabs"),
    ],
)
def test_a_bad_table_is_one_sentence(tmp_path: Path, text: str | None, message: str) -> None:
    write(tmp_path, {"a.npy": points_of(0), "b.npy": points_of(1)})
    if text is not None:
        (tmp_path / "targets.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        PointCloudFolder(tmp_path, target="numbers")


def labelled(count: int, last: str = "1") -> str:
    return "x,y,label\n" + "".join(f"0.{i},1,{i % 2}\n" for i in range(count)) + f"2,2,{last}\n"


def test_a_folder_with_labels_of_points(tmp_path: Path) -> None:
    root = write(
        tmp_path, {"train/a.csv": labelled(3), "b.csv": labelled(4), "test/c.csv": labelled(5, "2")}
    )
    data = PointCloudFolder(root, "test", target="points")
    # A label may occur in one split alone.
    assert data.classes == PointCloudFolder(root, "train", target="points").classes
    assert data.classes == ["0", "1", "2"]
    assert data[0].label.tolist() == [0, 1, 0, 1, 0, 2]  # type: ignore[union-attr]
    assert data.dim == 2
    write(root, {"classes.txt": "body\nwing\ntail\n"})
    assert PointCloudFolder(root, "test", target="points").classes == ["body", "wing", "tail"]
    write(root, {"classes.txt": "body\nwing\n"})
    with pytest.raises(DataError, match="a name for each label from 0 to 2"):
        PointCloudFolder(root, target="points")


def test_labels_under_another_name_and_beside_features(tmp_path: Path) -> None:
    table = np.column_stack([points_of(1), [7.0, 8, 9, 7, 8], [0.0, 1, 1, 0, 1]])
    write(tmp_path, {"train/a.npy": table, "validation/b.npy": table})
    data = PointCloudFolder(
        tmp_path, target="points", label="3", columns=("0", "1"), features=("2",)
    )
    assert (data.dim, data.coordinates) == (3, 2)
    assert data.targets is not None
    assert data.targets.tolist() == [0, 1, 1, 0, 1]
    assert data[0].points[:, 2].tolist() == [7, 8, 9, 7, 8]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (labelled(2, "0.5"), r"point 2 \(counted from 0\): expected a whole number"),
        (labelled(2, "-1"), "expected a whole number from 0 to 4095 as label, found -1"),
        ("x,y\n1,2\n", "expected a column 'label'"),
    ],
)
def test_bad_labels_are_one_sentence(tmp_path: Path, content: str, message: str) -> None:
    write(tmp_path, {"a.csv": content})
    with pytest.raises(DataError, match=message):
        PointCloudFolder(tmp_path, target="points")


def test_what_a_folder_of_labels_may_hold(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected files that end in"):
        list_files(tmp_path)
    with pytest.raises(DataError, match="expected a folder of clouds, found nothing"):
        list_files(tmp_path / "none")
    write(tmp_path, {"parts/a.csv": labelled(1), "parts/note.pdf": "?"})
    with pytest.raises(DataError, match=r"found '\.pdf'"):
        list_files(tmp_path)
    with pytest.raises(ValueError, match="gives points without labels"):
        PointCloudFolder(
            write(tmp_path / "new", {"a.csv": labelled(1)}),
            target="points",
            sampling=SurfacePoints(),
        )


def test_synthetic_sets() -> None:
    moons = SyntheticMoons("test", count=20, noise=0.0, seed=3)
    assert moons.targets is not None
    assert torch.equal(moons.targets, SyntheticMoons("test", count=20, seed=3).targets)  # type: ignore[arg-type]
    assert not torch.equal(moons[0].points, SyntheticMoons(count=20, noise=0.0, seed=3)[0].points)
    for cloud in map(moons.__getitem__, range(len(moons))):
        label = cloud.label
        assert isinstance(label, Tensor)
        # Half a circle each, 2 c.x + (r^2 - |c|^2) = |x|^2; the first opens downwards.
        for k, sign in ((0, 1), (1, -1)):
            x = cloud.points[label == k].double()
            design = torch.cat([2 * x, torch.ones(len(x), 1)], 1)
            found = torch.linalg.lstsq(design, x.square().sum(1, keepdim=True)).solution[:, 0]
            centre, radius = found[:2], (found[2] + found[:2].square().sum()).sqrt()
            assert 0.49 < float(radius) < 1.01
            assert torch.allclose((x - centre).norm(dim=1), radius, atol=1e-4)
            assert sign * float((x.mean(0) - centre)[1]) > 0
    blobs = SyntheticBlobs("validation", count=30, noise=0.0, sizes=(20, 30))
    for cloud in map(blobs.__getitem__, range(len(blobs))):
        assert isinstance(cloud.label, Tensor)
        clusters, inertia = cloud.label.tolist()
        assert len(torch.unique(cloud.points, dim=0)) == clusters
        expected = float(cloud.points.double().var(0, correction=0).sum())
        assert inertia == pytest.approx(expected, rel=1e-4, abs=1e-6)
    with pytest.raises(ValueError, match="sizes of 2 <= least"):
        SyntheticBlobs(sizes=(1, 3))


def test_a_number_is_written_as_one(tmp_path: Path) -> None:
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", np.zeros((2, 2)))
    (tmp_path / "targets.csv").write_text("file,y\n0.npy,1\n1.npy,2_3\n2.npy,1e-3\n")
    with pytest.raises(DataError, match="line 3: expected a finite number as y, found '2_3'"):
        PointCloudFolder(tmp_path, target="numbers", cache=None)
