"""What a discrepancy is to the solver: a number, and a pull."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from wgf_solver.measure import Measure
from wgf_solver.norms import weighted_rms


class Pull(NamedTuple):
    """The Wasserstein gradient of a discrepancy, with the size by which to judge it.

    Attributes:
        velocity: ``−∇_{z_i} (δD/δμ)(μ, ν)``, ``(..., n, d)``; 0 in padded rows.
        scale: ``(...)``: the weighted RMS size of the terms whose balance `velocity` is. A
            velocity is small when it is small beside this; it is in the unit of `velocity` and
            invariant under translations.
        rounding: ``(...)``: the size below which `velocity` is noise of floating point; None if
            the discrepancy does not say.
    """

    velocity: Tensor
    scale: Tensor
    rounding: Tensor | None = None


class Discrepancy(Protocol):
    """``D(μ, ν) ≥ 0``, zero for equal measures. Write these two methods and every solver works.

    Both must be differentiable by torch with respect to the points of both measures (twice, for
    ``Descent(D, "through")`` with the `Implicit` adjoint). A discrepancy whose value and pull share
    work may add ``value_and_pull(mu, nu) -> (value, Pull)``, the value without a gradient; the
    function of that name uses it. One that can rest with atoms out of reach of all others may add
    ``relocated(mu, nu) -> points``, those of ``μ`` with such atoms moved to where they lower ``D``;
    the probe of roots uses it.
    """

    def __call__(self, mu: Measure, nu: Measure) -> Tensor:
        """``D(μ, ν)`` per measure, shape ``(...)``."""
        ...

    def pull(self, mu: Measure, nu: Measure) -> Pull:
        """The velocity of the gradient flow of ``D(·, ν)`` at ``μ``, ``ν`` held fixed."""
        ...


def value_and_pull(discrepancy: Discrepancy, mu: Measure, nu: Measure) -> tuple[Tensor, Pull]:
    """``D(μ, ν)``, without a gradient, and the pull; by one pass where the discrepancy has one."""
    together = getattr(discrepancy, "value_and_pull", None)
    if together is not None:
        value, pull = together(mu, nu)
        return value, pull
    pull = discrepancy.pull(mu, nu)
    with torch.no_grad():
        return discrepancy(mu, nu), pull


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
        ValueError: they have different batch shapes or dimensions.
    """
    for one in (mu, nu):
        device_of(one, who)
    if mu.dim != nu.dim or mu.batch_shape != nu.batch_shape:
        raise ValueError(
            f"{who} compares measures of one batch shape and one dimension; got {mu!r} and {nu!r}"
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


def balance(attraction: Tensor, repulsion: Tensor, mu: Measure) -> Pull:
    """The pull ``attraction − repulsion``, judged by the RMS size of the two."""
    velocity = without_padding(attraction - repulsion, mu)
    with torch.no_grad():
        scale = torch.hypot(
            weighted_rms(attraction, mu.weights), weighted_rms(repulsion, mu.weights)
        )
        return Pull(velocity, scale, 2 * torch.finfo(scale.dtype).eps * scale)
