"""The driver's and the integrators' own decisions, each by a case that goes otherwise without it.

`tools/mutants.py` takes them away one by one and expects one of these tests, or another, to fail.
"""

import itertools
import math

import pytest
import torch
from torch import Tensor

from wgf_solver import (
    GMRES,
    LBFGS,
    MMD,
    AdjointWarning,
    Anderson,
    BarzilaiBorwein,
    Descent,
    DistanceTo,
    Energy,
    Euler,
    Evaluation,
    Gaussian,
    GeometricDecay,
    Implicit,
    LinearStatus,
    Measure,
    Phantom,
    Potential,
    Residual,
    SquaredDistance,
    Status,
    Transport,
    Wasserstein,
    equilibrium,
)

F64 = torch.float64


def evaluation(velocity: Tensor, discrepancy: float, image: Measure) -> Evaluation:
    one = velocity.new_ones(())
    return Evaluation(velocity, one, 0 * one, discrepancy * one, image)


def feed(integrator, velocities: list[Tensor], descends=False) -> list[Tensor]:
    """Follow an integrator through given velocities; the step that it takes after each."""
    mu = Measure(torch.zeros_like(velocities[0]))
    state, steps = integrator.start(mu), []
    for velocity in velocities:
        ahead = integrator.propose(state, mu, evaluation(velocity, 1.0, mu), descends)
        steps.append(ahead - mu.points)
        mu = mu.with_points(ahead)
    return steps


def test_a_jump_off_a_saddle_starts_the_clock_and_the_schedule_anew():
    # Two atoms for three: no jump lands on the minimum, so that steps must follow.
    three, numbers = torch.tensor([[-1.0], [0.2], [1.0]], dtype=F64), []
    solution = equilibrium(
        lambda mu: Measure(three), Measure(torch.full((2, 1), 90.0, dtype=F64)),
        velocity=Descent(MMD(Gaussian(0.7))), integrator=Euler(GeometricDecay(0.9, 0.98)),
        trajectory=True, check_every=7, rtol=1e-8, callback=lambda k, *_: numbers.append(k),
        on_failure="ignore",
    )  # fmt: skip
    gaps = solution.times.diff()
    assert len(gaps) > 3
    assert gaps[0] == 0
    expected = 0.9 * 0.98 ** torch.arange(len(gaps) - 1, dtype=F64)
    torch.testing.assert_close(gaps[1:4], expected[:3])
    assert numbers[:9] == [1, 2, 3, 4, 5, 6, 7, 2, 3]  # six that nobody wanted


def stalls(steps: int) -> list[Tensor]:
    """Velocities that turn and turn and never fall."""
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(steps, 6, 2, generator=generator, dtype=F64)
    return list(raw / torch.linalg.vector_norm(raw, dim=(-2, -1), keepdim=True))


def test_anderson_pauses_when_it_stalls_resumes_and_waits_twice_as_long():
    patience, velocities = 5, stalls(60)
    steps = feed(Anderson(memory=3, patience=patience, growth=1e9), velocities)
    plain = [bool(torch.allclose(s, v)) for s, v in zip(steps, velocities, strict=True)]
    runs, k = [], 0
    while k < len(plain):
        length = next((j for j in range(k, len(plain)) if plain[j] != plain[k]), len(plain)) - k
        runs.append((plain[k], length))
        k += length
    pauses = [length for is_plain, length in runs[1:-1] if is_plain]
    work = [length for is_plain, length in runs[1:-1] if not is_plain]
    assert len(pauses) >= 2
    assert pauses[1] >= 1.6 * pauses[0] >= patience
    assert work[1] >= 1.6 * work[0]


def test_anderson_solves_its_least_squares_also_when_its_ring_is_full():
    memory, step, ridge = 3, 0.5, 1e-2
    velocities = stalls(12)
    integrator = Anderson(memory=memory, step=step, ridge=ridge, patience=99, growth=1e9)
    points, plains = torch.zeros_like(velocities[0]), []
    for k, taken in enumerate(feed(integrator, velocities)):
        expected = step * velocities[k]
        plains.append(points + expected)
        if k > 0:
            last = slice(max(0, k - memory), k)
            dv = torch.stack([b - a for a, b in itertools.pairwise(velocities)][last])
            du = torch.stack([b - a for a, b in itertools.pairwise(plains)][last])
            columns = dv.flatten(1).mT
            # ‖v − ΔV γ‖² + ε Σ ‖ΔV_j‖² γ_j² is the square of one longer column.
            weights = torch.diag(ridge**0.5 * torch.linalg.vector_norm(columns, dim=0))
            right = torch.cat([velocities[k].flatten(), torch.zeros(len(dv), dtype=F64)])
            gamma = torch.linalg.lstsq(torch.cat([columns, weights]), right[:, None]).solution[:, 0]
            expected = expected - torch.einsum("j,jnd->nd", gamma, du)
        torch.testing.assert_close(taken, expected)
        points = points + taken


def test_anderson_starts_again_where_a_step_is_taken_back():
    velocities, integrator = stalls(8), Anderson(memory=5, patience=99)
    velocities[4] = 100 * velocities[4]
    steps = feed(integrator, velocities)
    again = feed(integrator, [velocities[3], *velocities[5:]])
    for step, expected in zip(steps[5:], again[1:], strict=True):
        torch.testing.assert_close(step, expected)
    assert not torch.allclose(steps[5], velocities[5])  # accelerated at once


def test_anderson_steps_alike_where_the_host_must_not_look(monkeypatch):
    # Measures that stall at different times: one always, one after progress, one never.
    always = torch.stack(stalls(60))
    falling = always * 0.7 ** torch.arange(60.0, dtype=F64).clamp(max=17)[:, None, None]
    never = always * 0.7 ** torch.arange(60.0, dtype=F64)[:, None, None]
    velocities = list(torch.stack([always, falling, never], 1))
    integrator = Anderson(memory=3, patience=5, growth=1e9)
    looked = feed(integrator, velocities)
    for i, alone in enumerate((always, falling, never)):
        for step, own in zip(looked, feed(integrator, list(alone)), strict=True):
            torch.testing.assert_close(step[i], own, rtol=1e-9, atol=1e-12)
    for module in ("integrators.anderson", "norms"):
        monkeypatch.setattr(f"wgf_solver.{module}.may_look", lambda tensor: False)
    for step, other in zip(looked, feed(integrator, velocities), strict=True):
        assert torch.equal(step, other)


def test_lbfgs_never_goes_uphill():
    # One pair with the wrong sign, as rounding may leave it. By the two-loop recursion with s = u,
    # y = −u, ρ = −1 and ⟨u, u⟩ = ½, B u = (½ − ½ − ¼) u.
    velocity = torch.full((3, 2), 0.5, dtype=F64)
    integrator, mu = LBFGS(memory=1, step=1.0), Measure(torch.zeros(3, 2, dtype=F64))
    state, image = integrator.start(mu), Measure(9 * torch.eye(2, dtype=F64))
    state.pairs = 1
    state.s[:], state.y[:], state.rho[:] = velocity.flatten(), -velocity.flatten(), -1.0
    step = integrator.propose(state, mu, evaluation(velocity, 1.0, image), True)
    torch.testing.assert_close(step, velocity)


class Counted:
    """A frozen field on which no step with the image held is any good for the whole."""

    descends = True

    def __init__(self) -> None:
        self.pulls, self.at = 0, []

    def __call__(self, f, mu) -> Evaluation:
        z = mu.points
        self.at.append(float(z.detach()))
        worse = z.abs().sum() + (0.0 if len(self.at) == 1 else 10.0)

        def held(points):
            self.pulls += 1
            return -points, points.abs().sum()

        return Evaluation(0.3 - z, z.new_ones(()), z.new_zeros(()), worse, Measure(z + 1), held)


INNER = [LBFGS(step=0.3), BarzilaiBorwein(0.3, inner_steps=20)]


@pytest.mark.parametrize("integrator", INNER)
def test_after_a_refusal_there_is_one_shorter_step_and_no_held_pull(integrator):
    field = Counted()
    start = Measure(torch.ones(1, 1, dtype=F64))
    equilibrium(
        lambda m: m, start, velocity=field, integrator=integrator, max_steps=7, on_failure="ignore"
    )
    tried = field.at[2:7]  # retries from 1: each goes a quarter as far, or half a reach and less
    assert len(set(tried)) == len(tried)
    lengths = [abs(1 - z) for z in tried]
    for longer, shorter in itertools.pairwise(lengths):
        assert shorter <= 0.26 * longer
    assert field.pulls <= 19  # those before the first refusal


@pytest.mark.parametrize("integrator", INNER)
def test_a_neighbour_that_goes_on_lengthens_no_retry(integrator):
    # The second measure makes its twenty held steps; the first, refused, makes one and waits.
    class Field(Counted):
        def __call__(self, f, mu) -> Evaluation:
            z = mu.points
            self.at.append(float(z[0].detach()))
            worse = z.abs().sum((-2, -1))
            if len(self.at) > 1:
                worse[0] += 10.0
            velocity = torch.cat([0.3 - z[:1], -z[1:]])
            one = torch.ones_like(worse)
            image = mu.with_points(z + 1)

            def held(points):
                return -points, points.abs().sum((-2, -1))

            return Evaluation(velocity, one, 0 * one, worse, image, held)

    paths = []
    for count in (1, 2):
        field = Field()
        equilibrium(
            lambda m: m, Measure(torch.ones(count, 1, 1, dtype=F64)), velocity=field,
            integrator=integrator, max_steps=7, on_failure="ignore",
        )  # fmt: skip
        paths.append(field.at[:7])
    assert paths[0] == paths[1]
    assert len(set(paths[0])) == 7


def test_barzilai_and_borwein_take_long_and_short_steps_in_turn():
    rates = torch.tensor([[1.0], [4.0]], dtype=F64)
    integrator = BarzilaiBorwein(0.1)
    mu = Measure(torch.tensor([[1.0], [1.0]], dtype=F64))
    state, far = integrator.start(mu), Measure(torch.tensor([[9.0], [-9.0]], dtype=F64))
    path, taken = [mu.points], []
    for _ in range(4):
        velocity = -rates * mu.points
        ahead = integrator.propose(state, mu, evaluation(velocity, 1.0, far), True)
        taken.append(float(((ahead - mu.points) / velocity).mean()))
        mu = mu.with_points(ahead)
        path.append(ahead)
    for k in (1, 2, 3):
        s = path[k] - path[k - 1]
        y = rates * s
        long, short = (s * s).sum() / (s * y).sum(), (s * y).sum() / (y * y).sum()
        assert taken[k] == pytest.approx(float(long if k % 2 else short))


def test_a_minimum_met_loosely_is_no_saddle():
    # D has a tenth left to fall, and not half.
    two = torch.tensor([[-0.5], [0.5]], dtype=F64)
    options = {"velocity": Descent(MMD(Gaussian(1.0))), "integrator": Euler(0.3)}
    solution = equilibrium(
        lambda mu: Measure(two), Measure(torch.full((1, 1), 1.0, dtype=F64)), rtol=0.15, **options
    )
    best = equilibrium(lambda mu: Measure(two), Measure(torch.zeros(1, 1, dtype=F64)), **options)
    assert 0.5 < best.discrepancy / solution.discrepancy < 0.949
    assert solution.converged
    assert solution.probe_steps == 50


def test_rounding_between_equal_measures_is_no_height_to_fall_from():
    # D between equal measures is 1e-9 by rounding; from beside the root it falls below that.
    class Rounded:
        descends = True

        def __call__(self, f, mu) -> Evaluation:
            image = f(mu)
            pull = image.points - mu.points
            energy = 0.5 * pull.square().sum((-2, -1))
            energy = energy.clamp(min=1e-9 * bool((pull == 0).all()))
            return Evaluation(pull, discrepancy=energy, image=image)

    two = Measure(torch.tensor([[-1.0], [1.0]], dtype=F64))
    solution = equilibrium(lambda m: two, two, velocity=Rounded(), integrator=Euler(0.3))
    assert solution.converged
    assert solution.steps == 1
    assert solution.probe_steps == 50


def test_gmres_keeps_its_basis_orthogonal():
    # Eigenvalues over eight decades: with one pass the basis tilts, and its own residual lies.
    size = 60
    q, _ = torch.linalg.qr(torch.randn(4, size, size, dtype=F64))
    a = (q * torch.logspace(0, 8, size, dtype=F64)) @ q.mT
    right = torch.randn(4, size, 1, dtype=F64)
    solved = GMRES(rtol=1e-8, restart=60, max_steps=62).solve(lambda u: a @ u, right)
    assert (solved.status == int(LinearStatus.CONVERGED)).all()


def test_the_adjoint_falls_back_to_a_step_of_the_flow():
    theta = torch.tensor(1.0, dtype=F64, requires_grad=True)
    shift = torch.zeros(3, 1, dtype=F64)

    def f(mu: Measure) -> Measure:  # F is the identity: ∂v/∂Z = 0
        return mu.with_points(mu.points + 0 * theta + shift + (theta - 1))

    start = Measure(torch.randn(3, 1, dtype=F64))
    solution = equilibrium(f, start, integrator=Euler(0.25), adjoint=Implicit())
    with pytest.warns(AdjointWarning, match="1 of them fell back"):
        solution.measure.points.sum().backward()
    assert theta.grad == 0.25 * 3


def test_the_phantom_of_the_flow_takes_the_step_of_the_flow():
    theta = torch.tensor(0.0, dtype=F64, requires_grad=True)
    adjoint = Phantom(1, damping=0.5, velocity=None)
    solution = equilibrium(
        lambda mu: mu.with_points(0.5 * mu.points + theta), Measure(torch.zeros(2, 1, dtype=F64)),
        integrator=Euler(0.25), adjoint=adjoint,
    )  # fmt: skip
    solution.measure.points.sum().backward()
    assert theta.grad == 2 * 0.5 * 0.25


def test_transport_is_at_rest_within_rounding():
    pytest.importorskip("ot", reason="needs the extra ot")
    start = Measure(torch.randn(6, 2), marks=torch.randn(6, 2))
    solution = equilibrium(
        lambda mu: mu.with_points(0.3 * mu.points + mu.marks + 5), start,
        velocity=Transport(), integrator=Euler(), rtol=1e-12,
    )  # fmt: skip
    assert solution.at_rounding


def test_the_rounding_of_a_pull_grows_with_the_distance_to_be_moved():
    pytest.importorskip("ot", reason="needs the extra ot")
    mu, nu = Measure(torch.randn(5, 2)), Measure(torch.randn(5, 2))
    near, far = (Wasserstein().pull(mu, nu.with_points(nu.points + o)) for o in (0.0, 1e4))
    assert far.rounding > 1e3 * near.rounding
    torch.testing.assert_close(far.scale, near.scale, rtol=1e-2, atol=0)


def test_the_scale_of_a_sum_is_that_of_its_sums():
    mu, nu = Measure(torch.randn(5, 2, dtype=F64)), Measure(torch.randn(6, 2, dtype=F64))
    one, two = Gaussian(0.5), Energy()

    def rms(rows: Tensor) -> Tensor:
        return rows.square().mean().sqrt()

    nothing = Measure(torch.zeros(1, 2, dtype=F64), torch.zeros(1))

    def repulsion(kernel) -> Tensor:
        return MMD(kernel).pull(mu, nothing).velocity

    def attraction(kernel) -> Tensor:
        return MMD(kernel).pull(mu, nu).velocity - repulsion(kernel)

    expected = torch.hypot(
        rms(attraction(one) + 3 * attraction(two)), rms(repulsion(one) + 3 * repulsion(two))
    )
    total = MMD(one + 3 * two)
    torch.testing.assert_close(total.pull(mu, nu).scale, expected, rtol=1e-3, atol=0)
    torch.testing.assert_close(total.towards(nu)(mu).scale, expected, rtol=1e-3, atol=0)
    near, far = DistanceTo(MMD(one), nu), DistanceTo(MMD(two), nu)
    parts = torch.stack(
        [
            c * torch.maximum(p.slope(mu).scale, rms(p.slope(mu).velocity))
            for c, p in ((1, near), (3, far))
        ]
    )
    torch.testing.assert_close((near + 3 * far).slope(mu).scale, parts.square().sum().sqrt())


def test_a_potential_is_not_asked_for_what_stands_in_padding():
    mu = Measure(torch.tensor([[1.0], [2.0], [0.0]]), torch.tensor([1.0, 1.0, 0.0]))
    slope = Potential(lambda z: z.norm(dim=-1) ** -1 + z[..., 0].log()).slope(mu)
    torch.testing.assert_close(slope.velocity[:2, 0], torch.tensor([0.0, -0.25]))
    assert slope.velocity[2] == 0
    assert slope.discrepancy.isfinite()


def test_nor_does_a_parameter_of_a_potential_learn_what_stands_in_padding():
    mu = Measure(torch.tensor([[1.0], [2.0], [0.0]]), torch.tensor([1.0, 1.0, 0.0]))
    theta = torch.tensor(0.5, requires_grad=True)
    energy = Potential(lambda z: theta * z[..., 0].log())(mu)  # log 0 is infinite
    (slope,) = torch.autograd.grad(energy, theta)
    torch.testing.assert_close(slope, torch.tensor(0.5 * math.log(2)))


def test_marks_keep_their_scale_apart():
    # Two groups of one pass each: what balances is summed over both.
    mu = Measure(torch.randn(4, 2, dtype=F64), marks=torch.randn(4, 1, dtype=F64))
    nu = Measure(torch.randn(4, 2, dtype=F64), marks=torch.randn(4, 1, dtype=F64))
    kernel = Gaussian(0.3) * SquaredDistance() + Gaussian(1.0) * Energy()
    groups = [MMD(Gaussian(0.3) * SquaredDistance()), MMD(Gaussian(1.0) * Energy())]
    both = MMD(kernel)
    velocity = sum(g.pull(mu, nu).velocity for g in groups)
    torch.testing.assert_close(both.pull(mu, nu).velocity, velocity)
    torch.testing.assert_close(both.pull(mu, nu).scale, both.towards(nu)(mu).scale)


def test_a_measure_that_starts_again_is_measured_again():
    # Out of reach of the kernel nothing pulls: the scale at the first start is 0.
    three = torch.tensor([[0.3], [1.0], [1.4]], dtype=F64)
    lost = Measure(torch.full((2, 1), 90.0, dtype=F64))
    solution = equilibrium(
        lambda mu: Measure(three), lost, velocity=Descent(MMD(Gaussian(0.7))), integrator=Euler(0.5)
    )
    assert solution.converged
    assert solution.discrepancy < 1e-3


def test_statuses_are_those_of_the_enum():
    from wgf_solver.driving import iteration

    for status in Status:
        assert getattr(iteration, status.name) == int(status)


def test_residual_of_nothing():
    empty = Measure(torch.zeros(0, 2), torch.zeros(0))
    assert Residual()(lambda m: Measure(m.points, torch.zeros(0)), empty).velocity.shape == (0, 2)
