"""The spectral radius of a map's derivative, against numpy-free linear algebra."""

import pytest
import torch

from wgf_solver import Measure, jacobian_norm, spectral_radius


def linear(a):
    def f(mu: Measure) -> Measure:
        flat = mu.points.flatten(-2)
        return mu.with_points((flat @ a.mT).reshape(mu.points.shape) + 1)

    return f


def test_of_linear_maps():
    a = torch.randn(6, 6, dtype=torch.float64)
    symmetric = a + a.mT
    turning = torch.block_diag(
        torch.tensor([[0.0, 1.2], [-1.2, 0.0]]).double(), 0.5 * torch.eye(4).double()
    )
    for matrix in (symmetric, turning):
        expected = torch.linalg.eigvals(matrix).abs().max()
        came = spectral_radius(linear(matrix), Measure(torch.randn(3, 2).double()), steps=400)
        torch.testing.assert_close(came, expected, rtol=1e-3, atol=0)


def test_each_measure_has_its_own_and_padding_none():
    factors = torch.tensor([0.3, 2.0]).double()[:, None, None]
    mu = Measure(torch.randn(2, 4, 1).double(), torch.tensor([1.0, 1.0, 1.0, 0.0]))
    junk = torch.tensor([1.0, 1.0, 1.0, 1e6]).double()[:, None]
    came = spectral_radius(lambda m: m.with_points(factors * junk * m.points), mu)
    torch.testing.assert_close(came, torch.tensor([0.3, 2.0]).double())


def test_a_constant_map_and_what_is_refused():
    mu = Measure(torch.randn(2, 3, 2))
    assert torch.equal(spectral_radius(lambda m: Measure(torch.ones(2, 3, 2)), mu), torch.zeros(2))
    with pytest.raises(ValueError, match="steps must be at least 2"):
        spectral_radius(lambda m: m, mu, steps=1)
    with pytest.raises(ValueError, match=r"returned 6. Project it first"):
        spectral_radius(lambda m: Measure(torch.cat([m.points, m.points], -2)), mu)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_also_where_nothing_is_recorded(mode):
    mu = Measure(torch.randn(4, 2, generator=torch.Generator().manual_seed(0)))
    expected = spectral_radius(tripled, mu), jacobian_norm(tripled, mu, generator=seeded())
    with mode():
        came = spectral_radius(tripled, mu), jacobian_norm(tripled, mu, generator=seeded())
    torch.testing.assert_close(came, expected)
    torch.testing.assert_close(came[0], torch.tensor(3.0))


@pytest.mark.parametrize("measured", [spectral_radius, jacobian_norm])
def test_a_map_that_changes_with_the_points_and_does_not_lead_back_to_them_is_refused(measured):
    mu = Measure(torch.randn(4, 2, generator=torch.Generator().manual_seed(0)))

    def cut(m: Measure) -> Measure:
        return m.with_points(3 * m.points.detach())

    with pytest.raises(ValueError, match="must lead back to the points"):
        measured(cut, mu)
    constant = Measure(torch.ones(4, 2))
    assert measured(lambda m: constant, mu) == 0


def tripled(mu: Measure) -> Measure:
    return mu.with_points(3 * mu.points)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)
