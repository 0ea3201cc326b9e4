"""The collapse theorem, and marks, which it does not hold for (docs/mathematics.md)."""

import pytest
import torch

from wgf_solver import Anderson, Euler, Measure, equilibrium


def attention(mu: Measure, marks: bool) -> Measure:
    """A contraction in which every atom sees every other; equivariant, as attention is."""
    x = mu.points if not marks else mu.points + mu.marks
    scores = (x @ x.mT) / 4 + mu.weights.log()[..., None, :]
    return mu.with_points(torch.tanh(0.3 * x + 0.3 * scores.softmax(-1) @ x + 0.2))


def start(seed: int) -> Measure:
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(4, 10, 3, generator=generator, dtype=torch.float64)
    marks = torch.randn(10, 3, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return Measure(points, torch.linspace(1, 2, 10), marks)


@pytest.mark.parametrize("integrator", [Anderson(), Euler()], ids=repr)
def test_without_marks_an_equivariant_contraction_collapses_to_a_dirac(integrator):
    mu0 = start(0)
    assert (mu0.spread(relative=True) > 0.5).all()
    solution = equilibrium(
        lambda mu: attention(mu, marks=False), mu0, integrator=integrator, rtol=1e-9
    )
    assert (solution.measure.spread(relative=True) < 1e-6).all()


@pytest.mark.parametrize("integrator", [Anderson(), Euler()], ids=repr)
def test_with_marks_the_equilibrium_is_a_distribution_and_unique(integrator):
    def solved(seed: int) -> Measure:
        return equilibrium(
            lambda mu: attention(mu, marks=True), start(seed), integrator=integrator, rtol=1e-9
        ).measure

    one, other = solved(0), solved(1)
    assert (one.spread(relative=True) > 0.3).all()
    torch.testing.assert_close(one.points, other.points, rtol=0, atol=1e-7)
