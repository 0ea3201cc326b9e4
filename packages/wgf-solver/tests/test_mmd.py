import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wgf_solver import (
    MMD,
    Dirac,
    Energy,
    Gaussian,
    InverseMultiquadric,
    Laplacian,
    Measure,
    Multiquadric,
    SquaredDistance,
)

LAW = settings(max_examples=15, deadline=None, derandomize=True)
KERNELS = [
    Energy(),
    Energy(1.5),
    Gaussian(0.8),
    Laplacian(0.9),
    InverseMultiquadric(0.6),
    Multiquadric(0.3),
    0.5 * Gaussian(0.3) + 2 * Energy(),
]
MARKED = [Gaussian(0.5) * Energy(), Dirac() * SquaredDistance(), Energy() + Gaussian(1) * Energy()]
ALL = KERNELS + MARKED


def pair(*batch: int, n: int = 5, m: int = 4, d: int = 2, marks: int = 1) -> tuple[Measure, ...]:
    """Two measures of different sizes, with weights; some marks coincide."""

    def one(size: int) -> Measure:
        codes = torch.randint(0, 3, (*batch, size, marks)).double() / 2
        return Measure(torch.randn(*batch, size, d).double(), torch.rand(size) + 0.1, codes)

    return one(n), one(m)


def naive(kernel, mu: Measure, nu: Measure) -> Tensor:
    """``½ Σ_ij s_i s_j K(i, j)`` over the atoms of ``μ − ν``, pair by pair."""
    points = torch.cat([mu.points, nu.points])
    marks = torch.cat([mu.marks, nu.marks])
    signed = torch.cat([mu.weights, -nu.weights])
    total = torch.zeros((), dtype=points.dtype)
    for i in range(len(points)):
        for j in range(len(points)):
            for term in kernel.terms:
                square = (points[i] - points[j]).square().sum()
                r = square.sqrt() if i != j else square.detach()
                factor = term.factor
                if term.mark is not None:
                    factor = factor * term.mark.value((marks[i] - marks[j]).square().sum().sqrt())
                total = total + 0.5 * signed[i] * signed[j] * factor * term.point.value(r)
    return total


@pytest.mark.parametrize("kernel", ALL, ids=repr)
def test_value_and_velocity_against_the_naive_double_loop(kernel):
    mu, nu = pair()
    z = mu.points.clone().requires_grad_()
    expected = naive(kernel, mu.with_points(z), nu)
    torch.testing.assert_close(MMD(kernel)(mu, nu), expected)
    (gradient,) = torch.autograd.grad(expected, z)
    torch.testing.assert_close(MMD(kernel).pull(mu, nu).velocity, -gradient / mu.weights[:, None])


@pytest.mark.parametrize("kernel", ALL, ids=repr)
def test_towards_a_target_value_and_pull_are_those_of_two_calls(kernel):
    mu, nu = pair(2)
    mu = mu.with_points(mu.points.requires_grad_())
    pull = MMD(kernel).towards(nu)(mu)
    value = pull.discrepancy
    torch.testing.assert_close(value, MMD(kernel)(mu, nu).detach())
    torch.testing.assert_close(pull[:3], MMD(kernel).pull(mu, nu)[:3])
    assert pull.velocity.requires_grad
    assert not value.requires_grad


@pytest.mark.parametrize("kernel", ALL, ids=repr)
def test_a_target_that_many_share_is_summed_over_once(kernel, monkeypatch):
    mu, nu = pair(2, 3)
    one = Measure(nu.points[0, 1], nu.weights[0, 1], None if nu.marks is None else nu.marks[0, 1])
    summed, self_energy = [], MMD.self_energy
    monkeypatch.setattr(
        MMD, "self_energy", lambda d, m: summed.append(m.batch_shape) or self_energy(d, m)
    )
    came = MMD(kernel).towards(one.expand((2, 3)))(mu)
    assert summed == [(1, 1)]
    expected = MMD(kernel)(mu, one.expand((2, 3)))
    torch.testing.assert_close(came.discrepancy, expected)


@pytest.mark.parametrize("kernel", ALL, ids=repr)
def test_gradients_with_respect_to_points_and_weights(kernel):
    mu, nu = pair(n=3, m=2)
    marked = Gaussian(0.5) * Energy() == kernel  # marks too, where the mark kernel is smooth

    def build(z, w, y, v, m):
        return Measure(z, w, m if marked else mu.marks), Measure(y, v, nu.marks)

    inputs = (mu.points, mu.weights, nu.points, nu.weights, torch.rand(3, 1).double())
    inputs = tuple(t.clone().requires_grad_() for t in inputs)
    assert torch.autograd.gradcheck(lambda *t: MMD(kernel)(*build(*t)), inputs)
    assert torch.autograd.gradgradcheck(lambda *t: MMD(kernel)(*build(*t)), inputs)
    assert torch.autograd.gradcheck(lambda *t: MMD(kernel).pull(*build(*t)).velocity, inputs)


def test_the_velocity_descends():
    mu, nu = pair()
    for kernel in ALL:
        distance = MMD(kernel)
        moved = mu.with_points(mu.points + 1e-3 * distance.pull(mu, nu).velocity)
        assert distance(moved, nu) < distance(mu, nu)


@LAW
@given(st.sampled_from(KERNELS), st.integers(0, 1000))
def test_a_discrepancy_is_symmetric_nonnegative_and_zero_between_equal_measures(kernel, seed):
    torch.manual_seed(seed)
    mu, nu = pair()
    distance = MMD(kernel)
    torch.testing.assert_close(distance(mu, nu), distance(nu, mu))
    assert distance(mu, nu) > 0
    order = torch.randperm(5)
    same = Measure(mu.points[order], mu.weights[order], mu.marks[order])
    assert 0 <= distance(mu, same) < 1e-14


@LAW
@given(st.sampled_from(ALL), st.integers(0, 1000), st.integers(0, 4))
def test_laws_of_order_and_mass(kernel, seed, i):
    torch.manual_seed(seed)
    mu, nu = pair()
    order = torch.randperm(5)
    permuted = Measure(mu.points[order], mu.weights[order], mu.marks[order])
    half = mu.weights.clone()
    half[i] /= 2
    rows = [*range(5), i]
    split = Measure(mu.points[rows], torch.cat([half, half[i : i + 1]]), mu.marks[rows])
    distance = MMD(kernel)
    value, (velocity, scale, *_) = distance(mu, nu), distance.pull(mu, nu)
    for other, pick in ((permuted, order), (split, torch.tensor(rows))):
        torch.testing.assert_close(distance(other, nu), value)
        torch.testing.assert_close(distance(nu, other), value)
        pull = distance.pull(other, nu)
        torch.testing.assert_close(pull.velocity, velocity[pick])
        torch.testing.assert_close(pull.scale, scale)
        torch.testing.assert_close(distance.pull(nu, other)[:3], distance.pull(nu, mu)[:3])


@pytest.mark.parametrize("kernel", ALL, ids=repr)
@pytest.mark.parametrize("junk", [float("nan"), 1e30])
def test_padding_reaches_no_value_and_no_gradient(kernel, junk):
    clean = pair()

    def padded(mu: Measure) -> Measure:
        rows = torch.full((2, 2), junk, dtype=torch.float64)
        points = torch.cat([mu.points, rows]).requires_grad_()
        weights = torch.cat([mu.weights, torch.zeros(2).double()])
        return Measure(points, weights, torch.cat([mu.marks, rows[:, :1]]))

    mu, nu = (padded(m) for m in clean)
    distance = MMD(kernel)
    torch.testing.assert_close(distance(mu, nu), distance(*clean))
    pull, expected = distance.pull(mu, nu), distance.pull(*clean)
    torch.testing.assert_close(pull.velocity[:5], expected.velocity)
    torch.testing.assert_close(pull.scale, expected.scale)
    assert torch.equal(pull.velocity[5:], torch.zeros(2, 2).double())
    for out in (distance(mu, nu), pull.velocity.square().sum()):
        for gradient, n in zip(
            torch.autograd.grad(out, (mu.points, nu.points)), (5, 4), strict=True
        ):
            assert gradient.isfinite().all()
            assert torch.equal(gradient[n:], torch.zeros(2, 2).double())


@pytest.mark.parametrize("kernel", ALL, ids=repr)
def test_batched_is_looped(kernel):
    mu, nu = pair(2, 3)
    distance = MMD(kernel)
    value, (velocity, scale, *_) = distance(mu, nu), distance.pull(mu, nu)
    assert value.shape == scale.shape == (2, 3)
    for a in range(2):
        for b in range(3):
            one, other = (Measure(m.points[a, b], m.weights[a, b], m.marks[a, b]) for m in (mu, nu))
            torch.testing.assert_close(distance(one, other), value[a, b])
            torch.testing.assert_close(distance.pull(one, other).velocity, velocity[a, b])
            torch.testing.assert_close(distance.pull(one, other).scale, scale[a, b])


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_float32_is_near_float64_far_from_the_origin(kernel):
    points = torch.randn(2, 30, 3) + 1e4  # float32, so that both precisions get the same clouds
    mu, nu = Measure(points[0]), Measure(points[1])
    double = MMD(kernel).pull(*(m.to(dtype=torch.float64) for m in (mu, nu)))
    pull = MMD(kernel).pull(mu, nu)
    error = (pull.velocity - double.velocity).abs().max() / double.velocity.abs().max()
    assert error < 1e-5
    value = MMD(kernel)(mu, nu)
    exact = MMD(kernel)(*(m.to(dtype=torch.float64) for m in (mu, nu)))
    assert abs(value - exact) < 1e-5 * (1 + exact)


@LAW
@given(st.integers(0, 1000), st.floats(-100, 100))
def test_invariance_under_translations(seed, shift):
    torch.manual_seed(seed)
    mu, nu = pair()
    distance = MMD(Energy())
    far = [m.with_points(m.points + shift) for m in (mu, nu)]
    torch.testing.assert_close(distance(*far), distance(mu, nu))
    torch.testing.assert_close(distance.pull(*far)[:3], distance.pull(mu, nu)[:3])


def test_marks_of_another_precision_are_fine():
    mu, nu = (m.to(dtype=torch.float32) for m in pair())
    double = [Measure(m.points, m.weights, m.marks.double()) for m in (mu, nu)]
    distance = MMD(Gaussian(0.5) * Energy())
    assert distance(*double).dtype == torch.float32
    torch.testing.assert_close(distance(*double), distance(mu, nu))


def test_errors():
    mu, nu = pair()
    with pytest.raises(ValueError, match=r"marks=\.\.\."):
        MMD(Dirac() * Energy())(mu, Measure(nu.points))
    with pytest.raises(ValueError, match="one dimension"):
        MMD(Energy())(mu, Measure(torch.randn(3, 3).double()))
    with pytest.raises(ValueError, match="one batch shape"):
        MMD(Energy()).pull(mu, Measure(torch.randn(2, 3, 2).double()))


@pytest.mark.parametrize(("kernel", "name"), [(Energy(), "energy"), (Gaussian(0.7), "gaussian")])
def test_oracle_geomloss(kernel, name):
    geomloss = pytest.importorskip("geomloss", reason="the oracle of this test is geomloss")
    mu, nu = pair(n=20, m=15)
    z = mu.points.clone().requires_grad_()
    theirs = geomloss.SamplesLoss(name, blur=0.7, backend="tensorized")(
        mu.weights, z, nu.weights, nu.points
    )
    # geomloss clamps squared distances at 1e-8: each self-distance of the energy kernel is 1e-4.
    clamped = 1e-4 * float(mu.weights.square().sum() + nu.weights.square().sum()) / 2
    atol = 1.01 * clamped if name == "energy" else 1e-12
    torch.testing.assert_close(MMD(kernel)(mu, nu), theirs.detach(), atol=atol, rtol=0)
    (gradient,) = torch.autograd.grad(theirs, z)
    torch.testing.assert_close(MMD(kernel).pull(mu, nu).velocity, -gradient / mu.weights[:, None])


def test_oracle_scipy_in_one_dimension():
    stats = pytest.importorskip("scipy.stats", reason="the oracle of this test is scipy")
    mu, nu = pair(n=20, m=15, d=1)
    theirs = stats.energy_distance(
        mu.points[:, 0].tolist(), nu.points[:, 0].tolist(), mu.weights.tolist(), nu.weights.tolist()
    )
    torch.testing.assert_close(MMD(Energy())(mu, nu), torch.tensor(theirs**2 / 2).double())
