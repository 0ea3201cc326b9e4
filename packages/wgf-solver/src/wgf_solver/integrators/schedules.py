"""Schedules: functions of the step number, for the length of steps and for levels of noise."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class GeometricDecay:
    """``τ_k = start · ratio^k``: what lets a constant pull (the energy kernel's) settle.

    With ``ratio < 1`` the steps have a finite sum, ``start / (1 − ratio)``: a flow that needs more
    time than that stops on its way.
    """

    start: float
    ratio: float

    def __call__(self, k: int) -> float:
        """``τ_k``."""
        return self.start * self.ratio**k


@dataclass(frozen=True)
class PolynomialDecay:
    """``τ_k = start / (1 + k/scale)^power``.

    With ``½ < power ≤ 1`` the steps have an infinite sum and a finite sum of squares (Robbins and
    Monro 1951): the flow gets arbitrarily far, and settles.
    """

    start: float
    scale: float = 1.0
    power: float = 1.0

    def __post_init__(self) -> None:
        if not (self.scale > 0 and self.power >= 0):
            raise ValueError(
                "scale must be positive and power not negative; got "
                f"scale={self.scale}, power={self.power}"
            )

    def __call__(self, k: int) -> float:
        """``τ_k``."""
        return self.start * math.pow(1 + k / self.scale, -self.power)


@dataclass(frozen=True)
class CosineDecay:
    """From ``start`` to ``end`` along half a wave in ``steps`` steps, and ``end`` after that."""

    start: float
    steps: int
    end: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.end >= 0:
            raise ValueError(
                "steps must be at least 1 and end not negative; got "
                f"steps={self.steps}, end={self.end}"
            )

    def __call__(self, k: int) -> float:
        """``τ_k``."""
        part = min(k / self.steps, 1.0)
        return self.end + (self.start - self.end) * 0.5 * (1 + math.cos(math.pi * part))
