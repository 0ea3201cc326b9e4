import math

import pytest
import torch

from wgf_solver import (
    MMD,
    Anderson,
    Descent,
    EquilibriumError,
    EquilibriumWarning,
    Euler,
    Gaussian,
    Implicit,
    Measure,
    Phantom,
    Residual,
    Status,
    equilibrium,
)

FIELDS = [Residual(), *(Descent(MMD(Gaussian(1.0)), target) for target in ("frozen", "through"))]


@pytest.fixture
def theta():
    return torch.tensor([0.6, 0.8, -0.3], dtype=torch.float64, requires_grad=True)


@pytest.fixture
def start() -> Measure:
    return Measure(
        torch.randn(3, 5, 2).double(), torch.rand(5) + 0.1, torch.randn(3, 5, 2).double()
    )


def two_points(mu: Measure) -> Measure:
    """A constant map: half the mass at -1, half at 1."""
    points = mu.points.new_tensor([[-1.0], [1.0]])
    return Measure(points.expand(*mu.batch_shape, 2, 1))


def test_converged(start, theta, marked_map):
    solution = equilibrium(marked_map(theta), start, rtol=1e-10)
    assert solution.status.tolist() == [Status.CONVERGED] * 3
    assert solution.converged.all()
    assert not solution.failed.any()
    image = marked_map(theta)(solution.measure)
    torch.testing.assert_close(image.points, solution.measure.points, rtol=1e-8, atol=1e-9)
    assert (solution.residual <= 1e-10).all()
    assert solution.message(1).startswith("CONVERGED after ")
    assert "this is an equilibrium" in solution.message(1)


def test_max_steps_returns_the_best_iterate_and_says_so(start, theta, marked_map):
    f = marked_map(theta)
    with pytest.warns(EquilibriumWarning, match=r"3 of 3 .*\n  3 x MAX_STEPS") as record:
        solution = equilibrium(f, start, rtol=1e-12, max_steps=3)
    assert record[0].filename == __file__  # the warning points at the caller
    assert solution.steps.tolist() == [3, 3, 3]
    assert "Raise max_steps" in solution.message(0)
    diverging = equilibrium(
        lambda mu: mu.with_points(3 * mu.points + 1),
        start,
        integrator=Euler(),
        max_steps=5,
        on_failure="ignore",
    )
    assert torch.equal(diverging.measure.points, start.points)


def test_nonfinite(start, theta, marked_map):
    f = marked_map(theta)
    solution = equilibrium(
        lambda mu: mu.with_points(f(mu).points / 0.0), start, on_failure="ignore"
    )
    assert solution.status.tolist() == [Status.NONFINITE] * 3
    assert "NaN or infinite" in solution.message(2)
    assert torch.equal(solution.measure.points, start.points)
    growing = equilibrium(
        lambda mu: mu.with_points(mu.points.square() * 1e9 + 1e9),
        start,
        integrator=Euler(),
        on_failure="ignore",
    )
    assert (growing.status == Status.NONFINITE).all()
    assert growing.measure.points.isfinite().all()


def test_weights_of_nan_are_no_empty_measure(start, theta, marked_map):
    weights = torch.ones(3, 5).double()
    weights[1, 2] = math.nan
    mu0 = Measure(start.points, weights, start.marks)
    solution = equilibrium(marked_map(theta), mu0, on_failure="ignore")
    assert solution.status.tolist() == [Status.CONVERGED, Status.NONFINITE, Status.CONVERGED]


def test_empty(start, theta, marked_map):
    weights = torch.ones(3, 5).double()
    weights[1] = 0
    solution = equilibrium(marked_map(theta), Measure(start.points, weights, start.marks))
    assert solution.status.tolist() == [Status.CONVERGED, Status.EMPTY, Status.CONVERGED]
    assert solution.steps[1] == 0
    assert solution.residual[1] == solution.discrepancy[1] == 0
    assert not solution.failed.any()
    assert "no atoms" in solution.message(1)
    nothing = equilibrium(lambda mu: mu, Measure(torch.zeros(2, 0, 3)))
    assert nothing.status.tolist() == [Status.EMPTY] * 2


@pytest.mark.parametrize("target", ["frozen", "through"])
def test_a_saddle_is_left_and_called_stationary_if_the_budget_is_spent(target):
    # Both particles in the middle feel no force: each neighbour pulls as hard as the other.
    middle = Measure(torch.zeros(2, 1).double())
    flow = {"velocity": Descent(MMD(Gaussian(0.7)), target), "integrator": Anderson(step=0.5)}
    solution = equilibrium(two_points, middle, **flow)
    assert solution.converged
    torch.testing.assert_close(
        solution.measure.points.sort(0).values, torch.tensor([[-1.0], [1.0]]).double(),
        atol=1e-3, rtol=0,
    )  # fmt: skip
    assert solution.discrepancy < 1e-6
    with pytest.warns(EquilibriumWarning, match="1 x STATIONARY"):
        stuck = equilibrium(two_points, middle, max_steps=1, **flow)
    assert stuck.status == Status.STATIONARY
    assert not stuck.converged
    assert stuck.residual == 0
    assert stuck.discrepancy > 0.1
    assert "saddle" in stuck.message()


def test_a_minimum_with_a_discrepancy_is_no_saddle():
    # One particle cannot become two points; the best it can do is the middle.
    lonely = Measure(torch.full((1, 1), 0.3).double())
    for target in ("frozen", "through"):
        solution = equilibrium(
            two_points, lonely, velocity=Descent(MMD(Gaussian(3.0)), target),
            integrator=Anderson(step=5.0), rtol=1e-8,
        )  # fmt: skip
        assert solution.converged
        assert solution.discrepancy > 1e-4
        assert abs(solution.measure.points) < 1e-6


@pytest.mark.parametrize("field", FIELDS, ids=repr)
def test_on_failure(field, start, theta, marked_map):
    f = marked_map(theta)
    with pytest.raises(EquilibriumError, match="MAX_STEPS") as caught:
        equilibrium(f, start, velocity=field, max_steps=2, on_failure="raise")
    assert caught.value.solution.failed.all()
    ignored = equilibrium(f, start, velocity=field, max_steps=2, on_failure="ignore")
    assert torch.equal(ignored.measure.points, caught.value.solution.measure.points)


@pytest.mark.parametrize("field", FIELDS, ids=repr)
@pytest.mark.parametrize("integrator", [Euler(0.3), Anderson(step=0.3)], ids=repr)
def test_check_every_changes_nothing_but_looks(field, integrator, start, theta, marked_map):
    options = {"velocity": field, "integrator": integrator, "trajectory": True, "rtol": 1e-2}
    options["on_failure"] = "ignore"
    calls = []

    def solved(every):
        f = marked_map(theta)
        seen = []
        solution = equilibrium(
            lambda mu: seen.append(1) or f(mu), start, check_every=every, max_steps=200, **options
        )
        calls.append(len(seen))
        return solution

    often, seldom = solved(1), solved(7)
    for name in ("residual", "discrepancy", "steps", "status", "trajectory"):
        assert torch.equal(getattr(often, name), getattr(seldom, name))
    assert torch.equal(often.measure.points, seldom.measure.points)
    assert calls[0] <= calls[1] <= calls[0] + 4 * 7  # a saddle is left at most three times


def test_the_map_is_not_evaluated_more_often_than_reported(start, theta, marked_map):
    f, calls = marked_map(theta), []
    with torch.no_grad():
        solution = equilibrium(lambda mu: calls.append(1) or f(mu), start)
    assert len(calls) == int(solution.steps.max())


def test_trajectory_and_callback(start, theta, marked_map):
    seen = []

    def callback(step, measure, evaluation):
        assert not measure.points.requires_grad
        assert not evaluation.velocity.requires_grad
        seen.append((step, measure.points))

    solution = equilibrium(marked_map(theta), start, trajectory=True, callback=callback)
    count = int(solution.steps.max())
    assert solution.trajectory.shape == (count, 3, 5, 2)
    assert [step for step, _ in seen] == list(range(1, count + 1))
    assert torch.equal(solution.trajectory, torch.stack([points for _, points in seen]))
    assert torch.equal(solution.trajectory[0], start.points)
    assert torch.equal(solution.trajectory[-1], solution.measure.points)
    assert equilibrium(marked_map(theta), start).trajectory is None


def test_progress_shows_a_bar_or_says_what_to_install(
    start, theta, marked_map, monkeypatch, capsys
):
    pytest.importorskip("tqdm", reason="the bar is tqdm's")
    equilibrium(marked_map(theta), start, progress=True)
    assert "equilibrium" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"wgf-solver\[progress\]"):
        equilibrium(marked_map(theta), start, progress=True)


@pytest.mark.parametrize("field", FIELDS, ids=repr)
def test_a_graph_is_made_only_if_something_wants_a_gradient(field, start, theta, marked_map):
    def depends(f, mu0, **options) -> bool:
        solution = equilibrium(f, mu0, velocity=field, on_failure="ignore", max_steps=3, **options)
        assert (solution.adjoint is not None) == solution.measure.points.requires_grad
        return solution.measure.points.requires_grad

    f, fixed = marked_map(theta), marked_map(theta.detach())
    assert depends(f, start)
    assert depends(f, start, adjoint=Phantom())
    assert not depends(fixed, start)
    assert not depends(fixed, start.with_points(start.points.clone().requires_grad_()))
    assert depends(
        fixed, Measure(start.points, start.weights, start.marks.clone().requires_grad_())
    )
    assert depends(
        fixed, Measure(start.points, start.weights.clone().requires_grad_(), start.marks)
    )
    shift = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    assert depends(lambda mu: mu.with_points(shift.expand_as(mu.points)), start)
    with torch.no_grad():
        assert not depends(f, start)


@pytest.mark.parametrize("field", FIELDS, ids=repr)
def test_gradients_that_are_recorded_change_no_value(field, start, theta, marked_map):
    options = {"velocity": field, "max_steps": 20, "on_failure": "ignore"}
    for parameters in (theta, theta.detach()):
        recorded = equilibrium(marked_map(parameters), start, **options)
        with torch.no_grad():
            plain = equilibrium(marked_map(parameters), start, **options)
        assert torch.equal(recorded.measure.points, plain.measure.points)
        assert torch.equal(recorded.steps, plain.steps)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"rtol": 0.0}, ValueError, "rtol must be positive"),
        ({"rtol": math.nan}, ValueError, "rtol must be positive"),
        ({"max_steps": 0}, ValueError, "max_steps=0"),
        ({"check_every": 0}, ValueError, "check_every=0"),
        ({"on_failure": "panic"}, ValueError, "'warn', 'raise' or 'ignore'"),
        ({"velocity": Residual}, TypeError, r"not a class: Residual\(...\)"),
        ({"integrator": Anderson}, TypeError, "integrator takes a value"),
        ({"adjoint": Implicit}, TypeError, "adjoint takes a value"),
        ({"tolerance": 1e-3}, TypeError, "tolerance"),
    ],
)
def test_arguments(arguments, error, text, start):
    with pytest.raises(error, match=text):
        equilibrium(lambda mu: mu, start, **arguments)


def test_the_start_must_be_a_measure_in_a_precision_that_can_be_solved_in(start):
    with pytest.raises(TypeError, match=r"Measure\(points, weights\); got Tensor"):
        equilibrium(lambda mu: mu, start.points)
    with pytest.raises(TypeError, match="float32 or float64"):
        equilibrium(lambda mu: mu, start.to(dtype=torch.bfloat16))
