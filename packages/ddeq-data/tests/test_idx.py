import gzip
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from ddeq_data import DataError, read_idx

LAW = settings(max_examples=60, deadline=None, derandomize=True)
DTYPES = st.sampled_from(["u1", "i1", "i2", "i4", "f4", "f8"]).map(np.dtype)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "file"


@LAW
@given(
    array=DTYPES.flatmap(
        lambda dtype: stn.arrays(dtype, stn.array_shapes(max_dims=4, min_side=0, max_side=4))
    ),
    zipped=st.booleans(),
)
def test_what_was_written_is_read(file, idx_bytes, array, zipped):
    content = idx_bytes(array)
    file.write_bytes(gzip.compress(content) if zipped else content)
    found = read_idx(file)
    assert found.dtype == array.dtype
    assert found.dtype.isnative
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)


def test_a_known_file(file):
    file.write_bytes(bytes([0, 0, 0x0B, 2, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 255, 254]))
    np.testing.assert_array_equal(read_idx(file), np.array([[258, -2]], np.int16))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "byte 0: expected the 4 bytes of the magic number, found the end"),
        (b"\0\0\x08", "byte 3: expected the 4 bytes of the magic number"),
        (b"\0\1\x08\1", r"byte 0: expected the magic number .* found 00 01 08 01; check"),
        (b"\0\0\x0a\1", "found 00 00 0a 01"),
        (b"\0\0\x08\0", "found 00 00 08 00"),
        (b"\0\0\x08\xff", "found 00 00 08 ff"),
        (b"\0\0\x08\2\0\0\0\1\0", "byte 9: expected 8 bytes for the sizes of 2 dimensions"),
        (b"\0\0\x08\1\0\0\0\3ab", r"byte 10: expected 3 bytes of values for shape \(3,\)"),
        (b"\0\0\x08\1\xff\xff\xff\xffab", "byte 10: expected 4294967295 bytes"),
        (b"\0\0\x08\1\0\0\0\1ab", "byte 9: expected the end of the file after 1 bytes"),
        (b"\0\0\x0e\3" + b"\0" * 4 + b"\xff" * 8, "byte 4: .* fits in memory"),
        (b"\0\0\x0e\3" + b"\xff" * 12, "byte 4: .* fits in memory"),
    ],
)
def test_the_byte_is_named(file, content, message):
    for stored in (content, gzip.compress(content)):
        file.write_bytes(stored)
        with pytest.raises(DataError, match=message) as caught:
            read_idx(file)
        assert str(caught.value).startswith(str(file))


def test_what_is_no_file(tmp_path):
    with pytest.raises(DataError, match="nowhere: expected a readable file, found No such file"):
        read_idx(tmp_path / "nowhere")
    with pytest.raises(DataError, match="found Is a directory"):
        read_idx(tmp_path)


def test_mutated_files_give_the_right_array_or_a_data_error(file, idx_bytes):
    """A file either says what its bytes say, by an independent parse, or is refused."""
    chance = random.Random(0)
    sources = [
        np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        np.arange(6, dtype=np.float32).reshape(3, 2),
        np.arange(10, dtype=np.int16),
    ]
    seeds = [idx_bytes(source) for source in sources]
    seeds += [gzip.compress(seed, mtime=0) for seed in seeds]
    refused = read = 0
    for _ in range(1200):
        content = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 3)):
            match chance.randrange(4):
                case 0 if content:
                    content[chance.randrange(len(content))] = chance.randrange(256)
                case 1 if content:
                    del content[chance.randrange(len(content)) :]
                case 2:
                    content += chance.randbytes(chance.randint(1, 4))
                case _:
                    content.insert(chance.randint(0, len(content)), chance.randrange(256))
        file.write_bytes(content)
        try:
            found = read_idx(file)
        except DataError:
            refused += 1
            continue
        read += 1
        plain = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else bytes(content)
        sizes = [int.from_bytes(plain[4 + 4 * i : 8 + 4 * i]) for i in range(plain[3])]
        assert list(found.shape) == sizes
        values = plain[4 + 4 * len(sizes) :]
        assert found.astype(found.dtype.newbyteorder(">")).tobytes() == values
    assert refused > 300
    assert read > 50
