"""Steps whose length and direction are learnt from the field: Barzilai-Borwein and L-BFGS."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wgf_solver.evaluation import Evaluation, image_beside, merit_of, size_of
from wgf_solver.integrators.base import check_step
from wgf_solver.kernels.constants import hold_constants
from wgf_solver.measure import Measure, extent
from wgf_solver.norms import may_look, where_measure

# How many of the last merits a step is judged by, and by how much it may exceed the largest.
_WINDOW = 10
_RISE = 1e-4
# A refused step is tried again at this part of its length.
_SHRINK = 0.25
# The first step along the field where nobody chose one: it would move atoms by this part of the
# extent of μ and F(μ) if nothing balanced the pull. And where there is no extent or pull to tell.
_FIRST = 0.3
# Steps along the field itself are between these multiples of the first one.
_SHORTEST, _LONGEST = 0.05, 3000.0
# No atom moves farther in a step than this part of the extent of μ and F(μ): where a kernel is
# flat, the field says nothing of what is beyond, and an atom thrown out there is not pulled back.
# Where there is no F(μ), and μ alone may be small beside the way to go: or than so many times the
# farthest of the last step, if that was accepted.
_REACH = 0.5
_GROWTH = 2.0


@dataclass
class _Past:
    """What is remembered of each measure; pairs in a ring of ``m``, ``N = n·d``."""

    inner_steps: int
    s: Tensor  # (..., m, N)  differences of points
    y: Tensor  # (..., m, N)  minus those of velocities
    rho: Tensor  # (..., m)  1/⟨s, y⟩, or 0 for a pair that does not count
    first: Tensor  # (...)  the first step along the field itself
    scale: Tensor  # (...)  the present one
    length: Tensor  # (...)  part of the direction to go
    merits: Tensor  # (..., window)  of the last accepted points, in a ring
    budget: Tensor  # (...)  steps with the image held
    alone: Tensor  # (...) bool: whether the last step is a difference quotient of the whole field
    rounding: Tensor  # (...)
    pairs: int = 0
    k: int = 0
    points: Tensor | None = None  # (..., n, d)  the last accepted
    velocity: Tensor | None = None
    merit: Tensor | None = None  # (...)


@dataclass(frozen=True)
class LBFGS:
    r"""L-BFGS directions (Nocedal 1980) along a descent field, each measure with its own.

    The last ``m`` pairs ``s = Z_{k+1} − Z_k``, ``y = v_k − v_{k+1}`` make an approximation ``B`` of
    the inverse of ``−∂v/∂Z``, and ``Z ← Z + t B v``. Inner products are weighted by mass, so ``B``
    depends neither on the order of the atoms nor on splits. Pairs without positive curvature,
    ``⟨s, y⟩ ≤ 0``, do not count, so that ``⟨B v, v⟩ > 0``: unlike `Anderson`, which finds roots of
    any kind, it goes down, and needs no basin to begin in.

    A step is judged by ``D(μ, F(μ))``, on a field that does not descend by ``‖v‖``: it may not
    exceed the largest of the last ten (Grippo, Lampariello and Lucidi 1986: along a frozen field
    ``D`` may rise a little). One that does, or is NaN, is taken back at the cost of the evaluation
    that showed it, and ``t`` falls to a quarter; what the evaluation says of the curvature is kept.
    No atom moves farther in a step than half the extent of ``μ`` and ``F(μ)``, or, where there is
    no map, than twice as far as in the last step.

    **Held images.** Where evaluating ``F`` is what costs, ``inner_steps > 1`` makes so many steps
    down ``D(·, ν)`` with ``ν = F(μ)`` held before ``F`` is evaluated anew: ``F`` is iterated on
    measures, and each image is projected on ``n`` atoms. Within, ``D(·, ν)`` is an energy and no
    step may raise it. That works where ``F`` contracts measures; where an image shows that it did
    not, the steps are taken back and the number is halved, down to one. The field must be
    ``Descent(D, "frozen")``; on others it makes no difference.

    Args:
        memory: ``m``. Smooth kernels tell atoms apart poorly, and few pairs do not resolve that.
        step: ``τ``, the first step along the field. None: each measure's own, ``0.3 L/s`` with the
            extent ``L`` of ``μ`` and ``F(μ)`` and the field's scale ``s``, so that neither the unit
            of the points nor the bandwidth of a kernel matters.
        inner_steps: steps for each evaluation of ``F``.
    """

    memory: int = 40
    step: float | None = None
    inner_steps: int = 20

    def __post_init__(self) -> None:
        if self.memory < 1 or self.inner_steps < 1:
            raise ValueError(
                "memory and inner_steps must be at least 1; got "
                f"{self.memory}, {self.inner_steps}. Without memory: BarzilaiBorwein(step)"
            )
        _check(self)

    def step_size(self, k: int) -> float:
        """``τ``, or 0.3 where each measure has its own."""
        return _FIRST if self.step is None else self.step

    def plain_step(self, state: _Past, k: int) -> Tensor:
        """``τ (...)`` of each measure."""
        return state.first

    def start(self, mu: Measure) -> _Past:
        """No pairs."""
        return _start(mu, self.memory, self.step, self.inner_steps)

    def propose(self, state: _Past, mu: Measure, evaluation: Evaluation, descends: bool) -> Tensor:
        """The next points."""
        return _propose(state, mu, evaluation, descends, self.step)


@dataclass(frozen=True)
class BarzilaiBorwein:
    r"""Steps along a descent field as long as its last change says (Barzilai and Borwein 1988).

    ``Z ← Z + τ_k v(Z)`` with ``τ_k = ⟨s, s⟩/⟨s, y⟩`` and ``⟨s, y⟩/⟨y, y⟩`` in turn, for
    ``s = Z_k − Z_{k−1}`` and ``y = v_{k−1} − v_k``: the inverse curvature along the last step. Each
    measure has its own step. Where the field's curvature is not positive the step doubles. Steps
    are judged, taken back and bounded as in `LBFGS`, of which this is the one without memory.

    Args:
        step: ``τ_0``; None: see `LBFGS`.
        inner_steps: steps for each evaluation of ``F``; see `LBFGS`.
    """

    step: float | None = None
    inner_steps: int = 1

    def __post_init__(self) -> None:
        if self.inner_steps < 1:
            raise ValueError(f"inner_steps must be at least 1; got {self.inner_steps}")
        _check(self)

    def step_size(self, k: int) -> float:
        """``τ_0``, or 0.3 where each measure has its own."""
        return _FIRST if self.step is None else self.step

    def plain_step(self, state: _Past, k: int) -> Tensor:
        """``τ_0 (...)`` of each measure."""
        return state.first

    def start(self, mu: Measure) -> _Past:
        """The first step."""
        return _start(mu, 0, self.step, self.inner_steps)

    def propose(self, state: _Past, mu: Measure, evaluation: Evaluation, descends: bool) -> Tensor:
        """The next points."""
        return _propose(state, mu, evaluation, descends, self.step)


def _check(integrator: LBFGS | BarzilaiBorwein) -> None:
    if integrator.step is not None:
        hold_constants(integrator, "step")
        check_step(integrator.step)


def _start(mu: Measure, memory: int, step: float | None, inner_steps: int) -> _Past:
    batch, size = mu.batch_shape, mu.points.shape[-2] * mu.dim
    new = mu.points
    first = new.new_full(batch, _FIRST if step is None else step)
    return _Past(
        inner_steps=inner_steps,
        s=new.new_zeros(*batch, memory, size),
        y=new.new_zeros(*batch, memory, size),
        rho=new.new_zeros(*batch, memory),
        first=first,
        scale=first,
        length=new.new_ones(batch),
        merits=new.new_full((*batch, _WINDOW), -torch.inf),
        budget=torch.full(batch, inner_steps, dtype=torch.int64, device=new.device),
        alone=torch.ones(batch, dtype=torch.bool, device=new.device),
        rounding=new.new_zeros(batch),
    )


def _propose(
    state: _Past, mu: Measure, evaluation: Evaluation, descends: bool, step: float | None
) -> Tensor:
    """Judge the last step, learn from it, and make the next one, or several at the held image."""
    if mu.points.numel() == 0:
        return mu.points
    points, velocity = mu.points, evaluation.velocity
    merit = merit_of(evaluation, mu, descends)
    count = state.budget
    went: Tensor | None = None
    if state.points is None or state.velocity is None or state.merit is None:
        state.rounding = 64 * torch.finfo(merit.dtype).eps * merit.abs()
        if step is None:
            state.first = state.scale = _first_step(mu, evaluation)
    else:
        highest = state.merits.amax(-1)  # of energies that may be negative
        accepted = merit <= highest + _RISE * highest.abs() + state.rounding  # not if NaN
        _learn(state, points - state.points, state.velocity - velocity, mu, state.alone)
        if evaluation.image is None:
            went = torch.where(accepted, _farthest(points - state.points), 0)
        points = where_measure(accepted, points, state.points)
        velocity = where_measure(accepted, velocity, state.velocity)
        merit = torch.where(accepted, merit, state.merit)
        state.length = torch.where(accepted, 1, _SHRINK * state.length)
        state.budget = torch.where(accepted, state.budget, (state.budget // 2).clamp(min=1))
        # The image that is at hand is not that of the point to which a refused measure returns.
        count = torch.where(accepted, state.budget, 1)
    state.points, state.velocity, state.merit = points, velocity, merit
    state.merits[..., state.k % _WINDOW] = merit
    state.k += 1

    reach = _REACH * extent(mu.with_points(points), image_beside(evaluation, mu))
    if went is not None:
        reach = torch.where(reach > 0, torch.maximum(reach, _GROWTH * went), 0)
    if state.inner_steps == 1 or evaluation.held is None:
        return _step(state, points, velocity, mu, reach)
    most = int(count.max()) if may_look(count) and count.numel() else state.inner_steps
    for j in range(most):
        ahead = _step(state, points, velocity, mu, reach)
        ahead = where_measure(j < count, ahead, points)
        if j == most - 1:
            break
        # A measure whose last step this was goes there unseen; its next evaluation is a whole one.
        within = j < count - 1
        new_velocity, new_merit = evaluation.held(ahead)
        accepted = within & (new_merit <= merit + state.rounding)
        _learn(state, ahead - points, velocity - new_velocity, mu, within)
        points = where_measure(accepted | ~within, ahead, points)
        velocity = where_measure(accepted, new_velocity, velocity)
        merit = torch.where(accepted, new_merit, merit)
        # A refused step is tried again, shorter; one that was not tried keeps its length.
        state.length = torch.where(within & ~accepted, _SHRINK * state.length, state.length)
        state.length = torch.where(accepted, 1, state.length)
    state.alone = count == 1
    return ahead


def _first_step(mu: Measure, evaluation: Evaluation) -> Tensor:
    """``0.3 L/s (...)``, see `LBFGS`; 0.3 where one of them is 0 or not finite."""
    strength = torch.where(evaluation.scale > 0, evaluation.scale, size_of(evaluation, mu))
    step = _FIRST * extent(mu, image_beside(evaluation, mu)) / (strength * max(mu.dim, 1) ** 0.5)
    return torch.where((step > 0) & (step < torch.inf), step, _FIRST)


def _farthest(moved: Tensor) -> Tensor:
    """``(...)``: how far the atom goes that goes farthest."""
    return moved.square().sum(-1).amax(-1).sqrt()


def _step(state: _Past, points: Tensor, velocity: Tensor, mu: Measure, reach: Tensor) -> Tensor:
    """``Z + t B v``, no atom by more than ``reach`` unless that is 0; ``state.length`` is ``t``."""
    along = state.scale[..., None, None] * velocity
    direction = along
    if state.rho.shape[-1] > 0:
        direction = _direction(state, velocity, mu)
        uphill = ~(_inner(direction.flatten(-2), velocity.flatten(-2), mu) > 0)
        direction = where_measure(uphill, along, direction)
    farthest = _farthest(direction)
    bound = reach / torch.where(farthest > 0, farthest, 1)
    bound = torch.where((farthest > 0) & (reach > 0), bound, torch.inf)
    state.length = torch.minimum(state.length, bound)
    return points + state.length[..., None, None] * direction


def _direction(state: _Past, velocity: Tensor, mu: Measure) -> Tensor:
    """``B v`` by the two-loop recursion, from the newest pair to the oldest and back."""
    q = velocity.flatten(-2)  # (..., N)
    memory = state.rho.shape[-1]
    filled = min(state.pairs, memory)
    ring = [(state.pairs - 1 - i) % memory for i in range(filled)]
    factors = []
    for j in ring:
        a = state.rho[..., j] * _inner(state.s[..., j, :], q, mu)
        q = q - a[..., None] * state.y[..., j, :]
        factors.append(a)
    q = state.scale[..., None] * q
    for j, a in zip(reversed(ring), reversed(factors), strict=True):
        b = state.rho[..., j] * _inner(state.y[..., j, :], q, mu)
        q = q + (a - b)[..., None] * state.s[..., j, :]
    return q.reshape(velocity.shape)


def _learn(state: _Past, moved: Tensor, turned: Tensor, mu: Measure, counts: Tensor) -> None:
    """Take in what one step says of the curvature, of the measures for which it ``counts``."""
    s, y = moved.flatten(-2), turned.flatten(-2)
    sy, ss, yy = _inner(s, y, mu), _inner(s, s, mu), _inner(y, y, mu)
    curved = counts & (sy > 0) & yy.isfinite() & ss.isfinite()
    memory = state.rho.shape[-1]
    even = state.pairs % 2 == 0
    long = memory == 0 and even
    length = torch.where(curved, ss / sy if long else sy / yy, state.scale)
    if memory == 0:
        flat = counts & ~curved & (ss > 0) & yy.isfinite()
        length = torch.where(flat, 2 * length, length)
    state.scale = length.clamp(_SHORTEST * state.first, _LONGEST * state.first)
    if memory > 0:
        j = state.pairs % memory
        state.s[..., j, :] = torch.where(curved[..., None], s, 0)
        state.y[..., j, :] = torch.where(curved[..., None], y, 0)
        state.rho[..., j] = torch.where(curved, 1 / torch.where(curved, sy, 1), 0)
    state.pairs += 1


def _inner(a: Tensor, b: Tensor, mu: Measure) -> Tensor:
    """``Σ_i w_i a_i · b_i`` of flat rows ``(..., N)``."""
    return ((a * b).reshape(mu.points.shape).sum(-1) * mu.weights).sum(-1)
