"""Integrators: how a velocity field becomes steps ``Z ← Z + τ v(Z)``."""

from wgf_solver.integrators.anderson import Anderson
from wgf_solver.integrators.base import GeometricDecay, Integrator
from wgf_solver.integrators.euler import Euler

__all__ = ["Anderson", "Euler", "GeometricDecay", "Integrator"]
