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
    with torch.inference_mode(False), torch.no_grad():
        generator = torch.Generator().manual_seed(seed)

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
    """``⟨θ_p, z_i⟩``, shape ``(..., P, n)``, for ``theta (P, d)`` and ``points (..., n, d)``."""
    return theta @ points.mT


def argsort(rows: Tensor) -> Tensor:
    """Indices that sort the last dimension; ties in any order.

    On the CPU by numpy, if it is there: its vectorised sort takes about a tenth of the time of
    torch's, and the sort is most of the work of a slice.
    """
    rows = rows.detach()
    if rows.device.type == "cpu" and type(rows) is Tensor and rows.dtype in _BY_NUMPY:
        numpy = _numpy()
        if numpy is not None:
            return torch.from_numpy(numpy.argsort(rows.numpy(), axis=-1))
    return rows.argsort(-1)


_BY_NUMPY = (torch.float32, torch.float64)


@lru_cache(maxsize=1)
def _numpy() -> ModuleType | None:
    try:
        import numpy

        torch.zeros(1).numpy()
    except (ImportError, RuntimeError):  # absent, or torch was built for another version of it
        return None
    return numpy
