"""Evaluations of f until its residual is below a tolerance, beside torchdeq's solvers.

Every solver gets the same map and start and no tolerance of its own; a wrapper counts the calls and
notes ‖f(z) − z‖ / ‖f(z)‖ of every sample at each. Reported is the call at which the last sample of
the batch had been below the tolerance. torchdeq's Anderson is shown with its own settings, and with
a ridge and memory like ours, which its defaults are not. "Krylov" is what no method that knows the
map by its values can undercut on a linear one: the residual of GMRES without restarts.
"""

import argparse
import contextlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.steps import Steps
from ddeq_data import Digits, MNISTPointCloud, ZScore
from ddeq_models.config import TrainConfig
from ddeq_models.registry import PRESETS
from wgf_solver import Anderson, Euler, Integrator, Measure, equilibrium

try:
    from torchdeq.solver.anderson import anderson_solver
    from torchdeq.solver.broyden import broyden_solver
    from torchdeq.solver.fp_iter import fixed_point_iter
except ImportError:
    anderson_solver = None

Function = Callable[[Tensor], Tensor]
Problem = tuple[Function, Tensor, tuple[float, ...]]

LINEAR = "linear contraction, 60 dimensions, spectrum 0 to 0.97"
OURS = {
    "Anderson()": Anderson(),
    "Anderson(memory=10)": Anderson(memory=10),
    "Euler(1)": Euler(1.0),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmark's own options."""
    parser.add_argument("--most", type=int, default=400, help="evaluations of f")
    parser.add_argument("--training", type=int, default=150, help="steps that train the cell")
    parser.add_argument("--root", help="folder of the MNIST files: clouds of MNIST, not of digits")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Count for each map, solver and tolerance."""
    rows = []
    for problem, (f, start, tolerances) in problems(options.training, options.root).items():
        for solver, solve in solvers(options.most).items():
            residuals = _watched(f, start, solve, options.most)
            for rtol in tolerances:
                below = residuals.cummin(0).values <= rtol
                done = below.all(-1)
                count = int(done.int().argmax()) + 1 if bool(done.any()) else None
                rows.append(
                    {"map": problem, "solver": solver, "rtol": rtol, "evaluations": count,
                     "smallest": float(residuals.amin(0).amax())}
                )  # fmt: skip
        if problem == LINEAR:
            rows += [
                {"map": problem, "solver": "Krylov", "rtol": rtol,
                 "evaluations": krylov(f, start, rtol)}
                for rtol in tolerances
            ]  # fmt: skip
    return {"most": options.most, "rows": rows}


def table(figures: dict[str, Any]) -> str:
    """A row for each map and tolerance, a column for each solver."""
    names = list(dict.fromkeys(r["solver"] for r in figures["rows"] if r["solver"] != "Krylov"))
    cases = list(dict.fromkeys((row["map"], row["rtol"]) for row in figures["rows"]))
    count = {(r["map"], r["rtol"], r["solver"]): r["evaluations"] for r in figures["rows"]}
    lines = [
        "| map | rtol | " + " | ".join(names) + " | Anderson() / best of torchdeq | Krylov |",
        "|" + " --- |" * (len(names) + 4),
    ]
    for case in cases:
        counts = [count[*case, name] for name in names]
        cells = [f"> {figures['most']}" if c is None else str(c) for c in counts]
        others = [c for c, n in zip(counts, names, strict=True) if n not in OURS and c is not None]
        mine = count[*case, "Anderson()"]
        ratio = "-" if mine is None or not others else f"{mine / min(others):.2f}"
        if mine is not None and not others:
            ratio = f"< {mine / figures['most']:.2f}"
        bound = count.get((*case, "Krylov"), "")
        lines.append(
            f"| {case[0]} | {case[1]:.0e} | " + " | ".join(cells) + f" | {ratio} | {bound} |"
        )
    return "\n".join(lines)


def solvers(most: int) -> dict[str, Callable[[Function, Tensor], Any]]:
    """Ours, then torchdeq's where it is installed; each runs until ``most`` calls or its end."""
    chosen = {name: _ours(integrator, most) for name, integrator in OURS.items()}
    if anderson_solver is None:
        return chosen

    def theirs(solver: Callable[..., Any], **options: Any) -> Callable[[Function, Tensor], Any]:
        return lambda f, start: solver(
            f, start, max_iter=most, tol=1e-30, stop_mode="rel", **options
        )

    return chosen | {
        "torchdeq Picard": theirs(fixed_point_iter),
        "torchdeq Anderson": theirs(anderson_solver),
        "torchdeq Anderson(lam=1e-10, m=10)": theirs(anderson_solver, lam=1e-10, m=10),
        "torchdeq Broyden": theirs(broyden_solver),
    }


def problems(training: int, root: str | None) -> dict[str, Problem]:
    """Maps of ``(batch, n, d)``, their starts, and the tolerances to reach."""
    cell, start = trained_cell(training, root)
    clouds = "digits" if root is None else "MNIST"
    return {
        LINEAR: (*contraction(), (1e-4, 1e-8)),
        f"trained DDEQ cell, 64 clouds of {clouds}": (cell, start, (1e-3, 1e-5)),
        "rotations and a projection, not expansive": (*rotations(), (1e-4, 1e-8)),
    }


def contraction() -> tuple[Function, Tensor]:
    """A linear contraction with its spectrum spread evenly over [0, 0.97]."""
    generator = torch.Generator().manual_seed(0)
    q, _ = torch.linalg.qr(torch.randn(60, 60, dtype=torch.float64, generator=generator))
    a = (q * torch.linspace(0, 0.97, 60, dtype=torch.float64)) @ q.mT
    b = torch.randn(60, dtype=torch.float64, generator=generator)
    return lambda z: (z[..., 0] @ a.mT + b)[..., None], torch.zeros(1, 60, 1, dtype=torch.float64)


def rotations() -> tuple[Function, Tensor]:
    """Ten planes turned by angles from 0.3 to 3, shifted, then cut off to a box: Picard cycles."""
    angles = torch.linspace(0.3, 3.0, 10, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    shift = 0.3 * torch.randn(10, 2, dtype=torch.float64, generator=generator)
    start = torch.randn(1, 10, 2, dtype=torch.float64, generator=generator)

    def f(z: Tensor) -> Tensor:
        x, y = z[..., 0], z[..., 1]
        turned = [angles.cos() * x - angles.sin() * y, angles.sin() * x + angles.cos() * y]
        return (torch.stack(turned, -1) + shift).clamp(-1, 1)

    return f, start


def trained_cell(steps: int, root: str | None) -> tuple[Function, Tensor]:
    """The cell of a DDEQ after a short training, on 64 test clouds; float32."""
    train, test = Digits("train"), Digits("test")
    if root is not None:
        train, test = MNISTPointCloud(root, split="train"), MNISTPointCloud(root, split="test")
    training = Steps(PRESETS["ddeq"], TrainConfig())
    for _ in training.train(train, steps):
        pass
    model: Any = training.model
    batch = test.__getitems__(list(range(64))).map(ZScore())
    model.eval().requires_grad_(False)
    context, marks = model.encode(batch.points, batch.weights), model.marks
    assert marks is not None
    start = marks.expand(64, *marks.shape[-2:]).clone()
    return lambda z: model.cell(z, marks, context), start


def krylov(f: Function, start: Tensor, rtol: float) -> int:
    """Calls of an affine ``f`` after which the least residual of a Krylov space is small enough."""
    first = f(start)
    b = (first - start).flatten()
    basis = [b / b.norm()]
    for k in range(b.numel()):
        v = torch.stack(basis, -1)  # (N, k + 1)
        moved = torch.stack(
            [q - (f(start + q.reshape(start.shape)) - first).flatten() for q in basis], -1
        )
        y = torch.linalg.lstsq(moved, b[:, None]).solution
        there = start + (v @ y).reshape(start.shape)
        image = f(there)
        if (image - there).norm() <= rtol * image.norm():
            return k + 2  # the first one, and one at the end of each step
        q = moved[:, -1]
        for _ in range(2):
            q = q - v @ (v.mT @ q)
        basis.append(q / q.norm())
    return b.numel() + 1


def _ours(integrator: Integrator, most: int) -> Callable[[Function, Tensor], Any]:
    return lambda f, start: equilibrium(
        lambda mu: mu.with_points(f(mu.points)),
        Measure(start),
        integrator=integrator,
        rtol=1e-30,
        max_steps=most,
        on_failure="ignore",
    )


@torch.no_grad()
def _watched(
    f: Function, start: Tensor, solve: Callable[[Function, Tensor], Any], most: int
) -> Tensor:
    """The residual of each sample at each call of ``f``, ``(calls, batch)``, at most ``most``."""
    seen: list[Tensor] = []

    def watched(z: Tensor) -> Tensor:
        image = f(z)
        size = image.flatten(1).norm(dim=1)
        seen.append((image - z).flatten(1).norm(dim=1) / size.clamp(min=1e-300))
        return image

    # torchdeq's Anderson ends in LinAlgError when its small system is singular; what it had
    # evaluated by then counts.
    with contextlib.suppress(torch.linalg.LinAlgError):
        solve(watched, start)
    residuals = torch.stack(seen[:most])
    return torch.where(residuals.isfinite(), residuals, math.inf)
