"""Sums over pairs by KeOps are those in tiles. Compiling the formulas takes minutes at first."""

import builtins
from dataclasses import dataclass

import pytest
import torch

from wgf_solver import (
    MMD,
    Anderson,
    Descent,
    Dirac,
    Energy,
    Gaussian,
    Laplacian,
    Measure,
    Multiquadric,
    SquaredDistance,
    equilibrium,
)

KERNELS = [
    Energy(),
    Multiquadric(0.3),
    Gaussian(0.5) + 0.3 * Laplacian(1.0),
    Gaussian(1.0) * Energy(1.5),
]


@pytest.fixture
def keops():
    return pytest.importorskip("pykeops", reason="what these tests are about")


def measure(n: int, *batch: int) -> Measure:
    points = torch.randn(*batch, n, 3).double()
    points[..., 1, :] = points[..., 0, :]  # two meet
    points[..., -1, :] = torch.nan
    weights = torch.rand(*batch, n).double()
    weights[..., -1] = 0
    return Measure(points, weights, torch.randn(n, 2).double())


@pytest.mark.parametrize("batch", [(), (2,)])
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_values_velocities_and_derivatives_are_those_of_tiles(keops, kernel, batch):
    mu, nu = measure(6, *batch), measure(7, *batch)
    nu.points[..., 2, :] = mu.points[..., 2, :]

    def everything(distance: MMD) -> list[torch.Tensor]:
        z = mu.zero_padding().points.clone().requires_grad_()
        w = mu.weights.clone().requires_grad_()
        at = Measure(z, w, mu.marks)
        velocity, scale, _, value, *_ = distance.towards(nu)(at)
        first = torch.autograd.grad(distance(at, nu).sum(), (z, w))
        cotangent = torch.linspace(-1, 1, velocity.numel()).double().reshape(velocity.shape)
        product = torch.autograd.grad(velocity, z, cotangent)  # with the Hessian
        results = [value, velocity, scale, distance(at, nu), *first, *product]
        return [result.detach() for result in results]

    for mine, theirs in zip(
        everything(MMD(kernel, keops=True)), everything(MMD(kernel)), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)


def test_a_solve_and_its_gradient(keops):
    marks = torch.randn(5, 2).double()

    def solved(by_keops: bool) -> list[torch.Tensor]:
        shift = torch.tensor([0.3, -0.2]).double().requires_grad_()
        kernel = Gaussian(0.5) + 0.3 * Laplacian(1.0)
        solution = equilibrium(
            lambda mu: mu.with_points(0.5 * mu.points + mu.marks + shift),
            Measure(marks, None, marks),
            velocity=Descent(MMD(kernel, keops=by_keops)), integrator=Anderson(step=1.0),
            rtol=1e-3, max_steps=40, on_failure="ignore",
        )  # fmt: skip
        return [solution.measure.points.detach(), solution.discrepancy]

    for mine, theirs in zip(solved(True), solved(False), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-8)


def test_where_there_is_nothing_to_sum(keops):
    empty = Measure(torch.zeros(2, 0, 3))
    assert MMD(Energy(), keops=True)(empty, empty).tolist() == [0, 0]
    with pytest.raises(TypeError, match="Dirac"):
        MMD(Dirac(), keops=True).pull(measure(3), measure(3))
    with pytest.raises(ValueError, match="reads marks"):
        MMD(Dirac() * SquaredDistance(), keops=True)(
            *[Measure(measure(3).points, measure(3).weights)] * 2
        )


def test_a_kernel_of_your_own_has_no_formula(keops):
    @dataclass(frozen=True)
    class Mine(Gaussian):
        pass

    class Other(type(Gaussian(1.0)).__mro__[1]):  # a RadialKernel that is none of ours
        def value(self, r):
            return -r

        slope_ratio = curvature = value

    MMD(Mine(1.0), keops=True)
    with pytest.raises(TypeError, match="sums in tiles"):
        MMD(Gaussian(1.0) + Other(), keops=True)


def test_absence_has_a_remedy(monkeypatch):
    real = builtins.__import__

    def without(name: str, *args, **kwargs):
        if name.startswith("pykeops"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'wgf-solver\[keops\]'"):
        MMD(Energy(), keops=True)
