"""Evaluations of F until ½MMD² ≤ 1e-9 on iterated function systems, from 20 random starts each.

50 particles, kernels Gaussian(0.3) + Gaussian(1.0), frozen field, float64. Beside our integrators:
Euler's method and Anderson acceleration that nothing safeguards. Counted are all calls of F that
the solve of a start made, with those that probed its root. "Spurious" are starts that were called
converged with more than a hundred times the discrepancy of the best one of any start and method:
how near 50 atoms come to a fractal depends on it, and need not be the goal.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wgf_solver import (
    LBFGS,
    MMD,
    Anderson,
    BarzilaiBorwein,
    Descent,
    Euler,
    Evaluation,
    Gaussian,
    Integrator,
    Map,
    Measure,
    VelocityField,
    equilibrium,
)

ISSUE = "segment"
_FACTOR = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmark's own options."""
    parser.add_argument("--systems", nargs="+", choices=sorted(systems()), default=[*systems()])
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--goal", type=float, default=1e-9)
    parser.add_argument("--rtol", type=float, default=3e-6)
    parser.add_argument("--evaluations", type=int, default=450, help="before any probe of a root")
    parser.add_argument("--euler", type=int, default=3000, help="evaluations that Euler may use")
    parser.add_argument("--only", nargs="+", choices=sorted(methods()), help="methods to run")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Solve every system by every method; the slow ones on the issue's system alone."""
    rows = []
    for system in options.systems:
        for name, method in methods().items():
            if options.only and name not in options.only:
                continue
            if method.beside and system != ISSUE:
                continue
            budget = options.euler if name == "Euler(0.3)" else options.evaluations
            rows.append(
                {"system": system, "method": name, **_solve(system, method, budget, options)}
            )
        mine = [row for row in rows if row["system"] == system]
        least = min(min(row["discrepancy"]) for row in mine)
        for row in mine:
            ends = zip(row["discrepancy"], row["converged"], strict=True)
            row["spurious"] = sum(
                done and d > max(_FACTOR * least, options.goal) for d, done in ends
            )
    return {"goal": options.goal, "rows": rows}


def table(figures: dict[str, Any]) -> str:
    """A row for each system and method, and the starts of the issue's system by ours."""
    lines = [
        f"evaluations of F until ½MMD² ≤ {figures['goal']:.0e}, median and largest over the starts",
        "",
        "| system | method | reached | median | largest | whole solve, with probes | largest"
        " final ½MMD² | converged | spurious | pulls | seconds |",
        "|" + " --- |" * 11,
    ]
    for row in figures["rows"]:
        hits = [h for h in row["first"] if h is not None]
        middle = f"{statistics.median(hits):.0f} | {max(hits)}" if hits else "- | -"
        reached = f"{len(hits)} of {len(row['first'])}"
        lines.append(
            f"| {row['system']} | {row['method']} | {reached} | {middle} | "
            f"{max(row['total'])} | {max(row['discrepancy']):.1e} | {sum(row['converged'])} | "
            f"{row['spurious']} | {row['pulls']:,} | {row['seconds']:.1f} |"
        )
    shown = [row for row in figures["rows"] if row["system"] == ISSUE]
    if shown:
        lines += ["", "| start | " + " | ".join(row["method"] for row in shown) + " |"]
        lines.append("|" + " --- |" * (len(shown) + 1))
        for i in range(len(shown[0]["first"])):
            cells = (f"{row['first'][i] or 'never'} ({row['discrepancy'][i]:.0e})" for row in shown)
            lines.append(f"| {i} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Method:
    """An integrator, whether ``D`` may hold it, and whether it is shown for comparison only."""

    integrator: Integrator
    blind: bool = False
    beside: bool = False


def methods() -> dict[str, Method]:
    """Ours, then what they are compared with."""
    return {
        "LBFGS()": Method(LBFGS()),
        "LBFGS(inner_steps=1)": Method(LBFGS(inner_steps=1)),
        "BarzilaiBorwein(inner_steps=20)": Method(BarzilaiBorwein(inner_steps=20)),
        "Anderson(step=0.3)": Method(Anderson(step=0.3), beside=True),
        "plain Anderson": Method(
            Anderson(step=0.3, growth=1e30, patience=10**9), blind=True, beside=True
        ),
        "Euler(0.3)": Method(Euler(0.3), beside=True),
    }


def systems() -> dict[str, tuple[list[Any], list[Any]]]:
    """Matrices and shifts of the maps, each taken with the same probability."""
    half = [[0.5, 0.0], [0.0, 0.5]]
    turn = [[0.5, -0.5], [0.5, 0.5]], [[-0.5, -0.5], [0.5, -0.5]]
    return {
        ISSUE: ([half, half], [[-0.5, -0.25], [0.5, 0.25]]),
        "sheared": (
            [[[0.5, 0.1], [0.0, 0.5]], [[0.4, -0.2], [0.3, 0.4]]], [[0.3, -0.2], [-0.5, 0.4]],
        ),
        "Sierpinski": ([half] * 3, [[0.0, 0.0], [0.5, 0.0], [0.25, math.sqrt(3) / 4]]),
        "dragon": ([*turn], [[0.0, 0.0], [1.0, 0.0]]),
    }  # fmt: skip


def function_system(name: str) -> Map:
    """``F(μ) = Σ_k (A_k # μ) / K``."""
    matrices, shifts = (torch.tensor(t, dtype=torch.float64) for t in systems()[name])

    def f(mu: Measure) -> Measure:
        images = [mu.points @ a.T + b for a, b in zip(matrices, shifts, strict=True)]
        return Measure(torch.cat(images, -2), torch.cat([mu.weights] * len(images), -1))

    return f


class _Counted:
    """The field, counting pulls and hiding what descends from a method that is blind."""

    def __init__(self, field: VelocityField, blind: bool) -> None:
        self.field, self.descends, self.pulls = field, not blind, 0

    def __call__(self, f: Map, mu: Measure) -> Evaluation:
        evaluation = self.field(f, mu)
        self.pulls += 1
        held = evaluation.held
        if held is None:
            return evaluation
        return evaluation._replace(held=self._counted(held))

    def _counted(self, held: Callable[..., Any]) -> Callable[..., Any]:
        def counted(points: Tensor) -> tuple[Tensor, Tensor]:
            self.pulls += 1
            result: tuple[Tensor, Tensor] = held(points)
            return result

        return counted


def _solve(system: str, method: Method, budget: int, options: argparse.Namespace) -> dict[str, Any]:
    starts = [
        torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        for seed in range(options.starts)
    ]
    first = torch.zeros(options.starts, dtype=torch.int64)

    def watch(step: int, mu: Measure, evaluation: Evaluation) -> None:
        hit = (evaluation.discrepancy <= options.goal) & (first == 0)
        first[hit] = step

    kernel = Gaussian(0.3) + Gaussian(1.0)
    field = _Counted(Descent(MMD(kernel), "frozen"), method.blind)
    seconds = time.perf_counter()
    solution = equilibrium(
        function_system(system),
        Measure(torch.stack(starts)),
        velocity=field,
        integrator=method.integrator,
        rtol=options.rtol,
        max_steps=budget,
        callback=watch,
        on_failure="ignore",
    )
    seconds = time.perf_counter() - seconds
    assert solution.probe_steps is not None
    return {
        "first": [int(k) or None for k in first],
        "total": (solution.steps + solution.probe_steps).tolist(),
        "discrepancy": solution.discrepancy.tolist(),
        "converged": solution.converged.tolist(),
        "pulls": field.pulls,
        "seconds": seconds,
    }
