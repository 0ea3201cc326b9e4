import gc
import warnings
import weakref

import pytest
import torch
from torch import Tensor

from wgf_solver import (
    GMRES,
    MMD,
    AdjointWarning,
    Descent,
    Gaussian,
    Implicit,
    LinearStatus,
    Measure,
    Multiquadric,
    Phantom,
    Residual,
    Status,
    Unrolled,
    equilibrium,
)

CONSTANT_MEMORY = [Implicit(), Phantom(), Phantom(3, 0.5)]
ADJOINTS = [*CONSTANT_MEMORY, Unrolled(4)]


@pytest.fixture
def theta() -> Tensor:
    return torch.tensor([0.6, 0.8, -0.3], dtype=torch.float64, requires_grad=True)


@pytest.fixture
def start() -> Measure:
    return Measure(torch.randn(4, 5, 2).double(), torch.rand(4, 5), torch.randn(4, 5, 2).double())


@pytest.mark.parametrize("adjoint", CONSTANT_MEMORY, ids=repr)
@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("backward", [False, True])
def test_a_second_derivative_raises(adjoint, linear, backward, theta, start, marked_map):
    # A linear loss has a cotangent that wants no gradient: the case that is easily missed.
    points = equilibrium(marked_map(theta), start, adjoint=adjoint).measure.points
    loss = points.sum() if linear else points.square().sum()
    (gradient,) = torch.autograd.grad(loss, theta, create_graph=True)
    assert gradient.isfinite().all()  # the first derivative is none the worse
    with pytest.raises(RuntimeError, match="second derivative is not implemented"):
        gradient.sum().backward() if backward else torch.autograd.grad(gradient.sum(), theta)


@pytest.mark.parametrize("adjoint", ADJOINTS, ids=repr)
def test_create_graph_changes_no_gradient(adjoint, theta, start, marked_map):
    points = equilibrium(marked_map(theta), start, adjoint=adjoint).measure.points
    loss = points.square().sum()
    (plain,) = torch.autograd.grad(loss, theta, retain_graph=True)
    (tracked,) = torch.autograd.grad(loss, theta, create_graph=True)
    assert torch.equal(plain, tracked.detach())


@pytest.mark.parametrize("adjoint", ADJOINTS, ids=repr)
@pytest.mark.parametrize("field", [Residual(), Descent(MMD(Gaussian(1.0)))], ids=repr)
def test_the_start_gets_no_gradient_and_padding_exactly_none(adjoint, field, theta, marked_map):
    points = torch.randn(3, 6, 2, dtype=torch.float64)
    points[:, 4:] = torch.nan
    marks, inputs = points.clone().requires_grad_(), torch.randn(3, 6, 2).double().requires_grad_()
    points.requires_grad_()
    weights = torch.tensor([1.0, 2, 1, 3, 0, 0]).double().requires_grad_()
    f = marked_map(theta)
    solution = equilibrium(
        lambda mu: mu.with_points(f(mu).points + inputs),
        Measure(points, weights, marks),
        velocity=field,
        adjoint=adjoint,
        on_failure="ignore",
    )
    assert torch.equal(solution.measure.points[:, 4:], torch.zeros(3, 2, 2).double())
    # A loss that looks at padding is told nothing, not even NaN.
    cotangent = torch.randn(3, 6, 2, dtype=torch.float64)
    cotangent[:, 4:] = torch.nan
    solution.measure.points.backward(cotangent)
    assert points.grad is None
    for leaf in (inputs, marks):
        assert torch.equal(leaf.grad[:, 4:], torch.zeros(3, 2, 2).double())
        assert leaf.grad.isfinite().all()
        assert (leaf.grad[:, :4] != 0).all()
    assert weights.grad.isfinite().all()
    assert theta.grad.isfinite().all()
    assert (theta.grad != 0).all()


def test_unrolled_has_second_derivatives(start, marked_map):
    # Against central differences of the gradient of the re-solved problem.
    def gradient(theta: Tensor, *, create_graph: bool = False) -> Tensor:
        solution = equilibrium(marked_map(theta), start, adjoint=Unrolled(120), rtol=1e-13)
        loss = solution.measure.points.square().sum() + solution.measure.points.sin().sum()
        return torch.autograd.grad(loss, theta, create_graph=create_graph)[0]

    theta = torch.tensor([0.6, 0.8, -0.3], dtype=torch.float64, requires_grad=True)
    slopes = torch.tensor([1.0, -2.0, 0.5]).double()
    (product,) = torch.autograd.grad(gradient(theta, create_graph=True) @ slopes, theta)
    h = 1e-5
    for i in range(3):
        shift = h * torch.eye(3).double()[i]
        up, down = (gradient((theta + s).detach().requires_grad_()) for s in (shift, -shift))
        torch.testing.assert_close(product[i], (up - down) @ slopes / (2 * h), rtol=1e-6, atol=0)


def test_unrolled_keeps_the_values_to_the_bit_even_if_its_steps_overflow(theta, start, marked_map):
    exact = equilibrium(marked_map(theta.detach()), start).measure.points
    for step in (None, 1e200):
        adjoint = Unrolled(5, step=step)
        points = equilibrium(marked_map(theta), start, adjoint=adjoint).measure.points
        assert torch.equal(points, exact)
    # The gradient of such steps is no gradient, and says so.
    (gradient,) = torch.autograd.grad(points.sum(), theta)
    assert not gradient.isfinite().all()


def test_several_uses_of_the_equilibrium_add_up(theta, start, marked_map):
    f = marked_map(theta)
    points = equilibrium(f, start, rtol=1e-12).measure.points
    losses = points.sum(), points.square().sum(), points[:, 0].exp().sum()
    together = torch.autograd.grad(sum(losses), theta, retain_graph=True)[0]
    apart = [torch.autograd.grad(loss, theta, retain_graph=True)[0] for loss in losses]
    torch.testing.assert_close(together, sum(apart), rtol=1e-8, atol=0)


def test_the_report_is_filled_in_by_the_backward_pass(theta, start, marked_map):
    solution = equilibrium(marked_map(theta), start)
    report = solution.adjoint
    assert "Implicit" in report.method
    assert report.residual is None
    solution.measure.points.sum().backward()
    assert (report.status == LinearStatus.CONVERGED).all()
    assert (report.residual < 1e-9).all()
    assert report.steps.shape == (4,)
    assert (report.steps > 1).all()


def test_a_warm_start_takes_the_last_solution_and_saves_products(theta, start, marked_map):
    solver = GMRES(rtol=1e-6)

    def backward(adjoint, shift: float):
        parameters = (theta.detach() + shift).requires_grad_()
        solution = equilibrium(marked_map(parameters), start, adjoint=adjoint, rtol=1e-10)
        loss = solution.measure.points.square().mean()
        return torch.autograd.grad(loss, parameters)[0], solution.adjoint

    first = backward(Implicit(solver), 0.0)[1]
    assert first.solution.shape == start.points.shape
    cold, warm = (backward(Implicit(solver, start=u), 1e-3) for u in (None, first.solution))
    torch.testing.assert_close(warm[0], cold[0], rtol=1e-5, atol=0)
    assert (warm[1].steps < cold[1].steps).all()
    assert (warm[1].residual <= 1e-6).all()
    # A value like any other: equal to one without a start, which it does not change.
    assert Implicit(solver, start=first.solution) == Implicit(solver)


def test_a_preconditioner_of_the_map_saves_products(theta, start):
    # ∂f/∂z differs from atom to atom; its inverse is known but for a little that couples them.
    stiff = torch.linspace(-30.0, 0.9, 5).double()[:, None]

    def f(mu: Measure) -> Measure:
        z, m = mu.points, mu.mean()[..., None, :]
        return mu.with_points(stiff * z + 0.05 * m.sin() + theta[0] * mu.marks)

    def of_atoms(mu: Measure):
        assert not mu.points.requires_grad
        return lambda u: u / (1 - stiff)

    solutions, gradients = [], []
    for preconditioner in (None, of_atoms):
        adjoint = Implicit(GMRES(rtol=1e-12), preconditioner=preconditioner)
        solution = equilibrium(f, start, adjoint=adjoint, rtol=1e-10)
        solution.measure.points.square().sum().backward()
        gradients.append(theta.grad.clone())
        theta.grad = None
        solutions.append(solution)
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=0)
    assert (solutions[1].adjoint.steps < solutions[0].adjoint.steps).all()
    assert (solutions[1].adjoint.residual <= 1e-12).all()


def test_a_warm_start_of_another_shape_is_refused(theta, start, marked_map):
    adjoint = Implicit(start=torch.zeros(3, 5, 2))
    with pytest.raises(ValueError, match=r"shape \(4, 5, 2\).*got \(3, 5, 2\)"):
        equilibrium(marked_map(theta), start, adjoint=adjoint)


def test_an_adjoint_that_ends_early_warns_and_falls_back(theta, start, marked_map):
    def gradient(adjoint) -> Tensor:
        solution = equilibrium(marked_map(theta), start, adjoint=adjoint)
        return torch.autograd.grad(solution.measure.points.sum(), theta)[0]

    with pytest.warns(AdjointWarning, match=r"4 of 4 measures .*\(MAX_STEPS"):
        rough = gradient(Implicit(GMRES(rtol=1e-12, max_steps=5)))
    torch.testing.assert_close(rough, gradient(Implicit()), rtol=0.2, atol=0)


def test_a_singular_adjoint_falls_back_to_the_phantom_gradient_and_says_so():
    # f(z) = z + theta off the equilibrium has v = theta: no root moves with theta.
    theta = torch.zeros(2, 1, 1, dtype=torch.float64, requires_grad=True)
    halves = torch.tensor([1.0, 0.5]).double()[:, None, None]
    mu0 = Measure(torch.zeros(2, 3, 1).double())
    solution = equilibrium(lambda mu: mu.with_points(halves * mu.points + theta), mu0)
    with pytest.warns(AdjointWarning, match="1 of them fell back to the one-step phantom"):
        solution.measure.points.sum().backward()
    torch.testing.assert_close(theta.grad.flatten(), torch.tensor([3.0, 6.0]).double())
    assert solution.adjoint.status.tolist() == [LinearStatus.STAGNATED, LinearStatus.CONVERGED]


def test_a_cotangent_of_nan_stays_nan(theta, start, marked_map):
    points = equilibrium(marked_map(theta), start).measure.points
    with pytest.warns(AdjointWarning, match="NONFINITE"):
        points.backward(torch.full_like(points, torch.nan))
    assert theta.grad.isnan().all()


@pytest.mark.parametrize("adjoint", ADJOINTS, ids=repr)
def test_no_gradient_flows_through_a_measure_that_failed(adjoint, start):
    inputs = torch.randn(4, 5, 2, dtype=torch.float64)
    inputs[1, 2] = torch.nan
    inputs.requires_grad_()
    solution = equilibrium(
        lambda mu: mu.with_points(mu.points.sin() / 2 + inputs),
        start,
        adjoint=adjoint,
        on_failure="ignore",
    )
    assert solution.status[1] == Status.NONFINITE
    solution.measure.points.sum().backward()
    assert torch.equal(inputs.grad[1], torch.zeros(5, 2).double())
    assert (inputs.grad[[0, 2, 3]] != 0).all()


def test_a_phantom_of_the_map_needs_a_map_that_moves_atoms(ifs, ifs_parameters):
    f, mu0 = ifs(ifs_parameters.requires_grad_()), Measure(torch.randn(4, 2).double())
    flow = Descent(MMD(Gaussian(1.0)))
    options = {"velocity": flow, "on_failure": "ignore", "max_steps": 5}
    with pytest.raises(ValueError, match=r"Phantom\(velocity=None\)"):
        equilibrium(f, mu0, adjoint=Phantom(), **options)
    solution = equilibrium(f, mu0, adjoint=Phantom(velocity=None), **options)
    solution.measure.points.sum().backward()
    assert (ifs_parameters.grad != 0).all()


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (Phantom, {"steps": 0}),
        (Phantom, {"damping": 0.0}),
        (Unrolled, {"steps": 0}),
        (Unrolled, {"steps": 3, "step": -1.0}),
    ],
)
def test_arguments_out_of_range(kind, arguments):
    with pytest.raises(ValueError, match="must be"):
        kind(**arguments)
    with pytest.raises(TypeError):
        kind(k=1)


@pytest.mark.parametrize("adjoint", ADJOINTS, ids=repr)
def test_the_graph_is_freed_without_the_garbage_collector(adjoint, theta, start, marked_map):
    class Probe:
        pass

    probe = Probe()
    f = marked_map(theta)
    gc.disable()
    try:

        def held(mu: Measure, probe=probe) -> Measure:
            image = f(mu)
            if image.points.grad_fn is not None:
                image.points.grad_fn.metadata["probe"] = probe
            return image

        reference = weakref.ref(probe)
        solution = equilibrium(held, start, adjoint=adjoint)
        solution.measure.points.sum().backward()
        report = solution.adjoint
        del held, probe, solution
        assert reference() is None
        assert report is not None
    finally:
        gc.enable()


@pytest.mark.parametrize("adjoint", ADJOINTS, ids=repr)
def test_memory_of_the_backward_pass_does_not_grow_with_the_steps(
    adjoint, theta, start, marked_map
):
    def saved(max_steps: int) -> int:
        """Numbers that autograd keeps alive for the backward pass."""
        kept: list[int] = []

        def pack(tensor: Tensor) -> Tensor:
            kept.append(tensor.numel())
            return tensor

        f = marked_map(theta)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            equilibrium(
                f, start, adjoint=adjoint, rtol=1e-30, max_steps=max_steps, on_failure="ignore"
            )
        return sum(kept)

    assert saved(5) == saved(50) > 0


def test_a_second_backward_pass_without_retaining_is_refused(theta, start, marked_map):
    loss = equilibrium(marked_map(theta), start).measure.points.sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_the_adjoint_costs_one_evaluation(theta, start, marked_map):
    f, calls = marked_map(theta), []
    solution = equilibrium(lambda mu: calls.append(1) or f(mu), start)
    assert len(calls) == int(solution.steps.max()) + 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solution.measure.points.sum().backward()
    assert len(calls) == int(solution.steps.max()) + 1


@pytest.mark.parametrize("adjoint", [Implicit(), Phantom(30)], ids=repr)
def test_a_second_derivative_raises_also_in_what_the_cotangent_depends_on(adjoint):
    # A penalty on a gradient reaches a later layer by the cotangent alone.
    theta, later = (torch.tensor(v).double().requires_grad_() for v in (0.3, 2.0))
    mu0 = Measure(torch.zeros(1, 1).double())
    z = equilibrium(lambda m: m.with_points(0.5 * m.points + theta), mu0, adjoint=adjoint)
    loss = later * z.measure.points.sum() + 0.1 * later * theta
    (gradient,) = torch.autograd.grad(loss, theta, create_graph=True)
    torch.testing.assert_close(gradient.detach(), torch.tensor(4.2).double())
    with pytest.raises(RuntimeError, match="second derivative is not implemented"):
        torch.autograd.grad(gradient, later)


def test_several_cotangents_at_once_are_refused_by_a_sentence():
    theta = torch.tensor([0.3]).double().requires_grad_()
    mu0 = Measure(torch.zeros(2, 1).double())
    points = equilibrium(lambda m: m.with_points(0.5 * m.points + theta), mu0).measure.points
    with pytest.raises(RuntimeError, match="one after another"):
        torch.autograd.grad(points.flatten(), theta, torch.eye(2).double(), is_grads_batched=True)


@pytest.mark.parametrize("adjoint", [Unrolled(20), Phantom(20, velocity=None)], ids=repr)
def test_plain_steps_of_an_adjoint_are_each_measures_own(adjoint):
    # L-BFGS learns a step for each measure, in its unit; the adjoint's steps are as long.
    base = torch.randn(2, 6, 2).double()
    start = torch.randn(2, 6, 2).double()
    units = torch.tensor([1.0, 4.0]).double()[:, None, None]

    def gradient(i: slice) -> Tensor:
        theta = torch.ones((), dtype=torch.float64, requires_grad=True)
        solution = equilibrium(
            lambda mu: mu.with_points(units[i] * (base[i] + theta)),
            Measure(units[i] * start[i]),
            velocity=Descent(MMD(Multiquadric(1.0))),
            adjoint=adjoint,
        )
        sums = (solution.measure.points / units[i]).sum((-2, -1))
        return torch.stack([torch.autograd.grad(s, theta, retain_graph=True)[0] for s in sums])

    both = gradient(slice(None))
    alone = torch.cat([gradient(slice(i, i + 1)) for i in range(2)])
    assert torch.equal(both, alone)
    assert (both > 1).all()  # of 12, to which many steps would lead


@pytest.mark.parametrize("there", [False, True])
def test_plain_steps_have_the_same_part_in_every_unit(there):
    gradients = []
    base, start = torch.randn(6, 2).double(), torch.randn(6, 2).double()
    if there:  # no step was ever made, and each measure has its own all the same
        start = base + 1
    for unit in (1e-3, 1.0, 1e3):
        theta = torch.ones((), dtype=torch.float64, requires_grad=True)
        solution = equilibrium(
            lambda mu, unit=unit, theta=theta: mu.with_points(unit * (base + theta)),
            Measure(unit * start),
            velocity=Descent(MMD(Multiquadric(unit))),
            adjoint=Unrolled(20),
        )
        (solution.measure.points / unit).sum().backward()
        gradients.append(theta.grad)
    torch.testing.assert_close(torch.stack(gradients), gradients[1].expand(3), rtol=1e-6, atol=0)
    assert gradients[1] > 1
