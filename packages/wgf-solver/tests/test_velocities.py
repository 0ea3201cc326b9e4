import pytest
import torch

from wgf_solver import (
    MMD,
    Descent,
    Dirac,
    Energy,
    Gaussian,
    Measure,
    Residual,
    SquaredDistance,
    equilibrium,
)

KERNELS = [Gaussian(0.3) + Gaussian(1.0), Energy(), Gaussian(0.5) * Gaussian(1.0)]


@pytest.fixture
def theta():
    return torch.tensor([0.6, 0.8, -0.3], dtype=torch.float64)


@pytest.fixture
def mu() -> Measure:
    return Measure(
        torch.randn(3, 5, 2).double(), torch.rand(3, 5) + 0.1, torch.randn(5, 2).double()
    )


def test_residual(mu, theta, marked_map):
    f = marked_map(theta)
    evaluation = Residual()(f, mu)
    difference = f(mu).points - mu.points
    torch.testing.assert_close(evaluation.velocity, difference)
    cost = 0.5 * (mu.weights * difference.square().sum(-1)).sum(-1)
    torch.testing.assert_close(evaluation.discrepancy, cost)
    seen = []
    equilibrium(f, mu, callback=lambda k, here, there: seen.append(there.scale), rtol=0.5)
    torch.testing.assert_close(seen[0], f(mu).spread() / 2**0.5)  # which the driver finds
    assert torch.equal(evaluation.image.points, f(mu).points)
    assert not Residual().descends


def test_residual_is_the_flow_of_a_marked_mmd_up_to_the_weight(mu, theta, marked_map):
    # Each atom bears a mark of its own, and the kernel pairs atoms of equal marks.
    labels = torch.arange(5.0, dtype=torch.float64)[:, None]
    labelled = Measure(mu.points, mu.weights, labels)
    reading = mu.marks  # what the map reads is another matter
    f = marked_map(theta)

    def g(x: Measure) -> Measure:
        return x.with_points(f(Measure(x.points, x.weights, reading)).points)

    distance = MMD(Dirac() * SquaredDistance())
    flow, residual = Descent(distance, "frozen")(g, labelled), Residual()(g, labelled)
    torch.testing.assert_close(flow.velocity, mu.weights[..., None] * residual.velocity)
    matched = mu.weights.square() * residual.velocity.square().sum(-1)
    torch.testing.assert_close(flow.discrepancy, 0.5 * matched.sum(-1))


@pytest.mark.parametrize(
    ("kernel", "doubled"),
    [*((kernel, False) for kernel in KERNELS), *((kernel, True) for kernel in KERNELS[:2])],
    ids=repr,
)
def test_descent_against_autograd_of_the_objective(
    kernel, doubled, mu, theta, marked_map, ifs, ifs_parameters
):
    f = ifs(ifs_parameters) if doubled else marked_map(theta)
    distance = MMD(kernel)
    z = mu.points.clone().requires_grad_()
    at = mu.with_points(z)
    objective = distance(at, f(at))
    held = distance(at, f(at).detach())
    for target, value in (("through", objective), ("frozen", held)):
        (gradient,) = torch.autograd.grad(value.sum(), z, retain_graph=True)
        evaluation = Descent(distance, target)(f, mu)
        torch.testing.assert_close(evaluation.velocity, -gradient / mu.weights[..., None])
        torch.testing.assert_close(evaluation.discrepancy, objective.detach())
        torch.testing.assert_close(evaluation.image.points, f(mu).points)
        torch.testing.assert_close(evaluation.scale, distance.pull(mu, f(mu)).scale)


@pytest.mark.parametrize("target", ["frozen", "through"])
@pytest.mark.parametrize("tracked", [True, False])
def test_a_field_is_recorded_if_gradients_are_and_not_otherwise(
    target, tracked, mu, theta, marked_map
):
    f = marked_map(theta.requires_grad_())
    field = Descent(MMD(Gaussian(1.0)), target)
    with torch.set_grad_enabled(tracked):
        evaluation = field(f, mu)
    assert evaluation.velocity.requires_grad == tracked
    assert not evaluation.discrepancy.requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    "field",
    [Residual(), *(Descent(MMD(Gaussian(1.0)), t) for t in ("frozen", "through"))],
    ids=repr,
)
def test_the_linearisation_of_a_field(field, mu, theta, marked_map):
    f, one = marked_map(theta), Measure(mu.points[0], mu.weights[0], mu.marks[0])
    at = one.points.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: field(f, one.with_points(z)).velocity, at)


@pytest.mark.parametrize(
    "field", [Residual(), *(Descent(MMD(Energy()), t) for t in ("frozen", "through"))], ids=repr
)
@pytest.mark.parametrize("junk", [float("nan"), 1e30])
def test_a_map_may_leave_anything_in_padded_rows(field, junk, mu, theta, marked_map):
    f = marked_map(theta)
    weights = torch.tensor([1.0, 2, 1, 0, 0])
    clean = Measure(mu.points[:, :3], weights[:3], mu.marks[:, :3])
    padded = Measure(mu.points, weights, mu.marks).zero_padding()

    def spoilt(x: Measure) -> Measure:
        image = f(x)
        rows = x.mask[..., None]
        return Measure(
            torch.where(rows, image.points, junk), x.weights, torch.where(rows, x.marks, junk)
        )

    expected, came = field(f, clean), field(spoilt, padded)
    torch.testing.assert_close(came.velocity[:, :3], expected.velocity)
    assert torch.equal(came.velocity[:, 3:], torch.zeros(3, 2, 2).double())
    for mine, theirs in zip(came[1:4], expected[1:4], strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize(
    ("f", "error", "text"),
    [
        (lambda mu: mu.points, TypeError, "must return a Measure; got Tensor"),
        (lambda mu: mu.with_points(mu.points[..., :1]), ValueError, "dimension 2"),
        (lambda mu: Measure(mu.points[0]), ValueError, r"batch shape \(3,\)"),
    ],
)
def test_what_a_map_must_return(f, error, text, mu):
    for field in (Residual(), Descent(MMD(Energy()))):
        with pytest.raises(error, match=text):
            field(f, mu)


def test_residual_needs_as_many_atoms(mu, ifs, ifs_parameters):
    with pytest.raises(ValueError, match=r"5 atoms .* returned 10"):
        Residual()(ifs(ifs_parameters), mu)


def test_arguments():
    with pytest.raises(ValueError, match="'frozen' or 'through'"):
        Descent(MMD(Energy()), "followed")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes a discrepancy"):
        Descent(Energy())  # type: ignore[arg-type]


def test_inference_mode(mu, theta, marked_map):
    f = marked_map(theta)
    with torch.inference_mode():
        assert Residual()(f, mu).velocity.isfinite().all()
        assert Descent(MMD(Energy()), "frozen")(f, mu).velocity.isfinite().all()
        with pytest.raises(RuntimeError, match=r"use torch\.no_grad\(\) instead"):
            Descent(MMD(Energy()), "through")(f, mu)


def test_a_residual_is_no_fixed_point_where_marks_are_others():
    marks = torch.tensor([[1.0], [2.0], [torch.nan]])
    mu = Measure(torch.randn(3, 2), marks=marks)
    for other in (marks.flip(0), marks + 1, marks.expand(3, 2)):
        with pytest.raises(ValueError, match="other marks"):
            equilibrium(lambda mu, other=other: Measure(0.5 * mu.points, marks=other), mu)
    same = lambda mu: Measure(0.5 * mu.points, mu.weights, 1 * mu.marks)  # noqa: E731
    assert equilibrium(same, mu).converged
    assert equilibrium(lambda mu: Measure(0.5 * mu.points), mu).converged  # which says nothing
    padded = Measure(torch.randn(3, 2), torch.tensor([1.0, 1.0, 0.0]), torch.ones(3, 1))
    assert equilibrium(same, padded).converged
    assert Residual()(same, padded).velocity[:2].isfinite().all()  # whatever is in its padding


def test_other_marks_where_nobody_looks_are_not_a_number(monkeypatch):
    from wgf_solver.velocities import residual

    monkeypatch.setattr(residual, "may_look", lambda _: False)
    mu = Measure(torch.randn(2, 3, 2), marks=torch.zeros(2, 3, 1))
    marks = torch.zeros(2, 3, 1)
    marks[1, 2] = 1.0
    velocity = Residual()(lambda mu: Measure(0.5 * mu.points, marks=marks), mu).velocity
    assert velocity[0].isfinite().all()
    assert velocity[1].isnan().all()
