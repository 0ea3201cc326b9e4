"""A velocity field with the map whose fixed points are its roots: what is followed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from wgf_solver.evaluation import Evaluation, completed, size_of
from wgf_solver.held import Held
from wgf_solver.measure import Measure
from wgf_solver.velocities.base import Map, VelocityField
from wgf_solver.watch import depends_beyond, holds_all_it_uses


@dataclass(frozen=True, eq=False)
class Flow:
    """``dZ/dt = v(Z; F)``, which integrators follow and whose root adjoints differentiate.

    Attributes:
        velocity: the field ``v(Z; F)``.
        map: ``F``; None for the gradient flow of a functional, which has none.
        held: the atoms that do not move, if there are any.
    """

    velocity: VelocityField
    map: Map | None = None
    held: Held | None = None

    @property
    def descends(self) -> bool:
        """Whether the discrepancy of an evaluation is what falls along the flow."""
        return self.velocity.descends

    def __call__(self, mu: Measure) -> Evaluation:
        """The field at ``mu``, whose held atoms are where they were put, whatever it says."""
        f, held = _no_map if self.map is None else self.map, self.held
        if held is not None:
            mu = mu.with_points(held.placed(mu.points))
            f = held.labelled(f) if getattr(self.velocity, "labelled", False) else f
        evaluation = self.velocity(f, mu)
        evaluation = evaluation if held is None else held.restricted(evaluation)
        if self.descends and not evaluation.says_discrepancy:
            raise TypeError(
                f"the velocity field {self.velocity!r} descends and does not say what: give its "
                "Evaluation a discrepancy, one number for each measure"
            )
        return completed(evaluation, mu)

    def size(self, evaluation: Evaluation, mu: Measure) -> Tensor:
        """``‖v‖ (...)``, the root mean square over the atoms that can move."""
        size = size_of(evaluation, mu)
        return size if self.held is None else size * self.held.gain

    def placed(self, points: Tensor) -> Tensor:
        """``points`` with the held atoms where they belong."""
        return points if self.held is None else self.held.placed(points)

    def prepared(self, mu: Measure) -> Flow:
        """The same flow; what will not change from ``mu`` on is computed once."""
        prepare = getattr(self.velocity, "prepared", None)
        return self if prepare is None else self.along(prepare(mu))

    def wants_gradient(self, mu: Measure) -> bool:
        """Whether the field depends on anything that wants one, but for the points.

        For one of the package's own that has a map the driver looks at the image, and at what the
        field holds, at no extra cost.
        """
        if self.held is not None and self.held.points.requires_grad:
            return True
        if self.map is not None and holds_all_it_uses(self.velocity):
            return False
        z = mu.points.detach().clone().requires_grad_()
        return depends_beyond(self(mu.with_points(z)).velocity, z)

    def along(self, velocity: VelocityField) -> Flow:
        """The flow of another field of the same map."""
        return replace(self, velocity=velocity)

    def of(self, f: Map) -> Flow:
        """The flow of the same field for another map."""
        return replace(self, map=f)

    def on_copies(self) -> Flow:
        """This flow for a map that writes into its argument."""
        f = self.map
        return self if f is None else self.of(lambda mu: f(copied(mu)))


def copied(mu: Measure) -> Measure:
    """``μ`` on tensors of its own: a map that writes into them alters nobody's."""
    marks = None if mu.marks is None else mu.marks.clone()
    return mu.replaced(mu.points.clone(), mu.weights.clone(), marks)


def with_labels_copied(mu: Measure) -> Measure:
    """``μ`` on weights and marks of its own: who writes into them spoils no tensor of others.

    But for expanded ones, into which torch lets nobody write, and which are expanded for a reason.
    """

    def own(rows: Tensor) -> Tensor:
        expanded = any(s == 0 and k > 1 for s, k in zip(rows.stride(), rows.shape, strict=True))
        return rows if expanded else rows.clone()

    return mu.replaced(mu.points, own(mu.weights), None if mu.marks is None else own(mu.marks))


def _no_map(mu: Measure) -> Measure:
    raise TypeError(
        "the flow of a functional has no map F, and this adjoint wants one; take Implicit(), "
        "Unrolled(steps) or Phantom(steps, velocity=None)"
    )
