"""Hutchinson's estimate of the derivative's size, against the derivative itself."""

import pytest
import torch

from wgf_solver import Measure, jacobian_norm

F64 = torch.float64


def coupled(theta):
    """Atoms that see each other; two images for each."""

    def f(mu: Measure) -> Measure:
        z = (theta * mu.points).sin() + 0.5 * mu.mean()[..., None, :] * mu.points.cos()
        return Measure(torch.cat([z, theta * z * z], -2), torch.cat([mu.weights, mu.weights], -1))

    return f


def exact(theta, mu: Measure):
    def image(z):
        return coupled(theta)(mu.with_points(z)).points

    jacobian = torch.autograd.functional.jacobian(image, mu.points, create_graph=True)
    return jacobian.square().sum() / mu.points.numel()


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_its_mean_and_its_gradient_are_those_of_the_exact_derivative():
    mu = Measure(torch.randn(4, 2, dtype=F64), torch.rand(4, dtype=F64))
    theta = torch.tensor(0.7, dtype=F64, requires_grad=True)
    estimate, value = jacobian_norm(coupled(theta), mu, 1500, draws()), exact(theta, mu)
    assert abs(estimate / value - 1) < 0.05
    (came,), (expected,) = (torch.autograd.grad(t, theta) for t in (estimate, value))
    assert abs(came / expected - 1) < 0.05


def test_of_a_multiple_of_the_identity_by_hand():
    # εᵀ J = c ε: with the draw at hand the estimate is c² times the mean of its squares.
    mu = Measure(torch.randn(5, 3, dtype=F64))
    epsilon = torch.randn(5, 3, dtype=F64, generator=draws())
    came = jacobian_norm(lambda m: m.with_points(-3 * m.points), mu, 1, draws())
    torch.testing.assert_close(came, 9 * epsilon.square().mean())


def test_gradients_of_one_draw_are_exact():
    mu = Measure(torch.randn(2, 3, 2, dtype=F64))
    theta = torch.tensor([[[0.7]], [[0.4]]], dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: jacobian_norm(coupled(t), mu, 2, draws()), theta)


def test_measures_of_a_batch_and_padding():
    points = torch.randn(3, 4, 2, dtype=F64)
    points[1, 3] = torch.nan
    weights = torch.tensor([[1.0, 1, 1, 1], [1, 2, 3, 0], [0, 0, 0, 0]], dtype=F64)
    mu = Measure(points, weights)
    theta = torch.tensor(0.7, dtype=F64, requires_grad=True)
    together = jacobian_norm(coupled(theta), mu, 2, draws())
    for i in range(3):
        alone = jacobian_norm(coupled(theta), Measure(points[i], weights[i]), 2, draws())
        torch.testing.assert_close(together[i], alone)
    assert together[2] == 0
    assert torch.autograd.grad(together.sum(), theta)[0].isfinite()
    short = Measure(points[1, :3], weights[1, :3])
    many = [jacobian_norm(coupled(0.7), m, 800, draws(1)) for m in (mu, short)]
    assert abs(many[0][1] / many[1] - 1) < 0.1  # rows, and so draws, are others


def test_without_gradients_of_a_constant_and_out_of_range():
    mu = Measure(torch.randn(3, 2))
    with torch.no_grad():
        assert not jacobian_norm(lambda m: m.with_points(2 * m.points), mu).requires_grad
    assert jacobian_norm(lambda m: Measure(torch.ones(3, 2)), mu) == 0
    with pytest.raises(ValueError, match="draws must be at least 1"):
        jacobian_norm(lambda m: m, mu, 0)
