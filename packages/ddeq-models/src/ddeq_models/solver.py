"""From the plain numbers of a configuration to the solver's three choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

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

VelocityName = Literal["residual", "frozen", "through"]
IntegratorName = Literal["anderson", "euler"]
AdjointName = Literal["implicit", "phantom"]


class SolverConfig(Protocol):
    """What the configuration of a model that solves says of its solver; see `DDEQConfig`."""

    @property
    def velocity(self) -> VelocityName:
        """The velocity field."""
        ...

    @property
    def integrator(self) -> IntegratorName:
        """The integrator."""
        ...

    @property
    def step(self) -> float:
        """Its step."""
        ...

    @property
    def step_decay(self) -> float:
        """Factor of the Euler step from one to the next."""
        ...

    @property
    def memory(self) -> int:
        """Anderson's memory."""
        ...

    @property
    def adjoint(self) -> AdjointName:
        """The adjoint."""
        ...

    @property
    def adjoint_rtol(self) -> float:
        """Tolerance of its linear solve."""
        ...

    @property
    def adjoint_steps(self) -> int:
        """Budget of its linear solve."""
        ...


@dataclass(frozen=True)
class Solver:
    """What `wgf_solver.equilibrium` is called with."""

    velocity: VelocityField
    integrator: Integrator
    adjoint: Adjoint


def build_solver(config: SolverConfig) -> Solver:
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
