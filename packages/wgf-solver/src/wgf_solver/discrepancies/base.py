"""What a discrepancy is to the solver: a number, and a pull."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from wgf_solver.measure import Measure


class Pull(NamedTuple):
    """The Wasserstein gradient of a discrepancy, with the size by which to judge it.

    Attributes:
        velocity: ``−∇_{z_i} (δD/δμ)(μ, ν)``, ``(..., n, d)``; 0 in padded rows.
        scale: ``(...)``: the weighted RMS size of the terms whose balance `velocity` is. A
            velocity is small when it is small beside this; it is in the unit of `velocity` and
            invariant under translations.
    """

    velocity: Tensor
    scale: Tensor


class Discrepancy(Protocol):
    """``D(μ, ν) ≥ 0``, zero for equal measures. Write these two methods and every solver works.

    Both must be differentiable by torch with respect to the points of both measures (twice, for
    ``Descent(D, "through")`` with the `Implicit` adjoint).
    """

    def __call__(self, mu: Measure, nu: Measure) -> Tensor:
        """``D(μ, ν)`` per measure, shape ``(...)``."""
        ...

    def pull(self, mu: Measure, nu: Measure) -> Pull:
        """The velocity of the gradient flow of ``D(·, ν)`` at ``μ``, ``ν`` held fixed."""
        ...
