"""What a caller asks of a solve, beside the three choices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from wgf_solver.arrays import Array
from wgf_solver.evaluation import Evaluation
from wgf_solver.measure import Measure

Callback: TypeAlias = Callable[[int, Measure, Evaluation], None]
"""``callback(step, measure, evaluation)``, called at each evaluation with detached tensors."""

OnFailure: TypeAlias = Literal["warn", "raise", "ignore"]


@dataclass(frozen=True)
class Options:
    """See the arguments of `wgf_solver.equilibrium`."""

    rtol: float = 1e-4
    atol: float = 0.0
    max_steps: int = 200
    check_every: int | None = None
    on_failure: OnFailure = "warn"
    callback: Callback | None = None
    progress: bool = False
    trajectory: bool = False
    held: Tensor | Array | None = None

    def __post_init__(self) -> None:
        if self.on_failure not in ("warn", "raise", "ignore"):
            raise ValueError(
                f"on_failure must be 'warn', 'raise' or 'ignore'; got {self.on_failure!r}"
            )
        every = self.check_every
        if not self.rtol > 0 or self.max_steps < 1 or (every is not None and every < 1):
            raise ValueError(
                "rtol must be positive, max_steps and check_every at least 1; got "
                f"rtol={self.rtol}, max_steps={self.max_steps}, check_every={every}"
            )
        if not self.atol >= 0:
            raise ValueError(f"atol must not be negative; got {self.atol}")

    def look_every(self, device: torch.device) -> int:
        """Steps between looks at the device: each on the CPU, every 8th where it waits for one."""
        if self.check_every is not None:
            return self.check_every
        return 1 if device.type == "cpu" else 8
