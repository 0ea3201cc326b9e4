"""CONVERGED is a promise: what it may be said of, and in what scale."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wgf_solver import (
    LBFGS,
    MMD,
    Anderson,
    Descent,
    Energy,
    EquilibriumError,
    EquilibriumWarning,
    Euler,
    Evaluation,
    Gaussian,
    HeavyBall,
    Measure,
    Phases,
    Potential,
    Residual,
    Status,
    Transport,
    equilibrium,
    gradient_flow,
)

FLOATS = (torch.float32, torch.float64)
# Maps without a fixed point: F(z) − z is constant, or bounded away from 0.
DRIFTS = {
    "z + 1": lambda z: z + 1,
    "(x/2, y + 1)": lambda z: torch.stack([z[..., 0] / 2, z[..., 1] + 1], -1),
    "z/2 + mean/2 + 0.2": lambda z: z / 2 + z.mean(-2, keepdim=True) / 2 + 0.2,
    "z + 1 + sin(z)/2": lambda z: z + 1 + 0.5 * torch.sin(z),
    "z + 0.1 tanh(z) + 0.2": lambda z: z + 0.1 * torch.tanh(z) + 0.2,
    "z + (1 + z²)^½": lambda z: z + (1 + z.square()).sqrt(),
    "z + 0.01": lambda z: z + 0.01,
    "2 z + 1 + |z|": lambda z: 2 * z + 1 + z.abs(),
}


def moved(g):
    return lambda mu: mu.with_points(g(mu.points))


@pytest.mark.parametrize("name", DRIFTS)
@pytest.mark.parametrize(
    ("field", "dtype"),
    [(Residual(), torch.float32), (Residual(), torch.float64), (Transport(), torch.float64)],
    ids=["residual-float32", "residual-float64", "transport"],
)
def test_a_map_without_a_fixed_point_never_converges(name, dtype, field):
    if isinstance(field, Transport):
        pytest.importorskip("ot", reason="needs the extra ot")
    f, few = moved(DRIFTS[name]), 60 if isinstance(field, Transport) else 200
    mu = Measure(torch.randn(8, 2, dtype=dtype))
    for integrator in (
        None,
        HeavyBall(1.0, 0.5),
        Phases(Euler(), Anderson()),
        LBFGS(inner_steps=1),
    ):
        options = {"velocity": field, "integrator": integrator, "max_steps": few}
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            solution = equilibrium(f, mu, **options)
        assert not solution.converged
        assert [w.category for w in told] == [EquilibriumWarning]
        z = solution.measure.points
        # What is returned is an iterate at which floats tell the map from the identity.
        assert (f(solution.measure).points - z).abs().max() > 0.005
    with pytest.raises(EquilibriumError):
        equilibrium(f, mu, velocity=field, max_steps=few, on_failure="raise")


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    size=st.sampled_from([1e-6, 1.0, 1e6]),
    offset=st.sampled_from([0.0, 30.0]),
    rtol=st.sampled_from([1e-2, 1e-4, 1e-8]),
)
def test_what_is_called_converged_is_small_beside_the_start(seed, size, offset, rtol):
    """Random maps, with and without a fixed point: ‖v‖ is measured anew, in float64."""
    generator = torch.Generator().manual_seed(seed)
    a, b, c, d = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    start = torch.randn(5, 2, generator=generator, dtype=torch.float64) + offset

    def g(z: Tensor) -> Tensor:
        x = z / size
        return size * (a.to(z) * x + torch.tanh(b.to(z) * x) + torch.sin(c.to(z) * x) + d.to(z))

    for dtype in FLOATS:
        z0 = (size * start).to(dtype)
        solution = equilibrium(moved(g), Measure(z0), rtol=rtol, on_failure="ignore")
        if not solution.converged:
            continue
        z, first = solution.measure.points.double(), g(z0.double())
        speed = (g(z) - z).square().mean().sqrt()
        spread = (first - first.mean(0)).square().mean().sqrt()
        reference = torch.maximum((first - z0.double()).square().mean().sqrt(), spread)
        noise = torch.finfo(dtype).eps ** 0.5 + 40 * torch.finfo(dtype).eps * offset
        assert speed <= 1.1 * max(rtol, noise) * reference


@pytest.mark.parametrize("dtype", FLOATS)
def test_plain_steps_to_where_floats_see_nothing_are_no_equilibrium_either(dtype):
    # Tenfold out to 1e17, where z + 1 = z in floats.
    f = moved(lambda z: torch.where(z < 1e17, 10 * z + 1, z + 1))
    solution = equilibrium(
        f, Measure(torch.rand(4, 1, dtype=dtype)), integrator=Euler(), on_failure="ignore"
    )
    assert solution.status == Status.MAX_STEPS
    assert solution.measure.points.max() < 1e6


def test_a_drifting_measure_in_a_batch_does_not_converge_beside_others_that_do():
    drift = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    f = moved(lambda z: 0.5 * z + 0.5 * drift * z + 1)
    solution = equilibrium(f, Measure(torch.randn(3, 8, 2)), on_failure="ignore")
    assert solution.status.tolist() == [Status.CONVERGED, Status.MAX_STEPS, Status.CONVERGED]


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_fixed_point_far_out_is_found_where_floats_resolve_it(dtype):
    # v = 1 − z/size: from 0, the first velocity is 1 and the solution `size` of them away.
    for size, resolved in ((100.0, True), (1e6, dtype == torch.float64)):
        f = moved(lambda z, s=size: z + 1 - z / s)
        solution = equilibrium(f, Measure(torch.zeros(3, 2, dtype=dtype)), on_failure="ignore")
        assert bool(solution.converged) == resolved
        if resolved:
            error = (solution.measure.points - size).abs().max()
            assert error <= 2e-4 * size


def test_the_reference_is_that_of_the_start_and_knows_the_scale_of_the_field():
    # v(Z_0) is 1e-3 of the spread of F(μ_0): without that spread, rtol would ask for 1e-3 as much.
    z = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]
    f = moved(lambda points: 0.5 * (points - z) + z)
    start = Measure(z + 1e-3)
    solution = equilibrium(f, start, integrator=Euler(), rtol=1e-4, trajectory=True)
    spread = f(start).spread()
    assert solution.steps == 4  # 1e-3/2 · 2^-k ≤ 1e-4 · spread = 7e-5 at the third halving
    torch.testing.assert_close(solution.residual, 0.5e-3 / 2**3 / spread)


def test_atol():
    root = torch.full((4, 2), 2.0, dtype=torch.float64)
    f = moved(lambda z: 0.5 * z + 1)
    start = Measure(root + 1e-7 * torch.randn(4, 2).double())
    nearly = equilibrium(f, start, integrator=Euler())
    assert nearly.steps > 10  # relative to a first velocity of 1e-7
    assert equilibrium(f, start, integrator=Euler(), atol=1e-6).steps == 1
    cold = equilibrium(f, Measure(root + 1), integrator=Euler(), rtol=1e-12, atol=1e-6)
    speed = (f(cold.measure).points - cold.measure.points).square().mean().sqrt()
    assert 1e-7 < speed <= 1e-6
    flow = gradient_flow(Potential(lambda z: (z - 2).square().sum(-1)), start, atol=1e-6)
    assert flow.steps == 1
    with pytest.raises(ValueError, match="atol must not be negative; got -1"):
        equilibrium(f, start, atol=-1.0)


def test_words():
    f = moved(lambda z: 0.3 * z + 1)
    mu = Measure(torch.randn(2, 3, 4, 2))
    limited = equilibrium(f, mu, rtol=1e-12)
    assert limited.at_rounding.all()
    assert "rounding of torch.float32" in limited.message((1, 2))
    assert "fell below" not in limited.message((1, 2))
    assert limited.message(5) == limited.message((1, 2))
    met = equilibrium(f, mu, rtol=1e-3)
    assert not met.at_rounding.any()
    assert "fell below the tolerance: this is an equilibrium" in met.message(0)
    flow = gradient_flow(lambda m: m.points.square().sum((-2, -1)) + 1.7, mu)
    assert "equilibrium" not in flow.message(0)
    assert "stationary point" in flow.message(0)
    assert "energy 1.7e+00" in flow.message(0)
    failed = equilibrium(f, mu, max_steps=1, on_failure="ignore")
    number = failed.summary().split("index ")[1].split(" ")[0]
    assert failed.message(int(number)).startswith("MAX_STEPS")


class Shifted:
    """Somebody's variant of another field: the root of v + 1 is elsewhere."""

    descends = False

    def __call__(self, f, mu) -> Evaluation:
        evaluation = Residual()(f, mu)
        return evaluation._replace(velocity=evaluation.velocity + 1)


class Lying(Shifted):
    """Says that its velocity is beyond what floating point can tell."""

    def __call__(self, f, mu) -> Evaluation:
        evaluation = super().__call__(f, mu)
        huge = torch.full_like(evaluation.scale, 1e6)
        return evaluation._replace(rounding=huge)


class Shortened(Residual):
    """Takes another's evaluation, and makes its velocity short: no unit step leads to F."""

    def __call__(self, f, mu) -> Evaluation:
        evaluation = super().__call__(f, mu)
        evaluation = evaluation._replace(scale=evaluation.image.spread())
        return evaluation._replace(velocity=1e-6 * (evaluation.velocity + 1))


class Kept(Shifted):
    """Hands out one and the same record, into which it writes."""

    def __init__(self) -> None:
        self.record: Evaluation | None = None

    def __call__(self, f, mu) -> Evaluation:
        velocity = super().__call__(f, mu).velocity
        if self.record is None:
            self.record = Evaluation(velocity.clone())
        self.record.velocity.copy_(velocity)
        return self.record


class Rewritten(Shifted):
    """Writes into another's velocity."""

    def __call__(self, f, mu) -> Evaluation:
        evaluation = Residual()(f, mu)
        evaluation.velocity.add_(1)
        return evaluation


@pytest.mark.parametrize(
    "field",
    [Shifted(), Lying(), Shortened(), Kept(), Rewritten()],
    ids=["stale", "lying", "short", "kept", "rewritten"],
)
def test_a_field_cannot_lie_about_its_size(field):
    f = moved(lambda z: 0.5 * z)
    start = Measure(torch.randn(3, 2).double())
    solution = equilibrium(f, start, velocity=field, rtol=1e-5, on_failure="ignore")
    assert solution.converged
    torch.testing.assert_close(solution.measure.points, torch.full((3, 2), 2.0).double())
    assert (solution.residual < 1e-4).all()


class OfOther(Residual):
    """Evaluates another at other weights: all but nothing is on the first atom."""

    def __call__(self, f, mu) -> Evaluation:
        weights = torch.full_like(mu.weights, 1e-12)
        weights[..., 0] = 1 - (mu.weights.shape[-1] - 1) * 1e-12
        return super().__call__(f, Measure(mu.points, weights))


def test_a_field_is_measured_by_the_weights_of_the_measure():
    start = torch.randn(4, 2).double()
    start[0] = 0  # which is a fixed point
    solution = equilibrium(moved(lambda z: 0.5 * z), Measure(start), velocity=OfOther())
    assert solution.steps > 1
    torch.testing.assert_close(solution.measure.points, torch.zeros(4, 2).double())


def test_a_neighbour_at_a_saddle_does_not_lengthen_a_budget():
    slow = lambda z: 0.999 * z + 0.003  # noqa: E731
    two = torch.tensor([[-1.0], [1.0]]).double()

    def f(mu: Measure) -> Measure:
        first = torch.tensor([True, False])[:, None, None]
        return mu.with_points(torch.where(first, two + 0 * mu.points, slow(mu.points)))

    z = torch.tensor([[[0.0], [0.0]], [[-4.0], [5.0]]]).double()
    options = {
        "velocity": Descent(MMD(Gaussian(1.0))), "integrator": Euler(1.0),
        "max_steps": 60, "on_failure": "ignore",
    }  # fmt: skip
    together = equilibrium(f, Measure(z), **options)
    alone = equilibrium(moved(slow), Measure(z[1]), **options)
    assert together.steps[1] == alone.steps == 60


def test_a_measure_sent_on_from_a_saddle_has_its_own_count_and_clock():
    two = torch.tensor([[-1.0], [1.0]]).double()
    middle = Measure(torch.zeros(2, 1).double())
    solution = equilibrium(
        lambda mu: Measure(two), middle, velocity=Descent(MMD(Gaussian(0.7))),
        integrator=Euler(0.5), trajectory=True, max_steps=400,
    )  # fmt: skip
    assert solution.converged
    assert solution.probe_steps > 0
    # One evaluation at the saddle, then those of the descent; a jump takes no time.
    assert solution.steps == len(solution.trajectory) == len(solution.times)
    assert solution.times[1] == solution.times[0] == 0
    torch.testing.assert_close(
        solution.times[-1], torch.tensor(0.5 * (int(solution.steps) - 2)).double()
    )


def test_doubt_has_the_rounding_of_the_start_in_it():
    # At 1e-9 the tolerance explains 1e-18 of D(start); what floats leave of it is more.
    marks = torch.linspace(-1, 1, 6).double()[:, None]
    f = lambda mu: mu.with_points(0.3 * mu.points + mu.marks)  # noqa: E731
    start = Measure(torch.randn(12, 6, 1).double(), marks=marks)
    flow = Descent(MMD(Gaussian(0.1) * Gaussian(1.0) + Gaussian(1.0)))
    solution = equilibrium(f, start, velocity=flow, rtol=1e-9, max_steps=400, on_failure="ignore")
    first = flow.discrepancy(start, f(start))
    done = solution.converged & (solution.discrepancy > 1e-18 * first)
    assert done.any()
    assert (solution.discrepancy < 1e-14 * first)[done].all()
    assert (solution.probe_steps == 0).all()


def test_the_best_iterate_of_a_descent_is_the_lowest_and_not_the_slowest():
    # A flat start far out, where the velocity is smaller than it is on the way down.
    target = torch.zeros(1, 1).double()
    solution = equilibrium(
        lambda mu: Measure(target), Measure(torch.full((1, 1), 2.5).double()),
        velocity=Descent(MMD(Gaussian(1.0))), integrator=Euler(1.0),
        max_steps=6, trajectory=True, on_failure="ignore",
    )  # fmt: skip
    assert solution.residual > 1
    assert torch.equal(solution.measure.points, solution.trajectory[-1])
    assert solution.measure.points < 2.4


@pytest.mark.parametrize(
    "kernel", [Energy(), Gaussian(0.3) + Gaussian(1.0), Gaussian(5.0)], ids=repr
)
@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_a_descent_converges_by_its_defaults_in_any_unit(kernel, unit):
    shift = unit * torch.tensor([0.5, 0.15]).double()
    if not isinstance(kernel, Energy):
        kernel = Gaussian(0.3 * unit) + Gaussian(unit) if unit != 1 else kernel

    def f(mu: Measure) -> Measure:
        halves = [0.5 * mu.points, 0.5 * mu.points + shift]
        return Measure(torch.cat(halves, -2), torch.cat([mu.weights] * 2, -1))

    for atoms in (6, 20) if unit == 1 else (6,):
        start = Measure(unit * (0.3 * torch.randn(atoms, 2).double() + 0.5))
        solution = equilibrium(f, start, velocity=Descent(MMD(kernel)), max_steps=100)
        assert solution.converged
        assert solution.steps < 60


def test_the_field_chooses_the_integrator():
    assert Residual().default_integrator() == Anderson()
    assert Transport.default_integrator(Transport) == Anderson()
    assert Descent(MMD(Energy())).default_integrator() == LBFGS()

    class Chooses(Shifted):
        def default_integrator(self):
            return Euler(0.25)

    f, start = moved(lambda z: 0.5 * z), Measure(torch.zeros(3, 2).double())
    options = {"max_steps": 2, "trajectory": True, "on_failure": "ignore"}
    path = equilibrium(f, start, velocity=Chooses(), **options).trajectory
    torch.testing.assert_close(path[1], torch.full((3, 2), 0.25).double())
    path = equilibrium(f, start, velocity=Shifted(), **options).trajectory
    torch.testing.assert_close(path[1], torch.full((3, 2), 1.0).double())  # Anderson's first


class _Infinite:
    """A field that knows neither its velocity nor what that is small beside."""

    descends = False

    def __init__(self, scale: float, rounding: float) -> None:
        self.scale, self.rounding = scale, rounding

    def __call__(self, f, mu: Measure) -> Evaluation:
        velocity = torch.full_like(mu.points, torch.inf)
        one = mu.points.new_ones(())
        return Evaluation(velocity, self.scale * one, self.rounding * one, image=f(mu))


@pytest.mark.parametrize(("scale", "rounding"), [(torch.inf, 0.0), (1.0, torch.inf)])
def test_an_infinite_velocity_is_small_beside_nothing(scale, rounding):
    mu = Measure(torch.randn(4, 2))
    solution = equilibrium(
        lambda m: m, mu, velocity=_Infinite(scale, rounding), integrator=Euler(),
        on_failure="ignore",
    )  # fmt: skip
    assert not solution.converged
