"""From the plain numbers of a configuration to the solver's three choices."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar, Literal

from ddeq_models.config import ModelConfig
from ddeq_models.config.options import option
from ddeq_models.errors import UserError
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


@dataclass(frozen=True)
class SolverConfig(ModelConfig):
    """How a model finds its equilibrium, and how it is differentiated.

    Attributes:
        velocity: ``residual``, descent of the energy distance, ``frozen`` or ``through``, or
            ``transport`` along an optimal matching; see `wgf_solver`.
        integrator: ``anderson``, ``euler``, ``heavy-ball``, ``barzilai-borwein`` or ``lbfgs``.
        step: the integrator's step.
        step_decay: factor of the step from one to the next, of ``euler`` and ``heavy-ball``.
        memory: of ``anderson`` and ``lbfgs``.
        rtol: relative tolerance of the equilibrium.
        max_steps: budget of evaluations of the cell.
        training_max_steps: the same while the model trains, if that is less; 0: ``max_steps``. A
            step of a training takes as long as the slowest of its clouds, so a training may leave
            unfinished what is finished when the trained model is asked.
        adjoint: ``implicit`` (exact), ``phantom`` (one step) or ``unrolled`` (the last steps).
        adjoint_rtol: relative tolerance of the adjoint's linear solve.
        adjoint_steps: its budget of products; of ``unrolled``, the steps that are differentiated.
    """

    solves: ClassVar[bool] = True

    velocity: VelocityName = option("residual", "as --solver: {choices}")
    integrator: IntegratorName = option("anderson", "as --solver: {choices}")
    step: float = option(1.0, "the integrator's step", common=True)
    step_decay: float = 1.0
    memory: int = 5
    rtol: float = option(1e-3, "relative tolerance", common=True)
    max_steps: int = option(
        50, "budget of evaluations; in training model.training_max_steps, if less", common=True
    )
    training_max_steps: int = 0
    adjoint: AdjointName = option("phantom", "as --solver: {choices}")
    adjoint_rtol: float = 1e-3
    adjoint_steps: int = 60

    def budget(self, training: bool) -> int:
        """Evaluations of the cell in one solve, at most."""
        if training and self.training_max_steps:
            return min(self.training_max_steps, self.max_steps)
        return self.max_steps


@dataclass(frozen=True)
class Solver:
    """What `wgf_solver.equilibrium` is called with."""

    velocity: VelocityField
    integrator: Integrator
    adjoint: Adjoint


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
