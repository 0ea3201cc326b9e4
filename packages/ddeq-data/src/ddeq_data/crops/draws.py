"""What the crops draw, by counters: a function of a cloud's seed and of where its points are."""

from __future__ import annotations

import torch
from torch import Tensor

from ddeq_data.counters import mix, normal, stream

__all__ = ["CENTRE", "SHARE", "directions", "place_keys"]

# What a cloud's seed is mixed with, for draws that are independent of each other.
_DIRECTION, SHARE, _ORDER, CENTRE = range(4)
_LARGEST = torch.iinfo(torch.int64).max


def place_keys(points: Tensor, seeds: Tensor) -> Tensor:
    """Return (B, n) random numbers >= 0 for the places of points, looked up by coordinates."""
    bits = stream(seeds, _ORDER)[:, None]
    number = torch.int64 if points.dtype == torch.float64 else torch.int32
    for axis in range(points.shape[-1]):
        # Adding 0 turns -0 into 0, which is the same place.
        own = (points[..., axis] + 0.0).contiguous().view(number).to(torch.int64)
        bits = mix(bits, own)
    return bits.expand(points.shape[:-1]) & (_LARGEST >> 1)


def directions(seeds: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    """Return (B, d), a direction uniform on the sphere for each cloud."""
    own = stream(seeds, _DIRECTION)[:, None]
    axes = torch.arange(dim, device=seeds.device)
    return torch.nn.functional.normalize(normal(own, axes, dtype), dim=-1)
