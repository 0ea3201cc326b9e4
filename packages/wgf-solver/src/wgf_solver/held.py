r"""Atoms that do not move: given with the problem, where others are looked for.

A mask splits ``Z`` into held atoms ``H`` and free ones ``X``. The solve looks for the root of the
free atoms' velocity, with the held ones where they were put,

    v_X(X*, H; θ) = 0,

and by the implicit function theorem ``X*`` depends on ``H`` as on any parameter of the map,

    dX*/dH = −(∂v_X/∂X)^{-1} ∂v_X/∂H,      dH/dH = I.

All that is arranged here: a field that is asked at ``(X, H)`` sees ``H`` as it was given, with its
gradient, and says 0 in its rows. Integrators and adjoints need not know.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wgf_solver.arrays import Array, from_array
from wgf_solver.evaluation import Evaluation
from wgf_solver.measure import Measure
from wgf_solver.velocities.base import Map, image_of


@dataclass(frozen=True, eq=False)
class Held:
    """Which atoms do not move, and where they are; made by `held_at`.

    Attributes:
        mask: ``(..., n)`` bool; in padding, where nothing moves, it makes no difference.
        points: ``(..., n, d)``; only rows of held atoms are read. They keep their gradient.
        gain: ``(...)``: the root of ``Σ_i w_i`` over ``Σ_i w_i`` of the free atoms, by which a root
            mean square over all atoms falls short of that over those that can move; 1 where none
            can.
    """

    mask: Tensor
    points: Tensor
    gain: Tensor

    def placed(self, points: Tensor) -> Tensor:
        """``points`` with the held atoms where they belong."""
        return torch.where(self.mask[..., None], self.points, points)

    def still(self, velocity: Tensor) -> Tensor:
        """``velocity`` with 0 at held atoms."""
        return torch.where(self.mask[..., None], 0, velocity)

    def restricted(self, evaluation: Evaluation) -> Evaluation:
        """What a field says, for the free atoms alone."""
        here, elsewhere = evaluation.held, evaluation.relocated

        def held(points: Tensor) -> tuple[Tensor, Tensor]:
            assert here is not None
            velocity, discrepancy = here(self.placed(points))
            return self.still(velocity), discrepancy

        def relocated() -> Tensor:
            assert elsewhere is not None
            return self.placed(elsewhere())

        return evaluation._replace(
            velocity=self.still(evaluation.velocity),
            scale=evaluation.scale,
            rounding=evaluation.rounding,
            held=None if here is None else held,
            relocated=None if elsewhere is None else relocated,
        )

    def labelled(self, f: Map) -> Map:
        """``F`` for a field that pairs atom with atom: a held atom is its own image.

        So that what ``F`` returns for it, which nobody asked for, is not the scale of anything.
        """

        def held(mu: Measure) -> Measure:
            image = image_of(f, mu)
            if image.points.shape != mu.points.shape:
                return image  # which the field refuses, and says why
            return image.with_points(torch.where(self.mask[..., None], mu.points, image.points))

        return held

    def tied(self, points: Tensor, usable: Tensor) -> Tensor:
        """An equilibrium's ``points`` whose held rows lead their gradient to where they were put.

        Args:
            points: ``(..., n, d)``.
            usable: ``(...)`` bool: the measures through which a gradient may flow.
        """
        return torch.where((self.mask & usable[..., None])[..., None], self.points, points)


def held_at(mask: Tensor | Array | None, mu: Measure) -> Held | None:
    """The held atoms of a solve that starts at ``mu``; None if there are to be none.

    Args:
        mask: bool, ``(..., n)`` or without leading dimensions of the batch.
        mu: without what stands in its padding.

    Raises:
        TypeError: the mask is not boolean.
        ValueError: it does not fit the atoms, or is on another device.
    """
    if mask is None:
        return None
    mask = from_array(mask)
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        came = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(
            f"held takes a boolean mask (..., n), True where an atom must not move; got {came}"
        )
    atoms = mu.weights.shape
    if mask.dim() < 1 or mask.device != mu.points.device or not _expands(mask, atoms):
        raise ValueError(
            f"held must be a mask of shape {tuple(atoms)}, or lack leading dimensions of it, on "
            f"{mu.points.device}; got {tuple(mask.shape)} on {mask.device}"
        )
    mask = mask.expand(atoms)
    weights = mu.weights.detach()
    free = torch.where(mask, 0, weights).sum(-1)
    gain = torch.where(free > 0, weights.sum(-1) / torch.where(free > 0, free, 1), 1).sqrt()
    return Held(mask, mu.points, gain)


def _expands(mask: Tensor, atoms: torch.Size) -> bool:
    """Whether ``mask`` has the trailing dimensions of ``atoms``, with 1 for any but the last."""
    if mask.dim() > len(atoms) or mask.shape[-1] != atoms[-1]:
        return False
    behind = atoms[len(atoms) - mask.dim() :]
    return all(own in (1, size) for own, size in zip(mask.shape, behind, strict=True))
