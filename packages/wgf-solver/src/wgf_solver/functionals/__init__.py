"""Functionals of a measure, ``𝓕(μ)``, and the velocities that lower them.

`DistanceTo` a fixed measure, `Potential` and `Interaction` energies are written here. Any function
from a `Measure` to one number per measure is a functional too (`FunctionOf`), differentiated by
autograd. They add and scale, ``DistanceTo(MMD(Multiquadric(0.1)), nu) + 0.1 * Potential(V)``; a
barycentre minimises a weighted sum of distances.
"""

from wgf_solver.functionals.base import (
    Functional,
    FunctionalLike,
    FunctionOf,
    as_functional,
)
from wgf_solver.functionals.terms import DistanceTo, Interaction, Potential

__all__ = [
    "DistanceTo",
    "FunctionOf",
    "Functional",
    "FunctionalLike",
    "Interaction",
    "Potential",
    "as_functional",
]
