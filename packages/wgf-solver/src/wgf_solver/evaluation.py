"""One record of what is known at a measure: a velocity, and what whoever computed it can tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wgf_solver.measure import Measure
from wgf_solver.norms import weighted_rms

# Where nothing is said: nothing balances, nothing is noise, and nobody knows D. By identity.
_NOTHING = torch.zeros((), device="cpu")
_UNKNOWN = torch.full((), torch.nan, device="cpu")


class _Parts(NamedTuple):
    """See `Evaluation`."""

    velocity: Tensor
    scale: Tensor = _NOTHING
    rounding: Tensor = _NOTHING
    discrepancy: Tensor = _UNKNOWN
    image: Measure | None = None
    held: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None
    relocated: Callable[[], Tensor] | None = None


class Evaluation(_Parts):
    """What a field, a discrepancy's pull and a functional's slope return.

    Only `velocity` must be given, and `discrepancy` where it falls along the velocity. Sizes are
    the driver's: it measures ``‖v‖`` itself, reads `scale` at the start alone, and believes
    `rounding` only as far as floating point explains it (see `wgf_solver.driving.yardstick`). Where
    ``z + v`` is the `image`, atom by atom, it finds both by itself. And what is said of
    one velocity is not said of another: ``_replace(velocity=...)`` forgets scale, rounding and
    `held` unless they are given anew.

    Attributes:
        velocity: ``v (..., n, d)``; 0 in padded rows.
        scale: ``(...)``: the weighted RMS size of the terms whose balance `velocity` is, in its
            unit, invariant under translations; 0 if it is no balance, and what is small is so
            beside the first velocity.
        rounding: ``(...)``: the size below which `velocity` is noise of floating point.
        discrepancy: ``D(μ, F(μ))``, ``D(μ, ν)`` or the energy ``𝓕(μ)``, ``(...)``, detached; NaN if
            nobody asked for it.
        image: ``F(μ)``; None where there is no map.
        held: for a field that descends ``D(·, ν)`` at ``ν = F(μ)`` held, what it is at other points
            ``(..., n, d)`` with the same ``ν``, at no evaluation of ``F``: velocity and ``D``.
        relocated: for one that descends and knows: the points ``(..., n, d)`` with those atoms
            elsewhere that rest where no force reaches them (see `wgf_solver.MMD.relocated`).
    """

    _size: Tensor | None = None  # see `measured`; what `_replace` makes is not measured

    def _replace(self, **changes: Any) -> Evaluation:
        """With other parts; see above for what goes with another velocity."""
        if changes.get("velocity", self.velocity) is not self.velocity:
            changes = {"scale": _NOTHING, "rounding": _NOTHING, "held": None} | changes
        return super()._replace(**changes)

    @property
    def says_discrepancy(self) -> bool:
        """Whether whoever computed it also gave the discrepancy."""
        return self.discrepancy is not _UNKNOWN


def completed(evaluation: Evaluation, mu: Measure) -> Evaluation:
    """With a number for each measure where nothing was said."""
    said = evaluation.scale, evaluation.rounding, evaluation.discrepancy
    if not any(part is _NOTHING or part is _UNKNOWN for part in said):
        return evaluation
    zero = mu.weights.new_zeros(mu.batch_shape)
    scale, rounding = (zero if part is _NOTHING else part for part in said[:2])
    unknown = not evaluation.says_discrepancy
    discrepancy = torch.full_like(zero, torch.nan) if unknown else evaluation.discrepancy
    return evaluation._replace(scale=scale, rounding=rounding, discrepancy=discrepancy)


def measured(evaluation: Evaluation, mu: Measure) -> Evaluation:
    """The same, of which ``‖v‖`` is known, so that integrators need not measure it again.

    A copy, which is nobody's but the driver's: whoever wrote the field may keep his record and
    write another velocity into it.
    """
    copy = Evaluation(*evaluation)
    copy._size = weighted_rms(evaluation.velocity, mu.weights, mu.full)
    return copy


def size_of(evaluation: Evaluation, mu: Measure) -> Tensor:
    """``‖v‖ (...)``."""
    if evaluation._size is not None:
        return evaluation._size
    return weighted_rms(evaluation.velocity, mu.weights, mu.full)


def merit_of(evaluation: Evaluation, mu: Measure, descends: bool) -> Tensor:
    """What a step is judged by ``(...)``: ``D`` where that falls along the field, ``‖v‖`` else."""
    return evaluation.discrepancy if descends else size_of(evaluation, mu)


def image_beside(evaluation: Evaluation, mu: Measure) -> Measure:
    """``F(μ)``, or ``μ`` where there is no map: what shows how far things are apart."""
    return mu if evaluation.image is None else evaluation.image
