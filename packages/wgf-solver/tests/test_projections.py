"""Projections on n atoms: what they keep, what is nearest, and their derivatives."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wgf_solver import (
    MMD,
    Energy,
    EquilibriumWarning,
    Gaussian,
    Measure,
    Quantiles,
    Quantisation,
    Systematic,
    equilibrium,
)

LAW = settings(max_examples=30, deadline=None, derandomize=True)
PROJECTIONS = [Quantiles(6), Systematic(6), Quantisation(6, MMD(Gaussian(1.0))), Quantisation(6)]
each = pytest.mark.parametrize("project", PROJECTIONS, ids=lambda p: type(p).__name__)


def measure(m: int, seed: int = 0, d: int = 1) -> Measure:
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(m, d, generator=generator, dtype=torch.float64)
    return Measure(points, torch.rand(m, generator=generator, dtype=torch.float64) + 0.1)


@LAW
@given(m=st.integers(1, 9), n=st.integers(1, 9), seed=st.integers(0, 10**6))
def test_quantiles_are_the_cell_means_of_the_quantile_function(m, n, seed):
    mu = measure(m, seed)
    y, order = mu.points[:, 0].sort()
    upto = torch.cat([torch.zeros(1).double(), mu.weights[order].cumsum(0)])
    edges = torch.arange(n + 1).double() / n
    low = torch.maximum(upto[:-1], edges[:-1, None])
    high = torch.minimum(upto[1:], edges[1:, None])
    expected = n * ((high - low).clamp(min=0) * y).sum(-1)  # the overlaps, one by one
    nu = Quantiles(n)(mu)
    torch.testing.assert_close(nu.points[:, 0], expected)
    torch.testing.assert_close(nu.mean(), mu.mean())
    assert (nu.points[1:] >= nu.points[:-1] - 1e-12).all()
    if m == n:  # equal measures are their own projection
        even = Measure(mu.points)
        torch.testing.assert_close(Quantiles(n)(even).points[:, 0], y)


@each
def test_permutations_padding_splits_and_batches(project):
    mu = measure(8, 3)
    expected = project(mu)
    order = torch.randperm(8)
    half = torch.cat([mu.weights, mu.weights[:1]])
    half[[0, 8]] /= 2
    junk = torch.tensor([[torch.nan], [1e30]]).double()
    variants = [
        Measure(mu.points[order], mu.weights[order]),
        Measure(torch.cat([mu.points, mu.points[:1]]), half),
        Measure(torch.cat([junk, mu.points]), torch.cat([torch.zeros(2).double(), mu.weights])),
    ]
    for variant in variants:
        came = project(variant)
        torch.testing.assert_close(
            came.points.sort(0).values, expected.points.sort(0).values, atol=1e-3, rtol=0
        )
    batch = Measure(torch.stack([mu.points, mu.points + 1]), mu.weights)
    together = project(batch)
    torch.testing.assert_close(together.points[1], expected.points + 1, atol=1e-6, rtol=0)


@each
def test_derivatives_against_central_differences(project):
    mu = measure(8, 5)
    if isinstance(project, Quantisation):
        project = Quantisation(6, project.discrepancy, rtol=1e-9)
    direction, h = torch.randn(8, 1).double(), 1e-4
    z = mu.points.clone().requires_grad_()
    probe = torch.randn(6, 1).double()

    def value(points):
        return (project(mu.with_points(points)).points * probe).sum()

    (gradient,) = torch.autograd.grad(value(z), z)
    ahead, behind = (value(mu.points + s * h * direction) for s in (1, -1))
    torch.testing.assert_close(
        (gradient * direction).sum(), (ahead - behind) / (2 * h), rtol=1e-4, atol=1e-6
    )


def test_quantiles_differentiate_weights():
    w = torch.rand(7, dtype=torch.float64) + 0.2
    y, probe = torch.randn(7, 1).double(), torch.randn(4, 1).double()
    assert torch.autograd.gradcheck(
        lambda v: (Quantiles(4)(Measure(y, v)).points * probe).sum(), w.requires_grad_()
    )


def test_systematic_takes_each_atom_about_as_often_as_its_weight_says():
    mu = measure(5, 1, d=3)
    nu = Systematic(100, offset=0.3)(mu)
    for point, weight in zip(mu.points, mu.weights, strict=True):
        taken = (nu.points == point).all(-1).sum()
        assert abs(int(taken) - 100 * float(weight)) < 1
    marked = Measure(mu.points, mu.weights, torch.arange(5.0)[:, None])
    nu = Systematic(10)(marked)
    assert torch.equal(nu.points, mu.points[nu.marks[:, 0].long()])


def test_quantisation_is_nearer_than_a_draw():
    mu = measure(60, 2, d=2)
    D = MMD(Gaussian(0.7))
    assert D(Quantisation(5, D)(mu), mu) < 0.2 * D(Systematic(5)(mu), mu)


def test_a_quantisation_comes_to_rest_by_default_and_knows_no_unit():
    """The energy distance would not, in the plane: no warning is expected here."""
    mu = measure(60, 3, d=2)
    nu = Quantisation(8)(mu)
    D = MMD(Energy())
    assert D(nu, mu) < 0.7 * D(Systematic(8)(mu), mu)
    with pytest.warns(EquilibriumWarning):
        corner = Quantisation(8, D, max_steps=100)(mu)
    assert D(nu, mu) < 1.03 * D(corner, mu)
    sizes = torch.tensor([1e-3, 1.0, 1e4], dtype=torch.float64)[:, None, None]
    scaled = Quantisation(8)(Measure(sizes * mu.points, mu.weights.expand(3, -1)))
    torch.testing.assert_close(
        scaled.points / sizes, nu.points.expand(3, -1, -1), rtol=0, atol=1e-3
    )
    point = Quantisation(3)(Measure(torch.ones(1, 2)))
    torch.testing.assert_close(point.points, torch.ones(3, 2))


def test_a_map_that_squares_its_atoms_has_a_fixed_point_on_n_of_them():
    """X/2 + X'/2 + ξ, ξ = ±1: mean 0, variance Var = Var/2 + 1 = 2."""

    def f(mu: Measure) -> Measure:
        half = mu.points[:, 0] / 2
        sums = (half[:, None] + half).flatten()
        both = torch.cat([sums - 1, sums + 1])
        return Quantiles(40)(Measure(both[:, None]))

    start = Measure(torch.linspace(-1, 1, 40).double()[:, None])
    solution = equilibrium(f, start, rtol=1e-8)
    assert solution.converged
    assert solution.measure.mean().abs() < 1e-9
    # A projection on 40 atoms takes away the spread within cells: 0.6 % at the fixed point.
    assert abs(float(solution.measure.spread() ** 2) - 2) < 0.02


def test_arguments():
    for build in (Quantiles, Systematic, Quantisation):
        with pytest.raises(ValueError, match="count must be at least 1; got 0"):
            build(0)
    with pytest.raises(ValueError, match="offset must be"):
        Systematic(3, offset=1.0)
    with pytest.raises(ValueError, match="on the line; got dimension 2"):
        Quantiles(3)(measure(4, d=2))


@each
def test_the_empty_measure_has_an_empty_projection(project):
    mu = measure(5, 2)
    batch = Measure(torch.stack([mu.points, mu.points]), torch.stack([mu.weights, 0 * mu.weights]))
    came = project(batch)
    torch.testing.assert_close(came.weights.sum(-1), torch.tensor([1.0, 0.0]).double())
    torch.testing.assert_close(came.points[0], project(mu).points)
    assert came.points[1].isfinite().all()
    if not isinstance(project, Quantisation):
        nothing = project(Measure(torch.zeros(2, 0, 1), marks=torch.zeros(2, 0, 3)))
        assert nothing.points.shape == (2, 6, 1)
        assert (nothing.weights == 0).all()


def test_padding_in_a_quantisation_spoils_no_gradient():
    points = torch.randn(1, 5, 2, dtype=torch.float64)
    weights = torch.tensor([[1.0, 1, 1, 1, 0]])

    def gradient(fill: float):
        z = points.clone()
        z[0, 4] = fill
        z.requires_grad_()
        return torch.autograd.grad(Quantisation(2)(Measure(z, weights)).points.sum(), z)[0][0, :4]

    assert torch.equal(gradient(torch.nan), gradient(0.0))
    assert gradient(0.0).isfinite().all()


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_quantiles_of_many_atoms_far_from_the_origin_keep_their_digits(offset):
    y = (torch.randn(1000, 1, generator=torch.Generator().manual_seed(0)) + offset).sort(0).values
    came = Quantiles(1000)(Measure(y)).points
    # Of the places a float32 at 100 tells apart some 8e-6: here not three of them.
    torch.testing.assert_close(came, y, rtol=0, atol=2e-5 if offset else 1e-6)
    exact = Quantiles(7)(Measure(y.double())).points
    torch.testing.assert_close(
        Quantiles(7)(Measure(y)).points.double(), exact, rtol=1e-6, atol=1e-6
    )


def test_a_systematic_draw_takes_no_padding_at_the_very_first_place():
    points = torch.tensor([[torch.nan, torch.nan], [1.0, 1.0], [2.0, 2.0]])
    mu = Measure(points, torch.tensor([0.0, 1.0, 1.0]))
    assert Systematic(2, offset=0.0)(mu).points[:, 0].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_systematic_draw_in_half_precision_takes_as_many_as_any(dtype):
    n = 4000
    points = torch.linspace(0, 1, n)[:, None].expand(n, 2)
    counts = [
        torch.unique(Systematic(n)(Measure(points.to(dtype))).points, dim=0).shape,
        torch.unique(points.to(dtype), dim=0).shape,
    ]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("offset", [0.0, 0.3, 0.99])
@pytest.mark.parametrize("n", [2, 7, 1000])
def test_as_many_equal_atoms_as_there_are_are_all_taken(n, offset):
    points = torch.arange(2.0 * n).reshape(n, 2)
    for weights in (None, torch.full((n,), 0.1)):
        assert torch.equal(Systematic(n, offset)(Measure(points, weights)).points, points)
