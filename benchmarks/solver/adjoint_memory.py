"""Peak memory of a solve and its gradient by the number of steps, for each adjoint.

Counted are the bytes of all tensors that are alive at once, those that the graph of autograd holds
among them, from the first step to the last gradient; the parameters and the start are counted too.
The map contracts so slowly that every step of the budget is made.
"""

import argparse
import warnings
from typing import Any

import torch
from torch import nn

from benchmarks.live_bytes import LiveBytes, growth_table
from wgf_solver import (
    Adjoint,
    AdjointWarning,
    Anderson,
    Implicit,
    Measure,
    Phantom,
    Unrolled,
    equilibrium,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmark's own options."""
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--particles", type=int, default=10)
    parser.add_argument("--dim", type=int, default=32)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Peak bytes for each adjoint and number of steps."""
    rows: dict[str, dict[str, int]] = {}
    for name in ("Implicit()", "Phantom(1)", "Unrolled(all steps)"):
        rows[name] = {}
        for steps in options.steps:
            adjoint: Adjoint = {
                "Implicit()": Implicit(), "Phantom(1)": Phantom(1),
            }.get(name) or Unrolled(steps)  # fmt: skip
            peak = peak_of(adjoint, steps, options.batch, options.particles, options.dim)
            rows[name][str(steps)] = peak
    return {"peak_bytes": rows}


def table(figures: dict[str, Any]) -> str:
    """A row for each adjoint, in MB, and by how much the largest figure exceeds the smallest."""
    return growth_table(figures["peak_bytes"], "adjoint", "steps")


def peak_of(adjoint: Adjoint, steps: int, batch: int, particles: int, dim: int) -> int:
    """Of one solve of exactly so many steps and one gradient of all parameters."""
    torch.manual_seed(0)
    with LiveBytes() as counter, warnings.catch_warnings():
        warnings.simplefilter("ignore", AdjointWarning)  # 150 products may not be enough
        turn = nn.utils.parametrizations.orthogonal(nn.Linear(dim, dim, bias=False))
        mix = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, dim))

        def f(mu: Measure) -> Measure:
            turned = turn(mu.points) + 1e-3 * mix(mu.points + mu.mean()[..., None, :])
            return mu.with_points(0.9999 * turned)

        start = Measure(torch.randn(batch, particles, dim))
        solution = equilibrium(
            f, start, integrator=Anderson(memory=5, growth=1e9, patience=10**6), adjoint=adjoint,
            rtol=1e-30, max_steps=steps, on_failure="ignore",
        )  # fmt: skip
        solution.measure.points.square().sum().backward()
        assert turn.parametrizations.weight.original.grad is not None
    if int(solution.steps.max()) != steps:
        raise RuntimeError(f"the solve ended after {solution.steps.tolist()} of {steps} steps")
    return counter.peak
