"""Sinkhorn with a reach: what geomloss and POT say, and what must hold of it."""

import warnings

import pytest
import torch
from torch import Tensor

from wgf_solver import (
    DistanceTo,
    Measure,
    Sinkhorn,
    SinkhornWarning,
    Transport,
    gradient_flow,
)


def clouds(*batch: int, far: float = 0.0) -> tuple[Measure, Measure]:
    x, y = torch.randn(*batch, 6, 2).double(), torch.randn(*batch, 7, 2).double() + 0.5
    y[..., 0, :] += far
    return Measure(x, torch.rand(*batch, 6)), Measure(y, torch.rand(*batch, 7))


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize(("blur", "reach"), [(0.3, 0.5), (0.05, 1.0), (0.1, 4.0), (0.3, 50.0)])
def test_it_is_the_value_of_geomloss(p, blur, reach):
    geomloss = pytest.importorskip("geomloss")
    mu, nu = clouds(2, far=20.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss = geomloss.SamplesLoss(
            "sinkhorn", p=p, blur=blur, reach=reach, scaling=0.98, backend="tensorized"
        )
        value = loss(mu.weights, mu.points, nu.weights, nu.points)
    torch.testing.assert_close(Sinkhorn(blur, p, reach=reach)(mu, nu), value, rtol=2e-3, atol=0)


@pytest.mark.parametrize("p", [1, 2])
def test_it_is_the_plan_of_pot(p):
    ot = pytest.importorskip("ot")
    mu, nu = clouds()
    cost = torch.cdist(mu.points, nu.points) ** p / p
    plan = ot.unbalanced.sinkhorn_unbalanced(
        *(t.numpy() for t in (mu.weights, nu.weights, cost)), 0.5**p, 0.8**p, numItermax=5000,
        stopThr=1e-13,
    )  # fmt: skip
    found = Sinkhorn(0.5, p, reach=0.8, tolerance=1e-10).plan(mu, nu)
    torch.testing.assert_close(found, torch.from_numpy(plan), rtol=1e-7, atol=1e-12)
    assert found.sum() < 0.9


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("reach", [0.7, 3.0])
def test_gradients_are_those_of_central_differences(p, reach, differences):
    mu, nu = clouds()
    divergence = Sinkhorn(0.4, p, reach=reach, tolerance=1e-11)
    z, w = mu.points.clone().requires_grad_(), mu.weights.clone().requires_grad_()
    y, v = nu.points.clone().requires_grad_(), nu.weights.clone().requires_grad_()
    leaves = [z, w, y, v]
    divergence(Measure(z, w), Measure(y, v)).backward()
    sizes = [t.numel() for t in leaves]

    def loss(flat: Tensor) -> Tensor:
        z, w, y, v = flat.split(sizes, -1)
        both = (Measure(z.unflatten(-1, (6, 2)), w), Measure(y.unflatten(-1, (7, 2)), v))
        return divergence(*both)

    flat = torch.cat([t.detach().flatten() for t in leaves])
    parts = differences(loss, flat).split(sizes)
    for leaf, part in zip(leaves, parts, strict=True):
        torch.testing.assert_close(leaf.grad, part.view_as(leaf), rtol=1e-4, atol=1e-8)
    pull = divergence.pull(mu, nu)
    torch.testing.assert_close(pull.velocity, -z.grad / mu.weights[:, None])
    torch.testing.assert_close(pull.discrepancy, divergence(mu, nu))


@pytest.mark.parametrize("blur", [0.5, 0.02])
def test_it_is_zero_and_at_rest_between_equal_measures_and_positive_else(blur):
    mu, nu = clouds(3, far=30.0)
    divergence = Sinkhorn(blur, reach=1.0)
    order = torch.randperm(7)
    equal = divergence.pull(nu, Measure(nu.points[:, order], nu.weights[:, order]))
    assert equal.discrepancy.max() < 1e-10
    assert equal.velocity.abs().max() < 1e-6
    assert divergence(mu, nu).min() > 1e-2
    torch.testing.assert_close(divergence(mu, nu), divergence(nu, mu), rtol=1e-6, atol=1e-9)


def test_a_large_reach_is_none_at_all():
    mu, nu = clouds(2)
    plain, far = Sinkhorn(0.3), Sinkhorn(0.3, reach=1e4)
    torch.testing.assert_close(far(mu, nu), plain(mu, nu), rtol=1e-4, atol=0)
    pulls = far.pull(mu, nu).velocity, plain.pull(mu, nu).velocity
    torch.testing.assert_close(*pulls, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(far.plan(mu, nu), plain.plan(mu, nu), rtol=1e-3, atol=1e-6)


def test_an_outlier_costs_its_mass_and_pulls_on_nobody():
    mu, _ = clouds()
    mass = 0.1
    weights = torch.cat([(1 - mass) * mu.weights, torch.tensor([mass])])
    values = []
    for far in (50.0, 100.0):
        points = torch.cat([mu.points, torch.full((1, 2), far).double()])
        pull = Sinkhorn(0.2, reach=1.0).pull(Measure(points, weights), mu)
        assert pull.velocity[-1].abs().max() < 1e-12  # it finds nobody
        assert pull.velocity[:-1].abs().max() < 0.1  # and has left the others a tenth to share
        values.append(pull.discrepancy)
    torch.testing.assert_close(*values, rtol=1e-6, atol=0)  # however far it is
    assert 0.9 * mass < values[0] < 1.3 * mass


@pytest.mark.parametrize("blur", [0.05, 0.3])
def test_padding_and_batches_change_nothing(blur):
    mu, nu = clouds(3, far=10.0)
    divergence = Sinkhorn(blur, reach=1.5)
    whole = divergence.pull(mu, nu)
    for b in range(3):
        one, other = (Measure(m.points[b], m.weights[b]) for m in (mu, nu))
        nothing = torch.full((2, 2), torch.nan).double()
        padded = Measure(torch.cat([one.points, nothing]), torch.cat([one.weights, torch.zeros(2)]))
        for alone in (divergence.pull(one, other), divergence.pull(padded, other)):
            torch.testing.assert_close(alone.velocity[:6], whole.velocity[b], rtol=1e-6, atol=1e-9)
            torch.testing.assert_close(alone.discrepancy, whole.discrepancy[b])
    spoilt = mu.points.clone()
    spoilt[1, 0] = torch.nan
    bad = divergence.pull(Measure(spoilt, mu.weights), nu)
    assert torch.equal(bad.velocity[[0, 2]], whole.velocity[[0, 2]])
    assert bad.discrepancy[1].isnan()
    empty = Measure(mu.points, torch.zeros(3, 6))
    assert torch.equal(divergence(empty, nu), torch.zeros(3).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_plans_settle_also_where_hardly_anything_is_sent(dtype):
    """Small blur, outliers: by Newton steps, without a warning, which here would be an error."""
    mu, nu = clouds(2, far=20.0)
    mu, nu = mu.to(dtype=dtype), nu.to(dtype=dtype)
    plans = Sinkhorn(0.02, reach=1.0).matching(mu, nu)
    assert plans.settled.all()
    rows = plans.across.sum(-1)
    assert (rows > 0).all()
    assert (rows < 3).all()
    with pytest.warns(SinkhornWarning, match="Raise max_steps"):
        Sinkhorn(0.02, reach=1.0, max_steps=1)(mu, nu)


def test_a_flow_to_a_target_with_an_outlier_takes_what_is_near():
    target = Measure(torch.tensor([[0.0], [1.0], [2.0], [60.0]]).double())
    start = Measure(torch.tensor([[0.3], [0.8], [2.2], [2.5]]).double())
    found = gradient_flow(DistanceTo(Sinkhorn(0.3, reach=2.0), target), start, rtol=1e-2)
    assert found.measure.points.max() < 4


def test_transport_refuses_a_cost_that_does_not_send_all():
    with pytest.raises(ValueError, match="leaves some where it is"):
        Transport(Sinkhorn(0.1, reach=1.0))


@pytest.mark.parametrize("reach", [0.0, -1.0, float("nan")])
def test_a_reach_is_positive(reach):
    with pytest.raises(ValueError, match="reach > 0"):
        Sinkhorn(0.1, reach=reach)


def test_a_reach_is_a_number():
    with pytest.raises(TypeError, match="gradient"):
        Sinkhorn(0.1, reach=torch.tensor(1.0, requires_grad=True))
