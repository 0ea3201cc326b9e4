"""What others write: each protocol by its least, and what was written for the version before."""

from dataclasses import dataclass

import pytest
import torch

from wgf_solver import (
    LBFGS,
    MMD,
    Anderson,
    Descent,
    DistanceTo,
    Energy,
    Euler,
    Evaluation,
    Flow,
    Measure,
    Phantom,
    Phases,
    Residual,
    Transport,
    Unrolled,
    equilibrium,
    gradient_flow,
)

F64 = torch.float64


def contraction(theta):
    return lambda mu: mu.with_points(0.5 * mu.points + theta)


def test_a_flow_is_its_field_at_its_map():
    mu, f = Measure(torch.randn(4, 2, dtype=F64)), contraction(1.0)
    flow = Flow(Residual(), f)
    assert torch.equal(flow(mu).velocity, Residual()(f, mu).velocity)
    assert not flow.descends
    with pytest.raises(TypeError, match="the flow of a functional has no map F"):
        Flow(Residual())(mu)


@dataclass(frozen=True)
class Relabelled:
    """The residual of a map that returns the atoms in reverse order, by one who knows it."""

    picard = True
    descends = False

    def __call__(self, f, mu):
        return Residual()(lambda m: m.with_points(f(m).points.flip(-2)), mu)


def test_a_phantom_takes_the_steps_of_a_field_of_ones_own_that_are_the_map():
    theta = torch.tensor([[0.0], [1.0]], dtype=F64, requires_grad=True)
    start = Measure(torch.zeros(2, 1, dtype=F64))
    solution = equilibrium(
        lambda mu: contraction(theta)(mu).with_points(contraction(theta)(mu).points.flip(-2)),
        start, velocity=Relabelled(), adjoint=Phantom(),
    )  # fmt: skip
    torch.testing.assert_close(solution.measure.points, 2 * theta.detach(), rtol=1e-3, atol=1e-3)
    (slope,) = torch.autograd.grad(solution.measure.points[0, 0], theta)
    torch.testing.assert_close(slope, torch.tensor([[1.0], [0.0]], dtype=F64))


class Means:
    """½ ‖mean − mean‖², and nothing else: its pull is found by autograd."""

    def __call__(self, mu, nu):
        return 0.5 * (mu.mean() - nu.mean()).square().sum(-1)


@pytest.mark.parametrize("target", ["frozen", "through"])
def test_a_discrepancy_without_a_pull_gets_it_by_autograd(target):
    # The pull of Means is the distance of the means, the same for each atom.
    mu = Measure(torch.randn(3, 4, 2, dtype=F64), torch.tensor([1.0, 2.0, 3.0, 0.0], dtype=F64))
    mu = mu.zero_padding()
    z = mu.points.clone().requires_grad_()
    theta = torch.tensor(0.7, dtype=F64, requires_grad=True)
    field = Descent(Means(), target)
    evaluation = field(contraction(theta), mu.with_points(z))
    gap = 0.5 * mu.mean() + theta.detach() - mu.mean()
    expected = gap if target == "frozen" else 0.5 * gap
    rows = torch.where(mu.mask[..., None], expected[..., None, :], 0)
    torch.testing.assert_close(evaluation.velocity.detach(), rows)
    torch.testing.assert_close(evaluation.discrepancy, 0.5 * gap.square().sum(-1))
    assert not evaluation.discrepancy.requires_grad
    # ∂v/∂θ and ∂v/∂Z: through the image as well.
    slope, bend = torch.autograd.grad(evaluation.velocity[..., 0, 0].sum(), (theta, z))
    factor = 1.0 if target == "frozen" else 0.5
    torch.testing.assert_close(slope, torch.tensor(3 * factor, dtype=F64))
    expected_bend = torch.zeros_like(z)
    expected_bend[..., 0] = -0.5 * factor * mu.weights
    torch.testing.assert_close(bend, expected_bend)


def test_it_solves_and_is_differentiated_as_one_with_a_pull():
    class WithPull(Means):
        def pull(self, mu, nu):
            return Evaluation((nu.mean() - mu.mean())[..., None, :] * mu.mask[..., None])

    start = Measure(torch.randn(4, 1, dtype=F64))
    results = []
    for distance in (Means(), WithPull()):
        theta = torch.tensor(0.7, dtype=F64, requires_grad=True)
        solution = equilibrium(
            contraction(theta), start, velocity=Descent(distance), integrator=Euler(1.0),
            adjoint=Unrolled(60), rtol=1e-10,
        )  # fmt: skip
        assert solution.converged
        mean = solution.measure.mean().sum()
        results.append((mean.detach(), *torch.autograd.grad(mean, theta)))
    torch.testing.assert_close(*results)
    torch.testing.assert_close(results[0][0], torch.tensor(1.4, dtype=F64))
    torch.testing.assert_close(results[0][1], torch.tensor(2.0, dtype=F64))


def test_functionals_take_a_discrepancy_of_ones_own_too():
    nu = Measure(torch.randn(5, 2, dtype=F64))
    theirs = gradient_flow(DistanceTo(Means(), nu), Measure(torch.randn(3, 2, dtype=F64)))
    assert theirs.converged
    torch.testing.assert_close(theirs.measure.mean(), nu.mean(), rtol=1e-3, atol=1e-3)


def test_what_is_the_targets_own_is_computed_once():
    class Counting(Means):
        towards_made = 0

        def towards(self, nu):
            type(self).towards_made += 1
            goal = nu.mean()

            def evaluated(mu):
                gap = (goal - mu.mean())[..., None, :] * mu.mask[..., None]
                return Evaluation(gap, discrepancy=0.5 * gap[..., 0, :].square().sum(-1))

            return evaluated

    functional = DistanceTo(Counting(), Measure(torch.ones(1, 2, dtype=F64)))
    solution = gradient_flow(functional, Measure(torch.zeros(3, 2, dtype=F64)))
    assert solution.converged
    assert solution.steps > 1
    assert Counting.towards_made == 1
    pulls = Descent(Counting())
    equilibrium(contraction(1.0), Measure(torch.zeros(3, 2, dtype=F64)), velocity=pulls)
    assert Counting.towards_made < 60  # one an evaluation, and not one a held step


class Named:
    """A transport cost of one's own."""

    p = 2

    def __call__(self, mu, nu):
        return 0.5 * (mu.weights * (nu.points - mu.points).square().sum(-1)).sum(-1)

    def plan(self, mu, nu):
        return torch.diag_embed(mu.weights)

    def pull(self, mu, nu):
        return Evaluation(nu.points - mu.points)


def test_transport_takes_a_cost_of_ones_own():
    start = Measure(torch.zeros(3, 1, dtype=F64))
    solution = equilibrium(contraction(1.0), start, velocity=Transport(Named()))
    assert solution.converged
    torch.testing.assert_close(solution.measure.points, torch.full((3, 1), 2.0, dtype=F64))
    with pytest.raises(TypeError, match="takes a cost with a plan"):
        Transport(MMD(Energy()))


class Bare:
    """The residual, and nothing said of it."""

    descends = False

    def __call__(self, f, mu):
        return Evaluation(f(mu).points - mu.points)


def test_a_field_may_give_its_velocity_and_nothing_else():
    start = Measure(torch.zeros(2, 3, 1, dtype=F64), marks=torch.ones(3, 1, dtype=F64))
    for integrator in (Euler(), Anderson(), LBFGS(), Phases(Euler(), Anderson())):
        solution = equilibrium(contraction(1.0), start, velocity=Bare(), integrator=integrator)
        assert solution.converged.all()
        assert solution.discrepancy.isnan().all()
        torch.testing.assert_close(
            solution.measure.points, torch.full((2, 3, 1), 2.0, dtype=F64), rtol=1e-3, atol=0
        )


def test_a_field_that_descends_says_what():
    class Wrong(Bare):
        descends = True

    with pytest.raises(TypeError, match="descends and does not say what"):
        equilibrium(contraction(1.0), Measure(torch.zeros(2, 1)), velocity=Wrong())


@pytest.mark.parametrize("kind", ["closure", "object"])
def test_what_a_discrepancy_of_ones_own_closes_over_has_its_gradient(kind):
    theta = torch.tensor(0.5).double().requires_grad_()

    def apart(mu: Measure, nu: Measure):
        pull = mu.points - theta * nu.mean()[..., None, :]
        return 0.5 * (pull.square().sum(-1) * mu.weights).sum(-1)

    class Apart:
        def __call__(self, mu: Measure, nu: Measure):
            return apart(mu, nu)

    two = torch.tensor([[-1.0], [3.0]]).double()
    solution = equilibrium(
        lambda m: Measure(torch.cat([0 * m.points, 0 * m.points], -2) + two),
        Measure(torch.zeros(1, 1).double()),
        velocity=Descent(apart if kind == "closure" else Apart()),
        rtol=1e-10,
    )
    (gradient,) = torch.autograd.grad(solution.measure.points.sum(), theta)  # z = θ · 1
    torch.testing.assert_close(gradient, torch.tensor(1.0).double())
