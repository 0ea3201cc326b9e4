"""Velocity fields ``v(Z; F)``: what it means to be at rest."""

from wgf_solver.evaluation import Evaluation
from wgf_solver.velocities.base import Map, VelocityField
from wgf_solver.velocities.descent import Descent
from wgf_solver.velocities.residual import Residual
from wgf_solver.velocities.transport import Transport

__all__ = ["Descent", "Evaluation", "Map", "Residual", "Transport", "VelocityField"]
