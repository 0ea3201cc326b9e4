import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from wgf_solver import (
    Energy,
    Gaussian,
    InverseMultiquadric,
    Laplacian,
    Multiquadric,
    SquaredDistance,
)
from wgf_solver.kernels import by_mark, pairwise
from wgf_solver.kernels.pairwise import force, force_and_potential, potential

KERNELS = [
    Energy(),
    Energy(0.5),
    Energy(1.5),
    Gaussian(0.8),
    Laplacian(0.7),
    InverseMultiquadric(0.5),
    Multiquadric(0.5),
    SquaredDistance(),
    by_mark(0.5 * Gaussian(0.3) + 2 * Energy())[0][1],
]
SMOOTH = [Gaussian(0.8), InverseMultiquadric(0.5), Multiquadric(0.5), SquaredDistance()]


def clouds(*batch: int, n: int = 4, m: int = 3, d: int = 2) -> tuple[Tensor, ...]:
    shapes = ((*batch, n, d), (*batch, m, d), (*batch, m), (*batch, n, m))
    x, y, b, c = (torch.randn(shape, dtype=torch.float64) for shape in shapes)
    return x, y, b.abs(), c


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.parametrize("factors", [False, True])
def test_against_a_double_loop(kernel, factors):
    x, y, b, c = clouds()
    if not factors:
        c = None
    for i in range(4):
        energy, pull = torch.zeros((), dtype=x.dtype), torch.zeros(2, dtype=x.dtype)
        for j in range(3):
            r = torch.linalg.vector_norm(x[i] - y[j])
            weight = b[j] if c is None else b[j] * c[i, j]
            energy += weight * kernel.value(r)
            pull += weight * kernel.slope_ratio(r) * (x[i] - y[j])
        torch.testing.assert_close(potential(kernel, x, y, b, c)[i], energy)
        torch.testing.assert_close(force(kernel, x, y, b, c)[i], pull)


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.parametrize("d", [2, 10])
def test_one_pass_gives_the_same_forces_and_values(kernel, d):
    x, y, b, c = clouds(3, d=d)
    x.requires_grad_()
    forces, values = force_and_potential(kernel, x, y, b, c)
    torch.testing.assert_close(forces, force(kernel, x, y, b, c))
    torch.testing.assert_close(values, potential(kernel, x, y, b, c).detach())
    assert forces.requires_grad
    assert not values.requires_grad


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_hessian_vector_products_against_autograd_of_the_naive_formula(kernel):
    x, y, b, c = (t.requires_grad_() for t in clouds())

    def naive(x: Tensor, y: Tensor, b: Tensor, c: Tensor) -> Tensor:
        r = (x[:, None] - y[None]).square().sum(-1).sqrt()
        return (c * kernel.value(r)) @ b

    p, u = torch.randn(4, dtype=x.dtype), torch.randn(4, 2, dtype=x.dtype)
    inputs = (x, y, b, c)
    reference = torch.autograd.grad((naive(*inputs) * p).sum(), inputs, create_graph=True)
    ours = torch.autograd.grad((potential(kernel, *inputs) * p).sum(), inputs, create_graph=True)
    for mine, theirs in zip(ours, reference, strict=True):
        torch.testing.assert_close(mine, theirs)
    second = [
        torch.autograd.grad((g[0] * u).sum(), inputs, allow_unused=True, materialize_grads=True)
        for g in (ours, reference)
    ]
    for mine, theirs in zip(*second, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.parametrize("function", [potential, force])
def test_gradients_of_first_and_second_order(kernel, function):
    inputs = tuple(t.requires_grad_() for t in clouds(2, n=3, m=2))
    assert gradcheck(lambda *t: function(kernel, *t), inputs)
    assert gradgradcheck(lambda *t: function(kernel, *t), inputs)


@pytest.mark.parametrize("kernel", SMOOTH, ids=repr)
@pytest.mark.parametrize("function", [potential, force])
def test_gradients_of_smooth_kernels_where_points_meet(kernel, function):
    x, y, b, c = clouds()
    y[0] = x[0]
    inputs = tuple(t.requires_grad_() for t in (x, y, b, c))
    assert gradcheck(lambda *t: function(kernel, *t), inputs)
    assert gradgradcheck(lambda *t: function(kernel, *t), inputs)


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_coincident_points_exert_no_force_and_leave_every_derivative_finite(kernel):
    x = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    b = torch.ones(3, dtype=torch.float64)
    pull = force(kernel, x, x, b)
    assert torch.equal(pull, torch.zeros_like(pull))
    (first,) = torch.autograd.grad(pull.square().sum() + pull.sum(), x, create_graph=True)
    assert first.isfinite().all()
    (second,) = torch.autograd.grad(first.sum(), x, allow_unused=True, materialize_grads=True)
    assert second.isfinite().all()


@pytest.mark.parametrize("distance", [1e-4, 1e-12])
def test_the_energy_force_does_not_fade_between_near_points(distance):
    x = torch.zeros(1, 2)
    y = torch.tensor([[distance, 0.0]])
    torch.testing.assert_close(force(Energy(), x, y, torch.ones(1)), torch.tensor([[1.0, 0.0]]))


@pytest.mark.parametrize("d", [3, 10])
@pytest.mark.parametrize("factors", [False, True])
def test_tiles_change_no_result(monkeypatch, factors, d):
    inputs = clouds(2, n=7, m=5, d=d)
    if not factors:
        inputs = (*inputs[:3], None)
    asked = [t.requires_grad_() for t in inputs if t is not None]
    kernel = Energy(1.5)

    def everything() -> list[Tensor]:
        out = [potential(kernel, *inputs), force(kernel, *inputs)]
        torch.manual_seed(1)
        total = sum((t * torch.randn_like(t)).sum() for t in out)
        first = torch.autograd.grad(total, asked, create_graph=True)
        second = torch.autograd.grad(first[0].square().sum(), asked)
        return [*out, *first, *second]

    whole = everything()
    for bound in (1, 6, 20):  # single pairs; some rows and columns; single measures
        monkeypatch.setattr(pairwise, "_TILE_ELEMENTS", {"cpu": bound})
        for mine, theirs in zip(everything(), whole, strict=True):
            torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("d", [2, 9])  # coordinate by coordinate, and not
@pytest.mark.parametrize(("b", "n", "m"), [(2, 100, 50), (1, 5000, 3), (1, 3, 5000), (70, 4, 4)])
def test_tiles_cover_all_pairs_once_and_bound_memory(d, b, n, m):
    pairs = pairwise._Pairs(torch.zeros(b, n, d), torch.zeros(b, m, d))
    seen = torch.zeros(b, n, m)
    for part, rows, columns in pairs.tiles():
        seen[part, rows, columns] += 1
        size = seen[part, rows, columns].numel() * (d if d > 8 else 1)
        assert size <= pairwise._TILE_ELEMENTS["cpu"]
    assert (seen == 1).all()


@pytest.mark.parametrize("sizes", [(0, 3, 2), (3, 0, 2), (0, 0, 2), (3, 2, 0)])
@pytest.mark.parametrize("batch", [(), (2,), (0,)])
def test_nothing_to_sum(sizes, batch):
    n, m, d = sizes
    x, y, b = torch.randn(*batch, n, d), torch.randn(*batch, m, d), torch.ones(*batch, m)
    assert potential(Gaussian(1.0), x, y, b).shape == (*batch, n)
    assert force(Gaussian(1.0), x, y, b).shape == (*batch, n, d)
    if m == 0:
        assert force(Energy(), x, y, b).abs().sum() == 0
