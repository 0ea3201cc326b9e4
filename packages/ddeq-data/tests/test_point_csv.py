import numpy as np
import pytest
import torch

from ddeq_data import DataError, FashionMNISTPointCloud, MNISTPointCloud
from ddeq_data.readers.formats import point_csv
from ddeq_data.readers.formats.point_csv import read_point_csv


def write_table(path, images, labels, rng, sentinel):
    """The published recipe: points in random order, rows filled up to the longest of them."""
    clouds = []
    for image in images:
        row, column = np.nonzero(image)
        points = np.stack([column, 27 - row, image[row, column].astype(int)], -1)
        rng.shuffle(points)
        clouds.append(points)
    longest = max(map(len, clouds)) + 2
    names = [f"{axis}{i}" for i in range(longest) for axis in "xyv"]
    lines = [",".join(["label", *names])]
    for label, points in zip(labels, clouds, strict=True):
        fill = [sentinel] * (3 * (longest - len(points)))
        lines.append(",".join(map(str, [label, *points.ravel(), *fill])))
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def tables(tmp_path, mnist_arrays):
    def write(sentinel, folder=""):
        rng = np.random.RandomState(42)
        root = tmp_path / "tables"
        (root / folder).mkdir(parents=True, exist_ok=True)
        for part, name in (("train", "train.csv"), ("t10k", "test.csv")):
            images = mnist_arrays[f"{part}-images-idx3-ubyte"]
            labels = mnist_arrays[f"{part}-labels-idx1-ubyte"]
            write_table(root / folder / name, images, labels, rng, sentinel)
        return root

    return write


@pytest.mark.parametrize("sentinel", [-1, 0])
@pytest.mark.parametrize("folder", ["", "pointcloudmnist2d"])
@pytest.mark.parametrize("piece", [1 << 22, 5000, 100])
def test_tables_and_idx_files_give_the_same_clouds(
    tables, mnist_root, monkeypatch, sentinel, folder, piece
):
    monkeypatch.setattr(point_csv, "_PIECE", piece)
    table, idx = tables(sentinel, folder), mnist_root()
    for split in ("train", "validation", "test"):
        one, two = (MNISTPointCloud(root, split, weighted=True) for root in (table, idx))
        assert torch.equal(one.labels, two.labels)
        assert torch.equal(one.sizes, two.sizes)
        a, b = (data.__getitems__(range(len(data))) for data in (one, two))
        assert torch.equal(a.points, b.points)
        assert torch.equal(a.weights, b.weights)


HEAD = "label,x0,y0,v0,x1,y1,v1\n"


def test_ends_of_lines(tmp_path):
    for text in (
        HEAD + "7,0,27,9,27,0,255\n3,1,2,0,-1,-1,-1\n",
        (HEAD + "7,0,27,9,27,0,255\n3,1,2,0,-1,-1,-1").replace("\n", "\r\n"),
    ):
        (tmp_path / "a.csv").write_text(text, newline="")
        images, labels = read_point_csv(tmp_path / "a.csv", 28)
        assert labels.tolist() == [7, 3]
        assert images[0, 0, 0] == 9
        assert images[0, 27, 27] == 255
        assert np.count_nonzero(images) == 2
    (tmp_path / "a.csv").write_text(HEAD)
    assert read_point_csv(tmp_path / "a.csv", 28)[0].shape == (0, 28, 28)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x0,y0,v0\n1,2,3\n", "line 1: expected the names label,x0,y0,v0,x1,y1,v1,.*found 'x0,y0"),
        ("", "line 1: expected the names label"),
        (HEAD + "1,2,3,4,5,6\n", "line 2: expected 7 numbers as in line 1, found 6"),
        (HEAD + "1,2,3,4,5,6,7\n1,2,3,4,5,6,7,8\n", "line 3: expected 7 numbers .* found 8"),
        (HEAD + "1,2,3,4,5,6,7\n\n1,2,3,4,5,6,7\n", "line 3: expected 7 numbers .* found 1"),
        (HEAD + "1,2,3,4,5,6,x\n", "line 2: expected a whole number, found 'x'"),
        (HEAD + "1,2,3,4,5,,7\n", "line 2: expected a whole number, found ''"),
        (HEAD + "1,2,3,4,5,6.5,7\n", "line 2: expected a whole number, found '6.5'"),
        (HEAD + "1,2,3,4 5,,6,7\n", "line 2: expected a whole number, found '4 5'"),
        (
            HEAD + "1,2,3,4,28,6,7\n",
            "line 2: .* in 0..27 and v up to 255, found x, y, v = 28, 6, 7",
        ),
        (HEAD + "1,2,3,4,5,6,256\n", "line 2: .* found x, y, v = 5, 6, 256"),
        (HEAD + "1,2,3,4,5,-6,1\n", "line 2: .* found x, y, v = 5, -6, 1"),
        (
            HEAD + "1,2,3,4,0,0,0\n1,2,3,4,2,3,5\n",
            "line 3: expected each pixel once, found a pixel",
        ),
    ],
)
def test_malformed_tables_name_the_line(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_point_csv(tmp_path / "a.csv", 28)


def test_missing_tables_and_labels(tables, tmp_path):
    root = tables(0)
    text = (root / "test.csv").read_text().split("\n")
    text[3] = "10" + text[3][1:]
    (root / "test.csv").write_text("\n".join(text))
    with pytest.raises(DataError, match=r"test.csv, label 2: expected labels in 0..9, found 10"):
        MNISTPointCloud(root, "test")
    with pytest.raises(DataError, match="No such file"):
        read_point_csv(tmp_path / "no.csv", 28)
    with pytest.raises(DataError, match=r"expected t10k-images-idx3-ubyte or .* FashionMNIST/raw"):
        FashionMNISTPointCloud(root, "test")


def test_fashion_mnist(mnist_root, mnist_arrays):
    data = FashionMNISTPointCloud(mnist_root("FashionMNIST/raw", gz=True), "test")
    assert data.classes[9] == "Ankle boot"
    assert len(data) == 40
    sizes = np.count_nonzero(mnist_arrays["t10k-images-idx3-ubyte"], axis=(1, 2))
    assert data.sizes.tolist() == sizes.tolist()
    assert repr(data).startswith("FashionMNISTPointCloud\n")
