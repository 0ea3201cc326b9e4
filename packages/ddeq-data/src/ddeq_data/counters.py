"""Random numbers from counters: a pure function of a seed and a position.

A stream of random numbers depends on how many were drawn before, hence on padding, on the batch a
cloud happens to be in, and on the device. Numbers that are *looked up* by (seed, counter) depend
on neither. The mixing function is that of SplitMix64 (Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", OOPSLA 2014), which passes BigCrush.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["mix", "normal", "stream", "uniform"]


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _shift(bits: Tensor, by: int) -> Tensor:
    # Torch shifts signed integers arithmetically; the mask makes the shift logical.
    return (bits >> by) & ((1 << (64 - by)) - 1)


def mix(seed: Tensor, counter: Tensor) -> Tensor:
    """Return 64 mixed bits for each pair of seed and counter.

    Args:
        seed: int64, any shape.
        counter: int64, any shape that broadcasts with `seed`.

    Returns:
        int64 of the broadcast shape, equal on every device.
    """
    bits = seed + (counter + 1) * _GOLDEN
    bits = (bits ^ _shift(bits, 30)) * _FIRST
    bits = (bits ^ _shift(bits, 27)) * _SECOND
    return bits ^ _shift(bits, 31)


def stream(seeds: Tensor, number: int) -> Tensor:
    """Return further seeds, one for each of `seeds`; those of another number are independent."""
    return mix(seeds, seeds.new_tensor(number))


def uniform(seed: Tensor, counter: Tensor, dtype: torch.dtype) -> Tensor:
    """Return numbers uniform on [0, 1), with as many random bits as `dtype` holds (24 or 53)."""
    bits = 53 if dtype == torch.float64 else 24
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    return (_shift(mix(seed, counter), 64 - bits).to(wide) * 2.0**-bits).to(dtype)


def normal(seed: Tensor, counter: Tensor, dtype: torch.dtype) -> Tensor:
    """Return standard normal numbers (Box and Muller 1958), two counters spent on each."""
    radius = torch.sqrt(-2.0 * torch.log1p(-uniform(seed, 2 * counter, dtype)))
    return radius * torch.cos(2.0 * math.pi * uniform(seed, 2 * counter + 1, dtype))
