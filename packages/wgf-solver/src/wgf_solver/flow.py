"""A velocity field with the map whose fixed points are its roots: what is followed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wgf_solver.evaluation import Evaluation, completed
from wgf_solver.measure import Measure
from wgf_solver.velocities.base import Map, VelocityField
from wgf_solver.watch import depends_beyond


@dataclass(frozen=True, eq=False)
class Flow:
    """``dZ/dt = v(Z; F)``, which integrators follow and whose root adjoints differentiate.

    Attributes:
        velocity: the field ``v(Z; F)``.
        map: ``F``; None for the gradient flow of a functional, which has none.
    """

    velocity: VelocityField
    map: Map | None = None

    @property
    def descends(self) -> bool:
        """Whether the discrepancy of an evaluation is what falls along the flow."""
        return self.velocity.descends

    def __call__(self, mu: Measure) -> Evaluation:
        """The field at ``mu``."""
        evaluation = self.velocity(_no_map if self.map is None else self.map, mu)
        if self.descends and not evaluation.says_discrepancy:
            raise TypeError(
                f"the velocity field {self.velocity!r} descends and does not say what: give its "
                "Evaluation a discrepancy, one number for each measure"
            )
        return completed(evaluation, mu)

    def prepared(self, mu: Measure) -> Flow:
        """The same flow; what will not change from ``mu`` on is computed once."""
        prepare = getattr(self.velocity, "prepared", None)
        return self if prepare is None else self.along(prepare(mu))

    def wants_gradient(self, mu: Measure) -> bool:
        """Whether a field without a map depends on anything that wants one, but for the points.

        For one that has a map the driver looks at the image, at no extra cost.
        """
        if self.map is not None:
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
        return self if f is None else self.of(lambda mu: f(mu.with_points(mu.points.clone())))


def _no_map(mu: Measure) -> Measure:
    raise TypeError(
        "the flow of a functional has no map F, and this adjoint wants one; take Implicit(), "
        "Unrolled(steps) or Phantom(steps, velocity=None)"
    )
