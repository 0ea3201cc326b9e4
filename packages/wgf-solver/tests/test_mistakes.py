"""What people do by mistake, and what must not go unnoticed."""

import copy
import pickle
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from wgf_solver import (
    LBFGS,
    MMD,
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
    InverseMultiquadric,
    Laplacian,
    Measure,
    Multiquadric,
    NoiseInjection,
    Potential,
    RadialKernel,
    Residual,
    Sinkhorn,
    SlicedMMD,
    SlicedWasserstein,
    Unrolled,
    Wasserstein,
    equilibrium,
    gradient_flow,
)


def half(mu: Measure) -> Measure:
    return mu.with_points(0.5 * mu.points + 1)


@pytest.mark.parametrize(
    "field", [Residual(), Descent(MMD(Gaussian(1.0)))], ids=["residual", "frozen"]
)
@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("slices", [(...,), (..., 0)])
def test_a_map_that_writes_in_place_gets_copies_and_says_so(field, tracked, slices):
    factor = torch.tensor(0.5, requires_grad=True)

    def f(mu: Measure) -> Measure:
        mu.points[slices] *= 0.5
        mu.points[slices] += 1
        return mu.with_points(mu.points * (2 * factor.detach()))

    z = torch.zeros(4, 1)
    options = {
        "velocity": field,
        "integrator": Euler(1.0),
        "max_steps": 100,
        "on_failure": "ignore",
    }
    with torch.set_grad_enabled(tracked), pytest.warns(UserWarning, match=r"mu\.with_points"):
        solution = equilibrium(f, Measure(z), **options)
    assert torch.equal(z, torch.zeros(4, 1))
    torch.testing.assert_close(
        solution.measure.points, equilibrium(half, Measure(z), **options).measure.points
    )


@pytest.mark.parametrize("tracked", [True, False])
def test_a_map_that_writes_into_labels_gets_copies_too_and_spoils_none(tracked):
    mu = Measure(torch.zeros(4, 1), torch.tensor([1.0, 2, 3, 4]), torch.ones(4, 1))
    before = mu.weights.clone()

    def spoils(m: Measure) -> Measure:
        shift = m.marks.mul_(0.5)
        kept = m.weights.clone()
        m.weights.zero_()
        return Measure(0.5 * m.points + shift, kept)

    with torch.set_grad_enabled(tracked), pytest.warns(UserWarning, match="copies"):
        solution = equilibrium(spoils, mu)
    assert torch.equal(mu.marks, torch.ones(4, 1))
    assert torch.equal(mu.weights, before)
    torch.testing.assert_close(solution.measure.points, torch.ones(4, 1), rtol=1e-3, atol=1e-3)


def test_a_write_beside_a_solve_is_an_error():
    mu = Measure(torch.zeros(4, 1), marks=torch.ones(4, 1))
    with pytest.raises(ValueError, match="wrote into the measure"):
        Residual()(lambda m: m.with_points(m.points.mul_(0.5)), mu)


@pytest.mark.parametrize("tracked", [True, False])
def test_a_map_that_returns_a_tensor(tracked):
    with torch.set_grad_enabled(tracked), pytest.raises(TypeError, match=r"return mu\.with_points"):
        equilibrium(lambda mu: mu.points, Measure(torch.zeros(3, 2)))


def test_names_instead_of_values():
    mu = Measure(torch.zeros(3, 2))
    for name, text in (
        ("velocity", r"velocity takes a value such as Residual\(\).*got 'mmd'"),
        ("integrator", r"integrator takes a value such as Anderson\(\).*got 'mmd'"),
        ("adjoint", r"adjoint takes a value such as Implicit\(\).*got 'mmd'"),
    ):
        with pytest.raises(TypeError, match=text):
            equilibrium(half, mu, **{name: "mmd"})
    with pytest.raises(TypeError, match="F must be a function"):
        equilibrium(mu, mu)
    for D in (MMD(Energy()), SlicedMMD(), SlicedWasserstein(), Sinkhorn(0.1)):
        with pytest.raises(TypeError, match=r"compares measures; got Tensor.*Measure\(points\)"):
            D(mu.points, mu.points)
    with pytest.raises(TypeError, match=r"MMD\(Energy\(\)\)\(mu, nu\)"):
        MMD(mu.points)


def test_numpy_arrays_are_accepted_where_tensors_are():
    numpy = pytest.importorskip("numpy")
    clouds = [numpy.ones((2, 3)), numpy.zeros((1, 3))]
    mu = Measure.from_ragged(clouds, [numpy.ones(2), numpy.ones(1)], clouds)
    assert mu.weights.tolist() == [[0.5, 0.5], [1.0, 0.0]]
    points = numpy.arange(6.0).reshape(3, 2)
    one = Measure(points, numpy.array([1, 1, 2]), marks=points)
    assert one.points.tolist() == points.tolist()
    assert one.weights.tolist() == [0.25, 0.25, 0.5]
    points.flags.writeable = False
    assert Measure(points).points.dtype == torch.float64
    for bad in ([[1.0], 2.0], ["a"]):
        with pytest.raises(TypeError, match="from_ragged takes tensors or NumPy arrays; got"):
            Measure.from_ragged(bad)
    with pytest.raises(ValueError, match=r"from_ragged\(\[points\]\)"):
        Measure.from_ragged(torch.zeros(3, 2))


def test_a_map_that_changes_weights_is_refused_where_weights_are_held():
    mu, other = Measure(torch.randn(2, 2)), torch.tensor([0.3, 0.7])
    with pytest.raises(ValueError, match=r"returned other weights, by up to 2\.0e-01"):
        equilibrium(lambda m: Measure(0.5 * m.points, other), mu)
    same = equilibrium(lambda m: Measure(0.5 * m.points, 3 * m.weights), mu)
    assert same.converged
    meta = Measure(torch.zeros(2, 2, device="meta"))
    image = Measure(meta.points, torch.ones(2, device="meta"))
    assert Residual()(lambda m: image, meta).velocity.device.type == "meta"


@pytest.mark.parametrize(
    "build",
    [
        Gaussian, Laplacian, InverseMultiquadric, Multiquadric, Energy, Sinkhorn, Wasserstein,
        lambda b: b * Gaussian(1.0), lambda b: MMD(Scaled(b)),
    ],
)  # fmt: skip
def test_constants_refuse_what_wants_a_gradient_that_it_would_not_get(build):
    with pytest.raises(TypeError, match="gradient"):
        build(nn.Parameter(torch.tensor(1.0)))
    build(torch.tensor(1.0))
    assert Gaussian(torch.tensor(2.0)) == Gaussian(2.0)
    with pytest.raises(TypeError, match="takes a number as its bandwidth; got 'wide'"):
        Gaussian("wide")


@dataclass(frozen=True, eq=False)
class Scaled(RadialKernel):
    factor: torch.Tensor

    def value(self, r):
        return -self.factor * r

    def slope_ratio(self, r):
        return -self.factor / r

    def curvature(self, r):
        return 0 * r


class Pulled:
    """A field with a parameter of its own: v = a (F(Z) − Z) + b."""

    descends = False

    def __init__(self) -> None:
        self.layer = nn.Linear(1, 1).double()

    def __call__(self, f, mu) -> Evaluation:
        evaluation = Residual()(f, mu)
        return evaluation._replace(velocity=evaluation.velocity + self.layer.bias)


def test_parameters_of_a_field_get_their_gradient():
    field = Pulled()  # 0.5 z + 1 + b = z: z = 2 (1 + b)
    solution = equilibrium(half, Measure(torch.zeros(3, 1).double()), velocity=field)
    solution.measure.points.sum().backward()
    torch.testing.assert_close(field.layer.bias.grad, torch.tensor([6.0]).double())


def bowl(z):
    return (z - 3).square().sum(-1)


def test_inference_mode_and_no_grad_have_the_values_of_a_plain_solve():
    x = torch.randn(4, 2).double()
    solves = {
        "fixed point": lambda m: equilibrium(half, m),
        "through": lambda m: equilibrium(half, m, velocity=Descent(MMD(Gaussian(1.0)), "through")),
        "flow": lambda m: gradient_flow(Potential(bowl), m),
        "function": lambda m: gradient_flow(lambda mu: bowl(mu.points).sum(-1), m),
        "noise": lambda m: equilibrium(half, m, integrator=NoiseInjection(Euler(0.5), 0.1, 3)),
    }
    for solve in solves.values():
        plain = solve(Measure(x))
        assert plain.converged
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                there = solve(Measure(x.clone()))
                assert there.measure.points.isfinite().all()
            assert torch.equal(there.measure.points, plain.measure.points)
            assert torch.equal(there.steps, plain.steps)
    with torch.inference_mode(), pytest.raises(RuntimeError, match=r"torch\.no_grad"):
        Potential(bowl).slope(Measure(x))


def test_a_functional_that_hides_its_points_from_autograd():
    mu = Measure(torch.randn(4, 2))
    for hidden in (
        lambda m: m.points.detach().square().sum((-2, -1)),
        lambda m: torch.tensor(float(m.points.detach().square().sum())),
    ):
        with pytest.raises(ValueError, match="must lead back to the points"):
            gradient_flow(hidden, mu)
    assert gradient_flow(lambda m: m.weights.sum(-1), mu).converged  # a constant


def test_copies_and_pickles_are_what_they_copy():
    mu = Measure(torch.randn(2, 3, 2), torch.rand(3), torch.randn(2, 3, 1))
    solution = equilibrium(half, mu)
    for clone in (copy.deepcopy(solution), pickle.loads(pickle.dumps(solution))):
        assert torch.equal(clone.measure.points, solution.measure.points)
        assert clone.message(1) == solution.message(1)
        assert torch.equal(clone.measure.mask, mu.mask)
    for value in (Descent(MMD(Gaussian(1.0))), Sinkhorn(0.1), Implicit()):
        assert copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value


def test_transforms_of_torch_func_are_right_or_an_error():
    x = torch.randn(5, 4, 2).double()
    with pytest.raises(RuntimeError):
        torch.func.vmap(lambda p: equilibrium(half, Measure(p)).measure.points)(x)


def test_everything_names_its_device():
    mu, nu = Measure(torch.randn(5, 4)), Measure(torch.randn(6, 4))
    distances = [
        SlicedMMD(8, seed=123),
        SlicedWasserstein(8, seed=124),
        MMD(Energy()),
        Sinkhorn(0.5),
    ]
    values = []
    for device in ("meta", "cpu"):  # meta first: what is cached must not be poisoned
        with torch.device(device):
            values.append([D(mu, nu) for D in distances])
            options = {"velocity": Descent(MMD(Gaussian(1.0))), "rtol": 0.1}
            noisy = NoiseInjection(Euler(0.5), 0.1, 3)
            values[-1].append(equilibrium(half, mu, **options).measure.points)
            values[-1].append(equilibrium(half, mu, integrator=noisy).measure.points)
    for mine, theirs in zip(*values, strict=True):
        assert torch.equal(mine, theirs)


def test_an_error_of_a_transform_within_the_map_is_its_own():
    def f(mu: Measure) -> Measure:
        return mu.with_points(torch.vmap(lambda z: z * z.sum().item())(mu.points))

    with pytest.raises(RuntimeError, match=r"\.item\(\)"):
        equilibrium(f, Measure(torch.zeros(2, 1)))


def test_a_tensor_from_inference_mode_that_autograd_needs_is_named():
    with torch.inference_mode():
        factor = torch.full((2, 1), 0.5)

    def f(mu: Measure) -> Measure:
        return mu.with_points(torch.cos(mu.points * factor))

    field = Descent(MMD(Gaussian(1.0)), "through")
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"take torch\.no_grad\(\) there"):
        equilibrium(f, Measure(torch.zeros(2, 1)), velocity=field)


def test_numbers_that_are_none_and_types_that_do_not_fit_are_said():
    for make in (LBFGS, BarzilaiBorwein, Anderson, lambda step: Unrolled(3, step)):
        with pytest.raises(TypeError, match="takes a number as its step"):
            make(step=GeometricDecay(1.0, 0.9))
        with pytest.raises(ValueError, match="step must be positive"):
            make(step=-1.0)
    with pytest.raises(TypeError, match="takes a number as its p"):
        SlicedWasserstein(p=torch.nn.Identity())
    with pytest.raises(TypeError, match="wants one"):
        SlicedWasserstein(p=torch.ones((), requires_grad=True))
    mu = Measure(torch.randn(4, 2))
    with pytest.raises(ValueError, match="one floating-point type"):
        gradient_flow(DistanceTo(MMD(Multiquadric(0.1)), Measure(torch.randn(4, 2).double())), mu)


def test_a_factor_of_a_functional_is_of_the_measure_or_refused():
    bowl = Potential(lambda z: z.square().sum(-1))
    mu = Measure(torch.randn(4, 2))
    exact = gradient_flow(2.0 * bowl, mu).measure.points
    double = gradient_flow(torch.tensor(2.0).double() * bowl, mu).measure.points
    assert double.dtype == torch.float32
    torch.testing.assert_close(double, exact)
    with pytest.raises(ValueError, match="one for each measure"):
        gradient_flow(torch.ones(3) * bowl, mu)
    with pytest.raises(ValueError, match="one for each measure"):
        (torch.ones(2) * bowl)(Measure(torch.randn(3, 4, 2)))


def test_the_number_of_a_measure_is_one_of_them():
    mu = Measure(torch.randn(2, 3, 4, 1))
    solution = equilibrium(lambda mu: mu.with_points(0.5 * mu.points), mu)
    assert solution.message(5) == solution.message((1, 2)) == solution.message(-1)
    for index in (6, -7):
        with pytest.raises(IndexError, match="0 to 5"):
            solution.message(index)
