"""What every discrepancy owes, whatever its mathematics."""

import importlib.util

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wgf_solver import (
    MMD,
    Energy,
    InverseMultiquadric,
    Laplacian,
    Measure,
    Sinkhorn,
    SlicedMMD,
    SlicedWasserstein,
    Transport,
    Wasserstein,
)
from wgf_solver.discrepancies.base import towards

LAW = settings(max_examples=6, deadline=None, derandomize=True)


def with_extra(discrepancy, module: str):
    absent = importlib.util.find_spec(module) is None
    return pytest.param(
        discrepancy,
        marks=pytest.mark.skipif(absent, reason=f"needs {module}"),
        id=repr(discrepancy),
    )


OWN = [
    MMD(Energy()),
    MMD(Laplacian(0.7) + 2 * InverseMultiquadric(0.5)),
    SlicedMMD(16),
    SlicedWasserstein(16),
    SlicedWasserstein(16, p=1.5),
]
EXACT = [with_extra(Wasserstein(), "ot"), with_extra(Wasserstein(1.5), "ot")]
ENTROPIC = [Sinkhorn(1.0, tolerance=1e-12), Sinkhorn(0.5, p=1, tolerance=1e-12)]
ALL = [*OWN, *EXACT, *ENTROPIC]
every = pytest.mark.parametrize("distance", ALL, ids=repr)


def pair(*batch: int, n: int = 5, m: int = 4, d: int = 2) -> tuple[Measure, ...]:
    def one(size: int) -> Measure:
        return Measure(torch.randn(*batch, size, d).double(), torch.rand(size) + 0.1)

    return one(n), one(m)


def results(distance, mu: Measure, nu: Measure) -> list[Tensor]:
    return [distance(mu, nu), *distance.pull(mu, nu)[:2]]


@every
def test_the_pull_is_minus_the_gradient_per_unit_of_mass(distance):
    mu, nu = pair(2)
    z = mu.points.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(distance(mu.with_points(z), nu).sum(), z)
    pull = distance.pull(mu, nu)
    torch.testing.assert_close(pull.velocity, -gradient / mu.weights[..., None])
    assert (pull.rounding < 1e-12 * pull.scale).all()
    other = towards(distance, nu)(mu)
    torch.testing.assert_close(other.discrepancy, distance(mu, nu))
    torch.testing.assert_close(other[:3], pull[:3])


@every
def test_first_derivatives_against_central_differences(distance, differences):
    mu, nu = pair()

    def value(z: Tensor, w: Tensor, y: Tensor, v: Tensor) -> Tensor:
        return distance(Measure(z, w), Measure(y, v))

    at = (mu.points, mu.weights, nu.points, nu.weights)
    leaves = [t.clone().requires_grad_() for t in at]
    gradients = torch.autograd.grad(value(*leaves), leaves)
    for i, gradient in enumerate(gradients):

        def loss(batch: Tensor, i: int = i) -> Tensor:
            return value(
                *(batch if j == i else t.expand(len(batch), *t.shape) for j, t in enumerate(at))
            )

        expected = differences(loss, at[i])
        assert float((gradient - expected).norm() / expected.norm()) < 1e-6, i


@pytest.mark.parametrize("distance", [*OWN[3:], *EXACT], ids=repr)
def test_second_derivatives_where_plans_are_locally_constant(distance):
    mu, nu = pair(n=4, m=3)
    z, y = mu.points.clone().requires_grad_(), nu.points.clone().requires_grad_()

    def value(z: Tensor, y: Tensor) -> Tensor:
        return distance(mu.with_points(z), nu.with_points(y))

    def velocity(z: Tensor, y: Tensor) -> Tensor:
        return distance.pull(mu.with_points(z), nu.with_points(y)).velocity

    assert torch.autograd.gradcheck(value, (z, y))
    assert torch.autograd.gradgradcheck(value, (z, y))
    assert torch.autograd.gradcheck(velocity, (z, y))


@every
@LAW
@given(seed=st.integers(0, 1000), i=st.integers(0, 4))
def test_laws_of_order_mass_padding_and_symmetry(distance, seed, i):
    torch.manual_seed(seed)
    mu, nu = pair()
    order, junk = torch.randperm(5), torch.tensor([[torch.nan, 1e30]]).double()
    half = mu.weights.clone()
    half[i] /= 2
    rows = torch.tensor([*range(5), i])
    variants = [
        (order, Measure(mu.points[order], mu.weights[order])),
        (rows, Measure(mu.points[rows], torch.cat([half, half[i : i + 1]]))),
        (
            torch.arange(5),
            Measure(
                torch.cat([mu.points, junk, junk.flip(1)]),
                torch.cat([mu.weights, torch.zeros(2).double()]),
            ),
        ),
    ]
    value, velocity, scale = results(distance, mu, nu)
    # An atom that is split has many optimal plans: only its mean velocity is determined.
    split_is_free = isinstance(distance, Wasserstein | SlicedWasserstein)
    torch.testing.assert_close(distance(nu, mu), value)
    for k, (pick, other) in enumerate(variants):
        torch.testing.assert_close(distance(other, nu), value)
        torch.testing.assert_close(distance(nu, other), value)
        pull = distance.pull(other, nu)
        came, expected = pull.velocity[: len(pick)], velocity[pick]
        if k == 1 and split_is_free:
            together = (0.5 * (came[i] + came[5])).clone()
            came = came.clone()
            came[i] = came[5] = together
        torch.testing.assert_close(came, expected)
        assert pull.velocity[len(pick) :].abs().sum() == 0
        torch.testing.assert_close(pull.scale, scale)
        other_way = distance.pull(nu, other)
        torch.testing.assert_close(other_way.velocity, distance.pull(nu, mu).velocity)


@every
def test_batched_is_looped(distance):
    mu, nu = pair(2, 3)
    together = results(distance, mu, nu)
    for a in range(2):
        for b in range(3):
            alone = [Measure(m.points[a, b], m.weights[a, b]) for m in (mu, nu)]
            for mine, theirs in zip(together, results(distance, *alone), strict=True):
                torch.testing.assert_close(mine[a, b], theirs)


@every
def test_nan_in_one_measure_leaves_the_others_bit_identical(distance):
    mu, nu = pair(3)
    points = mu.points.clone()
    points[1, 2] = torch.nan
    clean = results(distance, mu, nu)
    broken = results(distance, mu.with_points(points), nu)
    assert broken[0][1].isnan()
    for mine, theirs in zip(broken, clean, strict=True):
        assert torch.equal(mine[[0, 2]], theirs[[0, 2]])


@every
def test_equal_measures_are_at_rest_and_at_no_distance(distance):
    mu, _ = pair(3)
    order = torch.randperm(5)
    same = Measure(mu.points[:, order], mu.weights[:, order])
    value, velocity, _ = results(distance, mu, same)
    assert value.abs().max() < 1e-9
    assert velocity.abs().max() < 1e-6


@every
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_float32_is_near_float64(distance, offset):
    points = torch.randn(2, 30, 3) + offset
    mu, nu = Measure(points[0]), Measure(points[1], torch.rand(30) + 0.1)
    exact = results(distance, *(m.to(dtype=torch.float64) for m in (mu, nu)))
    for mine, theirs in zip(results(distance, mu, nu), exact, strict=True):
        assert mine.dtype == torch.float32
        assert (mine - theirs).abs().max() < 2e-5 * (1 + theirs.abs().max())


@every
def test_one_atom_none_and_what_does_not_fit(distance):
    one = Measure(torch.tensor([[1.0, 2.0]]).double())
    value, velocity, _ = results(distance, one, one.with_points(one.points + 1))
    assert value > 0
    assert (velocity > 0).all()
    empty = Measure(torch.randn(3, 2).double(), torch.zeros(3))
    for pair_ in ((empty, one), (one, empty), (empty, empty)):
        value, velocity, _ = results(distance, *pair_)
        assert value.isfinite()
        assert velocity.isfinite().all()
    with pytest.raises(ValueError, match="one dimension"):
        distance(one, Measure(torch.randn(1, 3).double()))
    with pytest.raises(ValueError, match="one batch shape"):
        distance.pull(one, Measure(torch.randn(2, 1, 2).double()))


@pytest.mark.parametrize("distance", OWN, ids=repr)
def test_no_tensor_leaves_the_device(distance):
    # On the meta device there are no values; a look at one, or a tensor made elsewhere, raises.
    mu = Measure(torch.randn(2, 5, 3, device="meta"), torch.rand(5, device="meta"))
    nu = Measure(torch.randn(2, 4, 3, device="meta"))
    assert all(t.device.type == "meta" for t in results(distance, mu, nu))


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda: SlicedMMD(0), ValueError),
        (lambda: SlicedWasserstein(0), ValueError),
        (lambda: SlicedWasserstein(8, p=0.5), ValueError),
        (lambda: Wasserstein(0.5), ValueError),
        (lambda: Sinkhorn(0.0), ValueError),
        (lambda: Sinkhorn(0.1, p=3), ValueError),
        (lambda: Sinkhorn(0.1, tolerance=0.0), ValueError),
        (lambda: Transport(Wasserstein(1)), ValueError),
        (lambda: Transport(MMD(Energy())), TypeError),  # type: ignore[arg-type]
    ],
)
def test_arguments_out_of_range(build, error):
    with pytest.raises(error, match=r"needs|takes"):
        build()
