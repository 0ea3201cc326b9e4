"""Which kernel comes to rest, and where: the flow of ``½MMD²`` by the integrator it chooses itself.

Each from several random starts in float64: to a target of as many atoms as move, to one of four
times as many, to the fixed point of a map that draws all atoms to one place, and to that of an
iterated function system, which doubles their number. How near the end is to the answer is measured
by one yardstick for all kernels, the energy distance. The answer of the function system are 2¹²
atoms.
"""

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.solver.fractal import function_system
from wgf_solver import (
    MMD,
    Descent,
    DistanceTo,
    Energy,
    Gaussian,
    InverseMultiquadric,
    Kernel,
    Map,
    Measure,
    Multiquadric,
    Solution,
    equilibrium,
    gradient_flow,
)

Problem = Callable[[Kernel, Tensor, int], tuple[Solution, Measure]]
DEPTH = 12
TURN = torch.tensor([[0.5, 0.15], [-0.15, 0.5]], dtype=torch.float64)


def kernels() -> dict[str, Kernel]:
    """What is compared, for clouds of spread 1."""
    return {
        "Energy()": Energy(),
        "Gaussian(1.0)": Gaussian(1.0),
        "Gaussian(0.3) + Gaussian(1.0)": Gaussian(0.3) + Gaussian(1.0),
        "InverseMultiquadric(0.3)": InverseMultiquadric(0.3),
        "Multiquadric(0.1)": Multiquadric(0.1),
    }


def problems() -> dict[str, Problem]:
    """Solve from ``(starts, n, d)`` points in so many evaluations; beside it the answer."""
    return {
        "to as many atoms": lambda kernel, points, most: _flow(kernel, points, most, 1),
        "to four times as many": lambda kernel, points, most: _flow(kernel, points, most, 4),
        "a map to one place": _drawn_together,
        "function system (dragon)": _doubled,
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmark's own options."""
    parser.add_argument("--atoms", type=int, default=50)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=300, help="at most, before any probe")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Every problem with every kernel, from the same starts."""
    generator = torch.Generator().manual_seed(0)
    shape = (options.starts, options.atoms, 2)
    starts = torch.randn(shape, dtype=torch.float64, generator=generator)
    rows = []
    for problem, solve in problems().items():
        for name, kernel in kernels().items():
            solution, answer = solve(kernel, starts, options.evaluations)
            away = MMD(Energy())(solution.measure, answer)
            rows.append(
                {
                    "problem": problem,
                    "kernel": name,
                    "converged": solution.converged.tolist(),
                    "evaluations": solution.steps.tolist(),
                    "away": away.tolist(),
                }
            )
    return {"rows": rows}


def table(figures: dict[str, Any]) -> str:
    """A row for each problem and kernel."""
    lines = [
        "| problem | kernel | at rest | evaluations: median, largest"
        " | energy distance to the answer: median, largest |",
        "|" + " --- |" * 5,
    ]
    for row in figures["rows"]:
        done, steps, away = row["converged"], row["evaluations"], row["away"]
        lines.append(
            f"| {row['problem']} | `{row['kernel']}` | {sum(done)} of {len(done)} | "
            f"{statistics.median(steps):.0f}, {max(steps)} | "
            f"{statistics.median(away):.1e}, {max(away):.1e} |"
        )
    return "\n".join(lines)


def _flow(kernel: Kernel, points: Tensor, most: int, times: int) -> tuple[Solution, Measure]:
    generator = torch.Generator().manual_seed(1)
    *batch, n, d = points.shape
    target = torch.randn(*batch, times * n, d, dtype=points.dtype, generator=generator)
    answer = Measure(0.5 * target + 1)
    functional = DistanceTo(MMD(kernel), answer)
    solution = gradient_flow(functional, Measure(points), max_steps=most, on_failure="ignore")
    return solution, answer


def _drawn_together(kernel: Kernel, points: Tensor, most: int) -> tuple[Solution, Measure]:
    def f(mu: Measure) -> Measure:
        return mu.with_points(torch.tanh(mu.points) @ TURN + 1)

    root = Measure(points)
    for _ in range(200):  # it contracts
        root = f(root)
    return _brought_to_rest(f, kernel, points, most), root


def _doubled(kernel: Kernel, points: Tensor, most: int) -> tuple[Solution, Measure]:
    f = function_system("dragon")
    answer = Measure(points.new_zeros(1, 2))
    for _ in range(DEPTH):
        answer = f(answer)
    batch = points.shape[:-2]
    many = answer.points.expand(*batch, *answer.points.shape)
    return _brought_to_rest(f, kernel, points, most), Measure(many)


def _brought_to_rest(f: Map, kernel: Kernel, points: Tensor, most: int) -> Solution:
    return equilibrium(
        f,
        Measure(points),
        velocity=Descent(MMD(kernel)),
        max_steps=most,
        on_failure="ignore",
    )
