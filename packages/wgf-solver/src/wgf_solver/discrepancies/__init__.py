"""Discrepancies ``D(μ, ν)`` between measures, and how they pull ``μ`` to ``ν``."""

from wgf_solver.discrepancies.base import Discrepancy
from wgf_solver.discrepancies.mmd import MMD
from wgf_solver.discrepancies.sinkhorn import Sinkhorn, SinkhornWarning
from wgf_solver.discrepancies.sliced_mmd import SlicedMMD
from wgf_solver.discrepancies.sliced_wasserstein import SlicedWasserstein
from wgf_solver.discrepancies.wasserstein import Wasserstein

__all__ = [
    "MMD",
    "Discrepancy",
    "Sinkhorn",
    "SinkhornWarning",
    "SlicedMMD",
    "SlicedWasserstein",
    "Wasserstein",
]
