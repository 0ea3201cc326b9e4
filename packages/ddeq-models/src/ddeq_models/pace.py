"""How long steps take, and the solver in them."""

import time

from torch import nn


class Pace:
    """Wall-clock seconds of a training step, and of its forward solve, since the last look.

    A model that solves adds the seconds of each forward solve up in an attribute `solver_seconds`.
    On a GPU a solve is over when its last look at the device was, which is some steps early.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._start, self._solved = time.perf_counter(), self._solver_seconds()

    def look(self, steps: int) -> dict[str, float]:
        """Means over the steps since the last look.

        Args:
            steps: How many there were.

        Returns:
            ``step_seconds``, and, of a model that solves, ``solver_seconds``.
        """
        now, solved = time.perf_counter(), self._solver_seconds()
        means = {"step_seconds": round((now - self._start) / steps, 6)}
        if solved is not None and self._solved is not None:
            means["solver_seconds"] = round((solved - self._solved) / steps, 6)
        self._start, self._solved = now, solved
        return means

    def _solver_seconds(self) -> float | None:
        seconds: float | None = getattr(self.model, "solver_seconds", None)
        return seconds
