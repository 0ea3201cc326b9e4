"""Values that must not be misread, and files that ask for more than they are worth."""

import gzip
import io
import json
import os
import struct
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddeq_data import (
    Cloud,
    DataError,
    MNISTPointCloud,
    PointCloudFolder,
    ToFloat32,
    UnitSphere,
    ZScore,
    collate,
    read_cloud,
    read_idx,
)
from ddeq_data.errors import shown
from ddeq_data.measures import as_precise_as_needed
from ddeq_data.readers.formats import arrays, idx

LAW = settings(max_examples=30, deadline=None, derandomize=True)
PLY = b"ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\n%send_header\n"
HEADS = {
    ".txt": b"",
    ".csv": b"x,y,z\n",
    ".xyz": b"",
    ".pts": b"2\n",
    ".off": b"OFF\n2 0 0\n",
    ".ply": PLY % b"property float z\n",
    ".pcd": b"FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nPOINTS 2\nDATA ascii\n",
}


def write(path, head, rows):
    mark = b"," if path.suffix == ".csv" else b" "
    path.write_bytes(head + b"".join(mark.join(row) + b"\n" for row in rows))
    return path


@pytest.mark.parametrize("suffix", HEADS)
@pytest.mark.parametrize(
    "word",
    [b"1.#QNAN", b"-1.#IND", b"1.#INF", b"2_3", "１２".encode(), "٣".encode(), b"1e", b"0x10"]
    + [b"1d5", b"1.5f", b"--1", b"+-1", b"1" * 20_000 + b"x", b"1.#"],
)
def test_what_only_begins_as_a_number_is_none(tmp_path, suffix, word):
    start = time.process_time()
    for row in range(2):
        for column in range(3):
            rows = [[b"0.5", b"2", b"1"], [b"3", b"4", b"5"]]
            rows[row][column] = word
            with pytest.raises(DataError):
                read_cloud(write(tmp_path / f"a{suffix}", HEADS[suffix], rows))
    assert time.process_time() - start < 5  # it took 16 s for one of the long ones


@pytest.mark.parametrize("suffix", HEADS)
def test_all_ends_of_lines_mean_the_same_in_any_mixture(tmp_path, suffix):
    rows = [[b"0.5", b"2", b"1"], [b"3", b"4", b"5"]]
    text = write(tmp_path / f"a{suffix}", HEADS[suffix], rows).read_bytes()
    head = len(HEADS[suffix]) if suffix in (".ply", ".pcd") else 0  # which is of one kind
    chance = np.random.default_rng(0)
    for _ in range(20):
        end = (b"\n", b"\r", b"\r\n")[chance.integers(3)]
        mixed = text[:head].replace(b"\n", end) + b"".join(
            line + (b"\n", b"\r", b"\r\n")[chance.integers(3)]
            for line in text[head:].split(b"\n")[:-1]
        )
        (tmp_path / f"a{suffix}").write_bytes(mixed)
        assert read_cloud(tmp_path / f"a{suffix}")[0].tolist() == [[0.5, 2, 1], [3, 4, 5]]


def test_a_binary_ply_with_carriage_returns(tmp_path):
    points = np.array([[0.5, 1, 2], [3, 4, 5.25]], "<f4")
    raw = bytearray(points.tobytes())
    raw[0] = 10  # the byte of a line feed, the first of the data
    head = (PLY % b"property float z\n").replace(b"ascii", b"binary_little_endian")
    for end in (b"\r", b"\n", b"\r\n"):
        for tail in (b"", b"\n"):
            (tmp_path / "a.ply").write_bytes(head.replace(b"\n", end) + bytes(raw) + tail)
            found = read_cloud(tmp_path / "a.ply")[0].numpy()
            np.testing.assert_array_equal(found, np.frombuffer(bytes(raw), "<f4").reshape(2, 3))


def test_headers_of_other_writers(tmp_path):
    (tmp_path / "a.off").write_text("NCOFF\n1 0 0\n1 2 3 0 0 1 9 8 7 6\n")
    assert read_cloud(tmp_path / "a.off")[0].tolist() == [[1, 2, 3]]
    text = HEADS[".pcd"].replace(b"DATA ascii", b"data ASCII").replace(b"FIELDS", b"Fields")
    write(tmp_path / "a.pcd", text, [[b"1", b"2", b"3"]] * 2)
    assert read_cloud(tmp_path / "a.pcd")[0].tolist() == [[1, 2, 3]] * 2


def test_a_signalling_nan_is_one(tmp_path):
    head = HEADS[".pcd"].replace(b"ascii", b"binary")
    (tmp_path / "a.pcd").write_bytes(head + struct.pack("<I5f", 0x7F800001, 0, 0, 1, 2, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_cloud(tmp_path / "a.pcd")[0].tolist() == [[1, 2, 3]]


def test_a_header_of_many_properties_takes_time_in_proportion(tmp_path):
    seconds = []
    for count in (4_000, 64_000):
        names = b"".join(b"property int p%d\n" % i for i in range(count))
        row = b" ".join([b"0"] * (count + 2)) + b"\n"
        (tmp_path / "a.ply").write_bytes(PLY % names + 2 * row)
        start = time.process_time()
        assert read_cloud(tmp_path / "a.ply")[0].shape == (2, 2)
        seconds.append(time.process_time() - start)
    # 16 times as long, and 256 times if it were quadratic: far apart even on a busy machine.
    assert seconds[1] < 64 * seconds[0] + 2


def test_bombs_are_refused_before_they_go_off(tmp_path, monkeypatch):
    for module in (arrays, idx):
        monkeypatch.setattr(module, "_SMALL", 1 << 16)  # of the real ones as well, but later
    head = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (2**18, 2)}
    np.lib.format.write_array_header_1_0(head, shape)
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
            archive.writestr("points.npy", head.getvalue() + bytes(2**22))
        with pytest.raises(DataError, match=r"expected at most 100 times .* compressed bytes"):
            read_cloud(tmp_path / "a.npz")
    count = 2**22
    file = tmp_path / "train-labels-idx1-ubyte.gz"
    file.write_bytes(gzip.compress(b"\0\0\x08\1" + count.to_bytes(4, "big") + bytes(count)))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\3" + bytes(12))
    with pytest.raises(DataError, match=r"expected at most [0-9]+ bytes of values in a gzip file"):
        read_idx(file)
    assert MNISTPointCloud.find(tmp_path) == {}


@pytest.mark.skipif(os.name == "nt", reason="names of Unix")
def test_names_that_hold_anything(tmp_path):
    for kind in ("a#1", os.fsdecode(b"b\xff")):
        (tmp_path / kind).mkdir()
        for i, name in enumerate(("scan #1", os.fsdecode(b"\xfe"), "\x1b[2J", "new\nline", "[x]")):
            np.save(tmp_path / kind / f"{name}.npy", np.eye(3) + i)
    for cache in (".processed", None):
        data = PointCloudFolder(tmp_path, test_share=0.0, validation_share=0.0, cache=cache)
        assert len(data) == 10
    (tmp_path / "a#1" / "\x1b[2J.npy").write_bytes(b"x")
    with pytest.raises(DataError) as caught:
        PointCloudFolder(tmp_path, test_share=0.0, validation_share=0.0)
    assert str(caught.value).startswith(f"{tmp_path}/a#1/\\x1b[2J.npy: expected an array")


@pytest.mark.skipif(os.name == "nt", reason="pipes of Unix")
def test_a_pipe_is_not_waited_for(tmp_path):
    for name, read in (("a.npy", read_cloud), ("a.idx", read_idx), ("a.off", read_cloud)):
        os.mkfifo(tmp_path / name)
        with pytest.raises(DataError, match="expected a file, found a pipe or a device"):
            read(tmp_path / name)


@LAW
@given(text=st.text())
def test_what_is_shown_moves_no_cursor(text):
    assert all(c.isprintable() or c == " " for c in shown(text).replace("\u3000", " "))
    assert shown("Größe 3 µm") == "Größe 3 µm"
    assert shown("a\x1b]0;x\x07\u202eb\udcff\u2028") == "a\\x1b]0;x\\x07\\u202eb\\xff\\u2028"


@LAW
@given(
    offset=st.tuples(*[st.floats(-1e9, 1e9)] * 3),
    seed=st.integers(0, 99),
    transform=st.sampled_from([ZScore(), UnitSphere()]),
)
def test_a_normalised_cloud_does_not_depend_on_where_it_was(offset, seed, transform):
    chance = torch.Generator().manual_seed(seed)
    cloud = torch.randn(50, 3, generator=chance, dtype=torch.float64)
    weights = torch.rand(50, generator=chance, dtype=torch.float64)
    weights /= weights.sum()
    moved = cloud + torch.tensor(offset, dtype=torch.float64)
    exact = moved - (weights[:, None] * moved).sum(0)  # rounding of the offset itself is not ours
    expected, _ = transform(exact - (weights[:, None] * exact).sum(0), weights)
    kept = as_precise_as_needed(moved)
    for view in (moved, kept):
        found, _ = transform(*ToFloat32(centre=True)(view, weights.to(view.dtype)))
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=3e-6)
    if kept.dtype == torch.float64:  # 1e-6 where it is far away, as float64 is kept then
        found, _ = transform(kept, weights)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_georeferenced_files_keep_their_shape(tmp_path):
    utm = np.array([412345.678, 5612345.678, 312.0])
    for kind in "ab":
        (tmp_path / kind).mkdir()
        for i in range(3):
            local = np.random.default_rng(i).normal(size=(60, 3))
            np.savetxt(tmp_path / kind / f"{i}.xyz", local + utm, fmt="%.4f")
    data = PointCloudFolder(tmp_path, test_share=0.0, validation_share=0.0)
    again = PointCloudFolder(tmp_path, test_share=0.0, validation_share=0.0)  # from the cache
    for one in (data, again):
        assert one[0].points.dtype == torch.float64
        assert len(one[0].points[:, 1].unique()) == 60
    points, _ = read_cloud(tmp_path / "a" / "0.xyz")
    np.testing.assert_array_equal(points.numpy(), np.loadtxt(tmp_path / "a" / "0.xyz"))
    local = np.round(np.random.default_rng(0).normal(size=(60, 3)) + utm, 4) - utm
    seen, _ = ZScore()(*ToFloat32(centre=True)(data[0].points, data[0].weights))
    np.testing.assert_allclose(seen, (local - local.mean(0)) / local.std(0), atol=1e-6)
    plain = Cloud(torch.from_numpy(local).float(), torch.full((60,), 1 / 60), 0)
    assert collate([plain, data[0]]).points.dtype == torch.float64


def test_what_float32_can_hold_is_kept_in_it():
    assert as_precise_as_needed(torch.rand(99, 2).double() + 1).dtype == torch.float32
    constant = torch.stack([torch.rand(9), torch.full((9,), 5e6 / 3)], 1).double()
    assert as_precise_as_needed(constant).dtype == torch.float32  # it has no shape to lose
    assert as_precise_as_needed(constant + torch.rand(9, 2).double()).dtype == torch.float64
    assert as_precise_as_needed(torch.rand(9, 2) + 1e6).dtype == torch.float32  # as it came


def test_readers_agree_with_others_on_real_files():
    """A sample of `hatch run bench damage`, in a process with limits of memory and time."""
    if not sys.platform.startswith("linux"):
        pytest.skip("limits of memory are those of Linux")
    pytest.importorskip("trimesh")
    script = Path(__file__).with_name("damaged_clouds.py")
    done = subprocess.run(
        [sys.executable, str(script), "120", "7"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DDEQ_FUZZ_SECONDS": "60"},  # machines of tests are busy
    )
    assert done.returncode == 0, done.stderr[-2000:]
    outcome = json.loads(done.stdout)
    assert outcome["wrong"] == []
    assert min(outcome[name] for name in ("read", "refused", "compared")) > 10


def test_a_number_too_many_and_one_too_few_shift_no_vertices(tmp_path):
    """Of an OFF file the stream of numbers is as long as it should be; its lines tell."""
    rows = [f"{i} {i + 0.25} {i + 0.5}" for i in range(6)]
    expected = [[i, i + 0.25, i + 0.5] for i in range(6)]

    def off(lines):
        file = tmp_path / "a.off"
        file.write_text("\n".join(["OFF", "6 1 0", *lines, "3 0 1 2", ""]))
        return read_cloud(file)[0].tolist()

    assert off(rows) == expected
    assert off([*rows[:1], rows[1].replace(" ", "\n", 1), *rows[2:]]) == expected  # broken
    assert off([*rows[:1], " ".join(rows[1:3]), *rows[3:]]) == expected  # joined
    assert off(["\n".join(" ".join(rows).split()[k : k + 4]) for k in range(0, 18, 4)]) == expected
    assert off([" ".join(" ".join(rows).split()[k : k + 4]) for k in range(0, 18, 4)]) == expected
    for few, many in ((1, 4), (4, 1)):
        broken = list(rows)
        broken[few], broken[many] = broken[few].rsplit(" ", 1)[0], f"{broken[many]} 7"
        with pytest.raises(DataError, match=r"line 4.*expected the 3 numbers of a vertex"):
            off(broken)
    # The line of the header is the odd one, though it has as many numbers as a vertex.
    coloured = ["COFF 3 0 0 1 2 3 4", *["1 2 3 4 5 6 7"] * 2, "5 6 7", ""]
    (tmp_path / "a.off").write_text("\n".join(coloured))
    with pytest.raises(DataError, match=r"line 1.*expected the 7 numbers of a vertex"):
        read_cloud(tmp_path / "a.off")


def test_hdf5_reads_no_other_file(tmp_path):
    h5py = pytest.importorskip("h5py")
    from ddeq_data import ModelNet40

    def data():
        return ModelNet40(tmp_path, release="hdf5", complete=False, cache=None)

    def make(name, labels, values):
        with h5py.File(tmp_path / name, "w") as file:
            file["label"] = np.zeros((labels, 1), "u1")
            file["data"] = values

    for part in ("train", "test"):
        make(f"ply_data_{part}0.h5", 0, np.zeros((0, 2048, 3), "f4"))
    with pytest.raises(DataError, match=r"at least one label, and labels in 0\.\.39, found none"):
        data()
    make("other.h5", 30, np.ones((30, 2048, 3), "f4"))
    for link in (
        h5py.ExternalLink(str(Path(tmp_path) / "other.h5"), "data"),
        h5py.SoftLink("/label"),
    ):
        for part in ("train", "test"):
            make(f"ply_data_{part}0.h5", 30, link)
        with pytest.raises(DataError, match=r"key 'data': .*\(a link to it, which is not followed"):
            data()
