"""Files of the kinds that the readers read, made small."""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ddeq_data import Cloud

_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


@pytest.fixture(scope="session")
def idx_bytes() -> Callable[[NDArray], bytes]:
    """The content of an IDX file, written from the format's description."""

    def encode(array: NDArray) -> bytes:
        code = _CODES[array.dtype.str[1:]]
        head = struct.pack(">BBBB", 0, 0, code, array.ndim)
        sizes = struct.pack(f">{array.ndim}I", *array.shape)
        return head + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()

    return encode


@pytest.fixture(scope="session")
def mnist_arrays() -> dict[str, NDArray]:
    """Sparse images of 28 x 28 pixels under MNIST's names, 240 to train and 40 to test."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 240), ("t10k", 40)):
        images = rng.integers(1, 256, (count, 28, 28)) * (rng.random((count, 28, 28)) < 0.1)
        arrays[f"{part}-images-idx3-ubyte"] = images.astype(np.uint8)
        arrays[f"{part}-labels-idx1-ubyte"] = (np.arange(count) % 10).astype(np.uint8)
    return arrays


@pytest.fixture
def mnist_root(
    tmp_path: Path, mnist_arrays: dict[str, NDArray], idx_bytes: Callable[[NDArray], bytes]
) -> Callable[..., Path]:
    """Write the four files into a folder, in any of the layouts."""

    def write(folder: str = "", *, gz: bool = False, dot: bool = False) -> Path:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name, array in mnist_arrays.items():
            shown = name.replace("-idx", ".idx") if dot else name
            content = idx_bytes(array)
            if gz:
                (tmp_path / folder / f"{shown}.gz").write_bytes(gzip.compress(content))
            else:
                (tmp_path / folder / shown).write_bytes(content)
        return tmp_path

    return write


@pytest.fixture(scope="session")
def ragged() -> Callable[..., list[Cloud]]:
    """Clouds of the sizes that are asked for, with random points and weights."""

    def make(
        sizes: list[int], dim: int = 2, seed: int = 0, dtype: torch.dtype = torch.float64
    ) -> list[Cloud]:
        generator = torch.Generator().manual_seed(seed)
        clouds = []
        for label, size in enumerate(sizes):
            points = torch.randn(size, dim, generator=generator, dtype=dtype)
            mass = torch.rand(size, generator=generator, dtype=dtype) + 0.1
            clouds.append(Cloud(points, mass / mass.sum(), label))
        return clouds

    return make


@pytest.fixture(scope="session")
def fuzz_turns() -> int:
    """Files that are made of each source and damaged; more of them with DDEQ_FUZZ=1000."""
    return int(os.environ.get("DDEQ_FUZZ", "150"))
