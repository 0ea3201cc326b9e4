"""Damaged files of every format: a right parse or a DataError, and nothing else."""

import random
import struct

import numpy as np
import pytest

from ddeq_data import DataError, read_cloud, read_idx

OFF = b"OFF\n4 3 0\n0 0 0\n1.5 0 0\n1 1e0 0\n0 -1 0\n3 0 1 2\n4 0 1 2 3 # quad\n3 2 1 0\n"
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
    "a.ply": PLY,
    "b.ply": HEAD % b"binary_little_endian" + BINARY,
    "c.ply": HEAD % b"binary_big_endian" + MIXED,
    "a.pcd": FIELDS + b"ascii\n0 0 0\n1 0 0\nnan 1 0\n",
    "b.pcd": FIELDS + b"binary\n" + struct.pack("<9f", *range(9)),
    "a.xyz": b"0 1 2 # a\n2 3 4\n4.5e1 -5 1\n",
    "a.pts": b"2\n0 1 2 7\n2 3 4 8\n",
    "a.csv": b"x,y\n0,1\n2,3\n4,5\n",
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


@pytest.mark.parametrize("name", SOURCES)
def test_mutated_files_give_a_cloud_or_a_data_error(tmp_path, name, fuzz_turns):
    chance = random.Random(name)
    file = tmp_path / name
    refused: list[str] = []
    for _ in range(fuzz_turns):
        file.write_bytes(mutated(SOURCES[name], chance))
        try:
            if name.endswith("idx"):
                assert isinstance(read_idx(file), np.ndarray)
                continue
            points, _ = read_cloud(file)
        except DataError as error:
            refused.append(str(error))
            continue
        assert points.ndim == 2
        assert points.numel() > 0
        assert points.isfinite().all()
        assert len(points) <= 8  # never more than the file can hold
    assert len(refused) > fuzz_turns / 5
    assert all(message.startswith(str(file)) and "\n" not in message for message in refused)


@pytest.mark.parametrize("name", SOURCES)
def test_the_sources_are_whole(tmp_path, name):
    (tmp_path / name).write_bytes(SOURCES[name])
    if name.endswith("idx"):
        assert read_idx(tmp_path / name).tolist() == [[0, 1, 2], [3, 4, 5]]
    else:
        assert len(read_cloud(tmp_path / name)[0]) in (2, 3, 4)
