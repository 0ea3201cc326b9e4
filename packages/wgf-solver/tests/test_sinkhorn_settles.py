"""Entropic plans have their marginals, or one is told; equal measures are at rest."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wgf_solver import Descent, Euler, Measure, Sinkhorn, SinkhornWarning, equilibrium
from wgf_solver.discrepancies import sinkhorn_iteration
from wgf_solver.discrepancies.sinkhorn_newton import newton_step

POWERS = st.sampled_from([1, 2])
LAW = settings(max_examples=20, deadline=None, derandomize=True)


def measure(n: int, seed: int, light: float = 1e-2) -> Measure:
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(n, 2, generator=generator, dtype=torch.float64)
    return Measure(points, torch.rand(n, generator=generator, dtype=torch.float64) + light)


def off(plan, mu, nu) -> float:
    """By how much an atom sends or receives too much or too little, relative to its mass."""
    rows = (plan.sum(-1)[mu.mask] / mu.weights[mu.mask] - 1).abs().max()
    columns = (plan.sum(-2)[nu.mask] / nu.weights[nu.mask] - 1).abs().max()
    return float(torch.maximum(rows, columns))


@LAW
@given(
    seed=st.integers(0, 10**6),
    blur=st.sampled_from([0.3, 0.1, 0.03, 0.01]),
    p=POWERS,
)
def test_plans_have_their_marginals(seed, blur, p):
    mu, nu = measure(9, seed, 1e-6), measure(13, seed + 1)
    nu = nu.with_points(nu.points + 0.5)
    assert off(Sinkhorn(blur, p).plan(mu, nu), mu, nu) <= 2e-6
    matching = Sinkhorn(blur, p).matching(mu, nu)
    assert matching.settled
    assert matching.error <= 2e-6
    for rows, one in ((matching.within_mu, mu), (matching.within_nu, nu)):
        within = one.weights[:, None] * rows
        assert off(within, one, one) <= 2e-6
        assert (within - within.mT).abs().max() <= 2e-6 * one.weights.max()


def test_a_small_blur_beside_the_clouds_settles():
    generator = torch.Generator().manual_seed(0)
    mu = Measure(torch.rand(30, 2, generator=generator).double())
    nu = Measure(torch.rand(47, 2, generator=generator).double() + torch.tensor([1.0, 0.0]))
    values = []
    for blur in (0.1, 0.03, 0.01, 0.003):
        assert off(Sinkhorn(blur).plan(mu, nu), mu, nu) <= 2e-6
        values.append(float(Sinkhorn(blur)(mu, nu)))
    assert values == sorted(values)
    ot = pytest.importorskip("ot", reason="the oracle of this test is POT")
    cost = ot.dist(mu.points.numpy(), nu.points.numpy()) / 2
    exact = ot.emd2(mu.weights.numpy(), nu.weights.numpy(), cost)
    assert abs(values[-1] - exact) < 1e-5


def test_two_pairs_of_atoms_by_hand_and_padded():
    # 0.3 goes up by 1, 0.2 and 0.5 go to (3, 0): ½(0.3 · 1 + 0.2 · 9 + 0.5 · 1) = 1.3, less
    # ε(log ...) of the entropy, which debiasing leaves in the split atom.
    x, y = torch.tensor([[0.0, 0], [2, 0]]).double(), torch.tensor([[0.0, 1], [3, 0]]).double()
    mu, nu = Measure(x, torch.tensor([0.5, 0.5])), Measure(y, torch.tensor([0.3, 0.7]))
    zero = torch.zeros(1, 2).double()
    padded = [
        Measure(torch.cat([m.points, zero]), torch.cat([m.weights, zero[:, 0]])) for m in (mu, nu)
    ]
    for blur in (0.02, 0.2):
        value = Sinkhorn(blur)(mu, nu)
        assert abs(value - 1.3) < blur**2
        torch.testing.assert_close(Sinkhorn(blur)(*padded), value)
        torch.testing.assert_close(
            Sinkhorn(blur).plan(mu, nu).sum(0), nu.weights, rtol=1e-6, atol=0
        )


@LAW
@given(seed=st.integers(0, 10**6), blur=st.sampled_from([0.1, 0.05, 0.02]), p=POWERS)
def test_equal_measures_are_at_rest_also_where_nothing_has_settled(seed, blur, p):
    mu = measure(7, seed, 1e-4)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(seed))
    nu = Measure(mu.points[order], mu.weights[order])
    for steps in (1000, 3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SinkhornWarning)
            pull = Sinkhorn(blur, p, max_steps=steps).pull(mu, nu)
        assert pull.discrepancy <= 1e-14
        assert pull.velocity.abs().max() <= 1e-8


def test_a_flow_that_starts_at_its_target_rests_there():
    x = torch.arange(6.0).double()[:, None] / 5
    weights = torch.tensor([1, 1e-3, 1, 1, 1, 1])
    mu, nu = Measure(x, weights), Measure(x.flip(0), weights.flip(0))
    flow = {"velocity": Descent(Sinkhorn(0.05)), "integrator": Euler(1.0), "max_steps": 50}
    solution = equilibrium(lambda m: nu, mu, **flow)
    assert solution.converged
    assert (solution.measure.points - mu.points).abs().max() < 1e-8


def test_a_plan_that_misses_its_marginals_is_told_of():
    mu, nu = measure(40, 0).expand((2,)), measure(40, 1).expand((2,))
    hard = Sinkhorn(1e-4, max_steps=1)
    with pytest.warns(SinkhornWarning, match=r"of 2 of 2 pairs settled.*Raise max_steps, or blur"):
        matching = hard.matching(mu, nu)
    assert not matching.settled.any()
    assert (matching.error > 1e-6).all()


def test_pairs_that_go_on_by_newton_steps_change_no_bit_of_others():
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(3, 20, 2, generator=generator).double()
    y = (
        torch.rand(3, 20, 2, generator=generator).double()
        * torch.tensor([1.0, 9.0, 1.0])[:, None, None]
    )
    together = Sinkhorn(0.01).matching(Measure(x), Measure(y))
    for i in range(3):
        alone = Sinkhorn(0.01).matching(Measure(x[i]), Measure(y[i]))
        torch.testing.assert_close(alone.across, together.across[i], rtol=0, atol=1e-12)
        assert torch.equal(alone.settled, together.settled[i])


def test_relaxation_needs_fewer_updates_and_newton_fewer_still(monkeypatch):
    mu, nu = measure(60, 0), measure(60, 1)
    count = []
    update, newton = sinkhorn_iteration._update, sinkhorn_iteration._newton
    monkeypatch.setattr(sinkhorn_iteration, "_update", lambda p: count.append(0) or update(p))
    monkeypatch.setattr(sinkhorn_iteration, "_newton", lambda p: count.append(1) or newton(p))
    Sinkhorn(0.01).matching(mu, nu)
    assert 0 < sum(count) < 60
    monkeypatch.setattr(sinkhorn_iteration, "LARGEST", 0)  # too many atoms for Newton steps
    relaxation, numbers = sinkhorn_iteration._relaxation, []
    for way in (relaxation, lambda rate, omega: omega):
        monkeypatch.setattr(sinkhorn_iteration, "_relaxation", way)
        count.clear()
        assert off(Sinkhorn(0.1).plan(mu, nu), mu, nu) <= 2e-6
        numbers.append(len(count))
    assert numbers[0] < 0.75 * numbers[1]


@pytest.mark.parametrize("rho", [torch.inf, 0.5])
def test_a_newton_step_is_that_of_the_dual(rho):
    mu, nu = measure(4, 0), measure(5, 1)
    cost = 0.5 * torch.cdist(mu.points, nu.points).square()
    epsilon = torch.tensor([0.1]).double()

    def dual(g):
        f = -0.1 / (1 + 0.1 / rho) * ((g - cost) / 0.1 + nu.weights.log()).logsumexp(-1)
        if rho == torch.inf:
            return (mu.weights * f).sum() + (nu.weights * g).sum()
        sent = (mu.weights * (-f / rho).exp()).sum()
        return -(rho + 0.1) * sent - rho * (nu.weights * (-g / rho).exp()).sum()

    g = 0.01 * torch.randn(5).double()
    gradient = torch.autograd.functional.jacobian(dual, g)
    hessian = torch.autograd.functional.hessian(dual, g)
    damping = 1e-3
    expected = g - torch.linalg.solve(hessian - damping / 0.1 * torch.diag(nu.weights), gradient)
    _, came, _, _ = newton_step(
        cost[None], mu.weights[None], nu.weights[None], g[None], epsilon,
        torch.full((1,), damping).double(), torch.full((1,), rho).double(),
    )  # fmt: skip
    torch.testing.assert_close(came[0], expected)


@pytest.mark.parametrize(("seed", "blur"), [(0, 0.3), (5, 0.1)])
def test_what_is_unfinished_cancels_between_measures_that_are_nearly_equal(seed, blur):
    # Three problems that stopped each by itself would leave a hundred times as much.
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(12, 2, generator=generator).double()
    w = torch.rand(12, generator=generator).double() + 1e-3
    for scale in (1e-5, 1e-3):
        y = x + scale * torch.randn(12, 2, generator=generator).double()
    mu, nu = Measure(x, w), Measure(y, w)
    velocity = Sinkhorn(blur).pull(mu, nu).velocity
    exact = Sinkhorn(blur, tolerance=1e-12, max_steps=3000).pull(mu, nu).velocity
    assert (velocity - exact).abs().max() <= 2e-5 * exact.abs().max()


def test_potentials_of_a_loose_solve_are_near_those_of_a_tight_one():
    # Within a measure the mean of both potentials, of which each alone is ten times as far off.
    errors = []
    for seed in range(6):
        mu, nu = measure(12, seed, 1e-3), measure(9, seed + 6, 1e-3)
        loose, tight = (
            Sinkhorn(0.1, tolerance=t).matching(mu, nu).potentials for t in (1e-2, 1e-9)
        )
        for f, exact in zip(loose, tight, strict=True):
            errors.append(((f - f.mean()) - (exact - exact.mean())).abs().max())
    assert sum(errors) / len(errors) < 2e-3


def test_a_kernel_that_the_potentials_have_left_is_made_anew():
    # f_1 = −log(½ e^−400 + ½ e^(400−760)), whose second term has underflowed in the first kernel;
    # no sum with that kernel is too small to be believed.
    cost = torch.tensor([[[400.0, 760.0], [760.0, 0.0]]]).double()
    half, one = torch.full((1, 2), 0.5).double(), torch.ones(1).double()
    g = torch.tensor([[0.0, 400.0]]).double()
    pairs = sinkhorn_iteration._Pairs(
        cost, half, half, 0 * g, g, one, kernel=(-cost).exp(), f_kernel=0 * g, g_kernel=0 * g,
        known_g=g, rho=torch.inf * one, omega=one, damping=one,
        place=torch.zeros(1, dtype=torch.int64),
    )  # fmt: skip
    expected, _ = sinkhorn_iteration._log_update(pairs)
    sinkhorn_iteration._update(pairs)
    torch.testing.assert_close(pairs.f, expected)
    torch.testing.assert_close(expected[0, 0], torch.tensor(360 + math.log(2)).double())
