"""Time of a solver step beyond the evaluation of f, on a cell of half a million parameters.

Batch 64, 10 particles, 128 dimensions, float32, Residual with Anderson. A solve of k steps that
cannot converge, minus k bare evaluations of the same map, in one process and interleaved; minima.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from wgf_solver import Anderson, Euler, Integrator, Measure, equilibrium

BATCH, PARTICLES, DIM, HIDDEN = 64, 10, 128, 512


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmark's own options."""
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--context", type=int, default=150, help="points the cell attends to")


@torch.no_grad()
def run(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds a step: bare, and beyond that for each integrator."""
    torch.manual_seed(0)
    cell = _Cell(torch.randn(BATCH, options.context, DIM)).eval()
    start = torch.randn(BATCH, PARTICLES, DIM)
    integrators: dict[str, Integrator] = {
        "Anderson()": Anderson(), "Anderson(memory=10)": Anderson(memory=10), "Euler(1)": Euler(1.0),
    }  # fmt: skip

    def bare() -> None:
        z = start
        for _ in range(options.steps):
            z = cell(z)

    def solve(integrator: Integrator) -> None:
        equilibrium(
            lambda mu: mu.with_points(cell(mu.points)), Measure(start), integrator=integrator,
            rtol=1e-30, max_steps=options.steps, on_failure="ignore",
        )  # fmt: skip

    spans: dict[str, list[float]] = {name: [] for name in ("bare", *integrators)}
    for _ in range(options.repeats):
        spans["bare"].append(_seconds(bare))
        for name, integrator in integrators.items():
            spans[name].append(_seconds(lambda chosen=integrator: solve(chosen)))
    best = {name: min(values) / options.steps for name, values in spans.items()}
    return {
        "parameters": sum(p.numel() for p in cell.parameters()),
        "bare_seconds": best["bare"],
        "beyond_seconds": {name: best[name] - best["bare"] for name in integrators},
    }


def table(figures: dict[str, Any]) -> str:
    """A row for each integrator."""
    bare = figures["bare_seconds"]
    lines = [
        f"a cell of {figures['parameters']:,} parameters: {1e3 * bare:.2f} ms an evaluation",
        "",
        "| integrator | ms a step beyond it | part |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {name} | {1e3 * beyond:.2f} | {beyond / bare:.1%} |"
        for name, beyond in figures["beyond_seconds"].items()
    ]
    return "\n".join(lines)


class _Cell(nn.Module):
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
        attended = z + self.attend(z, z, z, need_weights=False)[0]
        attended = (
            attended + self.cross(attended, self.context, self.context, need_weights=False)[0]
        )
        return self.norm(attended + self.forward_layers(attended))


def _seconds(call: Callable[[], None]) -> float:
    before = time.perf_counter()
    call()
    return time.perf_counter() - before
