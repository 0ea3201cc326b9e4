"""Maximum mean discrepancy in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from wgf_solver.discrepancies.base import balance, centred, checked_pair, device_of, lifted
from wgf_solver.discrepancies.relocation import relocated
from wgf_solver.evaluation import Evaluation
from wgf_solver.kernels import Kernel, RadialKernel, by_mark, keops
from wgf_solver.kernels.pairwise import force, force_and_potential, pair_factors, potential
from wgf_solver.measure import Measure
from wgf_solver.precision import full_precision
from wgf_solver.watch import holds_a_parameter


@dataclass(frozen=True)
class MMD:
    r"""``D(μ, ν) = ½ MMD²_k(μ, ν) = ½ ∬ k d(μ−ν) d(μ−ν)`` (Gretton et al. 2012), weights included.

    The half makes the first variation ``δD/δμ = ∫ k(·, y) d(μ−ν)(y)``, so that the velocity of
    its Wasserstein gradient flow (Arbel et al. 2019, eq. 5) is

        v_i = Σ_j ω_j ∇_1 k(z_i, y_j) − Σ_j w_j ∇_1 k(z_i, z_j)

    for ``μ = Σ w_i δ_{z_i}`` and ``ν = Σ ω_j δ_{y_j}``. For the energy kernel: every target point
    pulls with a force of constant size, every other particle repels.

    Both clouds are centred together first, which changes nothing in exact arithmetic and keeps
    float32 accurate far from the origin. Values, velocities and their derivatives are closed-form
    sums over pairs in tiles (see `wgf_solver.kernels.pairwise`): exact, of the value up to the
    third order where points meet and of any where none do, with O(n) memory, or O(n²) for a kernel
    that reads marks. The terms of a sum share the distances of one pass.

    Args:
        kernel: see `wgf_solver.kernels`. A product ``κ * k`` compares marked measures and asks
            both for marks; with `Energy` or `Multiquadric` on the points it is a discrepancy only
            between measures of one mass at each mark (see `wgf_solver.kernels.families`).
        keops: sum over pairs by KeOps (``pip install 'wgf-solver[keops]'``; a C++ compiler must be
            at hand) and not in tiles; see `wgf_solver.kernels.keops`. The results are the same,
            memory is O(n) for kernels that read marks as well; the first use of each formula
            compiles.

    Raises:
        ImportError: ``keops=True`` and pykeops is not installed.
        TypeError: ``kernel`` is none, or is one of your own and ``keops=True``.
        ValueError: when called, if the measures do not fit together or a needed mark is missing.
    """

    kernel: Kernel
    keops: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.kernel, Kernel):
            raise TypeError(
                "MMD takes a kernel such as Energy(), and then two measures, "
                f"MMD(Energy())(mu, nu); got {self.kernel!r}"
            )
        if holds_a_parameter(self.kernel):
            raise TypeError(
                "MMD differentiates by closed forms with respect to measures, and not with respect "
                f"to what a kernel holds; a tensor in {type(self.kernel).__name__} wants a "
                "gradient. Detach it, or write a discrepancy of your own by torch operations"
            )
        if self.keops:
            keops.require()
            if not all(keops.has_formula(k) for pair in by_mark(self.kernel) for k in pair if k):
                raise TypeError(
                    f"KeOps has no formula for a kernel of your own; got {self.kernel!r}. "
                    "Take MMD(kernel), which sums in tiles"
                )

    def __call__(self, mu: Measure, nu: Measure) -> Tensor:
        """``½ MMD²(μ, ν)``, shape ``(...)``, in float rounding never below 0."""
        with full_precision(device_of(mu, "MMD")):
            mu, nu = centred(mu, nu, "MMD")
            total = torch.zeros(mu.batch_shape, dtype=mu.points.dtype, device=mu.points.device)
            for mark, point in by_mark(self.kernel):
                within_mu = self._energy(mark, point, mu, mu)
                within_nu = self._energy(mark, point, nu, nu)
                total = total + 0.5 * (within_mu + within_nu) - self._energy(mark, point, mu, nu)
            return lifted(total)

    def pull(self, mu: Measure, nu: Measure) -> Evaluation:
        """The velocity ``v`` above, and the RMS size of its two sums."""
        with full_precision(device_of(mu, "MMD")):
            mu, nu = centred(mu, nu, "MMD")
            attraction = repulsion = torch.zeros_like(mu.points)
            for mark, point in by_mark(self.kernel):
                attraction = attraction + self._force(mark, point, mu, nu)
                repulsion = repulsion + self._force(mark, point, mu, mu)
            return balance(attraction, repulsion, mu)

    def self_energy(self, nu: Measure) -> Tensor:
        """``½ ∬ k dν dν``, shape ``(...)``: the part of ``D(·, ν)`` that is the target's own."""
        with full_precision(nu.points.device):
            nu, _ = centred(nu, nu, "MMD")
            total = torch.zeros(nu.batch_shape, dtype=nu.points.dtype, device=nu.points.device)
            for mark, point in by_mark(self.kernel):
                total = total + 0.5 * self._energy(mark, point, nu, nu)
            return total

    def towards(self, nu: Measure) -> Callable[[Measure], Evaluation]:
        """``μ ↦`` the pull with ``D(μ, ν)``: one pass over the pairs with ``μ``.

        Those of ``ν`` with itself take one pass of their own, here.
        """
        with torch.no_grad():
            within_nu = self.self_energy(_each_once(nu))
        return partial(self._pull_and_value, nu, within_nu)

    def _pull_and_value(self, nu: Measure, within_nu: Tensor, mu: Measure) -> Evaluation:
        with full_precision(device_of(mu, "MMD")):
            mu, nu = centred(mu, nu, "MMD")
            attraction = repulsion = torch.zeros_like(mu.points)
            total = within_nu
            for mark, point in by_mark(self.kernel):
                pull, witness_nu = self._force_and_potential(mark, point, mu, nu)
                push, witness_mu = self._force_and_potential(mark, point, mu, mu)
                attraction, repulsion = attraction + pull, repulsion + push
                with torch.no_grad():
                    total = total + (mu.weights * (0.5 * witness_mu - witness_nu)).sum(-1)
            return balance(attraction, repulsion, mu)._replace(discrepancy=lifted(total))

    def relocated(self, mu: Measure, nu: Measure) -> Tensor:
        """The points of ``μ``, some moved to atoms of ``ν``: where ``D(·, ν)`` falls by jumps.

        See `wgf_solver.discrepancies.relocation`. A kernel that reads marks ties an atom to its
        partners, whom it cannot leave: there no point is moved.
        """
        with full_precision(device_of(mu, "MMD")):
            mu, nu = checked_pair(mu, nu, "MMD")
            groups = by_mark(self.kernel)
            if len(groups) != 1 or groups[0][0] is not None:
                return mu.points
            return relocated(groups[0][1], mu, nu)

    def _energy(
        self, mark: RadialKernel | None, point: RadialKernel, mu: Measure, nu: Measure
    ) -> Tensor:
        """``∬ κ k dμ dν``."""
        if self._by_keops(mark, mu, nu):
            return (mu.weights * keops.potential(mark, point, mu, nu)).sum(-1)
        return (mu.weights * potential(*_pairs(mark, point, mu, nu))).sum(-1)

    def _force(
        self, mark: RadialKernel | None, point: RadialKernel, mu: Measure, nu: Measure
    ) -> Tensor:
        if self._by_keops(mark, mu, nu):
            return keops.force(mark, point, mu, nu)
        return force(*_pairs(mark, point, mu, nu))

    def _force_and_potential(
        self, mark: RadialKernel | None, point: RadialKernel, mu: Measure, nu: Measure
    ) -> tuple[Tensor, Tensor]:
        """Both, the potential without a gradient."""
        if self._by_keops(mark, mu, nu):
            with torch.no_grad():
                values = keops.potential(mark, point, mu, nu)
            return keops.force(mark, point, mu, nu), values
        return force_and_potential(*_pairs(mark, point, mu, nu))

    def _by_keops(self, mark: RadialKernel | None, mu: Measure, nu: Measure) -> bool:
        """Whether KeOps sums: it cannot where there is nothing to sum."""
        if mark is not None:
            _check_marks(mark, mu, nu)
        return self.keops and min(mu.points.numel(), nu.points.numel()) > 0


def _each_once(nu: Measure) -> Measure:
    """One of each, along batch dimensions in which ``ν`` was expanded and all are the same."""
    parts = [nu.points, nu.weights] + ([] if nu.marks is None else [nu.marks])
    for dim, count in enumerate(nu.batch_shape):
        if count > 1 and all(part.stride(dim) == 0 for part in parts):
            parts = [part.narrow(dim, 0, 1) for part in parts]
    return nu.replaced(parts[0], parts[1], parts[2] if len(parts) > 2 else None)


def _pairs(
    mark: RadialKernel | None, point: RadialKernel, mu: Measure, nu: Measure
) -> tuple[RadialKernel, Tensor, Tensor, Tensor, Tensor | None]:
    """What the functions of `wgf_solver.kernels.pairwise` take."""
    return point, mu.points, nu.points, nu.weights, _pair_factors(mark, mu, nu)


def _pair_factors(mark: RadialKernel | None, mu: Measure, nu: Measure) -> Tensor | None:
    """``κ(m_i, m'_j)``, or None for a kernel that does not read marks."""
    if mark is None:
        return None
    _check_marks(mark, mu, nu)
    assert mu.marks is not None
    assert nu.marks is not None
    return pair_factors(mark, mu.marks, nu.marks).to(mu.points.dtype)


def _check_marks(mark: RadialKernel, mu: Measure, nu: Measure) -> None:
    """Raise unless both measures have the marks that ``κ`` reads."""
    if mu.marks is None or nu.marks is None:
        raise ValueError(
            f"the kernel {mark!r} reads marks, and a measure has none: build it as "
            "Measure(points, weights, marks=...), and let the map keep them (mu.with_points)"
        )
