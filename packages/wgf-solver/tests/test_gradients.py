"""The gradient of the equilibrium, three ways: implicit, central differences, unrolled."""

import pytest
import torch
from torch import Tensor

from wgf_solver import (
    GMRES,
    MMD,
    Anderson,
    Descent,
    Gaussian,
    Implicit,
    Measure,
    Phantom,
    Residual,
    Unrolled,
    equilibrium,
)

DISCREPANCY = MMD(Gaussian(0.3) + Gaussian(1.0))
FIELDS = [Residual(), Descent(DISCREPANCY, "frozen"), Descent(DISCREPANCY, "through")]
IFS_FIELDS = FIELDS[1:]
EXACT = Implicit(GMRES(rtol=1e-13))


def name(field) -> str:
    return getattr(field, "target", "residual")


def solve(f, mu0: Measure, field, *, step: float = 0.3, adjoint=EXACT):
    """To machine precision, or an error."""
    step = 1.0 if isinstance(field, Residual) else step
    return equilibrium(
        f, mu0, velocity=field, integrator=Anderson(step=step, basin=1.0), adjoint=adjoint,
        rtol=2e-13, max_steps=3000, on_failure="raise",
    )  # fmt: skip


def beside_its_root(f, mu0: Measure) -> Measure:
    """``mu0`` where atoms of unequal weights find each his own image, and not another's."""
    root = equilibrium(f, mu0.detach(), velocity=Residual(), rtol=1e-6, on_failure="raise").measure
    push = torch.randn(root.points.shape[-2:], generator=torch.Generator().manual_seed(2))
    return mu0.with_points((root.points + 0.05 * push.double()).detach())


def loss_of(points: Tensor) -> Tensor:
    """One number a measure, with a gradient that is different for each atom."""
    n, d = points.shape[-2:]
    slopes = torch.linspace(-1, 1, n * d, dtype=points.dtype).reshape(n, d)
    return (points * slopes + 0.3 * points.sin()).sum((-2, -1))


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.fixture
def start() -> Measure:
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    return Measure(points, torch.tensor([1.0, 2, 1, 1, 3, 2]), points.roll(1, 0).sin())


@pytest.fixture
def theta() -> Tensor:
    return torch.tensor([0.6, 0.8, -0.3], dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("field", FIELDS, ids=name)
def test_parameters_against_central_differences(field, start, theta, marked_map, differences):
    def loss(batch: Tensor) -> Tensor:
        mu = Measure(start.points.expand(len(batch), 6, 2), start.weights, start.marks)
        f = marked_map(batch)
        return loss_of(solve(f, beside_its_root(f, mu), field, step=0.1).measure.points)

    (gradient,) = torch.autograd.grad(loss(theta[None]).sum(), theta)
    assert relative(gradient, differences(loss, theta.detach())) < 1e-6


@pytest.mark.parametrize("field", IFS_FIELDS, ids=name)
def test_a_map_with_twice_as_many_atoms_against_central_differences(
    field, ifs, ifs_parameters, differences
):
    points = torch.randn(6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss(batch: Tensor) -> Tensor:
        mu = Measure(points.expand(len(batch), 6, 2))
        return loss_of(solve(ifs(batch), mu, field).measure.points)

    parameters = ifs_parameters.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(parameters[None]).sum(), parameters)
    assert relative(gradient, differences(loss, parameters.detach())) < 1e-6


@pytest.mark.parametrize("field", FIELDS, ids=name)
def test_inputs_weights_and_marks_against_central_differences(
    field, start, theta, marked_map, differences
):
    parameters = theta.detach()

    def solved(inputs: Tensor, weights: Tensor, marks: Tensor) -> Tensor:
        f = marked_map(parameters)
        mu0 = Measure(start.points[:4].expand_as(marks), weights, marks)

        def driven(mu: Measure) -> Measure:
            return mu.with_points(f(mu).points + 0.2 * inputs.sin())

        return loss_of(solve(driven, beside_its_root(driven, mu0), field, step=0.1).measure.points)

    at = (torch.randn(4, 2).double(), start.weights[:4], start.marks[:4])
    leaves = [t.clone().requires_grad_() for t in at]
    gradients = torch.autograd.grad(solved(*(t[None] for t in leaves)).sum(), leaves)
    for i, gradient in enumerate(gradients):

        def loss(batch: Tensor, i: int = i) -> Tensor:
            return solved(
                *(batch if j == i else t.expand(len(batch), *t.shape) for j, t in enumerate(at))
            )

        assert relative(gradient, differences(loss, at[i])) < 1e-6


@pytest.mark.parametrize("field", FIELDS, ids=name)
def test_against_unrolled_differentiation(field, start, theta, marked_map, ifs, ifs_parameters):
    if isinstance(field, Residual):
        f, parameters, mu0 = marked_map(theta), theta, start
    else:
        parameters = ifs_parameters.requires_grad_()
        mu0 = Measure(torch.randn(4, 2, generator=torch.Generator().manual_seed(1)).double())
        f = ifs(parameters)

    def gradient(adjoint) -> Tensor:
        points = solve(f, mu0, field, adjoint=adjoint).measure.points
        return torch.autograd.grad(loss_of(points), parameters)[0]

    exact = gradient(EXACT)
    assert relative(gradient(Unrolled(3)), exact) > 1e-3
    assert relative(gradient(Unrolled(150)), exact) < 1e-5


@pytest.mark.parametrize("field", FIELDS, ids=name)
def test_the_adjoint_solution_against_a_dense_solve(field, start, theta, marked_map):
    f = marked_map(theta)
    start = beside_its_root(f, start)
    solution = solve(f, start, field, step=0.1, adjoint=Implicit(GMRES(rtol=1e-12)))
    mu, size = solution.measure.detach(), solution.measure.points.numel()
    loss_of(solution.measure.points).backward()

    def velocity(z: Tensor) -> Tensor:
        return field(f, mu.with_points(z)).velocity

    jacobian = torch.autograd.functional.jacobian(velocity, mu.points).reshape(size, size)
    z = mu.points.clone().requires_grad_()
    (g,) = torch.autograd.grad(loss_of(z), z)
    dense = torch.linalg.solve(jacobian.T, -g.flatten())
    assert solution.adjoint is not None
    assert relative(solution.adjoint.solution.flatten(), dense) < 1e-9
    left = (jacobian.T @ solution.adjoint.solution.flatten() + g.flatten()).norm() / g.norm()
    assert abs(float(left - solution.adjoint.residual)) < 1e-13  # the true residual is reported


@pytest.mark.parametrize("own_field", [False, True])
def test_many_phantom_steps_are_the_implicit_gradient(own_field, start, theta, marked_map):
    def gradient(adjoint) -> Tensor:
        solution = solve(marked_map(theta), start, Residual(), adjoint=adjoint)
        return torch.autograd.grad(loss_of(solution.measure.points), theta)[0]

    exact = gradient(EXACT)
    velocity = {"velocity": None} if own_field else {}
    errors = [relative(gradient(Phantom(k, **velocity)), exact) for k in (1, 4, 16, 120)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1e-2
    assert errors[-1] < 1e-10
    damped = relative(gradient(Phantom(240, damping=0.5, **velocity)), exact)
    assert damped < 1e-10


def test_one_phantom_step_passes_the_cotangent_as_it_is(start, theta, marked_map):
    solution = solve(marked_map(theta), start, Residual(), adjoint=Phantom())
    (gradient,) = torch.autograd.grad(loss_of(solution.measure.points), theta)
    z = solution.measure.points.detach()
    (g,) = torch.autograd.grad(loss_of(z.requires_grad_()), z)
    image = marked_map(theta)(start.with_points(z.detach()))
    (expected,) = torch.autograd.grad(image.points, theta, g)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("adjoint", [EXACT, Phantom(200)], ids=["implicit", "phantom"])
def test_gradcheck_through_a_whole_solve(adjoint, start, theta, marked_map):
    def points(theta: Tensor, weights: Tensor, marks: Tensor) -> Tensor:
        mu0 = Measure(start.points, weights, marks)
        return solve(marked_map(theta), mu0, Residual(), adjoint=adjoint).measure.points

    inputs = (theta, *(t.clone().requires_grad_() for t in (start.weights, start.marks)))
    assert torch.autograd.gradcheck(points, inputs, fast_mode=True)


def test_a_linear_map_in_closed_form():
    size = 6
    a = 0.5 * torch.randn(size, size, dtype=torch.float64) / size**0.5
    b = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    g = torch.randn(3, 2, dtype=torch.float64)

    def f(mu: Measure) -> Measure:
        return mu.with_points((a @ mu.points.flatten()).reshape(3, 2) + b)

    solution = solve(f, Measure(torch.zeros(3, 2).double()), Residual())
    identity = torch.eye(size).double()
    expected = torch.linalg.solve(identity - a, b.detach().flatten())
    torch.testing.assert_close(solution.measure.points.flatten(), expected)
    (gradient,) = torch.autograd.grad(solution.measure.points, b, g)
    v = torch.linalg.solve(identity - a.mT, g.flatten())
    torch.testing.assert_close(gradient.flatten(), v, rtol=1e-10, atol=1e-12)
