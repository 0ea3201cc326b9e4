"""Integrators: how a velocity field becomes steps ``Z ← Z + τ v(Z)``."""

from wgf_solver.integrators.anderson import Anderson
from wgf_solver.integrators.base import Integrator
from wgf_solver.integrators.euler import Euler
from wgf_solver.integrators.heavy_ball import HeavyBall
from wgf_solver.integrators.noise import NoiseInjection
from wgf_solver.integrators.phases import Phases
from wgf_solver.integrators.quasi_newton import LBFGS, BarzilaiBorwein
from wgf_solver.integrators.schedules import CosineDecay, GeometricDecay, PolynomialDecay

__all__ = [
    "LBFGS",
    "Anderson",
    "BarzilaiBorwein",
    "CosineDecay",
    "Euler",
    "GeometricDecay",
    "HeavyBall",
    "Integrator",
    "NoiseInjection",
    "Phases",
    "PolynomialDecay",
]
