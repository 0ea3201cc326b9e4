"""Integrators that learn their steps, momentum, noise, phases and schedules."""

import itertools
import math
import sys

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from wgf_solver import (
    LBFGS,
    MMD,
    Anderson,
    BarzilaiBorwein,
    CosineDecay,
    Descent,
    Euler,
    Evaluation,
    Gaussian,
    GeometricDecay,
    HeavyBall,
    Measure,
    NoiseInjection,
    Phases,
    PolynomialDecay,
    Residual,
    SquaredDistance,
    Status,
    equilibrium,
)

FLOW = Descent(MMD(Gaussian(0.1) * SquaredDistance()), "frozen")
INTEGRATORS = [
    HeavyBall(1.0, 0.5),
    BarzilaiBorwein(1.0),
    BarzilaiBorwein(1.0, inner_steps=3),
    LBFGS(memory=5, step=1.0, inner_steps=1),
    LBFGS(memory=5, step=1.0, inner_steps=4),
    Phases(Euler(1.0), Anderson(step=1.0), basin=1e-2),
]
methods = pytest.mark.parametrize("integrator", INTEGRATORS, ids=repr)
RESULTS = ("residual", "discrepancy", "steps", "status")


def f(mu: Measure) -> Measure:
    """A smooth equivariant contraction that reads marks and the mean."""
    mean = mu.mean()[..., None, :]
    return mu.with_points(torch.tanh(0.5 * mu.points + mu.marks - 0.2 * mean + 0.1))


def start(count: int = 3, n: int = 5) -> Measure:
    scale = torch.logspace(-1, 0.5, count).double()[:, None, None]
    points, weights = torch.randn(count, n, 2).double() * scale, torch.rand(count, n) + 1
    return Measure(points, weights, torch.randn(count, n, 2).double())


def solve(mu0: Measure, integrator, velocity=FLOW, **options):
    options = {"rtol": 1e-6, "max_steps": 400, "on_failure": "ignore"} | options
    return equilibrium(f, mu0, velocity=velocity, integrator=integrator, **options)


@methods
@pytest.mark.parametrize("velocity", [FLOW, Residual()], ids=["descent", "residual"])
def test_batched_is_looped_and_neighbours_change_no_bit(integrator, velocity):
    mu0 = start()
    together = solve(mu0, integrator, velocity)
    assert together.converged.all()
    for i in range(3):
        alone = solve(Measure(mu0.points[i], mu0.weights[i], mu0.marks[i]), integrator, velocity)
        torch.testing.assert_close(
            alone.measure.points, together.measure.points[i], rtol=0, atol=1e-5
        )
        assert alone.status == together.status[i]
    marks = mu0.marks.clone()
    marks[1, 2] = torch.nan
    other = mu0.points.clone()
    other[1] = 30 * other[1]
    for changed in (
        Measure(mu0.points, mu0.weights, marks),
        Measure(other, mu0.weights, mu0.marks),
    ):
        solution = solve(changed, integrator, velocity)
        for i in (0, 2):
            assert torch.equal(solution.measure.points[i], together.measure.points[i])
            for name in RESULTS:
                assert torch.equal(getattr(solution, name)[i], getattr(together, name)[i])
    assert solve(Measure(mu0.points, mu0.weights, marks), integrator).status[1] == Status.NONFINITE


@methods
def test_permutations_padding_and_mass(integrator):
    mu0 = start(2)
    expected = solve(mu0, integrator)
    order = torch.randperm(5)
    half = mu0.weights.clone()
    half[:, 3] /= 2
    rows = torch.tensor([0, 1, 2, 3, 4, 3])
    junk, zeros = torch.full((2, 2, 2), torch.nan).double(), torch.zeros(2, 2).double()
    variants = [
        (order, Measure(mu0.points[:, order], mu0.weights[:, order], mu0.marks[:, order])),
        (
            torch.arange(5),
            Measure(
                torch.cat([mu0.points, junk], 1),
                torch.cat([mu0.weights, zeros], 1),
                torch.cat([mu0.marks, junk], 1),
            ),
        ),
        (
            rows,
            Measure(mu0.points[:, rows], torch.cat([half, half[:, 3:4]], 1), mu0.marks[:, rows]),
        ),
    ]
    for pick, variant in variants:
        came = solve(variant, integrator)
        torch.testing.assert_close(
            came.measure.points[:, : len(pick)], expected.measure.points[:, pick], rtol=0, atol=1e-5
        )
        assert came.measure.points[:, len(pick) :].abs().sum() == 0
        assert torch.equal(came.status, expected.status)


@methods
def test_the_gradient_is_that_of_the_equilibrium(integrator):
    mu0 = start(2)
    gradients = []
    for method in (integrator, Anderson(step=1.0)):
        marks = mu0.marks.clone().requires_grad_()
        solution = solve(Measure(mu0.points, mu0.weights, marks), method, rtol=1e-10)
        assert solution.converged.all()
        solution.measure.points.square().sum().backward()
        gradients.append(marks.grad)
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-7)


def quadratic(rates: Tensor):
    """A field with rates of contraction ``rates (n,)``, one an atom, and its energy."""

    class Field:
        descends = True

        def __call__(self, f, mu: Measure) -> Evaluation:
            velocity = -rates[:, None] * mu.points
            energy = 0.5 * (mu.weights * (rates[:, None] * mu.points.square()).sum(-1)).sum(-1)
            one = torch.ones_like(energy)
            return Evaluation(velocity, 0 * one, 0 * one, energy, mu)

    return Field()


def steps_on(rates: Tensor, integrator, rtol: float = 1e-6) -> int:
    mu0 = Measure(torch.ones(len(rates), 1, dtype=torch.float64))
    solution = equilibrium(
        lambda mu: mu, mu0, velocity=quadratic(rates), integrator=integrator, rtol=rtol,
        max_steps=2000, on_failure="ignore",
    )  # fmt: skip
    assert solution.residual <= rtol, solution.message()
    return int(solution.steps)


def test_momentum_and_learnt_steps_need_the_root_of_eulers_steps_or_less():
    rates = torch.logspace(-2, 0, 12, dtype=torch.float64)
    low, high = 0.1, 1.0
    euler = steps_on(rates, Euler(2 / (high + low**2)))
    best = HeavyBall((2 / (high + low)) ** 2, ((high - low) / (high + low)) ** 2)
    assert steps_on(rates, best) < euler / 4
    assert steps_on(rates, BarzilaiBorwein(1.0)) < euler / 4
    assert steps_on(rates, LBFGS(memory=12, step=1.0)) < euler / 8


def test_heavy_ball_by_hand():
    path = equilibrium(
        lambda mu: mu, Measure(torch.ones(1, 1).double()), velocity=quadratic(torch.ones(1)),
        integrator=HeavyBall(0.5, 0.8), max_steps=3, trajectory=True, on_failure="ignore",
    ).trajectory.flatten()  # fmt: skip
    torch.testing.assert_close(path, torch.tensor([1.0, 0.5, 0.5 - 0.4 - 0.25]).double())


def test_barzilai_and_borwein_find_the_rate_in_one_step():
    mu0 = Measure(torch.tensor([[[1.0]], [[3.0]]], dtype=torch.float64))

    class Field:
        descends = True

        def __call__(self, f, mu: Measure) -> Evaluation:
            rates = mu.points.new_tensor([2.0, 0.5])
            velocity = -rates[:, None, None] * mu.points
            energy = 0.5 * rates * mu.points.square().sum((-2, -1))
            return Evaluation(velocity, 0 * energy, 0 * energy, energy, Measure(mu.points - 9))

    points = equilibrium(
        lambda mu: mu, mu0, velocity=Field(), integrator=BarzilaiBorwein(0.1), max_steps=4,
        trajectory=True, rtol=1e-14, on_failure="ignore",
    ).trajectory  # fmt: skip
    assert points[2].abs().max() < 1e-12  # each measure with its own step


def test_a_step_that_raises_the_discrepancy_is_taken_back_and_cut():
    integrator = LBFGS(step=1.0)
    mu = Measure(torch.tensor([[0.0], [1.0]], dtype=torch.float64))
    image = Measure(torch.tensor([[-50.0], [50.0]], dtype=torch.float64))
    state = integrator.start(mu)

    def feed(points: Tensor, velocity: Tensor, energy: float) -> Tensor:
        one = points.new_tensor(1.0)
        evaluation = Evaluation(velocity, one, 0 * one, energy * one, image)
        return integrator.propose(state, mu.with_points(points), evaluation, True)

    velocity = torch.ones_like(mu.points)
    there = feed(mu.points, velocity, 1.0)
    torch.testing.assert_close(there, mu.points + 1)
    back = feed(there, 3 * velocity, 2.0)  # D rose and the field is steeper: no curvature to learn
    torch.testing.assert_close(back, mu.points + 0.25)
    again = feed(back, torch.full_like(velocity, torch.nan), math.nan)
    torch.testing.assert_close(again, mu.points + 0.0625)


def test_no_atom_is_thrown_out():
    # Two atoms where the kernel is nearly flat: the curvature says little, and the step is bounded.
    target = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    solution = equilibrium(
        lambda mu: Measure(target), Measure(torch.tensor([[-3.5], [3.0]]).double()),
        velocity=Descent(MMD(Gaussian(0.7))), integrator=LBFGS(step=1.0), rtol=1e-8,
        trajectory=True, max_steps=100, on_failure="ignore",
    )  # fmt: skip
    assert solution.trajectory.abs().max() < 10


def test_held_images_take_fewer_evaluations_and_no_spurious_root(ifs, ifs_parameters):
    mu0 = Measure(torch.randn(4, 20, 2, dtype=torch.float64))
    options = {"velocity": Descent(MMD(Gaussian(0.3) + Gaussian(1.0))), "on_failure": "ignore"}
    options |= {"rtol": 1e-4, "max_steps": 150}
    held = equilibrium(ifs(ifs_parameters), mu0, integrator=LBFGS(), **options)
    single = equilibrium(ifs(ifs_parameters), mu0, integrator=LBFGS(inner_steps=1), **options)
    assert held.converged.all()
    assert (held.discrepancy < 1e-5).all()
    assert held.steps.max() < 30
    assert held.steps.sum() < 0.5 * single.steps.sum()


def test_held_images_of_a_map_that_expands_are_given_up():
    # The mean goes to −1.5 of itself: iterating F on measures diverges, small steps do not.
    def mirror(mu: Measure) -> Measure:
        return mu.with_points(0.5 * mu.points - 2.0 * mu.mean()[..., None, :])

    solution = equilibrium(
        mirror, Measure(torch.randn(3, 4, 2).double()), velocity=Descent(MMD(Gaussian(2.0))),
        integrator=LBFGS(step=0.3), rtol=1e-3, max_steps=60, on_failure="ignore", trajectory=True,
    )  # fmt: skip
    first = MMD(Gaussian(2.0))(m0 := Measure(solution.trajectory[0]), mirror(m0))
    assert (solution.discrepancy < 0.05 * first).all()


def test_schedules():
    ramps = [GeometricDecay(2.0, 0.5), PolynomialDecay(2.0, scale=3.0), CosineDecay(2.0, 10, 0.5)]
    for schedule in ramps:
        values = [schedule(k) for k in range(30)]
        assert values[0] == 2.0
        assert all(a >= b > 0 for a, b in itertools.pairwise(values))
    assert PolynomialDecay(1.0, power=0.5)(3) == 0.5
    assert CosineDecay(2.0, 10, 0.5)(5) == pytest.approx(1.25)
    assert CosineDecay(2.0, 10, 0.5)(10) == CosineDecay(2.0, 10, 0.5)(99) == 0.5
    for build in (
        lambda: PolynomialDecay(1.0, scale=0.0),
        lambda: CosineDecay(1.0, 0),
        lambda: HeavyBall(0.3, 1.0),
        lambda: HeavyBall(CosineDecay(0.0, 3)),
        lambda: LBFGS(memory=0),
        lambda: LBFGS(step=0.0),
        lambda: BarzilaiBorwein(inner_steps=0),
        lambda: Phases(Euler(), Anderson(), basin=-1.0),
        lambda: NoiseInjection(Euler(), -1.0, 3),
    ):
        with pytest.raises(ValueError, match="must"):
            build()
    with pytest.raises(TypeError, match="a value such as"):
        NoiseInjection(Euler, 0.1, 3)
    with pytest.raises(TypeError, match="outside"):
        Phases(NoiseInjection(Euler(), 0.1, 3), Anderson())


def test_phases_switch_each_measure_in_its_own_time():
    class Mark:
        """Proposes a constant, so that one sees who made a step."""

        def __init__(self, value: float) -> None:
            self.value = value

        def step_size(self, k: int) -> float:
            return 1.0

        def start(self, mu: Measure) -> None:
            return None

        def propose(self, state, mu: Measure, evaluation, descends: bool) -> Tensor:
            return torch.full_like(mu.points, self.value)

    mu = Measure(torch.zeros(2, 1, 1))
    phases = Phases(Mark(1.0), Mark(2.0), basin=0.1, steps=3)
    state, made = phases.start(mu), []
    for energies in ([1.0, 1.0], [0.05, 0.5], [1.0, 0.5], [1.0, 0.5]):
        e = torch.tensor(energies)
        proposal = phases.propose(state, mu, Evaluation(mu.points, e, e, e, mu), True)
        made.append(proposal.flatten().tolist())
    assert made == [[1, 1], [2, 1], [2, 1], [2, 2]]


def test_noise_moves_the_evaluation_and_not_the_particles():
    mu0, seen = start(2), []

    def watched(mu: Measure) -> Measure:
        seen.append(mu.points)
        return f(mu)

    noisy = NoiseInjection(Euler(0.5), GeometricDecay(0.3, 0.5), steps=3, seed=7)
    with torch.no_grad():
        solution = equilibrium(
            watched, mu0, integrator=noisy, max_steps=5, trajectory=True, on_failure="ignore"
        )
    path = solution.trajectory
    for k in range(5):
        gap = seen[k] - path[k]
        assert torch.allclose(gap[0], gap[1])  # the same draw for each measure
        if k < 3:
            assert 0.02 < gap.std() / (0.3 * 0.5**k) < 2
            moved = f(mu0.with_points(seen[k])).points - seen[k]
            torch.testing.assert_close(path[k + 1], path[k] + 0.5 * moved)
        else:
            assert torch.equal(seen[k], path[k])
    assert not torch.allclose(seen[0] - path[0], (seen[1] - path[1]) * 2)


def test_noise_depends_on_the_seed_and_not_on_the_batch():
    mu0 = start()

    def noisy(seed: int, measure: Measure):
        integrator = NoiseInjection(Euler(1.0), 0.2, steps=4, seed=seed)
        return solve(measure, integrator, Residual(), trajectory=True)

    one, again, other = noisy(1, mu0), noisy(1, mu0), noisy(2, mu0)
    alone = noisy(1, Measure(mu0.points[1], mu0.weights[1], mu0.marks[1]))
    assert torch.equal(one.trajectory, again.trajectory)
    assert not torch.equal(one.trajectory, other.trajectory)
    torch.testing.assert_close(alone.trajectory[:5], one.trajectory[:5, 1])
    # The noise ends, the equilibrium is the same.
    assert one.converged.all()
    torch.testing.assert_close(one.measure.points, other.measure.points, rtol=0, atol=1e-4)
    assert (one.steps > 4).all()  # nothing converges while there is noise


def test_noise_lets_a_particle_feel_what_is_beside_it():
    # In the middle of two far targets the pull is 0 and stays 0; under noise it is not.
    target = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    mean = torch.zeros(1, 1, dtype=torch.float64)
    field, velocities = Descent(MMD(Gaussian(0.7))), []
    for seed in range(400):
        noise = NoiseInjection(Euler(1.0), 0.5, steps=1, seed=seed)
        state = noise.start(Measure(mean))
        moved = noise.perturb(state, Measure(mean))
        velocities.append(field(lambda mu: Measure(target), moved).velocity)
    drift = torch.stack(velocities).flatten()
    assert drift.abs().mean() > 0.05
    assert drift.mean().abs() < 4 * drift.std() / 20  # of expectation 0, by symmetry
    assert field(lambda mu: Measure(target), Measure(mean)).velocity.abs() < 1e-12


def test_times_of_a_trajectory_and_probes_that_are_counted(ifs, ifs_parameters):
    solution = solve(start(2), Euler(GeometricDecay(0.8, 0.9)), Residual(), trajectory=True)
    assert solution.times.shape == solution.trajectory.shape[:1]
    torch.testing.assert_close(
        solution.times[:3], torch.tensor([0.0, 0.8, 0.8 + 0.72], dtype=torch.float64)
    )
    assert solve(start(2), Euler()).times is None
    calls = []
    g = ifs(ifs_parameters)
    with torch.no_grad():
        probed = equilibrium(
            lambda mu: calls.append(1) or g(mu), Measure(torch.randn(6, 2).double()),
            velocity=Descent(MMD(Gaussian(0.3) + Gaussian(1.0))), integrator=LBFGS(), rtol=1e-4,
        )  # fmt: skip
    assert probed.probe_steps > 0
    assert len(calls) == probed.steps + probed.probe_steps


@pytest.mark.parametrize("size", [1e20, 1e25])
def test_points_whose_squares_overflow_are_no_equilibrium(size):
    mu0 = Measure(torch.full((1, 3, 2), 1.0) * size * torch.randn(1, 3, 2))
    for integrator in (Euler(0.3), Anderson(), LBFGS()):
        solution = equilibrium(
            lambda mu: mu.with_points(0.5 * mu.points + 1), mu0, integrator=integrator,
            velocity=Descent(MMD(Gaussian(1.0))), on_failure="ignore",
        )  # fmt: skip
        assert solution.status == Status.NONFINITE
        assert "overflow" in solution.message(0)


class _NoLooks(TorchDispatchMode):
    """Counts the operations whose result the host must wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function)
        self.looks += any(w in name for w in ("_local_scalar_dense", "nonzero", "is_nonzero"))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("velocity", [FLOW, Residual()], ids=["descent", "residual"])
@pytest.mark.parametrize("integrator", [Anderson(), Euler(0.5), *INTEGRATORS], ids=repr)
def test_nothing_waits_for_the_device_between_stop_tests(integrator, velocity, monkeypatch):
    # As on a device: on the CPU, `where_measure` and Anderson, say, may look at values.
    for name, module in list(sys.modules.items()):
        if name.startswith("wgf_solver.") and hasattr(module, "may_look"):
            monkeypatch.setattr(module, "may_look", lambda tensor: False)
    looks = []
    for steps in (8, 24):
        with torch.no_grad(), _NoLooks() as mode:
            solve(start(), integrator, velocity, rtol=1e-30, max_steps=steps, check_every=100)
        looks.append(mode.looks)
    assert looks[0] == looks[1]
