import sys
from typing import ClassVar

import numpy as np
import pytest
import torch

from ddeq_data import DataError, ModelNet10, ModelNet40, SurfacePoints, VoxelVertices
from ddeq_data.datasets.modelnet.counts import MODELNET10, MODELNET40
from ddeq_data.downloads import Resource

CUBE = """OFF8 6 0
0 0 0\n0 0 1\n0 1 0\n0 1 1\n1 0 0\n1 0 1\n1 1 0\n1 1 1
4 0 1 3 2\n4 4 6 7 5\n4 0 4 5 1\n4 2 3 7 6\n4 0 2 6 4\n4 1 5 7 3
"""


class Small(ModelNet40):
    counts: ClassVar = {"bed": (20, 2), "sofa": (10, 3)}
    meshes: ClassVar = Resource("Small.zip", (), None, "make it")


def test_the_published_counts():
    assert [sum(column) for column in zip(*MODELNET40.values(), strict=True)] == [9843, 2468]
    assert [sum(column) for column in zip(*MODELNET10.values(), strict=True)] == [3991, 908]
    assert list(MODELNET40) == sorted(MODELNET40)
    assert (len(MODELNET40), len(MODELNET10)) == (40, 10)


@pytest.fixture
def meshes(tmp_path):
    for name, counts in Small.counts.items():
        for part, count in zip(("train", "test"), counts, strict=True):
            folder = tmp_path / "Small" / name / part
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{name}_{i:04d}.off").write_text(CUBE)
            (folder / ".DS_Store").write_text("left by a browser of files")
            (folder / "notes.md").write_text("not a mesh")
    return tmp_path


@pytest.mark.parametrize("inner", ["", "Small"])
def test_meshes_are_sampled_by_area(meshes, inner):
    data = Small(meshes / inner)
    assert len(data) == 27
    assert len(Small(meshes, "validation")) == 3
    assert len(Small(meshes, "train+validation")) == 30
    test = Small(meshes, "test")
    assert test.labels.tolist() == [0, 0, 1, 1, 1]
    assert test.classes == ["bed", "sofa"]
    assert test.sizes.tolist() == [1024] * 5
    points = test[0].points
    assert ((points == 0) | (points == 1)).any(1).all()
    assert not torch.equal(points, test[1].points)
    assert repr(test) == (
        f"Small\n    root: {test.root}\n    split: test\n    release: meshes\n"
        "    sampling: SurfacePoints(count=1024, seed=0)\n    clouds: 5 in 2 classes\n"
        "    classes: bed, sofa\n    points: 1,024 to 1,024 per cloud, median 1,024, dimension 3\n"
        "    transform: None\n    licence: academic research only\n"
        f"    processed: kept in {test.root / '.processed'}"
    )
    assert "processed: anew each time" in repr(Small(meshes / inner, "test", cache=None))
    vertices = Small(meshes, "test", sampling=VoxelVertices())
    assert vertices.sizes.tolist() == [8] * 5


def test_a_missing_mesh_is_missed(meshes):
    (meshes / "Small/sofa/train/sofa_0003.off").unlink()
    with pytest.raises(DataError, match=r"Small/sofa: expected 10 shapes to train, found 9; .*com"):
        Small(meshes, "test")
    assert len(Small(meshes, "train+validation", complete=False)) == 29
    with pytest.raises(DataError, match="a folder for each of 40 classes, airplane among them"):
        ModelNet40(meshes / "Small")
    with pytest.raises(DataError, match="a folder for each of 10 classes, bathtub among them"):
        ModelNet10(meshes / "Small", complete=False)


@pytest.fixture
def resampled(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "modelnet40_normal_resampled"
    for part, column in (("train", 0), ("test", 1)):
        names = []
        for kind, counts in Small.counts.items():
            (folder / kind).mkdir(parents=True, exist_ok=True)
            for i in range(counts[column]):
                names.append(f"{kind}_{part == 'test':d}{i:03d}")
                rows = rng.normal(size=(1100, 6))
                np.savetxt(folder / kind / f"{names[-1]}.txt", rows, "%.6f", ",")
        (folder / f"modelnet2_{part}.txt").write_text("\r\n".join(names) + "\r\n")
    return tmp_path


def test_the_resampled_release(resampled):
    data = Small(resampled, "test", release="resampled")
    assert data.labels.tolist() == [0, 0, 1, 1, 1]
    assert data.sizes.tolist() == [1024] * 5
    file = resampled / "modelnet40_normal_resampled/bed/bed_1001.txt"
    expected = np.loadtxt(file, delimiter=",")[:1024, :3].astype(np.float32)
    np.testing.assert_array_equal(data[1].points.numpy(), expected)
    assert len(Small(resampled, release="resampled")) == 27
    with pytest.raises(DataError, match=r"expected a shape for .*: it holds points and no faces"):
        Small(resampled, "test", release="resampled", sampling=SurfacePoints())
    file.write_text("1,2,3\n")
    with pytest.raises(DataError, match=r"bed_1001.txt: expected 6 finite numbers in each line"):
        Small(resampled, "test", release="resampled")
    file.unlink()
    with pytest.raises(DataError, match=r"modelnet2_test.txt: .* found bed_1001, but no bed/bed_1"):
        Small(resampled, "test", release="resampled")


def test_the_hdf5_release(tmp_path):
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    clouds = rng.normal(size=(36, 1500, 3)).astype(np.float32)
    labels = np.arange(36) % 2
    folder = tmp_path / "modelnet40_ply_hdf5_2048"
    folder.mkdir()
    for name, rows in [("train0", slice(10)), ("train1", slice(10, 30)), ("test0", slice(30, 36))]:
        with h5py.File(folder / f"ply_data_{name}.h5", "w") as file:
            file["data"] = clouds[rows]
            file["label"] = labels[rows, None].astype(np.uint8)
    both = Small(tmp_path, "train+validation", release="hdf5", complete=False)
    assert torch.equal(both.labels, torch.from_numpy(labels[:30]))
    np.testing.assert_array_equal(both[12].points.numpy(), clouds[12, :1024])
    validation = Small(tmp_path, "validation", release="hdf5", complete=False)
    assert len(validation) == 3
    test = Small(tmp_path, "test", release="hdf5", complete=False)
    np.testing.assert_array_equal(test[5].points.numpy(), clouds[35, :1024])
    with pytest.raises(DataError, match=r"9840 shapes to train in ply_data_train\*.h5, found 30"):
        Small(tmp_path, release="hdf5")
    whole = (folder / "ply_data_test0.h5").read_bytes()
    (folder / "ply_data_test0.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"test0.h5, key 'label': expected an array in the"):
        Small(tmp_path, "test", release="hdf5", complete=False)
    for changed, message in [
        ({"data": clouds[:2, :, :2], "label": labels[:2]}, "points of shape .shapes, points, 3."),
        ({"data": clouds[:1], "label": labels[:2]}, "expected as many clouds as labels, found 1"),
        ({"data": clouds[:2], "label": labels[:2] + 5}, r"labels in 0..1, found int64, 5 to 6"),
        ({"label": labels[:2]}, "key 'data': expected an array in the HDF5 format"),
    ]:
        with h5py.File(folder / "ply_data_test0.h5", "w") as file:
            for key, value in changed.items():
                file[key] = value
        with pytest.raises(DataError, match=message):
            Small(tmp_path, "test", release="hdf5", complete=False)


def test_without_h5py_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "ply_data_test0.h5").touch()
    with pytest.raises(ModuleNotFoundError, match=r"needs h5py: pip install 'ddeq-data\[hdf5\]'"):
        ModelNet40(tmp_path, release="hdf5")


def test_releases_and_splits_are_checked(tmp_path):
    with pytest.raises(ValueError, match=r"release must be one of .*'hdf5'.* got 'h5'"):
        ModelNet40(tmp_path, release="h5")
    with pytest.raises(ValueError, match="ModelNet10 has no hdf5 release"):
        ModelNet10(tmp_path, release="hdf5")
    with pytest.raises(ValueError, match="split must be one of"):
        ModelNet40(tmp_path, "val")
    with pytest.raises(DataError, match=r"the release 'meshes' of ModelNet40 in it or in ModelNe"):
        ModelNet40(tmp_path / "no")
    with pytest.raises(DataError, match=r"found neither; give .*download=True, or fetch it, which"):
        ModelNet40(tmp_path, release="resampled")
    (tmp_path / "modelnet40_test.txt").touch()
    with pytest.raises(DataError, match=r"modelnet40_train.txt: expected a file, found nothing"):
        ModelNet40(tmp_path, release="resampled")
    with pytest.raises(DataError, match=r"found no such folder; .* put a copy of the archive"):
        ModelNet40(tmp_path / "no", release="hdf5")
