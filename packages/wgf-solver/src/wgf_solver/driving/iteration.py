"""The state of a solve: where each measure is, and whether it is done."""

from __future__ import annotations

import torch
from torch import Tensor

from wgf_solver.driving.options import Options
from wgf_solver.driving.record import Record
from wgf_solver.driving.yardstick import (
    Yardstick,
    frobenius,
    of_places,
    yardstick_at,
)
from wgf_solver.evaluation import Evaluation, image_beside, measured
from wgf_solver.flow import Flow
from wgf_solver.integrators.base import Integrator, plain_step
from wgf_solver.measure import Measure
from wgf_solver.norms import known_count, known_none, may_look, where_measure
from wgf_solver.solution import Solution, Status
from wgf_solver.velocities.base import image_of
from wgf_solver.watch import depends_beyond, holds_a_parameter, refuse_tangents

# Plain numbers: a tensor that is compared with a member of an enum cannot be compiled.
RUNNING, CONVERGED, STATIONARY, MAX_STEPS, NONFINITE, EMPTY = map(int, Status)


class Iteration:
    """Alternates `evaluate` and `step`, per measure; nothing in it waits for the device.

    ``best_*`` hold what will be returned: the iterate that converged, or, until then, the one with
    the lowest discrepancy (fields that descend) or residual (others).
    """

    def __init__(
        self,
        flow: Flow,
        mu0: Measure,
        integrator: Integrator,
        options: Options,
        *,
        watch: bool = False,
    ) -> None:
        self.flow, self.integrator = flow, integrator
        self.rtol, self.atol, self.callback = options.rtol, options.atol, options.callback
        self.start = mu0
        # A copy, so that a map that writes into its argument (an error) spoils no tensor of others.
        self.mu = mu0.with_points(mu0.points.clone()).detach()
        self.state = integrator.start(self.mu)
        self._proposed = False
        self._first_step: Tensor | None = None
        self.k = 0
        self.depends_on_something = False
        self._watch = watch and flow.map is not None
        batch, points = self.mu.batch_shape, self.mu.points
        alive = self.mu.mask.any(-1)
        broken = ~self.mu.weights.isfinite().all(-1)
        self._counted = torch.zeros(batch, dtype=torch.int64, device=points.device)
        self._since, self.running = 0, torch.zeros_like(alive)
        self._decide(torch.where(broken, NONFINITE, torch.where(alive, RUNNING, EMPTY)))
        self.best_points = points
        self._best_size = torch.where(alive | broken, points.new_full((), torch.inf), 0)
        self._yardstick: Yardstick | None = None
        self._fresh: Tensor | None = torch.ones_like(alive)  # whose start is not measured yet
        self._far = frobenius(points)
        self._near = alive  # whether the problem is resolved so far out; see `_measured`
        self._place: Tensor | None = None  # (...) what of ‖Z‖ is the rounding of the field
        self.discrepancy = self._best_size
        self.first_discrepancy = points.new_zeros(batch)
        self._evaluation: Evaluation | None = None
        self.record = Record(trajectory=options.trajectory, energies=flow.map is None)
        self.probe_steps = torch.zeros_like(self._counted)
        self._perturb = getattr(integrator, "perturb", None)  # few integrators have it
        self._clock = 0

    def evaluate(self) -> None:
        """Evaluate the field; judge and record every measure that still runs."""
        perturbed = None if self._perturb is None else self._perturb(self.state, self.mu)
        evaluation = self._field(self.mu if perturbed is None else perturbed)
        if self._fresh is not None:
            at = self.mu if perturbed is None else perturbed
            evaluation, self._place = of_places(evaluation, at)
        evaluation = measured(evaluation, self.mu)
        size = self.flow.size(evaluation, self.mu)
        if self.k == 0:
            self.first_discrepancy = evaluation.discrepancy
        self.k += 1
        yardstick = self._measured(evaluation, size)
        self.record.evaluated(self._some, self.mu.points, evaluation.discrepancy)
        if perturbed is None:
            rounding = evaluation.rounding
            if self._place is not None:
                rounding = torch.fmax(rounding, self._far * self._place)
            believed = rounding * (rounding <= yardstick.rounding)
            small = size <= torch.fmax(yardstick.tolerance, believed)
            resolved = self.running & self._near
            good = resolved & small
            # Not the relative size: of a solve that diverges, the start is the best.
            if self.flow.descends:
                better = evaluation.discrepancy < self.discrepancy
            else:
                better = size < self._best_size
            record = resolved & better
            if not known_none(good):
                record = record | good
                self._decide(self.status.masked_fill(good, CONVERGED))
            self._record(record, size, evaluation.discrepancy)
        self._evaluation = evaluation
        if self.callback is not None:
            self.callback(self.k, self.mu, evaluation)

    def _record(self, chosen: Tensor, size: Tensor, discrepancy: Tensor) -> None:
        """Keep the present points of the chosen measures as their best."""
        count = known_count(chosen)
        if count == 0:
            return
        if count == chosen.numel():
            self.best_points, self._best_size = self.mu.points, size
        else:
            self.best_points = where_measure(chosen, self.mu.points, self.best_points)
            self._best_size = torch.where(chosen, size, self._best_size)
        # A copy: whoever wrote the field may write into his own tensor again.
        self.discrepancy = torch.where(chosen, discrepancy, self.discrepancy)

    def step(self) -> None:
        """Move the measures that still run; one that would become NaN is stopped instead."""
        proposal = self.flow.placed(self._propose())
        far = frobenius(proposal)
        near = far <= self.yardstick.reach  # so that NaN is not
        leaps = self.running > near
        if not known_none(leaps):
            # To where floating point does not resolve the problem no step leads but a plain one.
            step = self.plain_step(self._clock)[..., None, None]
            assert self._evaluation is not None
            plain = self.mu.points + step * self._evaluation.velocity
            proposal = where_measure(leaps & (far < torch.inf), plain, proposal)
            far = frobenius(proposal)
            near = far <= self.yardstick.reach
            # Points whose squares overflow have no distances: kernels of them are 0, not small.
            self._end(self.running & ~(far < torch.inf), NONFINITE)
        if not self._all_run:
            proposal = where_measure(self.running, proposal, self.mu.points)
        self._far, self._near = far, near  # of measures that rest nobody reads them again
        self.mu = self.mu.with_points(proposal)
        self.record.stepped(self.integrator.step_size(self._clock))
        self._clock += 1

    def _propose(self) -> Tensor:
        """The integrator's next points ``(..., n, d)``; with the first it has learnt its step."""
        assert self._evaluation is not None
        proposal = self.integrator.propose(
            self.state, self.mu, self._evaluation, self.flow.descends
        )
        self._proposed = True
        if self._first_step is None:
            self._first_step = self.plain_step(0)
        return proposal

    @property
    def first_step(self) -> Tensor:
        """``τ_0 (...)`` of each measure, as it was where the solve started."""
        if self._first_step is None:
            self._propose()
        assert self._first_step is not None
        return self._first_step

    def plain_step(self, k: int) -> Tensor:
        """``τ_k (...)``, the integrator's step of plain descent; some learn each measure's own."""
        if not self._proposed:  # who rests where it started has a step of its own all the same
            self._propose()
        step = plain_step(self.integrator, self.state, k)
        return step if isinstance(step, Tensor) else self.discrepancy.new_full((), step)

    def _decide(self, status: Tensor) -> None:
        """Set the statuses, and what is read off them at each step."""
        self._counted, self._since = self.steps, self.k
        self.status = status
        self.running = status == RUNNING
        self._some = self.running.any()
        # Where values may be looked at, they are so when a status changes, not at each step.
        self._all_run = may_look(status) and bool(self.running.all())

    @property
    def steps(self) -> Tensor:
        """How many evaluations each measure has had while it ran ``(...)``."""
        return self._counted + self.running * (self.k - self._since)

    def _end(self, chosen: Tensor, status: int) -> None:
        """Give the chosen measures a status; where it is known that none is, do nothing."""
        if not known_none(chosen):
            self._decide(self.status.masked_fill(chosen, status))

    def over(self) -> bool:
        """Whether no measure runs any more; waits for the device."""
        return not (self._all_run or bool(self._some))

    @property
    def yardstick(self) -> Yardstick:
        """What sizes are relative to; there is none before the first evaluation."""
        assert self._yardstick is not None
        return self._yardstick

    def _measured(self, evaluation: Evaluation, size: Tensor) -> Yardstick:
        """The yardstick, read off anew for measures that have just started."""
        if self._fresh is None:
            return self.yardstick
        step = self.integrator.step_size(0)
        new = yardstick_at(
            evaluation, self.mu, size, step, self.rtol, self.atol, self.flow.map is None
        )
        if self._yardstick is not None:
            new = self._yardstick.renewed(self._fresh, new)
        self._yardstick, self._fresh = new, None
        self._near = self._far <= new.reach
        return new

    @property
    def residual(self) -> Tensor:
        """``‖v‖`` of the iterate to be returned, relative to what ``rtol`` is relative to."""
        size = self._best_size
        return torch.where(size > 0, size / self.yardstick.reference, size)

    def image(self) -> Measure:
        """``F`` of the present measures, which for those that are done are the ones to return."""
        assert self._evaluation is not None
        return image_beside(self._evaluation, self.mu)

    def refuse_overflow(self) -> None:
        """Take back the verdict on measures so far out that no distance of theirs is finite."""
        lost = ~(torch.linalg.vector_norm(self.best_points, dim=(-2, -1)) < torch.inf)
        self._end(lost & (self.status == CONVERGED), NONFINITE)

    def in_doubt(self) -> Tensor:
        """``(...)`` bool: converged, with more discrepancy than the tolerance explains.

        Near a minimum with ``D = 0``, ``D`` goes like ``‖v‖²``; so ``rtol² D(start)`` is beyond
        doubt, and so is what float rounding leaves of a difference of size ``D(start)``.
        """
        eps = torch.finfo(self.discrepancy.dtype).eps
        clear = max(self.rtol**2, 64 * eps) * self.first_discrepancy
        return (self.status == CONVERGED) & (self.discrepancy > clear)

    def resume(self, chosen: Tensor, points: Tensor) -> None:
        """Let the chosen measures run on from ``points``, each within the rest of its budget."""
        self.k = self.record.jumped()
        self._decide(torch.where(chosen, RUNNING, self.status))
        rows = chosen[..., None, None]
        self.mu = self.mu.with_points(torch.where(rows, points, self.best_points))
        self._far = frobenius(self.mu.points)
        self._fresh = chosen
        self.state, self._proposed = self.integrator.start(self.mu), False
        self._clock = 0

    def stop_spent(self, max_steps: int) -> None:
        """End measures that have used up their budget."""
        if self.k < max_steps:  # no measure has made more evaluations than were made
            return
        self._end(self.running & (self.steps >= max_steps), MAX_STEPS)

    def call_stationary(self, chosen: Tensor) -> None:
        """Give up on these measures, which rest where no equilibrium is."""
        self._end(chosen, STATIONARY)

    def solution(self) -> Solution:
        """What was reached; whoever still runs has used up the budget."""
        ended = torch.where(self.status == RUNNING, MAX_STEPS, self.status)
        return Solution(
            measure=self.mu.with_points(self.best_points),
            residual=self.residual,
            discrepancy=self.discrepancy,
            steps=self.steps,
            status=ended,
            probe_steps=self.probe_steps,
            trajectory=self.record.trajectory,
            times=self.record.times,
            energies=self.record.energies,
            of_functional=self.flow.map is None,
            at_rounding=(ended == CONVERGED) & (self._best_size > self.yardstick.tolerance),
        )

    def _field(self, mu: Measure) -> Evaluation:
        """The field at ``mu``, detached.

        The first evaluation is made with gradients on, at no extra cost, to see whether the image
        depends on anything that wants one: a solve that nothing depends on gets no graph.
        """
        f = self.flow.map
        if self.k > 0:
            return self.flow(mu)
        if not self._watch or f is None:
            evaluation = self.flow(mu)
            refuse_tangents(evaluation.velocity)
            return evaluation

        def watched(mu: Measure) -> Measure:
            with torch.enable_grad():
                image = image_of(f, mu)
            refuse_tangents(image.points)
            seen = (image.points, image.weights, self.start.weights, self.start.marks)
            self.depends_on_something |= any(depends_beyond(t, mu.points) for t in seen)
            self.depends_on_something |= holds_a_parameter(self.flow.velocity)
            # A field that differentiates through F has asked for a gradient at the points.
            return image if mu.points.requires_grad else image.detach()

        return self.flow.of(watched)(self.start.with_points(mu.points).detach())
