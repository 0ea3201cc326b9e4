import pytest
import torch
from torch import Tensor

from wgf_solver import (
    MMD,
    Anderson,
    Descent,
    Euler,
    Evaluation,
    Gaussian,
    GeometricDecay,
    Measure,
    Residual,
    Status,
    equilibrium,
)


def linear(size: int = 60, radius: float = 0.97):
    """A linear contraction, its spectrum spread evenly over [0, radius], and its equilibrium."""
    q, _ = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64))
    a = (q * torch.linspace(0, radius, size, dtype=torch.float64)) @ q.mT
    b = torch.randn(size, dtype=torch.float64)
    root = torch.linalg.solve(torch.eye(size).double() - a, b)
    return lambda mu: mu.with_points((mu.points[..., 0] @ a.mT + b)[..., None]), root


@pytest.mark.parametrize(("rtol", "most"), [(1e-4, 50), (1e-8, 115)])
def test_evaluations_on_a_slow_linear_contraction(rtol, most):
    f, root = linear()
    mu0 = Measure(torch.zeros(60, 1).double())
    solution = equilibrium(f, mu0, rtol=rtol, max_steps=most, on_failure="raise")
    picard = equilibrium(
        f, mu0, rtol=rtol, max_steps=3 * most, integrator=Euler(), on_failure="ignore"
    )
    assert picard.status == Status.MAX_STEPS
    error = (solution.measure.points[:, 0] - root).norm() / root.norm()
    assert error < 100 * rtol


def test_float32_reaches_what_it_can():
    f, _ = linear()
    mu0 = Measure(torch.zeros(60, 1))
    solution = equilibrium(lambda mu: f(mu.to(dtype=torch.float64)), mu0, rtol=1e-5)
    assert solution.converged


def test_anderson_does_not_depend_on_the_scale_of_the_problem():
    f, _ = linear(20)
    one = Measure(torch.zeros(20, 1).double())
    expected = equilibrium(f, one, rtol=1e-6)
    for scale in (1e-8, 1e8):
        scaled = equilibrium(
            lambda mu, s=scale: mu.with_points(s * f(mu.with_points(mu.points / s)).points),
            one,
            rtol=1e-6,
        )
        assert scaled.steps == expected.steps


@pytest.mark.parametrize("shape", [(3, 0, 2), (0, 4, 2), (3, 4, 0), (2, 3, 4, 2), (4, 2)])
def test_anderson_keeps_any_shape_also_when_it_steps_beyond_the_end(shape):
    """With check_every=7 the integrator also moves measures that are done, empty or not there."""
    mu0 = Measure(torch.randn(shape, dtype=torch.float64))
    solution = equilibrium(
        lambda mu: mu.with_points(0.5 * mu.points + 1),
        mu0,
        integrator=Anderson(memory=3),
        check_every=7,
    )
    assert solution.measure.points.shape == mu0.points.shape
    torch.testing.assert_close(solution.measure.points, torch.full_like(mu0.points, 2))


def test_euler_is_picard_iteration_and_a_schedule_sets_its_step():
    f, _ = linear(5)
    mu0 = Measure(torch.randn(5, 1).double())
    points = equilibrium(
        f, mu0, integrator=Euler(), max_steps=3, trajectory=True, on_failure="ignore"
    ).trajectory
    torch.testing.assert_close(points[1], f(mu0).points)
    torch.testing.assert_close(points[2], f(f(mu0)).points)
    points = equilibrium(
        f, mu0, integrator=Euler(GeometricDecay(0.8, 0.5)), max_steps=3, trajectory=True,
        on_failure="ignore",
    ).trajectory  # fmt: skip
    for k in range(2):
        at = mu0.with_points(points[k])
        expected = points[k] + 0.8 * 0.5**k * (f(at).points - points[k])
        torch.testing.assert_close(points[k + 1], expected)


def propose(integrator, path: list[tuple[Tensor, Tensor, float]], descends: bool) -> list[Tensor]:
    """Feed an integrator points, velocities and discrepancies; what it proposes after each."""
    mu = Measure(path[0][0])
    state = integrator.start(mu)
    out = []
    for points, velocity, discrepancy in path:
        size = points.new_tensor(1.0)
        evaluation = Evaluation(velocity, size, 0 * size, size * discrepancy, mu)
        out.append(integrator.propose(state, mu.with_points(points), evaluation, descends))
    return out


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


@pytest.mark.parametrize("descends", [False, True])
def test_a_rejected_step_is_taken_back(descends):
    integrator = Anderson(step=0.5, basin=2.0)
    first = (column(1.0, 2.0), column(-1.0, -1.0), 1.0)
    second = (column(0.5, 1.5), column(-0.6, -0.5), 0.5)
    good = propose(integrator, [first, second], descends)
    plain = second[0] + 0.5 * second[1]
    assert not torch.allclose(good[-1], plain)  # accelerated
    worse = (good[-1], column(5.0, 5.0), 0.6)
    back = propose(integrator, [first, second, worse], descends)[-1]
    torch.testing.assert_close(back, plain)  # from the point before, and no history
    broken = (good[-1], column(torch.nan, 0.0), torch.nan)
    back = propose(integrator, [first, second, broken], descends)[-1]
    torch.testing.assert_close(back, plain)
    better = (good[-1], column(-0.1, -0.1), 0.4)
    onward = propose(integrator, [first, second, better], descends)[-1]
    assert not torch.allclose(onward, plain)


def test_a_descent_field_is_accelerated_inside_the_basin_only():
    path = [
        (column(1.0, 2.0), column(-1.0, -1.0), 1.0),
        (column(0.5, 1.5), column(-0.6, -0.5), 0.5),
    ]
    outside = propose(Anderson(step=0.5, basin=0.4), path, True)[-1]
    torch.testing.assert_close(outside, path[1][0] + 0.5 * path[1][1])
    inside = propose(Anderson(step=0.5, basin=0.6), path, True)[-1]
    assert not torch.allclose(inside, outside)


def test_anderson_solves_an_affine_field_in_as_many_steps_as_it_has_modes():
    modes = torch.tensor([0.9, 0.5, -0.3], dtype=torch.float64)[:, None]
    f = lambda mu: mu.with_points(modes * mu.points + 1)  # noqa: E731
    solution = equilibrium(f, Measure(torch.zeros(3, 1).double()), rtol=1e-8)
    assert solution.steps <= 6
    torch.testing.assert_close(solution.measure.points, 1 / (1 - modes))


def test_the_inner_product_is_weighted_by_mass():
    # One heavy atom converges; a light one that does not agree with it hardly matters.
    f = lambda mu: mu.with_points(torch.tanh(mu.points) * 0.9 + 0.3)  # noqa: E731
    points = torch.randn(3, 1).double()
    whole = equilibrium(f, Measure(points, torch.tensor([2.0, 1, 1])), rtol=1e-9, trajectory=True)
    rows = [0, 0, 1, 2]
    split = equilibrium(f, Measure(points[rows]), rtol=1e-9, trajectory=True)
    torch.testing.assert_close(split.trajectory, whole.trajectory[:, rows], atol=1e-5, rtol=0)


class Blind:
    """A descent field that hides its discrepancy from the integrator and the driver."""

    descends = False

    def __init__(self, field: Descent) -> None:
        self.field = field

    def __call__(self, f, mu: Measure) -> Evaluation:
        return self.field(f, mu)


@pytest.mark.parametrize("basin", [1e-2, 100.0])
def test_the_discrepancy_keeps_anderson_from_a_saddle(basin):
    def two_points(mu: Measure) -> Measure:
        return Measure(column(-1.0, 1.0))

    # Near the middle, where two particles feel no force: a root, but no minimum.
    mu0, field = Measure(column(-0.05, 0.08)), Descent(MMD(Gaussian(0.7)))
    integrator = Anderson(step=0.5, basin=basin)
    lured = equilibrium(two_points, mu0, velocity=Blind(field), integrator=integrator)
    assert lured.converged  # the root finder by itself is content with the saddle
    assert lured.discrepancy > 0.1
    kept = equilibrium(two_points, mu0, velocity=field, integrator=integrator)
    assert kept.converged
    assert kept.discrepancy < 1e-9
    torch.testing.assert_close(kept.measure.points, column(-1.0, 1.0), atol=1e-4, rtol=0)


def test_a_warm_start_is_accelerated_at_once(ifs, ifs_parameters):
    # Its discrepancy is as low as it gets and cannot fall into any basin.
    options = {
        "velocity": Descent(MMD(Gaussian(0.3) + Gaussian(1.0))),
        "integrator": Anderson(step=0.3),
        "rtol": 1e-10,
        "max_steps": 200,
    }
    cold = equilibrium(ifs(ifs_parameters), Measure(torch.randn(6, 2).double()), **options)
    warm = equilibrium(ifs(ifs_parameters + 1e-3), cold.measure, **options)
    assert warm.converged
    assert warm.steps < 60


@pytest.mark.parametrize("target", ["frozen", "through"])
def test_no_spurious_root_is_called_converged(target, ifs, ifs_parameters):
    # 8 atoms of the invariant measure of an iterated function system come to within 9e-6 of it.
    solution = equilibrium(
        ifs(ifs_parameters),
        Measure(torch.randn(6, 8, 2, dtype=torch.float64)),
        velocity=Descent(MMD(Gaussian(0.3) + Gaussian(1.0)), target),
        integrator=Anderson(step=0.3),
        rtol=1e-3,
        max_steps=400,
        on_failure="ignore",
    )
    assert solution.converged.sum() >= 5
    assert (solution.discrepancy[solution.converged] < 2e-5).all()


@pytest.mark.parametrize("rtol", [1e-2, 1e-3])
def test_a_minimum_reached_to_a_loose_tolerance_is_no_saddle(rtol, ifs):
    # Near a flat minimum the discrepancy has some way to fall when the velocity is small already.
    theta = torch.tensor([[0.5, 0, 0, 0.5, 0, 0], [0.5, 0, 0, 0.5, 0.5, 0]], dtype=torch.float64)
    solution = equilibrium(
        ifs(theta),
        Measure(torch.rand(8, 8, 2, dtype=torch.float64)),
        velocity=Descent(MMD(Gaussian(0.5))),
        integrator=Anderson(step=0.3),
        rtol=rtol,
    )
    assert solution.converged.all()
    assert (solution.discrepancy < 1e-4).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_fifty_atoms_are_not_called_converged_far_from_the_equilibrium(seed, ifs, ifs_parameters):
    torch.manual_seed(seed)
    solution = equilibrium(
        ifs(ifs_parameters),
        Measure(torch.randn(2, 50, 2, dtype=torch.float64)),
        velocity=Descent(MMD(Gaussian(0.3) + Gaussian(1.0))),
        integrator=Anderson(step=0.3),
        max_steps=150,
        on_failure="ignore",
    )
    assert not (solution.converged & (solution.discrepancy > 1e-6)).any()
    assert (solution.discrepancy < 1e-2).all()  # at the start it was 0.1


@pytest.mark.parametrize(
    "build",
    [
        lambda: Euler(0.0),
        lambda: Euler(GeometricDecay(-1.0, 0.5)),
        lambda: Anderson(memory=0),
        lambda: Anderson(step=-1.0),
        lambda: Anderson(basin=0.0),
        lambda: Anderson(growth=0.5),
        lambda: Anderson(patience=0),
    ],
)
def test_arguments_out_of_range(build):
    with pytest.raises(ValueError, match=r"must be"):
        build()


def test_unknown_arguments():
    with pytest.raises(TypeError):
        Anderson(damping=0.5)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Euler(tau=0.5)  # type: ignore[call-arg]
    assert Residual() == Residual()
