"""What a solve leaves behind: where its measures were, at what times, and at what energies."""

from __future__ import annotations

import torch
from torch import Tensor


class Record:
    """Whether each evaluation was wanted by a measure that ran and, where asked for, what it saw.

    Evaluations after the last that was wanted are left out of all that is told: how often the
    driver looks changes no result.

    Args:
        trajectory: keep points and times.
        energies: keep discrepancies.
    """

    def __init__(self, *, trajectory: bool, energies: bool) -> None:
        self._wanted: list[Tensor] = []  # () bool each
        self._points: list[Tensor] | None = [] if trajectory else None
        self._energies: list[Tensor] | None = [] if energies else None
        self._times = [0.0]

    def evaluated(self, wanted: Tensor, points: Tensor, energy: Tensor) -> None:
        """Take in one evaluation."""
        self._wanted.append(wanted)
        if self._points is not None:
            self._points.append(points)
        if self._energies is not None:
            self._energies.append(energy)

    def stepped(self, step: float) -> None:
        """Take in the step to the next evaluation."""
        self._times.append(self._times[-1] + step)

    def jumped(self) -> int:
        """Go on from the last evaluation that was wanted; returns how many were.

        A jump takes no time.
        """
        wanted = torch.stack(self._wanted)
        self._times.append(self._times[int(wanted.nonzero().max())])
        return int(wanted.sum())

    @property
    def trajectory(self) -> Tensor | None:
        """``(K, ..., n, d)``, the points at each evaluation."""
        return self._selected(self._points)

    @property
    def energies(self) -> Tensor | None:
        """``(K, ...)``."""
        return self._selected(self._energies)

    @property
    def times(self) -> Tensor | None:
        """The flow's time ``(K,)`` at each point of the trajectory; on the CPU, in float64.

        Not every device has float64, and a few numbers need none.
        """
        if self._points is None:
            return None
        times = torch.tensor(self._times[: len(self._points)], dtype=torch.float64)
        return times[torch.stack(self._wanted).cpu()]

    def _selected(self, each: list[Tensor] | None) -> Tensor | None:
        if each is None:
            return None
        stacked, wanted = torch.stack(each), torch.stack(self._wanted)
        return stacked if wanted.is_meta else stacked[wanted]
