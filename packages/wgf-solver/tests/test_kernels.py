import pytest
import torch

from wgf_solver import (
    MMD,
    Dirac,
    Energy,
    Gaussian,
    InverseMultiquadric,
    Kernel,
    Laplacian,
    Measure,
    Multiquadric,
    SquaredDistance,
)
from wgf_solver.kernels import by_mark

RADIAL = [
    Energy(),
    Energy(0.5),
    Energy(1.5),
    Gaussian(0.7),
    Laplacian(0.6),
    InverseMultiquadric(0.8),
    Multiquadric(0.4),
    SquaredDistance(),
]


@pytest.mark.parametrize("kernel", RADIAL, ids=repr)
def test_slope_and_curvature_are_the_derivatives_of_the_value(kernel):
    r = torch.linspace(0.05, 3, 20, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(kernel.value(r).sum(), r, create_graph=True)
    torch.testing.assert_close(kernel.slope_ratio(r), first / r)
    second = torch.zeros_like(r)
    if first.requires_grad:
        (second,) = torch.autograd.grad(first.sum(), r, allow_unused=True, materialize_grads=True)
    torch.testing.assert_close(kernel.curvature(r), second)


@pytest.mark.parametrize("kernel", RADIAL, ids=repr)
def test_everything_is_finite_where_points_meet(kernel):
    r = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    for values in (kernel.value(r), kernel.slope_ratio(r), kernel.curvature(r)):
        assert values.isfinite().all()
        if values.requires_grad:
            (gradient,) = torch.autograd.grad(values.sum(), r)
            assert gradient.isfinite().all()


def test_values_by_hand():
    r = torch.tensor([0.0, 2.0], dtype=torch.float64)
    assert Energy().value(r).tolist() == [0.0, -2.0]
    assert SquaredDistance().value(r).tolist() == [0.0, -2.0]
    assert Dirac().value(r).tolist() == [1.0, 0.0]
    torch.testing.assert_close(Gaussian(2.0).value(r), torch.exp(-r.square() / 8))
    torch.testing.assert_close(Energy(0.5).value(r), -r.sqrt())
    torch.testing.assert_close(Laplacian(0.5).value(r), torch.exp(-2 * r))
    imq = InverseMultiquadric(2.0).value(r)
    torch.testing.assert_close(imq, torch.tensor([0.5, 8**-0.5]).double())
    assert Multiquadric(1.5).value(r).tolist() == [0.0, -1.0]


def test_a_multiquadric_keeps_its_digits_near_and_is_the_energy_distance_from_afar():
    near = torch.tensor([1e-4])
    torch.testing.assert_close(Multiquadric(1.0).value(near), torch.tensor([-5e-9]))
    mu, nu = Measure(torch.randn(6, 2).double()), Measure(torch.randn(5, 2).double())
    exact = MMD(Energy())(mu, nu)
    gaps = [(MMD(Multiquadric(c))(mu, nu) - exact).abs().item() for c in (0.1, 0.01, 0.001)]
    assert gaps[0] > 5 * gaps[1] > 25 * gaps[2] > 0
    far = torch.tensor([50.0]).double()
    ratio = Multiquadric(0.1).slope_ratio(far) / Energy().slope_ratio(far)
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=1e-5, atol=0)


def test_terms_that_share_a_mark_kernel_share_one_pass():
    kernel = Gaussian(0.3) + Dirac() * Energy() + 2 * Gaussian(1.0) + 0.5 * (Dirac() * Gaussian(1))
    (none, plain), (dirac, marked) = by_mark(kernel)
    assert (none, dirac) == (None, Dirac())
    r = torch.rand(5).double()
    torch.testing.assert_close(plain.value(r), Gaussian(0.3).value(r) + 2 * Gaussian(1.0).value(r))
    torch.testing.assert_close(
        marked.slope_ratio(r), Energy().slope_ratio(r) + 0.5 * Gaussian(1).slope_ratio(r)
    )
    assert by_mark(Energy()) == [(None, Energy())]


def test_sums_multiples_and_products():
    sum_ = Gaussian(0.3) + 2 * Gaussian(1.0)
    assert [(t.factor, t.point) for t in sum_.terms] == [(1, Gaussian(0.3)), (2, Gaussian(1.0))]
    product = Gaussian(0.1) * sum_
    assert [(t.factor, t.mark, t.point) for t in product.terms] == [
        (1, Gaussian(0.1), Gaussian(0.3)),
        (2, Gaussian(0.1), Gaussian(1.0)),
    ]
    assert ((0.5 * Dirac()) * Energy()).terms == (0.5 * (Dirac() * Energy())).terms
    both = (Dirac() + Gaussian(0.1)) * (Energy() + Gaussian(1.0))
    assert len(both.terms) == 4
    assert Gaussian(0.3) == Gaussian(0.3)
    assert hash(sum_) == hash(Gaussian(0.3) + 2 * Gaussian(1.0))


@pytest.mark.parametrize(
    "build",
    [
        lambda: Energy(0.0),
        lambda: Energy(2.0),
        lambda: Gaussian(0.0),
        lambda: Gaussian(float("nan")),
        lambda: Laplacian(-1.0),
        lambda: InverseMultiquadric(0.0),
        lambda: Multiquadric(0.0),
        lambda: -1 * Energy(),
        lambda: float("nan") * Energy(),
        lambda: Dirac() * (Dirac() * Energy()),
        lambda: (Dirac() * Energy()) * Energy(),
    ],
)
def test_what_is_no_kernel_is_a_value_error(build):
    with pytest.raises(ValueError, match=r"kernel|needs"):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: Gaussian(sigma=1.0),  # type: ignore[call-arg]
        lambda: Energy() + 1,  # type: ignore[operator]
        lambda: Energy() * 2.0,  # type: ignore[operator]
        lambda: MMD(Energy),  # type: ignore[arg-type]
        lambda: MMD("energy"),  # type: ignore[arg-type]
    ],
)
def test_what_is_not_understood_is_a_type_error(build):
    with pytest.raises(TypeError):
        build()


def test_dirac_on_points_has_a_value_and_refuses_a_velocity():
    mu = Measure(torch.tensor([[0.0], [1.0]]))
    nu = Measure(torch.tensor([[0.0], [2.0]]))
    torch.testing.assert_close(MMD(Dirac())(mu, nu), torch.tensor(0.25))
    with pytest.raises(TypeError, match="kernel for marks"):
        MMD(Dirac()).pull(mu, nu)


def test_a_kernel_of_your_own_needs_three_functions():
    with pytest.raises(TypeError, match="abstract"):
        type("Half", (Kernel,), {})()


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int64])
def test_marks_that_are_integers_are_numbers(dtype):
    marks = torch.tensor([[0], [1], [100]]).to(dtype)
    kernel = Gaussian(30.0) * Gaussian(1.0)
    z = torch.randn(2, 3, 2).double()
    values = [
        MMD(kernel)(Measure(z[0], marks=m), Measure(z[1], marks=m.flip(0)))
        for m in (marks, marks.double())
    ]
    torch.testing.assert_close(*values, rtol=1e-12, atol=0)
