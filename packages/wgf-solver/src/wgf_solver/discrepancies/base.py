"""What a discrepancy is to the solver: a number, and a pull."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from wgf_solver.evaluation import Evaluation
from wgf_solver.measure import Measure
from wgf_solver.norms import weighted_rms
from wgf_solver.wasserstein_gradient import wasserstein_gradient


class Discrepancy(Protocol):
    """``D(μ, ν) ≥ 0``, zero for equal measures. Write this one method and every solver works.

    It must be differentiable by torch with respect to the points of both measures: twice, as the
    velocity of its flow is found by autograd where nothing else is written (and three times for
    ``Descent(D, "through")`` with the `Implicit` adjoint). Three more members are used where they
    exist:

    * ``pull(mu, nu) -> Evaluation``: the velocity of the gradient flow of ``D(·, ν)`` at ``μ``, its
      scale and rounding, and ``D`` if it is at hand.
    * ``towards(nu) -> (mu -> Evaluation)``: the same with ``D``, for a ``ν`` that is held while
      ``μ`` moves: what is ``ν``'s own is computed once.
    * ``relocated(mu, nu) -> points``: of a discrepancy that can rest with atoms out of reach of all
      others: those of ``μ`` with such atoms moved to where they lower ``D``. The probe of roots
      uses it.
    """

    def __call__(self, mu: Measure, nu: Measure) -> Tensor:
        """``D(μ, ν)`` per measure, shape ``(...)``."""
        ...


def towards(discrepancy: Discrepancy, nu: Measure) -> Callable[[Measure], Evaluation]:
    """``μ ↦`` the pull of ``ν`` on ``μ``, with ``D(μ, ν)``, by what the discrepancy has for it."""
    own = getattr(discrepancy, "towards", None)
    if own is not None:
        held: Callable[[Measure], Evaluation] = own(nu)
        return held
    pull: Callable[[Measure, Measure], Evaluation] | None = getattr(discrepancy, "pull", None)

    def evaluated(mu: Measure) -> Evaluation:
        if pull is None:
            return wasserstein_gradient(lambda here: discrepancy(here, nu), mu)
        evaluation = pull(mu, nu)
        if evaluation.says_discrepancy:
            return evaluation
        with torch.no_grad():
            return evaluation._replace(discrepancy=discrepancy(mu, nu))

    return evaluated


def check_discrepancy(owner: str, discrepancy: object) -> None:
    """Raise TypeError unless it is a value that can be called."""
    if isinstance(discrepancy, type) or not callable(discrepancy):
        raise TypeError(
            f"{owner} takes a discrepancy such as MMD(Energy()), a function of two measures; got "
            f"{discrepancy!r}"
        )


def device_of(mu: Measure, who: str) -> torch.device:
    """Where ``μ`` is.

    Raises:
        TypeError: it is no measure.
    """
    if not isinstance(mu, Measure):
        raise TypeError(
            f"{who} compares measures; got {type(mu).__name__}. Make one of points (..., n, d): "
            "Measure(points)"
        )
    return mu.points.device


def checked_pair(mu: Measure, nu: Measure, who: str) -> tuple[Measure, Measure]:
    """Both measures without their padding's values.

    Raises:
        TypeError: one of them is no measure.
        ValueError: they have different batch shapes, dimensions or floating-point types.
    """
    for one in (mu, nu):
        device_of(one, who)
    if mu.dim != nu.dim or mu.batch_shape != nu.batch_shape:
        raise ValueError(
            f"{who} compares measures of one batch shape and one dimension; got {mu!r} and {nu!r}"
        )
    if mu.points.dtype != nu.points.dtype:
        raise ValueError(
            f"{who} compares measures of one floating-point type; got {mu.points.dtype} and "
            f"{nu.points.dtype}. Use nu.to(dtype=mu.points.dtype)"
        )
    return mu.zero_padding(), nu.zero_padding()


def centred(mu: Measure, nu: Measure, who: str) -> tuple[Measure, Measure]:
    """`checked_pair`, moved by the same vector to the origin.

    Translations change no discrepancy; near the origin float32 has digits to tell points apart.
    """
    mu, nu = checked_pair(mu, nu, who)
    centre = nu.mean().detach()[..., None, :]
    return (
        mu.with_points(mu.points - centre).zero_padding(),
        nu.with_points(nu.points - centre).zero_padding(),
    )


def lifted(value: Tensor) -> Tensor:
    """A value that rounding left at −1e-9, at 0; its gradient is left alone.

    Cutting that off too would stop a flow that is nearly there.
    """
    return value + (value.clamp(min=0) - value).detach()


def without_padding(velocity: Tensor, mu: Measure) -> Tensor:
    """``velocity`` with 0 in padded rows."""
    return velocity if mu.full else torch.where(mu.mask[..., None], velocity, 0)


def balance(attraction: Tensor, repulsion: Tensor, mu: Measure) -> Evaluation:
    """The pull ``attraction − repulsion``, judged by the RMS size of the two."""
    velocity = without_padding(attraction - repulsion, mu)
    with torch.no_grad():
        scale = torch.hypot(
            weighted_rms(attraction, mu.weights), weighted_rms(repulsion, mu.weights)
        )
        return Evaluation(velocity, scale, 2 * torch.finfo(scale.dtype).eps * scale)
