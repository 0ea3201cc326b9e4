"""Directions to project measures on, and the sorting of what is projected."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from types import ModuleType

import torch
from torch import Tensor

# Numbers that the projections of one chunk of slices may hold.
_CHUNK_ELEMENTS = 2**20


def directions(count: int, dim: int, seed: int, like: Tensor) -> Tensor:
    """``count`` unit vectors ``(count, dim)``, evenly spread, on the device of ``like``.

    A function of its arguments: the same slices in every call, on every device. One in dimension
    1; equal angles in dimension 2 and a spiral over the half sphere in dimension 3, randomly
    turned; blocks of orthonormal directions, each block randomly turned, above.
    """
    slices: Tensor = _directions(1 if dim == 1 else count, dim, seed)
    return slices.to(like)


@lru_cache(maxsize=64)
def _directions(count: int, dim: int, seed: int) -> Tensor:
    # The result is kept for all devices, so it is made on the CPU, whatever the default device is.
    with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):
        generator = torch.Generator("cpu").manual_seed(seed)

        def rotations(number: int) -> Tensor:
            normal = torch.randn(number, dim, dim, generator=generator, dtype=torch.float64)
            q, r = torch.linalg.qr(normal)
            haar: Tensor = q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None, :]
            return haar

        if dim == 0:
            return torch.zeros(count, 0, dtype=torch.float64)
        if dim == 1:
            return torch.ones(1, 1, dtype=torch.float64)
        k = torch.arange(count, dtype=torch.float64)
        if dim == 2:
            angles = math.pi * k / count
            return torch.stack([angles.cos(), angles.sin()], -1) @ rotations(1)[0]
        if dim == 3:
            height, angles = (k + 0.5) / count, math.pi * (3 - math.sqrt(5)) * k
            radius = (1 - height.square()).sqrt()
            spiral = torch.stack([radius * angles.cos(), radius * angles.sin(), height], -1)
            return spiral @ rotations(1)[0]
        return rotations(-(-count // dim)).reshape(-1, dim)[:count]


def chunks(slices: Tensor, *clouds: Tensor) -> Iterator[Tensor]:
    """Rows of ``slices (P, d)`` such that the projections of all ``clouds`` stay bounded."""
    numbers = sum(cloud.shape[:-1].numel() for cloud in clouds)
    step = max(1, _CHUNK_ELEMENTS // max(numbers, 1))
    for start in range(0, slices.shape[0], step):
        yield slices[start : start + step]


def project(theta: Tensor, points: Tensor) -> Tensor:
    """``⟨θ_p, z_i⟩``, shape ``(..., P, n)``, for ``theta (P, d)`` and ``points (..., n, d)``.

    Points that coincide have projections that do, bit for bit. A product of matrices does not give
    that: it rounds its last few columns otherwise than the rest. So the sum over coordinates is
    written out, with the slices in front, where its loops are long.
    """
    batch, (n, d) = points.shape[:-2], points.shape[-2:]
    coordinates = points.movedim(-1, 0).contiguous()  # (d, ..., n)
    columns = theta.mT.reshape(d, len(theta), *[1] * (len(batch) + 1))  # (d, P, 1, ..., 1)
    sums = points.new_zeros(theta.shape[0], *batch, n)
    for column, coordinate in zip(columns, coordinates, strict=True):
        sums = sums.addcmul_(column, coordinate)
    return sums.movedim(0, -2)


def argsort(rows: Tensor) -> Tensor:
    """Indices that sort the last dimension; ties in any order."""
    return sort(rows)[1]


def sort(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The rows sorted along the last dimension, without a gradient, and the indices that do it.

    On the CPU by numpy, if it is there: its vectorised sort takes about a tenth of the time of
    torch's, and the sort is most of the work of a slice. Ties come in any order.
    """
    rows = rows.detach()
    if rows.device.type == "cpu" and type(rows) is Tensor and rows.dtype in _BY_NUMPY:
        numpy = _numpy()
        if numpy is not None:
            if rows.dtype == torch.float32:
                return _sort_packed(rows)
            order = torch.from_numpy(numpy.argsort(rows.numpy(), axis=-1))
            return rows.gather(-1, order), order
    values, order = rows.sort(-1)
    return values, order


def _sort_packed(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Value and index packed in one integer: a sort of numbers alone, a third of an argsort.

    The bits of a float, read as an integer with sign and magnitude, are in the order of the floats.
    """
    bits = _signed(rows.view(torch.int32))
    keys = (bits.long() << 32) | torch.arange(rows.shape[-1], device=rows.device)
    keys.numpy().sort(axis=-1)
    return _signed((keys >> 32).int()).view(torch.float32), keys & 0xFFFFFFFF


def _signed(bits: Tensor) -> Tensor:
    """From sign and magnitude to two's complement, and back."""
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


_BY_NUMPY = (torch.float32, torch.float64)


@lru_cache(maxsize=1)
def _numpy() -> ModuleType | None:
    try:
        import numpy

        torch.zeros(1, device="cpu").numpy()
    except (ImportError, RuntimeError):  # absent, or torch was built for another version of it
        return None
    return numpy
