import gzip
import re

import numpy as np
import pytest
import torch

from ddeq_data import DataError, FashionMNISTPointCloud, MNISTPointCloud, UnitSphere


@pytest.mark.parametrize("folder", ["", "MNIST/raw", "raw"])
@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("dot", [False, True])
def test_clouds_are_the_pixels_above_0(mnist_root, mnist_arrays, folder, gz, dot):
    data = MNISTPointCloud(mnist_root(folder, gz=gz, dot=dot), split="test")
    images = mnist_arrays["t10k-images-idx3-ubyte"]
    assert len(data) == len(images)
    for (points, weights, _), image in zip(data, images, strict=True):
        expected = {(x, 27 - row) for row in range(28) for x in range(28) if image[row, x]}
        assert set(map(tuple, points.tolist())) == expected
        assert torch.equal(weights, torch.full((len(expected),), 1 / len(expected)))
    assert torch.equal(data.labels, torch.arange(40) % 10)


def test_images_are_treated_in_pieces(mnist_root, monkeypatch):
    root = mnist_root()
    whole = MNISTPointCloud(root, "test", weighted=True).__getitems__(range(40))
    monkeypatch.setattr("ddeq_data.datasets.images._CHUNK", 7)  # 40 is no multiple of it
    pieces = MNISTPointCloud(root, "test", weighted=True).__getitems__(range(40))
    assert torch.equal(whole.points, pieces.points)
    assert torch.equal(whole.weights, pieces.weights)


def test_weights_can_be_the_values_of_the_pixels(mnist_root, mnist_arrays):
    data = MNISTPointCloud(mnist_root(), split="test", weighted=True)
    image = mnist_arrays["t10k-images-idx3-ubyte"][3].astype(float)
    points, weights, _ = data[3]
    x, y = points.long().T
    np.testing.assert_allclose(weights, image[27 - y, x] / image.sum(), rtol=1e-6)
    data.__getitems__(list(range(40))).check()


def test_the_validation_split_is_a_stratified_twelfth(mnist_root):
    root = mnist_root()
    parts = {s: MNISTPointCloud(root, split=s) for s in ("train", "validation", "train+validation")}
    assert [len(part) for part in parts.values()] == [220, 20, 240]
    assert torch.equal(torch.bincount(parts["validation"].labels), torch.full((10,), 2))

    def clouds(name):
        return sorted(cloud.points.tolist() for cloud in parts[name])

    assert sorted(clouds("train") + clouds("validation")) == clouds("train+validation")


def test_an_image_without_ink_is_an_empty_cloud(mnist_root, mnist_arrays, idx_bytes):
    root = mnist_root()
    images = mnist_arrays["t10k-images-idx3-ubyte"].copy()
    images[[0, 39]] = 0
    (root / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(images))
    for weighted in (False, True):
        data = MNISTPointCloud(root, "test", weighted=weighted, transform=UnitSphere())
        assert data.sizes[0] == data.sizes[39] == 0
        assert data[39].points.shape == (0, 2)
        batch = data.__getitems__([0, 1, 39]).check()
        assert batch.weights.sum(-1).round(decimals=5).tolist() == [0, 1, 0]
        assert batch.points.isfinite().all()
    (root / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(images * 0))
    assert not MNISTPointCloud(root, "test").__getitems__([3, 4]).weights.any()


def test_only_the_files_of_the_split_are_read(mnist_root):
    root = mnist_root()
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (root / name).unlink()
    assert len(MNISTPointCloud(root, split="test")) == 40
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte or .* found none of them"):
        MNISTPointCloud(root)


def test_it_says_what_it_is(mnist_root):
    root = mnist_root()
    data = MNISTPointCloud(root, split="validation")
    assert f"root: {root}\n    split: validation\n    weights: uniform\n" in repr(data)
    assert "clouds: 20 in 10 classes" in repr(data)
    assert data.class_to_idx == {str(i): i for i in range(10)}
    with pytest.raises(ValueError, match="split must be one of"):
        MNISTPointCloud(root, split="val")


def test_missing_folders_are_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: expected a folder .* found nothing"):
        MNISTPointCloud(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="found a file"):
        MNISTPointCloud(tmp_path / "file")
    with pytest.raises(
        DataError,
        match=r"in it or in MNIST/raw, raw, mnist, or .*found none of them; pass download",
    ):
        MNISTPointCloud(tmp_path)


def test_files_of_another_kind_are_refused(mnist_root, mnist_arrays, idx_bytes):
    root = mnist_root()
    images, labels = (mnist_arrays[f"t10k-{kind}-ubyte"] for kind in ("images-idx3", "labels-idx1"))
    wrong_label = labels.copy()
    wrong_label[7] = 10
    for name, array, message in [
        ("images-idx3", images[:, :27], r"shape \(images, 28, 28\), found uint8 of shape \(40, 27"),
        ("images-idx3", images.astype("f4"), "unsigned bytes .* found float32"),
        ("images-idx3", labels, r"found uint8 of shape \(40,\)"),
        ("labels-idx1", images, r"\(labels,\), found uint8 of shape \(40, 28, 28\)"),
        ("labels-idx1", labels.astype("i4"), "unsigned bytes .* found int32"),
        ("labels-idx1", labels[:39], r"expected 40 labels, one for each image .* found 39"),
        ("labels-idx1", wrong_label, r"label 7: expected labels in 0\.\.9, found 10"),
    ]:
        file = root / f"t10k-{name}-ubyte"
        kept = file.read_bytes()
        file.write_bytes(idx_bytes(array))
        with pytest.raises(DataError, match=message) as caught:
            MNISTPointCloud(root, split="test")
        assert str(caught.value).startswith(str(file))
        file.write_bytes(kept)
    MNISTPointCloud(root, split="test")


def test_a_truncated_gzip_is_refused(mnist_root):
    root = mnist_root(gz=True)
    file = root / "t10k-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    for cut in (0, 1, 5, 30, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=re.escape(str(file))):
            MNISTPointCloud(root, split="test")
    plain = gzip.decompress(whole)
    file.write_bytes(plain)  # as a browser leaves it, decompressed under the old name
    assert len(MNISTPointCloud(root, split="test")) == 40


def test_too_few_images_for_a_validation_split(mnist_root, mnist_arrays, idx_bytes):
    root = mnist_root()
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (root / name).write_bytes(idx_bytes(mnist_arrays[name][:11]))
    assert len(MNISTPointCloud(root, "train+validation")) == 11
    for split in ("train", "validation"):
        with pytest.raises(DataError, match=r"expected at least 12 images .* found 11"):
            MNISTPointCloud(root, split)


def test_files_of_the_other_data_set_are_not_taken_for_its_own(tmp_path, idx_bytes):
    images = np.zeros((10_000, 28, 28), dtype=np.uint8)
    images[:, 3, 4] = 1
    equal = (np.arange(10_000) % 10).astype(np.uint8)
    other = equal.copy()
    other[0] = 1
    for kind, own, wrong in (
        (MNISTPointCloud, other, equal),
        (FashionMNISTPointCloud, equal, other),
    ):
        root = tmp_path / kind.__name__
        root.mkdir()
        (root / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (root / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(wrong))
        assert kind.find(root) == {}
        with pytest.raises(DataError, match=r"labels of \w+, found [\d,]+ to 1,00\d of each class"):
            kind(root, "test")
        raw = root / kind.folder / "raw"  # where it looks first
        raw.mkdir(parents=True)
        (raw / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (raw / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(own))
        assert kind.find(root) == {"test": raw}
        assert len(kind(root, "test")) == 10_000
        (raw / "t10k-labels-idx1-ubyte").write_bytes(b"damaged")
        assert kind.find(root) == {}


def test_tables_are_found(tmp_path):
    (tmp_path / "pointcloudmnist2d").mkdir()
    (tmp_path / "pointcloudmnist2d" / "train.csv").touch()
    assert MNISTPointCloud.find(tmp_path) == {"train": tmp_path / "pointcloudmnist2d"}
    assert FashionMNISTPointCloud.find(tmp_path) == {}


@pytest.mark.parametrize("folder", ["FashionMNIST/raw", "fashion-mnist", "data/fashion", ""])
def test_fashion_mnist_is_read_where_others_put_it(mnist_root, folder):
    data = FashionMNISTPointCloud(mnist_root(folder, gz=True), "test")
    assert len(data) == 40
    assert data.classes[9] == "Ankle boot"
