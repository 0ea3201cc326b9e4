"""Held atoms: the same answers, and the same gradients, as where they are part of the problem."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from wgf_solver import (
    GMRES,
    LBFGS,
    MMD,
    Anderson,
    BarzilaiBorwein,
    Descent,
    Euler,
    Evaluation,
    Flow,
    Gaussian,
    HeavyBall,
    Implicit,
    Measure,
    NoiseInjection,
    Phantom,
    Phases,
    Residual,
    Status,
    Transport,
    Unrolled,
    equilibrium,
    gradient_flow,
)
from wgf_solver.held import held_at

HELD = torch.tensor([False, True, False, True, False])
FREE = [0, 2, 4]
ANY = [
    Euler(),
    Anderson(),
    HeavyBall(0.5, 0.3),
    Phases(Euler(), Anderson()),
    NoiseInjection(Euler(), 0.1, 5),
    LBFGS(),
    BarzilaiBorwein(),
]


def made(*batch: int) -> tuple[Measure, Tensor]:
    """A start, and the parameters of the map."""
    points, marks = torch.randn(2, *batch, 5, 2, dtype=torch.float64)
    start = Measure(points, torch.rand(*batch, 5).double() + 0.2, marks)
    return start, torch.tensor([0.5, 0.8, -0.4], dtype=torch.float64)


def pull(theta: Tensor):
    """Each atom is moved by itself, its mark and all others, weights included."""
    a, b, c = theta.unbind(-1)

    def f(mu: Measure) -> Measure:
        others = (a * mu.points).sin() + b * mu.marks
        return mu.with_points(others.tanh() + c * mu.mean()[..., None, :])

    return f


@dataclass(frozen=True)
class Nearest:
    """A cost with a plan, which for these measures is the identity: nothing to install."""

    p: float = 2.0

    def __call__(self, mu: Measure, nu: Measure) -> Tensor:
        return 0.5 * (mu.weights * (mu.points - nu.points).square().sum(-1)).sum(-1)

    def plan(self, mu: Measure, nu: Measure) -> Tensor:
        return torch.diag_embed(mu.weights)


@dataclass(frozen=True)
class Closed:
    """A field of the free atoms alone, which closes over the others: the problem by hand."""

    field: object
    whole: Measure  # its held rows are those that are closed over

    @property
    def descends(self) -> bool:
        return self.field.descends

    def __call__(self, f, free: Measure) -> Evaluation:
        points = self.whole.points.clone()
        points[..., FREE, :] = free.points
        here = self.field(f, self.whole.with_points(points))
        return Evaluation(here.velocity[..., FREE, :], discrepancy=here.discrepancy)


def free_part(mu: Measure) -> Measure:
    return Measure(mu.points[..., FREE, :], mu.weights[..., FREE], mu.marks[..., FREE, :])


@pytest.mark.parametrize(
    ("field", "integrator"),
    [(Residual(), i) for i in ANY]
    + [(Descent(MMD(Gaussian(1.0))), i) for i in (LBFGS(inner_steps=5), BarzilaiBorwein())]
    + [(Descent(MMD(Gaussian(1.0)), "through"), LBFGS()), (Transport(Nearest()), Anderson())],
    ids=repr,
)
def test_it_is_the_problem_with_the_held_atoms_closed_over(field, integrator):
    start, theta = made(2)
    options = {"rtol": 1e-7, "max_steps": 200, "on_failure": "raise"}
    found = equilibrium(
        pull(theta), start, held=HELD, velocity=field, integrator=integrator, **options
    )
    assert torch.equal(found.measure.points[:, HELD], start.points[:, HELD])
    near = start.with_points(found.measure.points + 0.01 * torch.randn(2, 5, 2))
    closed = equilibrium(
        pull(theta),
        free_part(near),
        velocity=Closed(field, start),
        integrator=LBFGS() if field.descends else Anderson(),
        **options,
    )
    torch.testing.assert_close(
        found.measure.points[:, FREE], closed.measure.points, rtol=0, atol=1e-5
    )


@dataclass(frozen=True)
class Wanders:
    """An integrator that moves everything."""

    def step_size(self, k: int) -> float:
        return 1.0

    def start(self, mu: Measure) -> None:
        return None

    def propose(self, state: None, mu: Measure, evaluation: Evaluation, descends: bool) -> Tensor:
        return mu.points + evaluation.velocity + 1e-3


@pytest.mark.parametrize("field", [Residual(), Descent(MMD(Gaussian(1.0)))], ids=repr)
@pytest.mark.parametrize(
    "integrator",
    [Wanders(), NoiseInjection(Anderson(), 0.1, 9), LBFGS(inner_steps=2)],
    ids=repr,
)
def test_no_step_noise_or_probe_moves_them(field, integrator):
    start, theta = made(2)
    seen = []

    def f(mu: Measure) -> Measure:
        seen.append(mu.points.detach().clone())
        return pull(theta)(mu)

    found = equilibrium(
        f, start, held=HELD, velocity=field, integrator=integrator, max_steps=30, rtol=1e-3,
        trajectory=True, on_failure="ignore",
    )  # fmt: skip
    for points in (*seen, *found.trajectory, found.measure.points):
        assert torch.equal(points[:, HELD], start.points[:, HELD])
    assert not torch.equal(seen[1], seen[0])


def test_what_a_residual_says_is_that_of_the_map_that_keeps_them():
    start, theta = made(3)
    f = pull(theta)

    def keeps(mu: Measure) -> Measure:
        image = f(mu)
        return mu.with_points(torch.where(HELD[:, None], mu.points, image.points))

    def loud(mu: Measure) -> Measure:  # what is said of held atoms is asked by nobody
        return mu.with_points(torch.where(HELD[:, None], 1e6, f(mu).points))

    options = {"trajectory": True, "rtol": 1e-10}
    by_hand = equilibrium(keeps, start, **options).trajectory
    assert torch.equal(*(equilibrium(g, start, held=HELD).residual for g in (f, loud)))
    for g in (f, loud):
        held = equilibrium(g, start, held=HELD, **options).trajectory
        count = min(len(held), len(by_hand))
        assert count > 5
        assert torch.equal(held[:count], by_hand[:count])


def test_a_root_is_known_by_the_scale_of_its_places_whatever_is_said_of_held_atoms():
    start, theta = made(3)
    f = pull(theta)

    def loud(mu: Measure) -> Measure:
        return mu.with_points(torch.where(HELD[:, None], 1e6, f(mu).points))

    root = equilibrium(loud, start, held=HELD, rtol=1e-10).measure
    again = equilibrium(loud, root.with_points(root.points.detach()), held=HELD, rtol=1e-6)
    assert again.converged.all()
    assert int(again.steps.max()) <= 2


def test_what_is_small_is_so_for_the_atoms_that_move():
    """However many are held: they are at rest, and make nothing smaller."""
    n = 400
    start = Measure(torch.randn(n, 1).double())
    held = torch.ones(n, dtype=torch.bool)
    held[0] = False
    found = equilibrium(
        lambda mu: mu.with_points(0.9 * mu.points + 5), start, held=held, integrator=Euler(),
        rtol=1e-3, max_steps=500,
    )  # fmt: skip
    velocity = 5 - 0.1 * found.measure.points[0, 0]
    reference = max(5 - 0.1 * start.points[0, 0], start.spread())
    assert bool(found.converged)
    assert velocity.abs() <= 1e-3 * reference * 1.2
    torch.testing.assert_close(found.residual, velocity.abs() / reference, rtol=0.2, atol=0)


def solved(start, theta, field, adjoint=None, *, rtol=1e-12):
    choice = {} if adjoint is None else {"adjoint": adjoint}
    return equilibrium(
        pull(theta), start, held=HELD, velocity=field, rtol=rtol, max_steps=300,
        integrator=LBFGS(inner_steps=1) if field.descends else None, on_failure="ignore", **choice,
    )  # fmt: skip


def gradients(field, adjoint, start: Measure, theta: Tensor, slopes: Tensor) -> list[Tensor]:
    """Of a linear loss, with respect to points, weights, marks and parameters."""
    leaves = [t.clone().requires_grad_() for t in (start.points, start.weights, start.marks, theta)]
    found = solved(Measure(*leaves[:3]), leaves[3], field, adjoint)
    (found.measure.points * slopes).sum().backward()
    return [leaf.grad for leaf in leaves]


EXACT = Implicit(GMRES(1e-13))
SMOOTH = Descent(MMD(Gaussian(1.0)))


@pytest.mark.parametrize(
    "field", [Residual(), SMOOTH, Descent(MMD(Gaussian(1.0)), "through")], ids=repr
)
def test_gradients_are_those_of_central_differences(field, differences):
    start, theta = made()
    slopes = torch.randn(5, 2, dtype=torch.float64)
    found = gradients(field, EXACT, start, theta, slopes)
    sizes = [t.numel() for t in (start.points, start.marks, theta)]

    def loss(flat: Tensor) -> Tensor:
        points, marks, parameters = flat.split(sizes, -1)
        mu = Measure(points.unflatten(-1, (5, 2)), start.weights, marks.unflatten(-1, (5, 2)))
        at = solved(mu, parameters[..., None, None, :], field)
        return (at.measure.points * slopes).sum((-2, -1))

    flat = torch.cat([t.flatten() for t in (start.points, start.marks, theta)])
    points, marks, parameters = differences(loss, flat).split(sizes)
    assert (found[0][HELD] - slopes[HELD]).abs().min() > 1e-4  # the free atoms follow the held
    assert torch.equal(found[0][FREE], torch.zeros(3, 2).double())  # a start gets none
    close = {"rtol": 1e-4, "atol": 1e-7}
    torch.testing.assert_close(found[0], points.view(5, 2), **close)
    torch.testing.assert_close(found[2], marks.view(5, 2), **close)
    torch.testing.assert_close(found[3], parameters, **close)


def test_gradcheck_of_a_solve_with_held_atoms():
    start, theta = made(2)

    def points(held: Tensor, weights: Tensor, parameters: Tensor) -> Tensor:
        z = start.points.index_copy(-2, HELD.nonzero()[:, 0], held)
        mu = Measure(z, weights, start.marks)
        return solved(mu, parameters, Residual(), EXACT).measure.points

    inputs = (start.points[:, HELD], start.weights, theta)
    assert torch.autograd.gradcheck(points, [t.clone().requires_grad_() for t in inputs])


@pytest.mark.parametrize(
    ("field", "adjoint"),
    [
        (Residual(), Phantom(80)),
        (Residual(), Unrolled(80)),
        (SMOOTH, Unrolled(150, 1.0)),
    ],
    ids=repr,
)
def test_the_adjoints_agree(field, adjoint):
    start, theta = made(2)
    slopes = torch.randn(2, 5, 2, dtype=torch.float64)
    exact = gradients(field, EXACT, start, theta, slopes)
    for one, other in zip(gradients(field, adjoint, start, theta, slopes), exact, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_the_phantom_gradient_of_one_step_reaches_what_is_held():
    start, theta = made()
    slopes = torch.randn(5, 2, dtype=torch.float64)
    found = gradients(SMOOTH, Phantom(), start, theta, slopes)[0]
    at = solved(start, theta, SMOOTH).measure.points
    z = at.clone().requires_grad_()
    image = pull(theta)(start.with_points(z)).points
    (image[FREE] * slopes[FREE]).sum().backward()  # by hand: one step of the map
    torch.testing.assert_close(found[HELD], z.grad[HELD] + slopes[HELD])


def test_second_derivatives_with_held_atoms_by_unrolling():
    start, theta = made()
    points = start.points.clone().requires_grad_()

    def loss(points: Tensor) -> Tensor:
        mu = Measure(points, start.weights, start.marks)
        return solved(mu, theta, Residual(), Unrolled(60)).measure.points.square().sum()

    (first,) = torch.autograd.grad(loss(points), points, create_graph=True)
    (second,) = torch.autograd.grad(first[HELD].sum(), points)
    h = 1e-5 * torch.eye(5, dtype=torch.float64)[1, :, None] * torch.ones(2)
    up, down = (
        torch.autograd.grad(loss(p), p)[0][HELD].sum()
        for p in ((start.points + s).requires_grad_() for s in (h, -h))
    )
    torch.testing.assert_close(second[1].sum(), (up - down) / 2e-5, rtol=1e-6, atol=0)


def padded(mu: Measure) -> Measure:
    nothing = torch.full((*mu.batch_shape, 2, 2), torch.nan, dtype=torch.float64)
    points, marks = (torch.cat([rows, nothing], -2) for rows in (mu.points, mu.marks))
    return Measure(points, torch.cat([mu.weights, torch.zeros(*mu.batch_shape, 2)], -1), marks)


@pytest.mark.parametrize("field", [Residual(), SMOOTH], ids=repr)
def test_padding_changes_nothing_and_is_not_held(field):
    start, theta = made(2)
    slopes = torch.randn(2, 5, 2, dtype=torch.float64)
    results = []
    for mu, held in ((start, HELD), (padded(start), torch.cat([HELD, torch.tensor([True] * 2)]))):
        points = mu.points.clone().requires_grad_()
        at = equilibrium(
            pull(theta), Measure(points, mu.weights, mu.marks), held=held, velocity=field,
            adjoint=EXACT, integrator=LBFGS(inner_steps=1), rtol=1e-9,
        )  # fmt: skip
        assert torch.equal(at.measure.points[:, 5:], torch.zeros_like(at.measure.points[:, 5:]))
        (at.measure.points[:, :5] * slopes).sum().backward()
        results.append((at.measure.points[:, :5].detach(), points.grad[:, :5]))
        assert torch.equal(points.grad[:, 5:], torch.zeros_like(points.grad[:, 5:]))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_a_batch_is_solved_as_each_alone_and_nan_stays_where_it_is():
    start, theta = made(3)
    held = torch.stack([HELD, ~HELD, torch.zeros(5, dtype=torch.bool)])
    spoilt = start.points.clone()
    spoilt[1, 0] = torch.nan

    def run(points: Tensor, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        z = points[rows].clone().requires_grad_()
        mu = Measure(z, start.weights[rows], start.marks[rows])
        found = equilibrium(
            pull(theta), mu, held=held[rows], rtol=1e-9, integrator=Anderson(), on_failure="ignore"
        )
        torch.where(found.converged[:, None, None], found.measure.points, 0).sum().backward()
        return found.status, found.measure.points.detach(), z.grad

    whole, bad = run(start.points, slice(None)), run(spoilt, slice(None))
    for b in range(3):
        alone = run(start.points, slice(b, b + 1))
        for one, other in zip(alone, whole, strict=True):
            torch.testing.assert_close(one[0], other[b], rtol=1e-9, atol=1e-10)
        if b != 1:
            assert all(torch.equal(one[b], other[b]) for one, other in zip(whole, bad, strict=True))
    assert whole[0].tolist() == [Status.CONVERGED] * 3
    assert bad[0].tolist() == [Status.CONVERGED, Status.NONFINITE, Status.CONVERGED]
    assert torch.equal(whole[2][2], torch.zeros(5, 2).double())  # nothing held: a start gets none


def test_no_gradient_flows_through_a_measure_that_became_nan():
    start, _ = made(2)
    z = start.points.clone().requires_grad_()
    lost = torch.tensor([0.0, torch.nan])[:, None, None]
    found = equilibrium(
        lambda mu: mu.with_points(0.5 * mu.points + lost), Measure(z), held=HELD,
        on_failure="ignore",
    )  # fmt: skip
    found.measure.points.sum().backward()
    assert torch.equal(
        z.grad, torch.stack([HELD, ~HELD & HELD])[..., None].expand(2, 5, 2).double()
    )


def test_what_a_field_knows_in_parts_is_of_the_free_atoms():
    """Down the image held, and the jumps of lost atoms, which a held one is not."""
    target = Measure(torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64))
    mu = Measure(torch.tensor([[0.0], [50.0], [90.0]], dtype=torch.float64))
    flow = Flow(Descent(MMD(Gaussian(0.3))), lambda mu: target, held_at(torch.arange(3) == 1, mu))
    evaluation = flow(mu.with_points(mu.points + 0.1))
    assert evaluation.velocity[:, 0].nonzero().flatten().tolist() == [0]
    near = mu.with_points(mu.points / 50)
    wide = Flow(SMOOTH, lambda mu: target, held_at(torch.arange(3) == 1, near))(near)
    velocity, discrepancy = wide.held(near.points + torch.tensor([[0.0], [5.0], [0.0]]))
    assert discrepancy == wide.discrepancy  # the held atom is where it was
    assert velocity.flatten().nonzero().flatten().tolist() == [0, 2]
    jumped = evaluation.relocated().flatten().tolist()
    assert jumped[1] == 50
    assert jumped[2] < 3


def test_where_everything_is_held_there_is_nothing_to_do():
    start, theta = made(2)
    z = start.points.clone().requires_grad_()
    mu = Measure(z, start.weights, start.marks)
    for field in (Residual(), SMOOTH):
        found = equilibrium(pull(theta), mu, held=torch.ones(5, dtype=torch.bool), velocity=field)
        assert bool(found.converged.all())
        assert torch.equal(found.measure.points, start.points)
        assert torch.equal(
            torch.autograd.grad(found.measure.points.sum(), z)[0], z.new_ones(z.shape)
        )


def test_a_gradient_flow_with_held_atoms():
    """A spring between neighbours, its ends held: a straight line, which follows the ends."""

    def springs(mu: Measure) -> Tensor:
        return 0.5 * (mu.points[..., 1:, :] - mu.points[..., :-1, :]).square().sum((-2, -1))

    ends = torch.tensor([[-1.0, 0.0], [3.0, 2.0]], dtype=torch.float64, requires_grad=True)
    inner = torch.randn(3, 2, dtype=torch.float64)
    mu = Measure(torch.cat([ends[:1], inner, ends[1:]]))
    held = torch.tensor([True, False, False, False, True])
    found = gradient_flow(springs, mu, held=held, rtol=1e-10)
    t = torch.linspace(0, 1, 5).double()[:, None]
    torch.testing.assert_close(found.measure.points, ends[:1] * (1 - t) + ends[1:] * t)
    found.measure.points[1].sum().backward()
    torch.testing.assert_close(ends.grad, torch.tensor([[0.75] * 2, [0.25] * 2]).double())


def test_a_saddle_is_left_by_the_free_atoms():
    """Two atoms on one place under a target of two: pushed apart, but for the one that is held."""
    target = Measure(torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.float64))
    start = Measure(torch.zeros(3, 1, dtype=torch.float64))
    held = torch.tensor([True, False, False])
    smooth = Descent(lambda mu, nu: MMD(Gaussian(1.0))(mu, nu))  # which knows of no jumps
    found = equilibrium(
        lambda mu: target,
        start,
        held=held,
        velocity=smooth,
        rtol=1e-6,
        max_steps=500,
        trajectory=True,
    )
    assert int(found.probe_steps) > 0
    assert (found.trajectory[:, 0] == 0).all()
    torch.testing.assert_close(
        found.measure.points.sort(0).values, target.points, rtol=0, atol=1e-3
    )
    assert found.measure.points[0, 0] == 0


@pytest.mark.parametrize(
    ("held", "error", "word"),
    [
        (HELD.double(), TypeError, "boolean"),
        ([True] * 5, TypeError, "list"),
        (HELD[:3], ValueError, r"\(2, 5\)"),
        (HELD.expand(3, 5), ValueError, r"\(3, 5\)"),
        (torch.tensor(True), ValueError, r"\(\)"),
    ],
)
def test_what_is_no_mask_of_the_atoms_is_refused(held, error, word):
    start, theta = made(2)
    with pytest.raises(error, match=word):
        equilibrium(pull(theta), start, held=held)


def test_a_mask_may_be_an_array_and_shared():
    pytest.importorskip("numpy")
    start, theta = made(2)
    rows = HELD.numpy()
    found = equilibrium(pull(theta), start, held=rows).measure.points
    assert torch.equal(
        found, equilibrium(pull(theta), start, held=HELD.expand(2, 5)).measure.points
    )


def test_an_exported_solve_holds_them():
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("theta", torch.tensor([0.5, 0.8, -0.4], dtype=torch.float64))

        def forward(self, points: Tensor, marks: Tensor, held: Tensor) -> Tensor:
            with torch.no_grad():
                mu = Measure(points, marks=marks)
                solution = equilibrium(
                    pull(self.theta), mu, held=held, integrator=Euler(), max_steps=3
                )
                return solution.measure.points

    start, _ = made(2)
    inputs = (start.points, start.marks, HELD)
    program = torch.export.export(Model(), inputs, strict=False).module()
    other = (start.points + 1, start.marks, ~HELD)
    with torch.no_grad():
        for each in (inputs, other):
            expected = equilibrium(
                pull(torch.tensor([0.5, 0.8, -0.4]).double()), Measure(each[0], marks=each[1]),
                held=each[2], integrator=Euler(), max_steps=3, on_failure="ignore",
            )  # fmt: skip
            torch.testing.assert_close(program(*each), expected.measure.points)
