import io
import random
import re
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from ddeq_data import DataError, read_cloud

LAW = settings(max_examples=30, deadline=None, derandomize=True)
POINTS = stn.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 4)),
    elements=st.floats(-1e6, 1e6, width=32),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clouds")


@LAW
@given(points=POINTS, separator=st.sampled_from([" ", "\t", "  ", ",", ", ", ";"]))
def test_every_format_gives_the_points(folder, points, separator):
    lines = [separator.join(repr(float(v)) for v in row) for row in points]
    np.save(folder / "a.npy", points)
    np.savez(folder / "a.npz", points=points, normals=points)
    np.savez_compressed(folder / "b.npz", anything=np.asfortranarray(points.astype(np.float64)))
    (folder / "a.txt").write_text("# made by hand\n\n" + " # note\n".join(lines))
    (folder / "a.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    (folder / "b.CSV").write_text(
        separator.join("xyzw"[: points.shape[1]]) + "\n" + "\n".join(lines) + "\n"
    )
    for name in ("a.npy", "a.npz", "b.npz", "a.txt", "a.csv", "b.CSV"):
        columns = tuple("xyzw"[: points.shape[1]]) if name == "b.CSV" else None
        found, weights = read_cloud(folder / name, dim=points.shape[1], columns=columns)
        assert found.dtype == torch.float64
        np.testing.assert_array_equal(found.numpy(), points)
        assert weights is None


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_npy_is_read(tmp_path, version):
    with open(tmp_path / "a.npy", "wb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy remarks that old readers cannot read it
        np.lib.format.write_array(file, np.array([[1.0, 2.0]]), version=version)
    assert read_cloud(tmp_path / "a.npy")[0].tolist() == [[1, 2]]


def test_a_file_that_cannot_be_opened(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.npy").write_bytes(b"x")
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match="expected a readable file, found Permission denied"):
        read_cloud(tmp_path / "a.npy")


def test_weights_are_divided_by_their_sum_and_padding_is_left_out(tmp_path):
    points = np.array([[1.0, 2.0], [np.nan, np.inf], [3.0, 4.0]])
    np.savez(tmp_path / "a.npz", points=points, weights=np.array([1, 0, 3]))
    found, weights = read_cloud(tmp_path / "a.npz")
    assert found.tolist() == [[1, 2], [3, 4]]
    assert weights.tolist() == [0.25, 0.75]
    assert weights.dtype == torch.float64
    np.savez(tmp_path / "b.npz", weights=np.array([1e308, 1e308]), other=points[::2])
    found, weights = read_cloud(tmp_path / "b.npz")
    assert weights.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("dtype", ["?", "u1", ">i4", "f2", ">f8"])
def test_any_real_dtype_is_read(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.array([[0, 1], [1, 1]], dtype))
    found, _ = read_cloud(tmp_path / "a.npy")
    assert found.tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"1 2\n3 x\n", "line 2: expected a number, found 'x'; write numbers only"),
        ("a.txt", b"x y\n1 y\n", "line 2: expected a number, found 'y'"),
        ("a.csv", b"x,y\n1,2\nx,y\n", "line 3: expected a number, found 'x'"),
        ("a.csv", b"x,1\n1,2\n", "line 1: expected a number, found 'x'"),
        ("a.csv", b"1,2\n3,\n", "line 2: expected a number, found ''"),
        ("a.csv", b"1;2\n3,5;4\n", "line 2: expected a number, found '3,5'"),
        ("a.txt", b"1 2\n\n# no\n3 4 5\n", "line 4: expected 2 numbers as in line 1, found 3"),
        ("a.csv", b"x,y\n1,2\n3\n", "line 3: expected 2 numbers as in line 2, found 1"),
        ("a.txt", b"1 2\nnan 4\n", r"point 1 \(counted from 0\): expected finite .*\(nan, 4.0\)"),
        ("a.csv", b"1,2\n3,-inf\n", r"point 1 .* found \(3.0, -inf\); remove or repair"),
        ("a.csv", b"1,1e39\n", r"point 0 .* range of float32, found \(1.0, 1e\+39\)"),
        ("a.txt", b"# nothing\n", "expected at least one point, found 0 points"),
        ("a.csv", b"x,y\n", "expected at least one point"),
        ("a.txt", b"", "expected a point cloud, found an empty file"),
        ("a.npy", b"", "found an empty file"),
        ("a.txt", b"1 2\n\xff\xfe", "byte 4: expected text in UTF-8, found the byte ff"),
        ("a.txt", b"1 2\n1 2\x00\n", "line 2: expected a number"),
        ("a.npy", b"1 2\n", "expected an array in numpy's npy format"),
        ("a.npy", b"\x93NUMPY\x01\0\xff\xff{", "damaged header"),
        ("a.npz", b"PK nothing", "expected an archive in numpy's npz format"),
        ("a.stl", b"1 2 3\n", r"ends in .npy, .npz, .off, .* .csv, found '.stl'; convert"),
        ("a.off", b"OFF\n0 0 0\n", "expected at least one point, found 0 points"),
        ("a.npy", b"\x93NUMPY\x09\0" + bytes(60), "unknown version"),
        ("a.txt", b"1\n" + b"x" * 9999, r"line 2: expected a number, found 'x{199}\.\.\.; write"),
        ("cloud", b"1 2 3\n", "found no suffix"),
    ],
)
def test_the_place_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_cloud(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), r"expected points of shape \(n, d\), found an array of shape \(3,\)"),
        (np.zeros((2, 3, 2)), r"found an array of shape \(2, 3, 2\); write one cloud to a file"),
        (np.zeros(()), r"found an array of shape \(\)"),
        (np.zeros((0, 2)), "at least one point, found 0 points of dimension 2"),
        (np.zeros((3, 0)), "at least one point, found 3 points of dimension 0"),
        (np.array([[1, None]]), "pickled Python objects, which are not loaded"),
        (np.zeros((2, 2), complex), "array of real numbers, found dtype complex128"),
        (np.array([["a", "b"]]), "array of real numbers, found dtype <U1"),
        (np.array([[1.0, 2.0], [3.0, np.nan]]), r"point 1 .* found \(3.0, nan\)"),
    ],
)
def test_arrays_that_are_no_cloud(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    np.savez(tmp_path / "a.npz", points=array)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError, match=message):
            read_cloud(tmp_path / name)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "an array under the key 'points', or a single array, found no array"),
        ({"a": np.ones((2, 2)), "b": np.ones((2, 2))}, "found the keys a, b"),
        ({"weights": np.ones(2)}, "found the keys weights"),
        ({"points": np.ones((2, 2)), "weights": np.ones(3)}, r"shape \(2,\).* found shape \(3,\)"),
        ({"points": np.ones((2, 2)), "weights": np.ones((2, 1))}, r"found shape \(2, 1\)"),
        (
            {"points": np.ones((2, 2)), "weights": np.array([1, -1])},
            "row 1 .* at least 0, found -1",
        ),
        ({"points": np.ones((2, 2)), "weights": np.array([np.nan, 1])}, "row 0 .* found nan"),
        ({"points": np.ones((2, 2)), "weights": np.zeros(2)}, "positive weight, found none"),
        ({"points": np.ones((2, 2)), "weights": np.array(["a", "b"])}, "key 'weights': .*<U1"),
        (
            {"points": np.array([[1], [np.nan], [np.inf]]), "weights": np.array([1, 0, 1])},
            r"point 2 \(counted from 0\)",
        ),
    ],
)
def test_archives_that_are_no_cloud(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_cloud(tmp_path / "a.npz")


def test_a_dimension_may_be_demanded(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((4, 3)))
    assert read_cloud(tmp_path / "a.npy", dim=3)[0].shape == (4, 3)
    with pytest.raises(DataError, match="expected points of dimension 2, found 3 columns; leave"):
        read_cloud(tmp_path / "a.npy", dim=2)


def test_paths_that_are_no_file(tmp_path):
    with pytest.raises(DataError, match=r"no\.npy: expected a file, found nothing"):
        read_cloud(tmp_path / "no.npy")
    with pytest.raises(DataError, match="expected a file, found a folder"):
        read_cloud(str(tmp_path))


def test_a_pickle_is_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    trap = np.empty((1, 1), dtype=object)
    trap[0, 0] = Trap()
    np.save(tmp_path / "a.npy", trap, allow_pickle=True)
    np.savez(tmp_path / "a.npz", points=trap)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError, match="pickled"):
            read_cloud(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("header", ["(9999999999, 2)", "(0, 99999999999999999999)", "(-2, -2)"])
def test_a_header_that_promises_too_much(tmp_path, header):
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {header}, }}\n".encode()
    content = b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text + bytes(32)
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("points.npy", content)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError, match=re.escape("bytes of values for shape")):
            read_cloud(tmp_path / name)


def test_mutated_files_give_a_cloud_or_a_data_error(folder):
    points = np.arange(8, dtype=np.float32).reshape(4, 2)
    sources = {".csv": b"x,y\n0,1\n2,3\n4,5\n", ".txt": b"0 1 # a\n2 3\n4.5e1 -5\n"}
    for suffix, save in ((".npy", np.save), (".npz", np.savez_compressed)):
        buffer = io.BytesIO()
        save(buffer, points)
        sources[suffix] = buffer.getvalue()
    chance = random.Random(0)
    refused = dict.fromkeys(sources, 0)
    messages = []
    for turn in range(1200):
        suffix = list(sources)[turn % 4]
        content = bytearray(sources[suffix])
        for _ in range(chance.randint(1, 3)):
            match chance.randrange(3):
                case 0 if content:
                    content[chance.randrange(len(content))] = chance.randrange(256)
                case 1 if content:
                    del content[chance.randrange(len(content)) :]
                case _:
                    content.insert(chance.randint(0, len(content)), chance.randrange(128))
        file = folder / f"mutated{suffix}"
        file.write_bytes(content)
        try:
            found, weights = read_cloud(file)
        except DataError as error:
            messages.append(str(error))
            refused[suffix] += 1
            continue
        assert found.ndim == 2
        assert found.numel() > 0
        assert found.isfinite().all()
        assert weights is None
        if suffix == ".npy":
            expected = np.load(io.BytesIO(content)).astype(np.float32)
            np.testing.assert_array_equal(found.numpy(), expected)
    assert all(count > 60 for count in refused.values())
    assert not any("\n" in message for message in messages)
