"""Adjoints: how the equilibrium is differentiated."""

from wgf_solver.adjoints.base import Adjoint, AdjointReport, AdjointWarning
from wgf_solver.adjoints.gmres import GMRES, LinearSolution, LinearSolver, LinearStatus
from wgf_solver.adjoints.implicit import Implicit
from wgf_solver.adjoints.phantom import Phantom
from wgf_solver.adjoints.unrolled import Unrolled

__all__ = [
    "GMRES",
    "Adjoint",
    "AdjointReport",
    "AdjointWarning",
    "Implicit",
    "LinearSolution",
    "LinearSolver",
    "LinearStatus",
    "Phantom",
    "Unrolled",
]
