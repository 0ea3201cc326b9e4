"""Gradient flows of functionals: closed forms, laws, and the derivative of where they rest."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import wgf_solver
from wgf_solver import (
    GMRES,
    MMD,
    Adjoint,
    Anderson,
    DistanceTo,
    Energy,
    EquilibriumError,
    Euler,
    Functional,
    FunctionOf,
    Gaussian,
    Implicit,
    Interaction,
    Kernel,
    Measure,
    Phantom,
    Potential,
    SquaredDistance,
    Status,
    Unrolled,
    gradient_flow,
)
from wgf_solver.evaluation import completed

LAW = settings(max_examples=3, deadline=None, derandomize=True)
D = MMD(Gaussian(0.7) + Gaussian(2.0))


def bowl(z: Tensor) -> Tensor:
    """A potential, different along each axis, with its minimum at 0."""
    return (z.square() * torch.linspace(0.5, 1, z.shape[-1], dtype=z.dtype)).sum(-1)


def spread(mu: Measure) -> Tensor:
    return mu.spread().square()


@pytest.fixture
def nu() -> Measure:
    return Measure(torch.randn(7, 2).double(), torch.rand(7), torch.randn(7, 1).double())


@pytest.fixture
def mu() -> Measure:
    return Measure(torch.randn(3, 5, 2).double(), torch.rand(3, 5), torch.randn(5, 1).double())


def functionals(nu: Measure) -> dict[str, Functional]:
    return {
        "distance": DistanceTo(D, nu),
        "marked distance": DistanceTo(MMD(Gaussian(1.0) * Energy() + 0.5 * Gaussian(1.0)), nu),
        "potential": Potential(bowl),
        "kernel interaction": Interaction(Energy() + 2.0 * Gaussian(0.5)),
        "marked interaction": Interaction(Gaussian(1.0) * Gaussian(0.5)),
        "interaction of a function": Interaction(lambda x: x.square().sum(-1) + x[..., 0]),
        "sum": DistanceTo(D, nu) + 0.3 * Potential(bowl) - 0.1 * Interaction(Gaussian(1.0)),
        "with a plain function": spread + 2 * Potential(bowl),
        "barycentre": sum(
            share * DistanceTo(D, nu.with_points(shift + nu.points))
            for share, shift in [(0.25, 0.0), (0.75, 1.0)]
        ),
    }


NAMES = list(functionals(Measure(torch.zeros(1, 2))))
every = pytest.mark.parametrize("name", NAMES)


@every
def test_the_velocity_is_the_derivative_per_unit_of_mass(name, mu, nu):
    functional = functionals(nu)[name]
    z = mu.points.clone().requires_grad_()
    energy = functional(mu.with_points(z))
    assert energy.shape == (3,)
    (gradient,) = torch.autograd.grad(energy.sum(), z)
    for version in (functional, functional.prepared(mu)):
        with torch.no_grad():
            slope = version.slope(mu)
        assert not slope.velocity.requires_grad
        torch.testing.assert_close(slope.velocity, -gradient / mu.weights[..., None])
        torch.testing.assert_close(slope.discrepancy, energy.detach())
        assert completed(slope, mu).scale.shape == (3,)


@every
def test_velocities_are_differentiable(name, mu, nu):
    functional = functionals(nu)[name]
    one = Measure(mu.points[0, :3], mu.weights[0, :3], mu.marks[0, :3])

    def velocity(z: Tensor) -> Tensor:
        return functional.slope(one.with_points(z)).velocity

    assert torch.autograd.gradcheck(velocity, one.points.clone().requires_grad_())


@every
@LAW
@given(seed=st.integers(0, 1000), junk=st.sampled_from([float("nan"), 1e30]))
def test_permutation_padding_mass_and_batch(name, seed, junk):
    torch.manual_seed(seed)
    nu = Measure(torch.randn(4, 2).double(), marks=torch.randn(4, 1).double())
    mu = Measure(torch.randn(2, 4, 2).double(), torch.rand(2, 4) + 0.1, torch.randn(2, 4, 1))
    functional = functionals(nu)[name]
    options = {"integrator": Euler(0.1), "max_steps": 6, "on_failure": "ignore"}
    with torch.no_grad():
        expected = gradient_flow(functional, mu, **options)
    rows = torch.tensor([3, 1, 0, 2, 1])
    halved = mu.weights[:, rows].clone()
    halved[:, [1, 4]] /= 2
    pad = torch.full((2, 2, 2), junk).double()
    came = gradient_flow(
        functional,
        Measure(
            torch.cat([mu.points[:, rows], pad], 1),
            torch.cat([halved, torch.zeros(2, 2)], 1),
            torch.cat([mu.marks[:, rows], pad[..., :1]], 1),
        ),
        **options,
    )
    torch.testing.assert_close(came.measure.points[:, :5], expected.measure.points[:, rows])
    assert (came.measure.points[:, 5:] == 0).all()
    torch.testing.assert_close(came.energies, expected.energies)
    alone = gradient_flow(functional, Measure(mu.points[1], mu.weights[1], mu.marks[1]), **options)
    torch.testing.assert_close(alone.measure.points, expected.measure.points[1])
    torch.testing.assert_close(alone.energies, expected.energies[:, 1])


def test_a_quadratic_potential_in_closed_form(mu):
    # dz/dt = −a z: Euler's steps shrink by 1 − τ a, and the energy by its square.
    solution = gradient_flow(
        Potential(lambda z: 0.5 * 0.8 * z.square().sum(-1)), mu,
        integrator=Euler(0.5), max_steps=4, on_failure="ignore", trajectory=True,
    )  # fmt: skip
    shrunk = mu.points * 0.6 ** torch.arange(4)[:, None, None, None]
    torch.testing.assert_close(solution.trajectory, shrunk)
    energies = 0.4 * (mu.weights * shrunk.square().sum(-1)).sum(-1)
    torch.testing.assert_close(solution.energies, energies)
    torch.testing.assert_close(solution.discrepancy, energies[-1])
    assert (solution.status == Status.MAX_STEPS).all()


def test_an_interaction_with_confinement_in_closed_form():
    # ½ ∬ −½‖x−y‖² repels two atoms with half their distance, the bowl pulls back.
    functional = 2 * Interaction(SquaredDistance()) + Potential(lambda z: z.square().sum(-1))
    start = Measure(torch.tensor([[-1.0], [3.0]]).double())
    velocity = functional.slope(start).velocity
    torch.testing.assert_close(velocity, torch.tensor([[-4.0 + 2], [4.0 - 6]]).double())


def test_energies_fall_and_measures_rest_each_in_its_own_time(mu, nu):
    functional = DistanceTo(D, nu) + 0.2 * Potential(bowl)
    solution = gradient_flow(functional, mu, integrator=Euler(0.5), rtol=1e-3, max_steps=5000)
    assert solution.converged.all()
    assert len(set(solution.steps.tolist())) == 3
    assert len(solution.energies) == int(solution.steps.max())
    assert (solution.energies.diff(dim=0) <= 1e-14).all()
    torch.testing.assert_close(solution.discrepancy, functional(solution.measure))


def test_a_flow_to_a_target_of_as_many_atoms_arrives(nu):
    target = Measure(nu.points)
    start = target.with_points(target.points + 0.1 * torch.randn(7, 2))
    with torch.no_grad():
        solution = gradient_flow(
            DistanceTo(MMD(Gaussian(0.5)), target), start,
            integrator=Anderson(step=1.0, basin=1.0), rtol=1e-10, max_steps=2000,
        )  # fmt: skip
    torch.testing.assert_close(solution.measure.points, target.points, rtol=0, atol=1e-6)


def test_the_barycentre_of_two_copies_is_half_way():
    points = torch.randn(4, 2).double()
    one, other = Measure(points - 0.2), Measure(points + 0.2)
    functional = 0.5 * DistanceTo(MMD(SquaredDistance()), one) + 0.5 * DistanceTo(
        MMD(SquaredDistance()), other
    )
    solution = gradient_flow(functional, Measure(points + 3.0), rtol=1e-10)
    torch.testing.assert_close(solution.measure.mean(), points.mean(0))


def test_factors_may_differ_from_measure_to_measure(mu, nu):
    shares = torch.tensor([0.1, 0.5, 2.0]).double().requires_grad_()
    together = (DistanceTo(D, nu) * shares + Potential(bowl)).slope(mu)
    for i, share in enumerate(shares.tolist()):
        alone = (share * DistanceTo(D, nu) + Potential(bowl)).slope(mu)
        torch.testing.assert_close(together.velocity[i], alone.velocity[i])
        torch.testing.assert_close(together.discrepancy[i], alone.discrepancy[i])
        torch.testing.assert_close(together.scale[i], alone.scale[i])
    functional = shares * DistanceTo(D, nu)  # a tensor on the left leaves it to the functional
    assert torch.autograd.grad(functional(mu).sum(), shares)[0].shape == (3,)


def test_anderson_on_energies_below_zero(mu):
    functional = Potential(bowl) - 1e3 * FunctionOf(lambda m: m.weights.sum(-1))
    solution = gradient_flow(
        functional, mu, integrator=Anderson(step=0.5, basin=1e9), rtol=1e-10, max_steps=40
    )
    assert (solution.measure.points.abs() < 1e-8).all()


def test_nan_in_one_measure_changes_no_bit_of_the_others(mu, nu):
    functional = DistanceTo(D, nu) + 0.2 * Potential(bowl)
    options = {"integrator": Euler(0.5), "max_steps": 60, "rtol": 1e-3, "on_failure": "ignore"}
    fine = gradient_flow(functional, mu, **options)
    points = mu.points.clone()
    points[1, 2] = torch.nan
    broken = gradient_flow(functional, mu.with_points(points), **options)
    assert broken.status[1] == Status.NONFINITE
    assert (broken.energies[-1, 0] < broken.energies[0, 0]).all()
    for i in (0, 2):
        assert torch.equal(broken.measure.points[i], fine.measure.points[i])
        assert torch.equal(broken.energies[:, i], fine.energies[: len(broken.energies), i])


# -- the derivative of where it rests ------------------------------------------------------------


@pytest.fixture
def problem() -> tuple[Tensor, ...]:
    """Points and weights of a target, parameters of a potential, weights of the start."""
    return (
        torch.randn(3, 2).double(),
        torch.tensor([1.0, 2.0, 1.5]).double(),
        torch.tensor([0.9, 0.6]).double(),
        torch.tensor([1.0, 2.0, 1.0, 2.0]).double(),
    )


def solved(parameters: Sequence[Tensor], adjoint: Adjoint) -> Tensor:
    """A loss of where a flow comes to rest, for each of a batch of problems."""
    y, b, c, w = parameters
    functional = (
        DistanceTo(D, Measure(y, b))
        + Potential(lambda z: (c[..., None, :] * z.square()).sum(-1))
        + 0.2 * FunctionOf(lambda m: m.mean().cos().sum(-1))
    )
    start = torch.linspace(-2, 2, 8).double().sin().reshape(4, 2).expand(len(w), 4, 2)
    solution = gradient_flow(
        functional, Measure(start, w), integrator=Anderson(step=0.5, basin=1e9), adjoint=adjoint,
        rtol=1e-13, max_steps=3000, on_failure="raise",
    )  # fmt: skip
    slopes = torch.linspace(-1, 1, 8).double().reshape(4, 2)
    return (solution.measure.points.sin() * slopes).sum((-2, -1))


def gradients(problem: tuple[Tensor, ...], adjoint: Adjoint) -> list[Tensor]:
    leaves = [t.clone().requires_grad_() for t in problem]
    return list(torch.autograd.grad(solved([t[None] for t in leaves], adjoint).sum(), leaves))


EXACT = Implicit(GMRES(rtol=1e-12))


def test_the_implicit_gradient_against_central_differences(problem, differences):
    for i, gradient in enumerate(gradients(problem, EXACT)):

        def loss(batch: Tensor, i: int = i) -> Tensor:
            return solved(
                [
                    batch if j == i else t.expand(len(batch), *t.shape)
                    for j, t in enumerate(problem)
                ],
                EXACT,
            )

        expected = differences(loss, problem[i])
        assert (gradient - expected).norm() < 1e-6 * expected.norm()


@pytest.mark.parametrize("adjoint", [Unrolled(150), Phantom(150, 1.0, None)], ids=repr)
def test_other_adjoints_agree_with_it(problem, adjoint):
    for mine, exact in zip(gradients(problem, adjoint), gradients(problem, EXACT), strict=True):
        assert (mine - exact).norm() < 1e-5 * exact.norm()


def test_nothing_is_recorded_where_nothing_asks(mu, nu):
    options = {"max_steps": 2, "on_failure": "ignore"}
    assert not gradient_flow(DistanceTo(D, nu), mu, **options).measure.points.requires_grad
    wanting = Measure(nu.points.clone().requires_grad_())
    assert gradient_flow(DistanceTo(D, wanting), mu, **options).measure.points.requires_grad
    start = mu.with_points(mu.points.clone().requires_grad_())  # rests wherever it started
    assert not gradient_flow(DistanceTo(D, nu), start, **options).measure.points.requires_grad


# -- errors --------------------------------------------------------------------------------------


def test_a_phantom_of_the_map_is_refused_since_there_is_no_map(mu):
    nu = Measure(torch.zeros(2, 2).double().requires_grad_())
    with pytest.raises(TypeError, match="has no map"):
        gradient_flow(DistanceTo(D, nu), mu, adjoint=Phantom(), max_steps=2, on_failure="ignore")


@pytest.mark.parametrize(
    ("functional", "error", "message"),
    [
        (3.0, TypeError, "a functional is a value such as"),
        (Potential, TypeError, "a functional is a value such as"),
        (lambda mu: 1.0, TypeError, "one number for each measure; got float"),
        (lambda mu: mu.points.sum(-1), ValueError, r"here \(3,\); got \(3, 5\)"),
        (lambda mu: mu.weights.sum(-1) > 0, ValueError, "torch.bool"),
        (Potential(lambda z: z), ValueError, r"here \(3, 5\); it returned \(3, 5, 2\)"),
        (Interaction(lambda x: x), ValueError, r"here \(3, 5, 5\); it returned"),
        (DistanceTo(D, Measure(torch.zeros(2, 4, 2).double())), ValueError, "does not expand"),
        (DistanceTo(D, Measure(torch.zeros(4, 3).double())), ValueError, "dimension"),
    ],
)
def test_functionals_that_do_not_fit(functional, error, message, mu):
    with pytest.raises(error, match=message):
        gradient_flow(functional, mu)


def test_values_that_do_not_combine(nu):
    with pytest.raises(TypeError, match="DistanceTo takes a discrepancy"):
        DistanceTo(nu, D)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the target must be a Measure"):
        DistanceTo(D, nu.points)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Potential(bowl) + "D"  # type: ignore[operator]
    with pytest.raises(TypeError):
        Potential(bowl) * "D"  # type: ignore[operator]


def test_failure_is_loud(mu, nu):
    with pytest.raises(EquilibriumError, match="3 of 3 measures"):
        gradient_flow(DistanceTo(D, nu), mu, max_steps=1, on_failure="raise")
    with pytest.raises(ValueError, match="on_failure must be"):
        gradient_flow(DistanceTo(D, nu), mu, on_failure="maybe")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="integrator takes a value"):
        gradient_flow(DistanceTo(D, nu), mu, integrator=Euler)  # type: ignore[arg-type]


def test_the_callback_sees_every_step(mu):
    seen = []
    gradient_flow(
        Potential(bowl), mu, max_steps=3, on_failure="ignore", integrator=Euler(0.1),
        callback=lambda k, m, e: seen.append((k, m.points, e.discrepancy)),
    )  # fmt: skip
    assert [k for k, *_ in seen] == [1, 2, 3]
    assert torch.equal(seen[0][1], mu.points)
    torch.testing.assert_close(seen[0][2], Potential(bowl)(mu))


def test_the_docstring_example_runs():
    module = Path(wgf_solver.__file__).parent / "gradient_flow.py"
    command = [sys.executable, "-m", "doctest", "-o", "NORMALIZE_WHITESPACE", str(module)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_kernel_is_no_functional():
    assert isinstance(Energy(), Kernel)
    with pytest.raises(TypeError, match="a functional is a value such as"):
        gradient_flow(Energy(), Measure(torch.zeros(1, 1)))  # type: ignore[arg-type]


@pytest.mark.parametrize("every", [1, 7])
def test_energies_are_those_that_were_wanted_however_seldom_the_driver_looks(every):
    functional = Potential(lambda z: z.square().sum(-1))
    start = Measure(torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(0)))
    solution = gradient_flow(functional, start, integrator=Euler(0.2), check_every=every)
    assert len(solution.energies) == int(solution.steps.max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("strength", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize(("atoms", "width"), [(1, 0.0), (5, 0.0), (5, 1e-3)])
def test_a_minimum_far_from_a_small_cloud_is_reached(atoms, width, strength, dtype):
    # By no unit of the energy is the way, a million widths long, too far for the defaults.
    mu = Measure(width * torch.randn(atoms, 2, dtype=dtype))
    energy = Potential(lambda z: strength * (z - 1e3).square().sum(-1))
    solution = gradient_flow(energy, mu)
    assert solution.converged
    assert (solution.measure.points - 1e3).abs().max() < 1
    assert int(solution.steps) < 60
