"""What a map returns beside its measure, at the equilibrium."""

import pytest
import torch
from torch import Tensor

from wgf_solver import (
    GMRES,
    LBFGS,
    MMD,
    Descent,
    Gaussian,
    Implicit,
    Measure,
    Phantom,
    Residual,
    Unrolled,
    equilibrium,
)


def made() -> tuple[Measure, Tensor]:
    start = Measure(torch.randn(2, 4, 2).double(), torch.rand(2, 4), torch.randn(2, 4, 2).double())
    return start, torch.tensor([0.5, 0.8, -0.3], dtype=torch.float64)


def counted(marked_map, theta):
    """The map with an output beside it that reads the measure and the parameters, and its calls."""
    calls = []

    def f(mu: Measure):
        calls.append(1)
        energy = (mu.weights * mu.points.square().sum(-1)).sum(-1)
        return marked_map(theta)(mu), {"energy": theta[0] * energy, "words": ["any", len(calls)]}

    return f, calls


def test_it_is_that_of_one_more_call_at_the_equilibrium(marked_map):
    start, theta = made()
    f, calls = counted(marked_map, theta)
    solution = equilibrium(f, start, has_aux=True, rtol=1e-8)
    plain = equilibrium(marked_map(theta), start, rtol=1e-8)
    assert torch.equal(solution.measure.points, plain.measure.points)
    assert len(calls) == int(solution.steps.max()) + 1
    mu = solution.measure
    energy = theta[0] * (mu.weights * mu.points.square().sum(-1)).sum(-1)
    assert torch.equal(solution.aux["energy"], energy)
    assert solution.aux["words"] == ["any", len(calls)]
    assert plain.aux is None


@pytest.mark.parametrize(
    ("field", "adjoint"),
    [
        (Residual(), Implicit(GMRES(1e-12))),
        (Residual(), Phantom(80)),
        (Residual(), Unrolled(80)),
        (Descent(MMD(Gaussian(1.0)), "through"), Implicit(GMRES(1e-12))),
    ],
    ids=repr,
)
def test_its_gradient_is_that_of_the_problem_solved_anew(field, adjoint, marked_map, differences):
    start, theta = made()
    start = Measure(start.points[0], start.weights[0], start.marks[0])
    options = {"velocity": field, "has_aux": True, "rtol": 1e-11, "on_failure": "ignore"}
    options |= {"integrator": LBFGS(), "max_steps": 300} if field.descends else {}

    def value(parameters: Tensor, adjoint=adjoint) -> Tensor:
        f = marked_map(parameters)

        def with_aux(mu: Measure):
            energy = (mu.weights * mu.points.sin().sum(-1)).sum(-1)
            return f(mu), parameters[..., 0] * energy

        at = Measure(*(t.expand(*parameters.shape[:-1], *t.shape)
                       for t in (start.points, start.weights, start.marks)))  # fmt: skip
        return equilibrium(with_aux, at, adjoint=adjoint, **options).aux

    leaf = theta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(leaf), leaf)
    torch.testing.assert_close(gradient, differences(value, theta), rtol=1e-4, atol=1e-8)


def test_it_sees_the_held_atoms_and_no_graph_where_there_is_none(marked_map):
    start, theta = made()
    f, _ = counted(marked_map, theta.requires_grad_())
    held = torch.tensor([True, False, False, False])
    with torch.no_grad():
        assert not equilibrium(f, start, has_aux=True, held=held).aux["energy"].requires_grad
    points = start.points.clone().requires_grad_()
    mu = Measure(points, start.weights, start.marks)
    equilibrium(f, mu, has_aux=True, held=held).aux["energy"].sum().backward()
    assert (points.grad[:, 0] != 0).all()
    assert (points.grad[:, 1:] == 0).all()


def test_a_map_that_writes_into_its_argument_alters_no_solution():
    def f(mu: Measure):
        return mu.with_points(mu.points.mul_(0.5).add_(1)), mu.points

    with pytest.warns(UserWarning, match="wrote into"):
        solution = equilibrium(f, Measure(torch.zeros(3, 2)), has_aux=True, rtol=1e-6)
    torch.testing.assert_close(solution.measure.points, torch.full((3, 2), 2.0))
    assert solution.aux is not solution.measure.points


def test_under_autocast_it_is_computed_as_the_map_is():
    linear = torch.nn.Linear(2, 2)

    def f(mu: Measure):
        y = linear(mu.points)
        return mu.with_points(0.1 * y), y

    start = Measure(torch.randn(3, 2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert equilibrium(f, start, has_aux=True, rtol=1e-2).aux.dtype == torch.bfloat16


def test_a_pair_is_asked_for_and_where_it_is_not_one_is_told():
    mu = Measure(torch.zeros(3, 2))
    with pytest.raises(TypeError, match="returns a pair"):
        equilibrium(lambda mu: mu, mu, has_aux=True)
    with pytest.raises(TypeError, match="has_aux=True"):
        equilibrium(lambda mu: (mu, 1), mu)


def test_what_a_map_with_an_output_beside_writes_into_marks_stays_its_own():
    marks = torch.ones(3, 1)

    def f(mu):
        mu.marks.mul_(2.0)
        return Measure(0.5 * mu.points), mu.marks.sum()

    with pytest.warns(UserWarning, match="wrote into the measure"):
        solution = equilibrium(f, Measure(torch.randn(3, 2), marks=marks), has_aux=True)
    assert torch.equal(marks, torch.ones(3, 1))
    assert torch.equal(solution.measure.marks, torch.ones(3, 1))
    assert solution.aux == 6
