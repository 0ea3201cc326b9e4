import json
import logging
import random
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddeq_data import DataError, PackedClouds
from ddeq_data.storage import cached_clouds, read_clouds, write_clouds
from ddeq_data.storage import clouds_file as cache

LAW = settings(max_examples=25, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def same(a, b):
    assert torch.equal(a.points, b.points)
    assert a.points.dtype == b.points.dtype
    assert torch.equal(a.offsets, b.offsets)
    assert torch.equal(a.labels, b.labels)
    assert (a.weights is None) == (b.weights is None)
    if a.weights is not None:
        assert torch.equal(a.weights, b.weights)


@LAW
@given(
    sizes=st.lists(st.integers(0, 5), min_size=1, max_size=5),
    dim=st.integers(1, 3),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    kind=st.sampled_from(["weighted", "uniform", "bytes"]),
)
def test_clouds_come_back(folder, ragged, sizes, dim, dtype, kind):
    packed = PackedClouds.from_clouds(ragged(sizes, dim, dtype=dtype))
    points = packed.points.to(torch.uint8) if kind == "bytes" else packed.points
    weights = packed.weights if kind == "weighted" else None
    packed = PackedClouds(points, weights, packed.offsets, packed.labels)
    write_clouds(folder / "a.clouds", packed, "facts")
    back = read_clouds(folder / "a.clouds", "facts")
    same(back, packed)
    if back.points.numel():
        back.points.zero_()  # reaches no file
        same(read_clouds(folder / "a.clouds", "facts"), packed)
    with pytest.raises(DataError, match="clouds of other arguments"):
        read_clouds(folder / "a.clouds", "others")


def test_clouds_are_made_once_for_the_same_facts(tmp_path, ragged):
    made = []

    def make():
        made.append(1)
        return PackedClouds.from_clouds(ragged([2, 3]))

    for facts in ({"n": 1}, {"n": 1}, {"n": 2}, {"n": 1}):
        same(cached_clouds(tmp_path / "new" / "er", "name", facts, make), make())
        made.pop()
    assert len(made) == 2
    assert len(list((tmp_path / "new" / "er").glob("name-*.clouds"))) == 2
    cached_clouds(None, "name", {"n": 1}, make)
    assert len(made) == 3


def test_a_damaged_file_is_detected_and_made_anew(tmp_path, ragged, caplog):
    packed = PackedClouds.from_clouds(ragged([3, 1, 4]))
    cached_clouds(tmp_path, "name", {}, lambda: packed)
    (file,) = tmp_path.glob("*.clouds")
    whole = file.read_bytes()
    chance = random.Random(0)
    for turn in range(120):
        damaged = bytearray(whole)
        at = chance.randrange(len(whole))
        if turn % 3 == 0:
            del damaged[at:]
        elif turn % 3 == 1:
            damaged[at] ^= 1 << chance.randrange(8)
        else:
            damaged[at:at] = bytes(chance.randint(1, 64))
        file.write_bytes(damaged)
        try:
            same(read_clouds(file), packed)  # where only alignment was hit
        except DataError as error:
            found = str(error)
        else:
            continue
        assert found.startswith(f"{file}: expected processed clouds as they were written, found a")
        with caplog.at_level(logging.WARNING):
            same(cached_clouds(tmp_path, "name", {}, lambda: packed), packed)
        assert caplog.messages[-1].endswith("It is made anew.")
        assert file.read_bytes() == whole
    assert len(caplog.messages) > 100


WRITER = """
import sys, torch
from ddeq_data import PackedClouds
from ddeq_data.storage import cached_clouds
points = torch.arange(3_000_000.0).reshape(-1, 3)
clouds = PackedClouds(points, None, torch.tensor([0, len(points)]), torch.tensor([0]))
print("ready", flush=True)
cached_clouds(sys.argv[1], "name", {}, lambda: clouds)
print("done", flush=True)
"""


def test_a_writer_that_is_killed_leaves_nothing_that_is_read_as_whole(tmp_path):
    points = torch.arange(3_000_000.0).reshape(-1, 3)
    clouds = PackedClouds(points, None, torch.tensor([0, len(points)]), torch.tensor([0]))
    for delay in (0.0, 0.01):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout.readline() == b"ready\n"
            # Until it has begun to write, and a little longer.
            limit = time.monotonic() + 20
            while not list(tmp_path.glob("*.partial")) and time.monotonic() < limit:
                if list(tmp_path.glob("*.clouds")):
                    break
            time.sleep(delay)
            writer.kill()
        for file in tmp_path.glob("*.clouds"):
            same(read_clouds(file), clouds)
            file.unlink()
    same(cached_clouds(tmp_path, "name", {}, lambda: clouds), clouds)
    assert not list(tmp_path.glob("*.partial"))


def test_of_two_that_start_at_once_one_makes_the_clouds(tmp_path):
    made = []

    def make():
        made.append(1)
        time.sleep(0.2)
        return PackedClouds(torch.ones(4, 2), None, torch.tensor([0, 4]), torch.tensor([0]))

    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(cached_clouds, tmp_path, "name", {}, make) for _ in range(2)]
    assert [float(future.result().points.sum()) for future in found] == [8, 8]
    assert len(made) == 1


@pytest.mark.parametrize("where", ["write_clouds", "locked"])
def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch, caplog, where):
    def refuse(*args, **kwargs):
        raise OSError(30, "Read-only file system")

    clouds = PackedClouds(torch.ones(4, 2), None, torch.tensor([0, 4]), torch.tensor([0]))
    monkeypatch.setattr(f"ddeq_data.storage.cache.{where}", refuse)
    same(cached_clouds(tmp_path / "new", "name", {}, lambda: clouds), clouds)
    assert "cannot be kept there (Read-only file system)" in caplog.text
    monkeypatch.undo()
    cached_clouds(tmp_path / "new", "name", {}, lambda: clouds)
    monkeypatch.setattr("ddeq_data.storage.cache.locked", refuse)
    same(cached_clouds(tmp_path / "new", "name", {}, None), clouds)  # what is there can be read


def test_a_hostile_description_is_made_anew(tmp_path, ragged, caplog):
    packed = PackedClouds.from_clouds(ragged([3, 1, 4]))
    cached_clouds(tmp_path, "name", {}, lambda: packed)
    (file,) = tmp_path.glob("*.clouds")
    whole = file.read_bytes()
    magic, length, _ = cache._HEAD.unpack(whole[: cache._HEAD.size])
    start = cache._HEAD.size + length
    values = json.loads(whole[cache._HEAD.size : start])
    entry = {"dtype": "<f4", "shape": [2**62, 4], "start": -8, "checksum": 0}
    for key, value in [
        *(("arrays", v) for v in ([], None, {}, {"points": []}, {"points": {"dtype": []}})),
        *(("arrays", {**values["arrays"], "points": {**entry, **v}}) for v in ({}, {"shape": 3})),
        *(("coordinates", v) for v in (0, "x", [], 1e400, 99)),
        *(("size", v) for v in (None, -1, "x")),
    ]:
        text = json.dumps({**values, key: value}).encode()
        text += b" " * (-(cache._HEAD.size + len(text)) % 64)
        head = cache._HEAD.pack(magic, len(text), zlib.crc32(text))
        file.write_bytes(head + text + whole[start:])
        same(cached_clouds(tmp_path, "name", {}, lambda: packed), packed)
        assert caplog.messages.pop().endswith("It is made anew.")


def test_a_failed_write_leaves_no_file(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    clouds = PackedClouds(torch.ones(4, 2), None, torch.tensor([0, 4]), torch.tensor([0]))
    with pytest.raises(OSError, match="No space left"):
        write_clouds(tmp_path / "a.clouds", clouds)
    assert not list(tmp_path.iterdir())
