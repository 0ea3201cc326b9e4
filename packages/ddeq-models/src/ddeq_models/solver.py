"""From the plain numbers of a configuration to the solver's three choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from wgf_solver import (
    GMRES,
    MMD,
    Adjoint,
    Anderson,
    Descent,
    Energy,
    Euler,
    GeometricDecay,
    Implicit,
    Integrator,
    Phantom,
    Residual,
    VelocityField,
)

if TYPE_CHECKING:
    from ddeq_models.ddeq import DDEQConfig

VelocityName = Literal["residual", "frozen", "through"]
IntegratorName = Literal["anderson", "euler"]
AdjointName = Literal["implicit", "phantom"]


@dataclass(frozen=True)
class Solver:
    """What `wgf_solver.equilibrium` is called with."""

    velocity: VelocityField
    integrator: Integrator
    adjoint: Adjoint


def build_solver(config: DDEQConfig) -> Solver:
    """The solver that a configuration asks for.

    ``frozen`` and ``through`` descend the energy distance between ``μ`` and ``F(μ)``, the paper's
    discrepancy; ``residual`` is its labelled form (see `wgf_solver.Residual`).
    """
    velocity: VelocityField
    if config.velocity == "residual":
        velocity = Residual()
    else:
        velocity = Descent(MMD(Energy()), config.velocity)
    integrator: Integrator
    if config.integrator == "anderson":
        integrator = Anderson(memory=config.memory, step=config.step)
    elif config.step_decay == 1:
        integrator = Euler(config.step)
    else:
        integrator = Euler(GeometricDecay(config.step, config.step_decay))
    adjoint: Adjoint = Phantom()
    if config.adjoint == "implicit":
        adjoint = Implicit(GMRES(rtol=config.adjoint_rtol, max_steps=config.adjoint_steps))
    return Solver(velocity, integrator, adjoint)
