import os

import numpy as np
import pytest
import torch

from ddeq_data import (
    AllPoints,
    DataError,
    Jitter,
    PointCloudFolder,
    RandomPoints,
    SurfacePoints,
    VoxelVertices,
    collate,
)

TETRAHEDRON = "OFF4 4 0\n{0} 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n"


@pytest.fixture
def grow(tmp_path):
    """Write files of the names that are given, the first coordinate telling which is which."""

    def write(names, root="data"):
        for number, name in enumerate(names):
            file = tmp_path / root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            points = np.array([[number, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float)
            text = "\n".join(" ".join(map(str, row)) for row in points)
            match file.suffix:
                case ".npy":
                    np.save(file, points)
                case ".npz":
                    np.savez(file, points=points, weights=[1, 1, 1, 5])
                case ".off":
                    file.write_text(TETRAHEDRON.format(number))
                case ".csv":
                    file.write_text("x,y,z\n" + text.replace(" ", ","))
                case _:
                    file.write_text(text)
        return tmp_path / root

    return write


def numbers(data):
    return [int(cloud.points[:, 0].max()) for cloud in data]


PARTED = ["a/train/1.off", "a/test/1.npy", "b/train/1.txt", "b/train/2.xyz", "b/test/1.csv"]


@pytest.mark.parametrize("flip", [False, True])
def test_folders_say_what_a_file_is_for(grow, flip):
    names = ["/".join((*name.split("/")[:2][::-1], name.split("/")[2])) for name in PARTED]
    root = grow(names if flip else PARTED)
    (root / "README.txt").write_text("not a cloud")
    (root / ".hidden").mkdir()
    (root / "__MACOSX").mkdir()
    train = PointCloudFolder(root, "train+validation")
    assert train.classes == ["a", "b"]
    assert train.labels.tolist() == [0, 1, 1]
    assert [file.name for file in train.files] == ["1.off", "1.txt", "2.xyz"]
    assert train[2].points[0].tolist() == [3, 0, 0]
    test = PointCloudFolder(root, "test")
    assert test.labels.tolist() == [0, 1]
    assert test.sizes.tolist() == [4, 4]
    with pytest.raises(DataError, match="expected files for the split validation, found none"):
        PointCloudFolder(root, "validation", validation_share=0.0)


def test_a_folder_for_validation_is_heeded(grow):
    root = grow([*PARTED, "a/val/1.pts", "b/valid/7.npz"])
    data = PointCloudFolder(root, "validation")
    assert [file.name for file in data.files] == ["1.pts", "7.npz"]
    assert data[1].weights.tolist() == [0.125, 0.125, 0.125, 0.625]
    assert data[0].weights.tolist() == [0.25] * 4
    assert len(PointCloudFolder(root, "train")) == 3
    collate(list(data)).check()


def test_without_parts_the_split_is_seeded_and_stratified(grow):
    root = grow([f"{kind}/{i:02d}.npy" for kind in "abc" for i in range(20)])
    parts = {
        split: PointCloudFolder(root, split)
        for split in ("train", "validation", "test", "train+validation")
    }
    assert [len(part) for part in parts.values()] == [44, 4, 12, 48]
    assert torch.bincount(parts["test"].labels).tolist() == [4, 4, 4]
    names = [file for split in ("train", "validation", "test") for file in parts[split].files]
    assert len(set(names)) == 60
    again = PointCloudFolder(root, "test")
    assert again.files == parts["test"].files
    assert PointCloudFolder(root, "test", seed=1).files != again.files
    assert len(PointCloudFolder(root, "test", test_share=0.5)) == 30
    assert len(PointCloudFolder(root, "train", test_share=0.0, validation_share=0.0)) == 60


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/1.stl"], r"a/1.stl: expected files that end in .npy, .* found '.stl'; move it away"),
        (["a/1"], r"a/1: expected files that end in .*, found ''"),
        (["a/1.npy", "1.npy"], r"1.npy: expected a folder for each class, found a file beside"),
        (["train/a/1.npy", "train/x.txt"], "expected a folder for each class, found a file"),
        (["a/train/1.npy", "a/1.npy"], "a/1.npy: expected train, test or validation in the folder"),
        (["a/train/1.npy", "b/1.npy"], "b/1.npy: expected b/train and b/test, as in other classes"),
        (["a/train/1.npy", "a/trial/1.npy"], "a/trial: .* found another folder"),
        (["a/train/x/1.npy"], "a/train/x: expected files only, found a folder"),
        (["a/.1.npy"], "expected clouds in folders class/part/file or class/file, found no file"),
    ],
)
def test_no_file_is_lost_without_a_word(grow, names, message):
    with pytest.raises(DataError, match=message):
        PointCloudFolder(grow(names), cache=None)


def test_other_files_can_be_passed_over(grow):
    root = grow(["a/1.npy", "a/1.stl", "b/1.npy", "b/1.txt"])
    data = PointCloudFolder(root, suffixes=[".NPY"], test_share=0.0)
    assert len(data) == 2
    with pytest.raises(DataError, match=r"found no file that ends in .off"):
        PointCloudFolder(root, suffixes=[".off"])


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(DataError, match=r"no: expected a folder of clouds, .* found nothing"):
        PointCloudFolder(tmp_path / "no")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="found a file"):
        PointCloudFolder(tmp_path / "file")


def test_damaged_files_and_other_dimensions_are_named(grow):
    root = grow(["a/1.npy", "a/2.npy"])
    np.save(root / "a/2.npy", np.ones((3, 2)))
    with pytest.raises(DataError, match=r"a/2.npy: expected points of dimension 3, .* found 3 of"):
        PointCloudFolder(root, test_share=0.0)
    (root / "a/2.npy").write_bytes(b"x")
    with pytest.raises(DataError, match=r"a/2.npy: expected an array in numpy's npy format"):
        PointCloudFolder(root, test_share=0.0)
    with pytest.raises(DataError, match=r"a/1.npy: expected a shape for SurfacePoints\(count=1024"):
        PointCloudFolder(root, test_share=0.0, sampling=SurfacePoints())
    assert not list((root / ".processed").glob("*.clouds"))


def test_the_cache_knows_every_argument_and_every_file(grow, monkeypatch):
    root = grow(["a/train/1.off", "a/train/2.off", "b/train/1.off"])
    read = []
    from ddeq_data.datasets import processing

    monkeypatch.setattr(
        processing,
        "read_shape",
        lambda *asked, real=processing.read_shape: read.append(asked[0]) or real(*asked),
    )

    def files_read(**arguments):
        read.clear()
        data = PointCloudFolder(root, validation_share=0.0, **arguments)
        assert len(data) == 3
        return len(read)

    assert files_read() == 3
    assert files_read() == 0
    assert files_read(sampling=AllPoints()) == 0
    assert files_read(sampling=SurfacePoints(5)) == 3
    assert files_read(sampling=SurfacePoints(5, seed=1)) == 3
    assert files_read(sampling=VoxelVertices(1, 3)) == 3
    assert files_read(sampling=SurfacePoints(5)) == 0
    assert files_read(columns=("z", "x")) == 3
    assert files_read(columns=("z",), features=("x",)) == 3
    assert files_read(columns=("z",), features=("x",)) == 0
    assert files_read(cache=None) == 3
    assert files_read(cache=root / ".elsewhere") == 3
    (root / "a/train/2.off").write_text(TETRAHEDRON.format(77))
    assert files_read() == 3
    assert numbers(PointCloudFolder(root, validation_share=0.0))[1] == 77
    grow(["a/train/3.off"])
    assert len(PointCloudFolder(root, validation_share=0.0)) == 4


def test_what_is_drawn_depends_on_the_file_and_not_on_the_others(grow):
    few = grow(["b/train/1.off", "b/train/2.off"], "few")
    many = grow(["b/train/1.off", "b/train/2.off", "a/train/9.off"], "many")
    for sampling in (SurfacePoints(9), RandomPoints(2)):
        one, two = (
            PointCloudFolder(root, sampling=sampling, validation_share=0.0) for root in (few, many)
        )
        assert torch.equal(one[0].points, two[1].points)
        assert torch.equal(one[1].points, two[2].points)
    one = PointCloudFolder(few, sampling=SurfacePoints(9), validation_share=0.0)
    assert not torch.equal(one[0].points[:, 1:], one[1].points[:, 1:])


def test_it_says_what_it_is(grow):
    root = grow(PARTED)
    shown = repr(PointCloudFolder(root, "test"))
    assert shown.startswith("PointCloudFolder\n    root: ")
    assert "split: test\n    sampling: AllPoints()\n    clouds: 2 in 2 classes\n" in shown
    with pytest.raises(ValueError, match="split must be one of"):
        PointCloudFolder(root, "val")
    with pytest.raises(ValueError, match=r"test_share must be in 0\.\.1, got 2"):
        PointCloudFolder(root, test_share=2)
    with pytest.raises(ValueError, match="takes no random transform"):
        PointCloudFolder(root, transform=Jitter(0.1))


def test_a_split_says_whether_chance_drew_it(tmp_path):
    def drawn(root):
        return [PointCloudFolder(root, split).drawn for split in ("train", "validation", "test")]

    for number in range(6):
        for place in ("flat", "test_given", "all_given"):
            part = "" if place == "flat" else "test" if number < 2 else "train"
            if place == "all_given" and number > 3:
                part = "val"
            file = tmp_path / place / "disc" / part / f"{number}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, np.full((3, 2), number))
    assert drawn(tmp_path / "flat") == [True, True, True]
    assert drawn(tmp_path / "test_given") == [True, True, False]
    assert drawn(tmp_path / "all_given") == [False, False, False]
    train, validation, test = (
        PointCloudFolder(tmp_path / "test_given", split)
        for split in ("train", "validation", "test")
    )
    assert train.joined(validation).drawn
    assert test.joined(train).drawn


@pytest.mark.parametrize("target", ["class", "points", "numbers"])
def test_a_part_may_be_written_in_capital_letters(tmp_path, target):
    rng = np.random.default_rng(0)
    rows = ["file,y"]
    for part in ("Train", "TEST", "Val"):
        folder = tmp_path / part / "disc" if target == "class" else tmp_path / part
        folder.mkdir(parents=True)
        for i in range(5):
            named = {"label": rng.integers(0, 2, 20)} if target == "points" else {}
            np.savez(folder / f"{i}.npz", points=rng.random((20, 2)), **named)
            rows.append(f"{part}/{i}.npz,{i}")
    if target == "numbers":
        (tmp_path / "targets.csv").write_text("\n".join(rows))
    for split, name in (("train", "Train"), ("validation", "Val"), ("test", "TEST")):
        found = PointCloudFolder(tmp_path, split, target=target, cache=None)
        assert {file.parts[0] for file in found.files} == {name}
        assert len(found) == 5


@pytest.mark.parametrize("target", ["class", "points"])
def test_folders_behind_links_are_read(tmp_path, target):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    rng = np.random.default_rng(0)
    for folder in (root / "one", elsewhere):
        folder.mkdir(parents=True)
        for i in range(4):
            label = rng.integers(0, 2, 5)
            np.savez(folder / f"{i}.npz", points=rng.random((5, 2)), label=label)
    (root / "two").symlink_to(elsewhere)
    taken = {"split": "train+validation", "test_share": 0.0, "cache": None, "target": target}
    assert len(PointCloudFolder(root, **taken)) == 8
    (elsewhere / "back").symlink_to(root)
    said = "a link back to" if target == "points" else "expected train, test or validation"
    with pytest.raises(DataError, match=said):
        PointCloudFolder(root, **taken)


def test_a_rule_without_a_name_is_not_cached(tmp_path):
    (tmp_path / "disc").mkdir()
    for i in range(5):
        np.save(tmp_path / "disc" / f"{i}.npy", np.random.default_rng(i).random((9, 2)))

    def few(shape, key):
        return shape._replace(points=shape.points[:3])

    with pytest.raises(ValueError, match=r"by its place in memory alone.*or cache=None"):
        PointCloudFolder(tmp_path, sampling=few)
    found = PointCloudFolder(tmp_path, sampling=few, cache=None)
    assert found.sizes.unique().tolist() == [3]


def test_the_cache_is_no_folder_of_clouds(tmp_path):
    (tmp_path / "data" / "disc").mkdir(parents=True)
    for i in range(5):
        np.save(tmp_path / "data" / "disc" / f"{i}.npy", np.full((3, 2), i))
    for cache in ("cache", tmp_path / "data" / "cache"):
        with pytest.raises(ValueError, match="a name that begins with a dot"):
            PointCloudFolder(tmp_path / "data", cache=cache)
    for cache in (".own", ".own/deeper", tmp_path / "elsewhere"):
        assert len(PointCloudFolder(tmp_path / "data", cache=cache)) == 3
        assert len(PointCloudFolder(tmp_path / "data", "test", cache=cache)) == 1


def test_a_file_of_the_same_size_and_time_is_read_anew(tmp_path):
    (tmp_path / "disc").mkdir()
    for i in range(3):
        np.save(tmp_path / "disc" / f"{i}.npy", np.full((3, 2), 0.0))
    every = {"split": "train+validation", "test_share": 0.0}
    assert PointCloudFolder(tmp_path, **every)[0].points.max() == 0
    changed = tmp_path / "disc" / "0.npy"
    known = changed.stat()
    np.save(changed, np.full((3, 2), 99.0))
    os.utime(changed, ns=(known.st_atime_ns, known.st_mtime_ns))
    assert changed.stat().st_size == known.st_size
    assert PointCloudFolder(tmp_path, **every)[0].points.max() == 99
