"""Discrepancies ``D(μ, ν)`` between measures, and how they pull ``μ`` to ``ν``."""

from wgf_solver.discrepancies.base import Discrepancy, Pull
from wgf_solver.discrepancies.mmd import MMD

__all__ = ["MMD", "Discrepancy", "Pull"]
