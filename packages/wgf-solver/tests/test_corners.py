"""The energy distance without its corner: flows that end where as many atoms meet as many."""

import pytest
import torch

from wgf_solver import (
    MMD,
    Descent,
    Dirac,
    DistanceTo,
    Energy,
    Measure,
    Multiquadric,
    Residual,
    Status,
    equilibrium,
    gradient_flow,
)

NEAR = Multiquadric(0.1)


def marked(mu: Measure) -> Measure:
    """A contraction that sends each atom to a place of its own, by its mark."""
    assert mu.marks is not None
    return mu.with_points(torch.tanh(0.5 * mu.points + 2 * mu.marks))


def start() -> Measure:
    points, marks = torch.randn(2, 3, 12, 2, dtype=torch.float64)
    return Measure(points, marks=marks)


def test_a_flow_to_as_many_atoms_finds_each_of_them():
    target = Measure(0.5 * torch.randn(3, 20, 2, dtype=torch.float64) + 1)
    mu0 = Measure(torch.randn(3, 20, 2, dtype=torch.float64))
    found = gradient_flow(DistanceTo(MMD(NEAR), target), mu0, max_steps=120)
    assert found.converged.all()
    away = torch.cdist(target.points, found.measure.points).amin(-1)
    assert away.max() < 0.02
    # With the corner the same flow does not end, though its atoms are as near.
    options = {"max_steps": 120, "on_failure": "ignore"}
    corner = gradient_flow(DistanceTo(MMD(Energy()), target), mu0, **options)
    assert (corner.status == Status.MAX_STEPS).all()


def test_the_implicit_gradient_is_there_where_atoms_meet():
    """The flow ends at its target ``θ Y``, so that ``d/dθ Σ ‖z_i‖² = 2 θ Σ ‖y_i‖²``."""
    theta = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    y, mu0 = torch.randn(2, 12, 2, dtype=torch.float64)
    target = DistanceTo(MMD(NEAR), Measure(theta * y))
    z = gradient_flow(target, Measure(mu0), rtol=1e-8, max_steps=300).measure.points
    (gradient,) = torch.autograd.grad(z.square().sum(), theta)
    assert gradient.item() == pytest.approx(3 * y.square().sum().item(), rel=1e-5)


def test_a_map_that_moves_its_atoms_is_solved_by_descent():
    """`Dirac` on the marks keeps the names apart: the root is that of the labelled residual."""
    mu0 = start()
    exact = equilibrium(marked, mu0, velocity=Residual(), rtol=1e-10).measure.points
    velocity = Descent(MMD(Dirac() * NEAR))
    solution = equilibrium(marked, mu0, velocity=velocity, max_steps=60)
    assert solution.converged.all()
    assert (solution.measure.points - exact).abs().max() < 1e-3
