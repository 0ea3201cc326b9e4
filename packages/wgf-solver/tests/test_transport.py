"""Optimal transport against oracles, and equilibria up to relabelling with their gradients."""

import builtins

import pytest
import torch
from torch import Tensor

from wgf_solver import (
    GMRES,
    Anderson,
    Descent,
    Euler,
    Implicit,
    Measure,
    Phantom,
    Residual,
    Sinkhorn,
    SlicedWasserstein,
    Transport,
    Unrolled,
    Wasserstein,
    equilibrium,
)
from wgf_solver.discrepancies import sinkhorn_iteration
from wgf_solver.discrepancies.sliced_wasserstein import quantile_coupling
from wgf_solver.discrepancies.slices import directions

SHUFFLE = [2, 0, 3, 1, 5, 4]


def pair(n: int = 6, m: int = 8, d: int = 2) -> tuple[Measure, Measure]:
    return (
        Measure(torch.randn(n, d).double(), torch.rand(n) + 0.1),
        Measure(torch.randn(m, d).double(), torch.rand(m) + 0.1),
    )


def test_oracle_pot_sliced():
    ot = pytest.importorskip("ot", reason="the oracle of this test is POT")
    mu, nu = pair(d=3)
    theta = directions(40, 3, 0, mu.points)
    for p in (1, 2):
        theirs = ot.sliced_wasserstein_distance(
            mu.points, nu.points, mu.weights, nu.weights, projections=theta.T, p=p
        )
        torch.testing.assert_close(SlicedWasserstein(40, p=p)(mu, nu), theirs**p / p)


def test_oracle_scipy_in_one_dimension():
    stats = pytest.importorskip("scipy.stats", reason="the oracle of this test is scipy")
    mu, nu = pair(d=1)
    theirs = stats.wasserstein_distance(
        mu.points[:, 0].tolist(), nu.points[:, 0].tolist(), mu.weights.tolist(), nu.weights.tolist()
    )
    torch.testing.assert_close(SlicedWasserstein(9, p=1)(mu, nu), torch.tensor(theirs).double())


def test_the_quantile_coupling_has_its_margins():
    a, b = torch.rand(3, 5).double(), torch.rand(3, 7).double()
    a[:, 2] = 0
    a, b = a / a.sum(-1, keepdim=True), b / b.sum(-1, keepdim=True)
    amount, i, j = quantile_coupling(a, b)
    torch.testing.assert_close(torch.zeros_like(a).scatter_add(-1, i, amount), a)
    torch.testing.assert_close(torch.zeros_like(b).scatter_add(-1, j, amount), b)
    assert (i.diff() >= 0).all()
    assert (j.diff() >= 0).all()


@pytest.mark.parametrize("p", [1, 2])
def test_oracle_geomloss(p):
    geomloss = pytest.importorskip("geomloss", reason="the oracle of this test is geomloss")
    mu, nu = pair()
    theirs = geomloss.SamplesLoss("sinkhorn", p=p, blur=2.0, scaling=0.995, backend="tensorized")(
        mu.weights, mu.points, nu.weights, nu.points
    )
    ours = Sinkhorn(2.0, p=p, tolerance=1e-12)(mu, nu)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=0)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("blur", [1e-3, 0.03, 1.0])
def test_kernel_steps_are_those_of_the_log_domain(blur, p, monkeypatch):
    """Also where the kernel underflows: 1e-3 beside clouds of size 1."""
    mu, nu = pair()
    mu, nu = (
        mu.expand((2,)),
        Measure(torch.stack([nu.points, 3 * nu.points]), nu.weights.expand(2, -1)),
    )
    entropic = Sinkhorn(blur, p=p, tolerance=1e-9)
    ours = entropic.matching(mu, nu)
    monkeypatch.setattr(sinkhorn_iteration, "_LEAST", torch.inf)  # no sum will do
    logs = entropic.matching(mu, nu)
    torch.testing.assert_close(ours.value, logs.value, rtol=1e-9, atol=0)
    torch.testing.assert_close(ours.across, logs.across, rtol=1e-6, atol=1e-9)


def test_no_pair_changes_another():
    """Each anneals from its own size and stops at its own time.

    Rounding alone may differ (a CPU's `exp` depends on the place in memory): one that waited
    for the others would have settled by what is left of its error.
    """
    sizes = torch.tensor([1.0, 30.0, 0.01, 1.0, 0.0]).double()
    x, y = torch.randn(5, 12, 2).double(), torch.randn(5, 9, 2).double()
    mu, nu = Measure(sizes[:, None, None] * x), Measure(sizes[:, None, None] * y)
    entropic = Sinkhorn(0.2)
    together = entropic.matching(mu, nu)
    assert together.error.max() > 1e-8
    for i in range(5):
        alone = entropic.matching(Measure(mu.points[i]), Measure(nu.points[i]))
        torch.testing.assert_close(alone.across, together.across[i], rtol=0, atol=1e-12)
        torch.testing.assert_close(alone.value, together.value[i], rtol=1e-12, atol=1e-12)


def test_a_small_blur_is_the_exact_distance():
    pytest.importorskip("ot", reason="needs the extra ot")
    mu, nu = pair()
    exact, entropic = Wasserstein(), Sinkhorn(0.05, max_steps=5000)
    torch.testing.assert_close(entropic(mu, nu), exact(mu, nu), rtol=0.01, atol=0)
    torch.testing.assert_close(entropic.plan(mu, nu), exact.plan(mu, nu), rtol=0, atol=0.01)


@pytest.mark.parametrize("p", [1, 2])
def test_plan_potentials_and_map(p):
    ot = pytest.importorskip("ot", reason="the oracle of this test is POT")
    mu, nu = pair()
    padded = Measure(
        torch.cat([mu.points[:2], torch.full((1, 2), torch.nan).double(), mu.points[2:]]),
        torch.cat([mu.weights[:2], torch.zeros(1).double(), mu.weights[2:]]),
    )
    distance = Wasserstein(p)
    plan, (f, g) = distance.plan(padded, nu), distance.potentials(padded, nu)
    torch.testing.assert_close(plan.sum(-1), padded.weights)
    torch.testing.assert_close(plan.sum(-2), nu.weights)
    assert plan[2].abs().sum() == f[2] == 0
    value = distance(padded, nu)
    torch.testing.assert_close((padded.weights * f).sum() + (nu.weights * g).sum(), value)
    gaps = torch.cdist(mu.points, nu.points) ** p / p - (f[[0, 1, 3, 4, 5, 6], None] + g)
    assert gaps.min() > -1e-12
    theirs = ot.emd2(mu.weights, nu.weights, torch.cdist(mu.points, nu.points) ** p / p)
    torch.testing.assert_close(value, theirs)
    order = torch.randperm(6)
    shuffled = Measure(mu.points[order] + 0.01, mu.weights[order])
    torch.testing.assert_close(distance.map(mu, shuffled).points, mu.points + 0.01)


def test_absence_of_pot_has_a_remedy(monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == "ot":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match=r"pip install 'wgf-solver\[ot\]'"):
        Wasserstein()(*pair())


def shuffling(theta: Tensor):
    """A contraction to six places, whose images come in another order than the atoms."""
    angles = torch.arange(6).double()
    places = torch.stack([angles.cos(), (2 * angles).sin()], -1)

    def f(mu: Measure) -> Measure:
        mean = mu.mean()[..., None, :]
        near = torch.cdist(mu.points, places).argmin(-1)  # what the atom is, not where it stands
        moved = places[near] + 0.3 * (theta[..., :1, None] * (mu.points - places[near])).tanh()
        moved = moved + 0.1 * theta[..., 1:2, None] * (mean + theta[..., 2:, None]).sin()
        return Measure(moved[..., SHUFFLE, :], mu.weights[..., SHUFFLE])

    return f


def smooth(points: Tensor) -> Tensor:
    """A function of the measure: the same for each order of the atoms."""
    x, y = points.unbind(-1)
    return (x.sin() * (1 + y**2) + 0.3 * y).mean(-1)


def solve(f, start: Tensor, adjoint, integrator=None):
    return equilibrium(
        f, Measure(start), velocity=Transport(), integrator=integrator or Euler(1.0),
        adjoint=adjoint, rtol=1e-13, max_steps=400, on_failure="raise",
    )  # fmt: skip


@pytest.fixture
def places() -> Tensor:
    pytest.importorskip("ot", reason="needs the extra ot")
    angles = torch.arange(6).double()
    return torch.stack([angles.cos(), (2 * angles).sin()], -1) + 0.02 * torch.randn(6, 2).double()


@pytest.mark.parametrize(
    "adjoint",
    [Implicit(GMRES(rtol=1e-12)), Phantom(80), Phantom(80, velocity=None), Unrolled(80)],
    ids=["implicit", "phantom", "own phantom", "unrolled"],
)
@pytest.mark.parametrize("integrator", [Euler(1.0), Anderson()], ids=["euler", "anderson"])
def test_a_map_that_permutes_atoms(adjoint, integrator, places, differences):
    theta = torch.tensor([0.6, 0.8, -0.3], dtype=torch.float64)

    def loss(batch: Tensor) -> Tensor:
        start = places.expand(len(batch), 6, 2)
        return smooth(solve(shuffling(batch), start, adjoint, integrator).measure.points)

    leaf = theta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf[None]).sum(), leaf)
    expected = differences(loss, theta)
    assert float((gradient - expected).norm() / expected.norm()) < 1e-6
    solution = solve(shuffling(theta), places, adjoint, integrator)
    assert solution.discrepancy < 1e-20  # an equilibrium, though no fixed point atom by atom
    residual = Residual()(shuffling(theta), solution.measure.detach()).velocity
    assert residual.abs().max() > 0.5


def test_a_map_with_twice_as_many_atoms(places, ifs, ifs_parameters, differences):
    adjoint = Implicit(GMRES(rtol=1e-12))
    root = solve(ifs(ifs_parameters), places, adjoint).measure.points.detach()

    def loss(batch: Tensor) -> Tensor:
        start = root.expand(len(batch), 6, 2)
        return smooth(solve(ifs(batch), start, adjoint).measure.points)

    leaf = ifs_parameters.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf[None]).sum(), leaf)
    expected = differences(loss, ifs_parameters)
    assert float((gradient - expected).norm() / expected.norm()) < 1e-6


def test_the_entropic_map_is_at_rest_between_equal_measures(places):
    theta = torch.tensor([0.6, 0.8, -0.3], dtype=torch.float64)
    exact = solve(shuffling(theta), places, Implicit()).measure.detach()
    field = Transport(Sinkhorn(1.0, tolerance=1e-10))
    assert field(shuffling(theta), exact).velocity.abs().max() < 1e-6
    solution = equilibrium(shuffling(theta), Measure(places), velocity=field, rtol=1e-6)
    assert solution.converged
    assert (solution.measure.points - exact.points).abs().max() < 1e-4


def test_padding_does_not_travel(places):
    theta = torch.tensor([0.6, 0.8, -0.3], dtype=torch.float64)
    weights = torch.tensor([1.0, 1, 1, 1, 1, 0])
    mu = Measure(torch.where(weights[:, None] > 0, places, torch.nan), weights).zero_padding()
    evaluation = Transport()(shuffling(theta), mu)
    assert evaluation.velocity[5].abs().sum() == 0
    assert evaluation.velocity.isfinite().all()
    alone = Transport()(lambda m: shuffling(theta)(mu), Measure(places[:5]))
    torch.testing.assert_close(evaluation.velocity[:5], alone.velocity)


@pytest.mark.parametrize("whose", ["mu", "nu"])
@pytest.mark.parametrize("cost", [Wasserstein(), Sinkhorn(0.5)], ids=repr)
def test_a_gradient_through_weights_that_a_held_plan_has_not_is_refused(cost, whose):
    # It was None, or a part of the derivative.
    if isinstance(cost, Wasserstein):
        pytest.importorskip("ot", reason="needs the extra ot")
    points = torch.randn(2, 5, 2).double()
    weights = torch.rand(5).double().add(0.5).requires_grad_()
    plain, wanted = Measure(points[0]), Measure(points[1], weights)
    mu, nu = (wanted, plain) if whose == "mu" else (plain, wanted)
    for field in (Transport(cost), Descent(cost)):
        with pytest.raises(ValueError, match="no derivative with respect to weights"):
            equilibrium(lambda _: nu, mu, velocity=field, max_steps=20, on_failure="ignore")
    with torch.no_grad():
        free = cost.pull(mu, nu)
    assert torch.equal(free.velocity, cost.pull(mu.detach(), nu.detach()).velocity)
    (gradient,) = torch.autograd.grad(cost(mu, nu), weights)  # the value has it
    assert (gradient != 0).all()
