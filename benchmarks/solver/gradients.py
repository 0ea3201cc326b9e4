"""How far the implicit gradient is from central differences of the re-solved problem, in float64.

For each velocity field and adjoint, and for a map that returns twice as many atoms as it is given;
also what the one-step phantom gradient, which users of other libraries get by default, makes of it.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from wgf_solver import (
    GMRES,
    MMD,
    Adjoint,
    Anderson,
    Descent,
    Gaussian,
    Implicit,
    Map,
    Measure,
    Phantom,
    Residual,
    Transport,
    Unrolled,
    VelocityField,
    equilibrium,
)

# A smooth kernel makes ∂v/∂Z ill-conditioned (1e5 here): the default rtol of 1e-10 leaves 1e-5.
EXACT = Implicit(GMRES(rtol=1e-13))

Problem = tuple[Callable[[Tensor], Map], VelocityField, Tensor, float, bool]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmark's own options."""
    parser.add_argument("--step", type=float, default=1e-5, help="of the central differences")
    parser.add_argument("--rtol", type=float, default=1e-12, help="of every solve")
    parser.add_argument("--parameters", type=int, help="of each problem, at most [all]")
    parser.add_argument("--unrolled", type=int, default=300, help="steps of `Unrolled`")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Relative errors ``‖g − g_fd‖ / ‖g_fd‖`` over all parameters of each problem."""
    rows = {}
    for name, (build, velocity, parameters, tau, labelled) in problems().items():
        start = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        seconds = time.perf_counter()
        exact, solution = gradient(build, velocity, parameters, start, tau, EXACT, options.rtol)
        seconds = time.perf_counter() - seconds
        root = solution.measure.points.detach()
        difference = central_differences(
            build, velocity, parameters, root, tau, options.step, options.rtol, options.parameters
        )
        others: dict[str, Adjoint] = {
            "phantom_1": Phantom() if labelled else Phantom(velocity=None),
            "phantom_50": Phantom(50) if labelled else Phantom(50, velocity=None),
            f"unrolled_{options.unrolled}": Unrolled(options.unrolled),
        }
        gradients = {"implicit": exact} | {
            key: gradient(build, velocity, parameters, start, tau, adjoint, options.rtol)[0]
            for key, adjoint in others.items()
        }
        rows[name] = {
            "errors": {
                key: float((found[: len(difference)] - difference).norm() / difference.norm())
                for key, found in gradients.items()
            },
            "residual": float(solution.residual),
            "evaluations": int(solution.steps),
            "adjoint_products": int(solution.adjoint.steps),
            "seconds": seconds,
        }
    return {"problems": rows}


def table(figures: dict[str, Any]) -> str:
    """A row for each problem, a column for each adjoint."""
    rows = figures["problems"]
    adjoints = list(next(iter(rows.values()))["errors"])
    names = " | ".join(f"error of {adjoint.replace('_', ' ')}" for adjoint in adjoints)
    lines = [
        f"| velocity field, map | {names} | residual | evaluations | adjoint products |",
        "| --- |" + " --- |" * (len(adjoints) + 3),
    ]
    for name, row in rows.items():
        errors = " | ".join(f"{row['errors'][adjoint]:.1e}" for adjoint in adjoints)
        lines.append(
            f"| {name} | {errors} | {row['residual']:.1e} | {row['evaluations']} | "
            f"{row['adjoint_products']} |"
        )
    return "\n".join(lines)


def problems() -> dict[str, Problem]:
    """Maps by their parameters, with the field, the start values and the step to solve them."""
    discrepancy = MMD(Gaussian(0.3) + Gaussian(1.0))
    two_maps = torch.tensor(
        [[0.5, 0.1, 0.0, 0.5, 0.3, -0.2], [0.4, -0.2, 0.3, 0.4, -0.5, 0.4]], dtype=torch.float64
    )
    moving = torch.tensor([0.5, -0.3, 0.2, 0.4, 0.3], dtype=torch.float64)
    return {
        "Residual, interacting particles": (interacting, Residual(), moving, 1.0, True),
        "Descent frozen, interacting particles": (
            interacting, Descent(discrepancy, "frozen"), moving, 0.3, True,
        ),
        "Descent through, interacting particles": (
            interacting, Descent(discrepancy, "through"), moving, 0.3, True,
        ),
        "Descent frozen, twice as many atoms": (
            function_system, Descent(discrepancy, "frozen"), two_maps, 0.3, False,
        ),
        "Descent through, twice as many atoms": (
            function_system, Descent(discrepancy, "through"), two_maps, 0.3, False,
        ),
        "Transport, interacting particles": (interacting, Transport(), moving, 1.0, True),
    }  # fmt: skip


def function_system(theta: Tensor) -> Map:
    """An iterated function system of two affine maps: ``F(μ) = ½ (A_1 # μ) + ½ (A_2 # μ)``."""

    def f(mu: Measure) -> Measure:
        images = [mu.points @ row[:4].reshape(2, 2).T + row[4:] for row in theta]
        return Measure(torch.cat(images, -2), torch.cat([mu.weights, mu.weights], -1))

    return f


def interacting(theta: Tensor) -> Map:
    """Particles drawn to their mean, each pushed to a place of its own: a contraction."""
    angles = torch.linspace(0, 5, 6, dtype=theta.dtype)
    marks = torch.stack([angles.cos(), angles.sin()], -1) * (0.6 + 0.1 * angles[:, None])

    def f(mu: Measure) -> Measure:
        mean = mu.mean()[..., None, :]
        turned = mu.points @ torch.stack([theta[:2], theta[2:4]])
        return mu.with_points((turned + theta[4] * mean).tanh() * 0.8 + marks)

    return f


def gradient(
    build: Callable[[Tensor], Map],
    velocity: VelocityField,
    parameters: Tensor,
    start: Tensor,
    tau: float,
    adjoint: Adjoint,
    rtol: float,
) -> tuple[Tensor, Any]:
    """``dℓ/dθ`` by an adjoint."""
    theta = parameters.clone().requires_grad_()
    loss, solution = _loss(build(theta), velocity, start, tau, adjoint, rtol)
    (result,) = torch.autograd.grad(loss, theta)
    return result.flatten(), solution


def central_differences(
    build: Callable[[Tensor], Map],
    velocity: VelocityField,
    parameters: Tensor,
    start: Tensor,
    tau: float,
    h: float,
    rtol: float,
    most: int | None,
) -> Tensor:
    """``(ℓ(θ + h e) − ℓ(θ − h e)) / 2h``, each solved anew."""
    result = []
    for i in range(min(parameters.numel(), most or parameters.numel())):
        shift = torch.zeros_like(parameters).flatten()
        shift[i] = h
        shift = shift.reshape(parameters.shape)
        with torch.no_grad():
            up = _loss(build(parameters + shift), velocity, start, tau, Implicit(), rtol)[0]
            down = _loss(build(parameters - shift), velocity, start, tau, Implicit(), rtol)[0]
        result.append((up - down) / (2 * h))
    return torch.stack(result)


def _loss(
    f: Map, velocity: VelocityField, start: Tensor, tau: float, adjoint: Adjoint, rtol: float
) -> tuple[Tensor, Any]:
    """A loss that is a function of the measure."""
    solution = equilibrium(
        f,
        Measure(start),
        velocity=velocity,
        integrator=Anderson(step=tau),
        adjoint=adjoint,
        rtol=rtol,
        max_steps=5000,
    )
    x, y = solution.measure.points.unbind(-1)
    return (x.sin() * (1 + y**2) + 0.3 * y).mean(), solution
