"""Time of a solver step beyond the evaluation of f, on a cell of half a million parameters.

Batch 64, 10 particles, 128 dimensions, float32, Residual with Anderson, on solves of so many steps
that cannot converge. A clock is read when f is entered and left: what is between two calls is the
solver's, what is within is not. For each step the median over the repeats, which runs of
other processes do not move; the mean of those over the steps. Beside the time the number of
PyTorch's operations, which no machine changes.

    hatch run bench solver-overhead --small    one measure of 10 particles in 2 dimensions
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from wgf_solver import Anderson, Euler, Integrator, Measure, equilibrium

BATCH, PARTICLES, DIM, HIDDEN = 64, 10, 128, 512
INTEGRATORS: dict[str, Integrator] = {
    "Anderson()": Anderson(),
    "Anderson(memory=10)": Anderson(memory=10),
    "Euler(1)": Euler(1.0),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmark's own options."""
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--context", type=int, default=150, help="points the cell attends to")
    parser.add_argument(
        "--small", action="store_true", help="a map and a measure that cost nothing"
    )


@torch.no_grad()
def run(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds a step: in f, and beyond that for each integrator."""
    torch.manual_seed(0)
    cell: Callable[[Tensor], Tensor]
    if options.small:  # without a fixed point, so that nothing converges
        cell, start, parameters = _drift, torch.randn(1, PARTICLES, 2), 0
    else:
        cell = Cell(torch.randn(BATCH, options.context, DIM)).eval()
        start = torch.randn(BATCH, PARTICLES, DIM)
        parameters = sum(p.numel() for p in cell.parameters())
    spans: dict[str, list[list[float]]] = {name: [] for name in INTEGRATORS}
    for _ in range(options.repeats):
        for name, integrator in INTEGRATORS.items():
            clock = _readings(cell, start, integrator, options.steps, time.perf_counter)
            spans[name].append(clock)
    rows = {}
    for name, clocks in spans.items():
        # (repeats, steps, 2): entered, left.
        times = torch.tensor(clocks, dtype=torch.float64).reshape(len(clocks), options.steps, 2)
        within = (times[:, :, 1] - times[:, :, 0])[:, 1:].median(0).values.mean()
        beyond = (times[:, 1:, 0] - times[:, :-1, 1]).median(0).values.mean()
        rows[name] = {
            "within_seconds": float(within),
            "beyond_seconds": float(beyond),
            "operations": _operations(cell, start, INTEGRATORS[name], options.steps),
        }
    return {"parameters": parameters, "rows": rows}


def table(figures: dict[str, Any]) -> str:
    """A row for each integrator."""
    lines = [
        f"a cell of {figures['parameters']:,} parameters",
        "",
        "| integrator | ms in f | ms a step beyond it | part | operations beyond it |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, row in figures["rows"].items():
        within, beyond = row["within_seconds"], row["beyond_seconds"]
        lines.append(
            f"| {name} | {1e3 * within:.3f} | {1e3 * beyond:.3f} | {beyond / within:.1%} "
            f"| {row['operations']:.1f} |"
        )
    return "\n".join(lines)


def _drift(z: Tensor) -> Tensor:
    return z + 1 + 0.5 * (3 * z).sin()


class Cell(nn.Module):
    """Self-attention, cross-attention to a fixed context and a feed-forward layer."""

    def __init__(self, context: Tensor) -> None:
        super().__init__()
        self.context = context
        self.attend = nn.MultiheadAttention(DIM, 4, batch_first=True)
        self.cross = nn.MultiheadAttention(DIM, 4, batch_first=True)
        self.forward_layers = nn.Sequential(
            nn.Linear(DIM, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU(),
            nn.Linear(HIDDEN, DIM),
        )  # fmt: skip
        self.norm = nn.LayerNorm(DIM)

    def forward(self, z: Tensor) -> Tensor:
        """Particles ``(batch, n, DIM)`` moved, in the same shape."""
        attended = z + self.attend(z, z, z, need_weights=False)[0]
        attended = (
            attended + self.cross(attended, self.context, self.context, need_weights=False)[0]
        )
        return self.norm(attended + self.forward_layers(attended))


class Operations(TorchDispatchMode):
    """Counts what PyTorch is asked for, views and looks at values among them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += 1
        return function(*args, **(kwargs or {}))


def _operations(
    cell: Callable[[Tensor], Tensor], start: Tensor, integrator: Integrator, steps: int
) -> float:
    """How many operations a step has beyond f, on average."""
    with Operations() as operations:
        counts = torch.tensor(_readings(cell, start, integrator, steps, lambda: operations.count))
    return float((counts[2::2] - counts[1:-1:2]).float().mean())


def _readings(
    cell: Callable[[Tensor], Tensor],
    start: Tensor,
    integrator: Integrator,
    steps: int,
    read: Callable[[], float],
) -> list[float]:
    """What is read when f is entered and left, in turn."""
    readings: list[float] = []

    def f(mu: Measure) -> Measure:
        readings.append(read())
        image = mu.with_points(cell(mu.points))
        readings.append(read())
        return image

    equilibrium(
        f, Measure(start), integrator=integrator, rtol=1e-30, max_steps=steps, on_failure="ignore"
    )
    return readings
