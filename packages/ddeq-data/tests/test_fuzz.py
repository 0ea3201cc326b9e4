"""Damaged files of every format: a right parse or a DataError, and nothing else.

All are read in a process of its own, which may take no more than 1 GB beyond what its imports
take, and 10 seconds of the processor for a file. DDEQ_FUZZ=10000 says how many are made of each
source.
"""

import json
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from ddeq_data import DataError, read_cloud, read_idx, read_off
from ddeq_data.readers.formats.point_csv import read_point_csv

MEMORY, SECONDS = 2**30, 10

OFF = b"OFF\n4 3 0\n0 0 0\n1.5 0 0\n1 1e0 0\n0 -1 0\n3 0 1 2\n4 0 1 2 3 # quad\n3 2 1 0\n"
PLAIN = b"OFF\n4 2 0\n0 0 0\n1.5 0 0\n-1 1e0 0.25\n0 -1 0\n3 0 1 2\n3 2 1 0\n"
COFF = b"COFF3 1 0\n0 0 0 255 0 0 1\n1 0 0 0 255 0 1\n0 1 0 0 0 255 1\n3 0 1 2 1 1 1\n"
HEAD = (
    b"ply\nformat %s 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    b"element face 2\nproperty list uchar int vertex_indices\nend_header\n"
)
PLY = HEAD % b"ascii" + b"0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n3 2 1 0\n"
BINARY = struct.pack("<9f", *range(9)) + struct.pack("<B3iB3i", 3, 0, 1, 2, 3, 2, 1, 0)
MIXED = struct.pack(">9f", *range(9)) + struct.pack(">B2iB3i", 2, 0, 1, 3, 2, 1, 0)
FIELDS = (
    b"VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 3\nHEIGHT 1\n"
    b"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS 3\nDATA "
)
SOURCES = {
    "a.off": OFF,
    "b.off": COFF,
    "c.off": PLAIN,
    "d.off": PLAIN.replace(b"OFF\n", b"OFF").replace(b"\n", b" \r\n"),
    "a.ply": PLY,
    "b.ply": HEAD % b"binary_little_endian" + BINARY,
    "c.ply": HEAD % b"binary_big_endian" + MIXED,
    "a.pcd": FIELDS + b"ascii\n0 0 0\n1 0 0\nnan 1 0\n",
    "b.pcd": FIELDS + b"binary\n" + struct.pack("<9f", *range(9)),
    "a.xyz": b"0 1 2 # a\n2 3 4\n4.5e1 -5 1\n",
    "a.pts": b"2\n0 1 2 7\n2 3 4 8\n",
    "a.csv": b"x,y\n0,1\n2,3\n4,5\n",
    "b.csv": b"label,x0,y0,v0,x1,y1,v1\n7,0,1,255,3,3,1\n3,2,2,9,-1,-1,-1\n",
    "a.idx": bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(range(6)),
}


def mutated(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        match chance.randrange(5):
            case 0 if changed:
                changed[chance.randrange(len(changed))] = chance.randrange(256)
            case 1 if changed:
                del changed[chance.randrange(len(changed)) :]
            case 2 if changed:
                start = chance.randrange(len(changed))
                del changed[start : start + chance.randint(1, 8)]
            case 3 if changed:
                start = chance.randrange(len(changed))
                changed[start:start] = changed[start : start + chance.randint(1, 20)]
            case _:
                inserted = chance.choice([b"9999999999", b" ", b"\n", b"-", b"\xff\xff\xff\x7f"])
                start = chance.randint(0, len(changed))
                changed[start:start] = inserted
    return bytes(changed)


def read(file: Path) -> None:
    """Read a file and check what holds for any that is accepted."""
    if file.suffix == ".idx":
        assert isinstance(read_idx(file), np.ndarray)
    elif file.name == "b.csv":
        images, labels = read_point_csv(file, 28)
        assert images.shape == (len(labels), 28, 28)
    else:
        points, weights = read_cloud(file)
        assert points.ndim == 2
        assert points.numel() > 0
        assert points.isfinite().all()
        assert 2 * points.numel() <= file.stat().st_size + 1  # no more than the file can hold
        assert weights is None or weights.shape == points.shape[:1]
    if file.suffix == ".off":
        with mock.patch("ddeq_data.readers.formats.off._plain", return_value=None):
            slow = read_off(file)  # by the other of its two ways
        assert all(map(torch.equal, read_off(file), slow))


def fuzz(turns: int) -> dict[str, dict[str, object]]:
    """Read `turns` mutations of each source: how many were refused, and what else happened."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    outcome = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, source in SOURCES.items():
            chance, file = random.Random(name), Path(folder) / name
            refused, wrong = 0, []
            for _ in range(turns):
                content = mutated(source, chance)
                file.write_bytes(content)
                signal.setitimer(signal.ITIMER_PROF, SECONDS)  # not handled: it ends the process
                try:
                    read(file)
                except DataError as error:
                    refused += 1
                    if "\n" in str(error) or not str(error).startswith(str(file)):
                        wrong.append(f"{content!r}: the message {error}")
                except Exception as error:
                    wrong.append(f"{content!r}: {error!r}")
            outcome[name] = {"refused": refused, "wrong": wrong}
    signal.setitimer(signal.ITIMER_PROF, 0)
    return outcome


@pytest.fixture(scope="module")
def outcome(fuzz_turns):
    if not sys.platform.startswith("linux"):
        pytest.skip("limits of memory are those of Linux")
    done = subprocess.run(
        [sys.executable, "-W", "error", __file__, str(fuzz_turns)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", SOURCES)
def test_mutated_files_are_read_rightly_or_refused(name, outcome, fuzz_turns):
    assert outcome[name]["wrong"] == []
    assert fuzz_turns / 5 < outcome[name]["refused"] < fuzz_turns


@pytest.mark.parametrize("name", SOURCES)
def test_the_sources_are_whole(tmp_path, name):
    (tmp_path / name).write_bytes(SOURCES[name])
    read(tmp_path / name)
    if name == "a.idx":
        assert read_idx(tmp_path / name).tolist() == [[0, 1, 2], [3, 4, 5]]


if __name__ == "__main__":
    print(json.dumps(fuzz(int(sys.argv[1]))))
