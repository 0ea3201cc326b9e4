"""From the plain numbers of a configuration to the solver's three choices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, Protocol

from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ddeq_models.errors import UserError
from set_attention import held_dropout
from wgf_solver import (
    GMRES,
    LBFGS,
    MMD,
    Adjoint,
    Anderson,
    BarzilaiBorwein,
    Descent,
    Energy,
    Euler,
    GeometricDecay,
    HeavyBall,
    Implicit,
    Integrator,
    Phantom,
    Residual,
    Transport,
    Unrolled,
    VelocityField,
)

VelocityName = Literal["residual", "frozen", "through", "transport"]
IntegratorName = Literal["anderson", "euler", "heavy-ball", "barzilai-borwein", "lbfgs"]
AdjointName = Literal["implicit", "phantom", "unrolled"]


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
        """Factor of the step from one to the next, of ``euler`` and ``heavy-ball``."""
        ...

    @property
    def memory(self) -> int:
        """Memory of ``anderson`` and ``lbfgs``."""
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
        """Budget of its linear solve; of ``unrolled``, the steps that are differentiated."""
        ...


@dataclass(frozen=True)
class Solver:
    """What `wgf_solver.equilibrium` is called with."""

    velocity: VelocityField
    integrator: Integrator
    adjoint: Adjoint


class Solves(Protocol):
    """A model whose forward pass finds an equilibrium."""

    solver: Solver
    solver_seconds: float

    @property
    def cell(self) -> nn.Module:
        """The map, in which dropout is held."""
        ...


@contextmanager
def solving(model: Solves) -> Iterator[None]:
    """What a forward solve is made under: one mask of dropout, and a watch on its seconds."""
    velocity, adjoint = model.solver.velocity, model.solver.adjoint
    # Fused attention has no second derivative, which these gradients of `through` need.
    twice = velocity == Descent(MMD(Energy()), "through")
    twice = twice and isinstance(adjoint, Implicit | Unrolled)
    start = time.perf_counter()
    with held_dropout(model.cell), sdpa_kernel(SDPBackend.MATH) if twice else nullcontext():
        yield
    model.solver_seconds += time.perf_counter() - start


def build_solver(config: SolverConfig) -> Solver:
    """The solver that a configuration asks for.

    ``frozen`` and ``through`` descend the energy distance between ``μ`` and ``F(μ)``, the paper's
    discrepancy; ``residual`` is its labelled form (see `wgf_solver.Residual`); ``transport`` moves
    particles along an optimal matching with ``F(μ)``.

    Raises:
        UserError: One of them needs a package that is missing.
    """
    return Solver(_velocity(config), _integrator(config), _adjoint(config))


def _velocity(config: SolverConfig) -> VelocityField:
    match config.velocity:
        case "residual":
            return Residual()
        case "transport":
            if find_spec("ot") is None:
                raise UserError("the velocity transport needs: pip install 'ddeq-models[ot]'")
            return Transport()
        case target:
            return Descent(MMD(Energy()), target)


def _integrator(config: SolverConfig) -> Integrator:
    decays = config.step_decay != 1
    step = GeometricDecay(config.step, config.step_decay) if decays else config.step
    match config.integrator:
        case "anderson":
            return Anderson(memory=config.memory, step=config.step)
        case "barzilai-borwein":
            return BarzilaiBorwein(config.step)
        case "lbfgs":
            return LBFGS(memory=config.memory, step=config.step)
        case "heavy-ball":
            return HeavyBall(step)
        case "euler":
            return Euler(step)


def _adjoint(config: SolverConfig) -> Adjoint:
    match config.adjoint:
        case "phantom":
            return Phantom()
        case "unrolled":
            return Unrolled(config.adjoint_steps)
        case "implicit":
            return Implicit(GMRES(rtol=config.adjoint_rtol, max_steps=config.adjoint_steps))
