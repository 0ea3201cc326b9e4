"""Roots that are no equilibria: what the probe finds, and what it costs the others of a batch."""

import itertools
import sys

import pytest
import torch

from wgf_solver import (
    LBFGS,
    MMD,
    Anderson,
    Descent,
    Energy,
    EquilibriumWarning,
    Euler,
    Evaluation,
    Gaussian,
    InverseMultiquadric,
    Laplacian,
    Measure,
    Multiquadric,
    NoiseInjection,
    Phases,
    SquaredDistance,
    Status,
    equilibrium,
)

KERNELS = [Gaussian(0.3) + 0.5 * Gaussian(1.0), Energy(), Laplacian(0.7)]


def two_points(mu: Measure) -> Measure:
    points = mu.points.new_tensor([[-1.0], [1.0]])
    return Measure(points.expand(*mu.batch_shape, 2, 1))


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_jumps_lower_the_discrepancy_and_what_is_placed_well_stays(kernel):
    nu = Measure(torch.randn(3, 12, 2).double(), torch.rand(3, 12) + 0.2)
    there = nu.points[:, :6].clone()
    there[0, 2] = 40.0  # lost, by itself
    there[1, [0, 4]] = torch.tensor([[30.0, 0.0], [0.0, -30.0]]).double()
    mu = Measure(there, nu.weights[:, :6])
    moved = MMD(kernel).relocated(mu, nu)
    before, after = MMD(kernel)(mu, nu), MMD(kernel)(mu.with_points(moved), nu)
    assert (after[:2] < 0.5 * before[:2]).all()
    assert after[2] <= before[2]
    jumped = (moved != there).any(-1)
    assert jumped[0, 2]
    assert jumped[1, [0, 4]].all()
    for z in moved[jumped]:
        assert (nu.points == z).all(-1).any()  # to an atom of the target
    # Measures that are equal have nothing to gain, nor has a quantisation at rest.
    assert torch.equal(MMD(kernel).relocated(nu, nu), nu.points)


def test_jumps_bring_as_much_as_the_best_of_all_single_ones():
    distance = MMD(Gaussian(1.0))
    nu = Measure(torch.tensor([[0.0], [3.0]]).double())
    mu = Measure(torch.tensor([[0.0], [9.0], [0.1]]).double(), torch.tensor([1.0, 0.9, 1.1]))
    values = []
    for i in range(3):
        for place in (0.0, 3.0):
            there = mu.points.index_fill(0, torch.tensor([i]), place)
            values.append(distance(mu.with_points(there), nu))
    moved = distance.relocated(mu, nu)
    assert distance(mu.with_points(moved), nu) <= min(values) + 1e-12 < distance(mu, nu)


def test_padding_and_marks_and_nothing():
    kernel = Gaussian(0.5)
    points = torch.tensor([[0.0], [50.0], [torch.nan]]).double()
    mu = Measure(points, torch.tensor([1.0, 1.0, 0.0]))
    nu = Measure(torch.tensor([[0.0], [1.0], [70.0]]).double(), torch.tensor([1.0, 1.0, 0.0]))
    moved = MMD(kernel).relocated(mu, nu)
    assert moved[:2].flatten().tolist() == [0.0, 1.0]
    marked = Measure(points[:2], marks=torch.zeros(2, 1).double())
    tied = MMD(Gaussian(1.0) * SquaredDistance())
    assert torch.equal(tied.relocated(marked, marked), marked.points)
    empty = Measure(torch.zeros(2, 0, 1).double())
    assert MMD(kernel).relocated(empty, empty).shape == (2, 0, 1)


@pytest.mark.parametrize("target", ["frozen", "through"])
def test_an_atom_that_no_force_reaches_is_brought_back(target):
    # At rest where it is, on a plateau that no small push leaves; half of the mass is missing.
    lost = Measure(torch.tensor([[-1.0], [25.0]]).double())
    flow = {"velocity": Descent(MMD(Gaussian(0.7)), target), "integrator": LBFGS()}
    solution = equilibrium(two_points, lost, rtol=1e-6, trajectory=True, **flow)
    assert solution.converged
    assert solution.trajectory.shape[0] == solution.times.shape[0] == int(solution.steps)
    assert torch.equal(solution.trajectory[-1], solution.measure.points)
    assert solution.discrepancy < 1e-9
    places = solution.measure.points.sort(0).values
    torch.testing.assert_close(places, torch.tensor([[-1.0], [1.0]]).double(), atol=1e-4, rtol=0)


def test_lost_images_of_a_lost_atom_come_back_as_fast_as_the_map_contracts(monkeypatch):
    # Their images are lost as well, so that one jump only takes them there.
    def halves(mu: Measure) -> Measure:
        return Measure(
            torch.cat([mu.points / 2 - 0.5, mu.points / 2 + 0.5], -2),
            torch.cat([mu.weights, mu.weights], -1),
        )

    grid = torch.linspace(-0.9, 0.9, 10).double()[:, None]
    lost = grid.clone()
    lost[3] = 40.0
    flow = Descent(MMD(Gaussian(0.3) + Gaussian(1.0)))
    solution = equilibrium(halves, Measure(lost), velocity=flow, integrator=LBFGS(), rtol=1e-5)
    assert solution.converged
    assert solution.probe_steps >= 100  # found out, sent on, and probed again
    assert solution.measure.points.abs().max() < 1.1
    assert solution.discrepancy < 1e-5
    # Where it may not go on, it is no equilibrium all the same.
    module = sys.modules["wgf_solver.driving.driver"]
    monkeypatch.setattr(module, "_ESCAPES", 0)
    with pytest.warns(EquilibriumWarning, match="1 x STATIONARY"):
        stuck = equilibrium(halves, Measure(lost), velocity=flow, integrator=LBFGS(), rtol=1e-5)
    assert stuck.discrepancy > 1e-3
    assert stuck.status == Status.STATIONARY
    assert "elsewhere" in stuck.message()


def test_each_measure_has_its_own_budget_after_a_saddle():
    # A neighbour that uses up the budget must not keep another from leaving its saddle.
    def f(mu: Measure) -> Measure:
        return two_points(mu.with_points(mu.points))

    flow = {"velocity": Descent(MMD(Gaussian(0.7))), "integrator": LBFGS(inner_steps=1)}
    options = {"rtol": 1e-9, "max_steps": 25, "on_failure": "ignore", **flow}
    starts = [[[0.0], [0.0]], [[-1.3], [25.0]], [[-0.4], [-0.2]], [[-1.0], [1.0]]]
    points = torch.tensor(starts).double()
    together = equilibrium(f, Measure(points), **options)
    assert (together.probe_steps > 0).any()
    assert len(set(together.steps.tolist())) > 1
    for i in range(len(points)):
        alone = equilibrium(f, Measure(points[i]), **options)
        torch.testing.assert_close(
            alone.measure.points, together.measure.points[i], rtol=0, atol=1e-9
        )
        for name in ("steps", "probe_steps", "status"):
            assert torch.equal(getattr(alone, name), getattr(together, name)[i])
        assert alone.steps <= 25


FAR = {
    "narrow": (Gaussian(1.0), 100.0),
    "heavy": (InverseMultiquadric(0.5), 5.0),
    "energy": (Multiquadric(0.1), 1.0),
}


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize(
    ("name", "target"), [*((name, "through") for name in FAR), ("narrow", "frozen")]
)
def test_a_translation_has_no_fixed_point_however_flat_the_discrepancy(name, target, count):
    kernel, shift = FAR[name]
    mu = Measure(torch.randn(count, 2, generator=torch.Generator().manual_seed(0)).double())
    solution = equilibrium(
        lambda m: m.with_points(m.points + shift),
        mu,
        velocity=Descent(MMD(kernel), target),
        on_failure="ignore",
    )
    assert solution.status == Status.STATIONARY
    assert "F(mu) lies elsewhere" in solution.message()


def test_the_image_is_looked_at_in_each_measures_own_unit():
    # The translation's D is flat; in a unit a thousand times smaller nothing is another.
    factors, shifts = torch.tensor([1.0, 1.0, 1e-3]).double(), torch.tensor([0.0, 100.0, 0.0])
    factors, shifts = factors[:, None, None], shifts[:, None, None].double()

    def f(mu: Measure) -> Measure:
        return mu.with_points(
            0.5 * (mu.points + mu.marks) * (shifts == 0) + (shifts > 0) * (mu.points + shifts)
        )

    marks = torch.randn(6, 2, generator=torch.Generator().manual_seed(1)).double() * factors
    start = Measure(marks + 0.1 * factors, marks=marks)
    solution = equilibrium(
        f, start, velocity=Descent(MMD(Gaussian(0.5))), on_failure="ignore", max_steps=300
    )
    assert solution.status.tolist() == [
        int(Status.CONVERGED), int(Status.STATIONARY), int(Status.CONVERGED),
    ]  # fmt: skip


@pytest.mark.parametrize("kernel", [Gaussian(0.3), Multiquadric(0.1)], ids=repr)
def test_atoms_that_rest_under_the_images_of_others_are_at_no_equilibrium(kernel):
    # Weights differ, so that an atom may find the image of another and none of its own.
    weights = torch.tensor([1.0, 3, 1, 3]).double()
    places = torch.tensor([[-1.0], [-0.4], [0.4], [1.0]]).double()

    def f(mu: Measure) -> Measure:
        return mu.with_points(0.5 * (mu.points + places))

    orders = torch.tensor(list(itertools.permutations(range(4))))
    solution = equilibrium(
        f,
        Measure(places[orders], weights),
        velocity=Descent(MMD(kernel), "through"),
        rtol=1e-6,
        on_failure="ignore",
    )
    assert (solution.residual <= 1e-6).all()
    z, image = solution.measure.points, f(solution.measure).points
    apart = [z[:, k::2].sort(1).values - image[:, k::2].sort(1).values for k in (0, 1)]
    own = torch.cat(apart, 1).abs().amax((1, 2)) < 1e-3  # alike in atoms of each weight
    told = own | (solution.discrepancy > 1e-7)  # fifty tolerances, squared, are some 1e-8 of D
    assert told.sum() >= 22
    assert 6 <= own.sum() <= 12
    assert torch.equal(solution.converged[told], own[told])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("bandwidth", "collapses"),
    [(0.1, False), (1.0, False), (30.0, False), (0.1, True), (1.0, True)],
)
def test_a_fixed_point_is_never_called_elsewhere(dtype, bandwidth, collapses):
    places = torch.randn(6, 2, generator=torch.Generator().manual_seed(2)).to(dtype)
    shift = torch.ones(2, dtype=dtype) if collapses else places
    start = Measure((places + 0.05) * torch.tensor([1.0, 1e3])[:, None, None].to(dtype))
    unit = torch.tensor([1.0, 1e3])[:, None, None].to(dtype)
    kernel = Gaussian(bandwidth) if bandwidth > 1 else Multiquadric(bandwidth)
    solution = equilibrium(
        lambda mu: mu.with_points(0.5 * (mu.points + unit * shift)),
        start,
        velocity=Descent(MMD(kernel), "through"),
        on_failure="ignore",
        max_steps=400,
    )
    assert (solution.status != Status.STATIONARY).all()


def test_a_field_that_does_not_say_its_image_is_not_judged_by_it():
    class Unsaid:
        descends = True

        def __call__(self, f, mu) -> Evaluation:
            here = Descent(MMD(Gaussian(1.0)))(f, mu)
            return Evaluation(here.velocity, discrepancy=here.discrepancy)

    mu = Measure(torch.randn(5, 2, generator=torch.Generator().manual_seed(0)).double())
    options = {"integrator": LBFGS(), "on_failure": "ignore"}
    far = lambda m: m.with_points(m.points + 100.0)  # noqa: E731
    assert equilibrium(far, mu, velocity=Unsaid(), **options).converged
    said = equilibrium(far, mu, velocity=Descent(MMD(Gaussian(1.0))), **options)
    assert said.status == Status.STATIONARY


def test_lost_atoms_of_one_measure_jump_whatever_its_neighbours_do():
    # A flat saddle and a well elsewhere, to which atoms can be sent once pushed far enough.
    class Well:
        def __call__(self, mu, nu):
            x, c = mu.mean()[..., 0], nu.mean()[..., 0]
            return (1 - 0.1 * torch.tanh(x * x)) * (1 - torch.exp(-((x - c) ** 2)))

        def relocated(self, mu, nu):
            c = nu.mean()[..., None, :]
            there = torch.where(c > 50, mu.points + 1.0, c.expand_as(mu.points))
            return torch.where((mu.mean()[..., 0] > 0.05)[..., None, None], there, mu.points)

    def solve(starts, centres):
        c = torch.tensor(centres).double()[:, None, None]
        return equilibrium(
            lambda m: Measure(torch.cat([c - 1, c + 1], -2)),
            Measure(torch.tensor(starts).double()[:, None, None]),
            velocity=Descent(Well()), integrator=Euler(0.5), on_failure="ignore",
            max_steps=40, atol=1e-6,
        )  # fmt: skip

    alike, beside = solve([0.0, 0.0], [10.0, 10.0]), solve([0.0, 60.0], [10.0, 100.0])
    for name in ("status", "steps", "discrepancy"):
        assert torch.equal(getattr(alike, name)[0], getattr(beside, name)[0])
    assert torch.equal(alike.measure.points[0], beside.measure.points[0])


class MMDAlone:
    """A maximum mean discrepancy that sends no atom elsewhere and names no scale of its field."""

    def __init__(self, kernel):
        self.mmd = MMD(kernel)

    def __call__(self, mu, nu):
        return self.mmd(mu, nu)


@pytest.mark.parametrize("start", [0.0, 0.3])
@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e4])
def test_a_saddle_is_left_in_every_unit_whatever_wraps_the_integrator(unit, start):
    # Atoms that are one atom fall to the saddle between the targets, or begin there at rest.
    mu = Measure(torch.full((2, 1), unit * start).double())
    field = Descent(MMDAlone(Multiquadric(unit)))
    steps = []
    for integrator in (LBFGS(), Phases(LBFGS(), Anderson()), NoiseInjection(LBFGS(), 0.0, 0)):
        solution = equilibrium(
            lambda mu: mu.with_points(unit * two_points(mu).points),
            mu,
            velocity=field,
            integrator=integrator,
        )
        reached = solution.measure.points.flatten().sort().values / unit
        assert torch.allclose(reached, torch.tensor([-1.0, 1.0]).double(), atol=1e-3)
        steps.append(int(solution.steps))
    assert len(set(steps)) == 1


def test_who_begins_at_a_saddle_is_probed_as_if_alone():
    # A neighbour that runs makes the integrator learn steps; who does not run has one of its own.
    starts = 1e3 * torch.tensor([[0.0, 0.0], [-0.4, 0.7]]).double()[..., None]

    def solved(points):
        return equilibrium(
            lambda mu: mu.with_points(1e3 * two_points(mu).points),
            Measure(points),
            velocity=Descent(MMDAlone(Multiquadric(1e3))),
        )

    both = solved(starts)
    for i in range(2):
        alone = solved(starts[i])
        assert torch.equal(both.measure.points[i], alone.measure.points)
        assert both.steps[i] == alone.steps


def union(*moves):
    return lambda mu: Measure(torch.cat([move(mu.points) for move in moves], -2))


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("kernel", [Gaussian(1.0), Multiquadric(0.1)], ids=repr)
@pytest.mark.parametrize("shift", [0.5, 5.0, 50.0])
def test_a_map_to_more_atoms_that_has_no_fixed_point_is_not_called_converged(kernel, dim, shift):
    # Means within both spreads say nothing; atoms drawn of the image, which are nearer to it, do.
    drift = union(lambda z: z + shift, lambda z: z + shift)
    mu = Measure(torch.randn(8, dim).double())
    solution = equilibrium(drift, mu, velocity=Descent(MMD(kernel)), on_failure="ignore")
    assert not solution.converged


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("kernel", [Gaussian(1.0), Multiquadric(0.1)], ids=repr)
def test_the_nearest_atoms_of_a_law_of_more_are_an_equilibrium(kernel, dim):
    f = union(lambda z: z / 2, lambda z: z / 2 + 1, lambda z: z / 3 - 1)
    # Of different numbers of atoms: as many are drawn as each measure has.
    points = torch.randn(3, 8, dim).double()
    weights = torch.ones(3, 8)
    weights[1, 3:] = 0
    both = equilibrium(f_masked(f), Measure(points, weights), velocity=Descent(MMD(kernel)))
    assert both.converged.all()
    assert (both.probe_steps > 0).any()


def f_masked(f):
    """``f`` of measures with padding, whose copies have its weights."""

    def image(mu):
        new = f(mu)
        copies = new.points.shape[-2] // mu.points.shape[-2]
        return Measure(new.points, torch.cat([mu.weights] * copies, -1))

    return image
