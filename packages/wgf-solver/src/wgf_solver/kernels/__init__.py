"""Kernels, and sums of them over all pairs of atoms."""

from wgf_solver.kernels.families import (
    Combination,
    Dirac,
    Energy,
    Gaussian,
    InverseMultiquadric,
    Kernel,
    Laplacian,
    Multiquadric,
    RadialKernel,
    SquaredDistance,
    Term,
    by_mark,
    parts_of,
)

__all__ = [
    "Combination",
    "Dirac",
    "Energy",
    "Gaussian",
    "InverseMultiquadric",
    "Kernel",
    "Laplacian",
    "Multiquadric",
    "RadialKernel",
    "SquaredDistance",
    "Term",
    "by_mark",
    "parts_of",
]
