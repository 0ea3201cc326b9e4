import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wgf_solver import MMD, Descent, Energy, Measure, SlicedMMD
from wgf_solver.discrepancies import slices
from wgf_solver.discrepancies.slices import argsort, directions


def pair(n: int = 60, m: int = 50, d: int = 3) -> tuple[Measure, Measure]:
    mu = Measure(torch.randn(n, d).double(), torch.rand(n) + 0.1)
    return mu, Measure(torch.randn(m, d).double() + 0.5, torch.rand(m) + 0.1)


def error(distance, mu: Measure, nu: Measure) -> float:
    exact = MMD(Energy()).pull(mu, nu).velocity
    return float((distance.pull(mu, nu).velocity - exact).norm() / exact.norm())


def test_one_slice_is_exact_in_dimension_one():
    mu, nu = pair(d=1)
    exact, sliced = MMD(Energy()), SlicedMMD(7)
    torch.testing.assert_close(sliced(mu, nu), exact(mu, nu))
    ours, theirs = sliced.pull(mu, nu), exact.pull(mu, nu)
    torch.testing.assert_close(ours.velocity, theirs.velocity)
    torch.testing.assert_close(ours.scale, theirs.scale)
    assert directions(7, 1, 0, mu.points).shape == (1, 1)


@pytest.mark.parametrize(("d", "bound"), [(2, 0.03), (3, 0.04), (8, 0.25), (20, 0.4)])
def test_the_error_of_slicing_is_small_and_falls(d, bound):
    mu, nu = pair(n=200, m=200, d=d)
    errors = [error(SlicedMMD(p), mu, nu) for p in (64, 1024)]
    assert errors[0] < bound
    assert errors[1] < errors[0] / 2
    value = SlicedMMD(1024)(mu, nu)
    torch.testing.assert_close(value, MMD(Energy())(mu, nu), rtol=0.05, atol=0)


@pytest.mark.parametrize("d", [2, 3, 5, 400])
def test_directions_are_unit_vectors_balanced_and_always_the_same(d):
    theta = directions(256, d, 0, torch.zeros(1).double())
    torch.testing.assert_close(theta.norm(dim=-1), torch.ones(256).double())
    second = theta.mT @ theta * d / 256
    if d <= 256:
        assert (second - torch.eye(d).double()).abs().max() < 0.1
    else:
        torch.testing.assert_close(theta @ theta.mT, torch.eye(256).double())
    torch.manual_seed(3)
    assert torch.equal(theta, directions(256, d, 0, torch.zeros(1).double()))
    assert not torch.equal(theta, directions(256, d, 1, torch.zeros(1).double()))


def test_ties_exert_no_force():
    points = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]).double()
    mu = Measure(points, torch.tensor([1.0, 2.0, 3.0, 0.5]))
    both = SlicedMMD(500).pull(mu, Measure(torch.zeros(1, 2).double()))
    expected = MMD(Energy()).pull(mu, Measure(torch.zeros(1, 2).double())).velocity
    torch.testing.assert_close(both.velocity, expected, rtol=0, atol=3e-3)
    assert torch.equal(both.velocity[0], both.velocity[1])
    same = SlicedMMD(32).pull(mu, mu)
    assert same.velocity.abs().max() < 1e-15
    assert SlicedMMD(32)(mu, mu) < 1e-15


@given(
    n=st.integers(2, 60),
    dim=st.integers(1, 6),
    batch=st.sampled_from([(), (3,)]),
    double=st.booleans(),
    seed=st.integers(0, 99),
)
def test_points_that_coincide_move_alike_bit_for_bit(n, dim, batch, double, seed):
    """Torn apart by one rounding, they would repel each other with all of their mass."""
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.float64 if double else torch.float32
    one, others, target = (
        torch.randn(*batch, k, dim, generator=generator, dtype=dtype) for k in (1, 5, 7)
    )
    points = torch.cat([others, one.expand(*batch, n, dim)], -2)
    velocity = SlicedMMD(33).pull(Measure(points), Measure(target)).velocity
    assert torch.equal(velocity[..., 5:, :], velocity[..., 5:6, :].expand(*batch, n, dim))


def test_chunks_of_slices_change_no_result(monkeypatch):
    mu, nu = pair()
    whole = SlicedMMD(20).towards(nu)(mu)[:4]
    monkeypatch.setattr(slices, "_CHUNK_ELEMENTS", 3 * 110)
    torch.testing.assert_close(SlicedMMD(20).towards(nu)(mu)[:4], whole)


def test_sorting_on_the_cpu_where_new_tensors_are_made_elsewhere():
    rows = torch.rand(3, 50)
    with torch.device("meta"):
        order = argsort(rows)
    assert torch.equal(rows.gather(-1, order), rows.sort(-1).values)


def test_sorting_without_numpy(monkeypatch):
    rows = torch.rand(3, 50)
    expected = rows.gather(-1, argsort(rows))
    assert torch.equal(expected, rows.sort(-1).values)
    monkeypatch.setattr(slices, "_numpy", lambda: None)
    assert torch.equal(rows.gather(-1, argsort(rows)), expected)


def test_the_tape_holds_no_slices():
    mu, nu = pair()
    z, kept = mu.points.requires_grad_(), []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.numel()) or t, lambda t: t
    ):
        SlicedMMD(256)(mu.with_points(z), nu)
    assert sum(kept) < 20 * (mu.points.numel() + nu.points.numel())


def test_what_has_no_derivative_raises():
    mu, nu = pair()
    z = mu.points.clone().requires_grad_()
    pull = SlicedMMD(8).pull(mu.with_points(z), nu)
    with pytest.raises(RuntimeError, match=r"take MMD\(Multiquadric\(c\)\)"):
        torch.autograd.grad(pull.velocity.sum(), z)
    value = SlicedMMD(8)(mu.with_points(z), nu)
    (gradient,) = torch.autograd.grad(value, z, create_graph=True)
    with pytest.raises(RuntimeError, match="piecewise constant"):
        gradient.sum().backward()
    assert not SlicedMMD(8).pull(mu, nu).velocity.requires_grad


@pytest.mark.parametrize("target", ["frozen", "through"])
def test_a_solve_descends_one_fixed_objective(target):
    mu, nu = pair(n=30, m=30)

    def f(measure: Measure) -> Measure:
        return nu

    field = Descent(SlicedMMD(32), target)
    with torch.no_grad():
        steps = [field(f, mu)]
        for _ in range(30):
            mu = mu.with_points(mu.points + 0.1 * steps[-1].velocity)
            steps.append(field(f, mu))
    values = [float(step.discrepancy) for step in steps]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.5 * values[0]
