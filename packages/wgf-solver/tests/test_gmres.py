from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from wgf_solver import GMRES, LinearStatus


def product(matrix: Tensor, n: int) -> Callable[[Tensor], Tensor]:
    """``u ↦ A u`` on tensors ``(..., n, d)`` for ``A (..., nd, nd)``."""
    return lambda u: (matrix @ u.flatten(-2)[..., None])[..., 0].unflatten(-1, (n, -1))


def systems(*batch: int, n: int = 5, d: int = 4) -> tuple[Tensor, Tensor]:
    """Nonsymmetric, well conditioned, different for each measure."""
    size = n * d
    noise = torch.randn(*batch, size, size, dtype=torch.float64) / size**0.5
    return torch.eye(size, dtype=torch.float64) - 0.6 * noise, torch.randn(*batch, n, d).double()


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
@pytest.mark.parametrize("restart", [30, 7])
def test_against_a_dense_solve(batch, restart):
    a, b = systems(*batch)
    result = GMRES(rtol=1e-12, restart=restart, max_steps=400).solve(product(a, 5), b)
    dense = torch.linalg.solve(a, b.flatten(-2)[..., None])[..., 0].unflatten(-1, (5, 4))
    assert (result.status == LinearStatus.CONVERGED).all()
    error = (result.solution - dense).flatten(-2).norm(dim=-1) / dense.flatten(-2).norm(dim=-1)
    assert (error < 1e-9).all()
    assert result.residual.shape == result.steps.shape == torch.Size(batch)
    assert (result.residual <= 1e-12).all()


def test_products_are_counted_and_tell_what_they_cost():
    a, b = systems()
    calls = []
    apply = product(a, 5)
    result = GMRES(rtol=1e-12).solve(lambda u: calls.append(1) or apply(u), b)
    assert len(calls) == int(result.steps) <= 22  # at most the dimension, and the residual


def test_a_measure_is_not_influenced_by_its_neighbours():
    # Easy, zero, singular and inconsistent, never solvable (NaN), slow.
    torch.manual_seed(3)
    a, b = systems(5)
    a[0] = 2 * torch.eye(20)
    b[1] = 0
    a[2, 0] = 0
    a[3, 4, 4] = torch.nan
    a[4] = torch.diag(torch.linspace(1e-3, 1, 20).double())
    solver = GMRES(rtol=1e-10, restart=10, max_steps=30)
    together = solver.solve(product(a, 5), b)
    assert [LinearStatus(s).name for s in together.status.tolist()] == [
        "CONVERGED",
        "CONVERGED",
        "STAGNATED",
        "NONFINITE",
        "MAX_STEPS",
    ]
    assert together.steps.tolist()[:2] == [2, 0]
    assert together.residual[1] == 0
    assert torch.equal(together.solution[1], torch.zeros(5, 4).double())
    assert together.solution.isfinite().all()
    # Neighbours that take longer or fail change no bit.
    healthy, right = a.clone(), b.clone()
    healthy[1:] = torch.eye(20) * 3
    alone = solver.solve(product(healthy, 5), right)
    for mine, theirs in zip(alone, together, strict=True):
        assert torch.equal(mine[0], theirs[0])


def test_the_true_residual_is_reported():
    a, b = systems(3)
    result = GMRES(rtol=1e-14, restart=4, max_steps=7).solve(product(a, 5), b)
    left = (b - product(a, 5)(result.solution)).flatten(-2).norm(dim=-1)
    torch.testing.assert_close(result.residual, left / b.flatten(-2).norm(dim=-1))
    assert (result.status == LinearStatus.MAX_STEPS).all()
    assert (result.steps == 7).all()


def test_stagnation_is_noticed():
    # The cyclic shift: GMRES(m) makes no progress at all before m is the dimension.
    a = torch.roll(torch.eye(12, dtype=torch.float64), 1, 0)
    b = torch.zeros(4, 3, dtype=torch.float64)
    b[0, 0] = 1
    stuck = GMRES(restart=5, max_steps=1000).solve(product(a, 4), b)
    assert stuck.status == LinearStatus.STAGNATED
    assert stuck.steps == 6
    assert stuck.residual == 1
    whole = GMRES(restart=12).solve(product(a, 4), b)
    assert whole.status == LinearStatus.CONVERGED
    torch.testing.assert_close(whole.solution.flatten(), torch.eye(12).double()[11])


def test_nilpotent_and_zero_operators_break_down_without_nan():
    b = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    for a in (torch.tensor([[0.0, 1.0], [0.0, 0.0]]).double(), torch.zeros(2, 2).double()):
        result = GMRES().solve(product(a, 1), b)
        assert result.status == LinearStatus.STAGNATED
        assert torch.equal(result.solution, torch.zeros_like(b))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_right_hand_side_that_is_not_finite_has_no_solution(bad):
    a, b = systems(2)
    b[1, 0, 0] = bad
    result = GMRES().solve(product(a, 5), b)
    assert result.status.tolist() == [LinearStatus.CONVERGED, LinearStatus.NONFINITE]
    assert result.residual[1] == torch.inf


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12])
def test_the_tolerance_is_relative(scale):
    a, b = systems(2)
    result = GMRES().solve(product(a, 5), scale * b)
    assert (result.status == LinearStatus.CONVERGED).all()
    torch.testing.assert_close(result.solution / scale, GMRES().solve(product(a, 5), b).solution)
    a, b = a.float(), b.float()  # squares of 1e-30 are 0 in float32
    result = GMRES().solve(product(a, 5), scale * b)
    assert (result.status == LinearStatus.CONVERGED).all()
    assert (result.steps > 0).all()
    torch.testing.assert_close(result.solution / scale, GMRES().solve(product(a, 5), b).solution)


def test_float32():
    a, b = systems(3)
    result = GMRES().solve(product(a.float(), 5), b.float())
    assert result.solution.dtype == torch.float32
    assert (result.status == LinearStatus.CONVERGED).all()
    assert (result.residual <= 1e-4).all()


@pytest.mark.parametrize(
    "arguments", [{"restart": 0}, {"max_steps": 1}, {"rtol": 0.0}, {"rtol": float("nan")}]
)
def test_arguments_out_of_range(arguments):
    with pytest.raises(ValueError, match="must be"):
        GMRES(**arguments)


def test_a_warm_start_saves_products_and_a_bad_one_does_no_harm():
    a, b = systems(4)
    solver = GMRES(rtol=1e-10)
    cold = solver.solve(product(a, 5), b)
    start = cold.solution * torch.tensor([1.0, -1e-20, 1.0, 1.0]).double()[:, None, None]
    start[2] += 1e-3 * torch.randn(5, 4)  # near; the length of the others does not matter
    start[3] = torch.randn(5, 4)  # far
    warm = solver.solve(product(a, 5), b, start=start)
    assert (warm.status == LinearStatus.CONVERGED).all()
    assert warm.steps[:2].tolist() == [1, 1]
    assert warm.steps[2] < cold.steps[2]
    assert warm.steps[3] <= cold.steps[3] + 1
    left = (b - product(a, 5)(warm.solution)).flatten(-2).norm(dim=-1)
    assert (left <= 1e-10 * b.flatten(-2).norm(dim=-1)).all()


@pytest.mark.parametrize("junk", [0.0, float("nan"), float("inf")])
def test_a_start_that_says_nothing_is_a_cold_start(junk):
    a, b = systems(2)
    start = torch.zeros_like(b)
    start[0] = junk
    cold, warm = GMRES().solve(product(a, 5), b), GMRES().solve(product(a, 5), b, start=start)
    assert torch.equal(warm.solution, cold.solution)
    assert torch.equal(warm.steps, cold.steps + 1)
    nothing = GMRES().solve(product(a, 5), torch.zeros_like(b), start=b)
    assert torch.equal(nothing.solution, torch.zeros_like(b))
    assert (nothing.residual == 0).all()


def test_the_default_tolerance_is_that_of_the_products():
    a, b = systems(3)
    reached = [
        GMRES().solve(product(a.to(dtype), 5), b.to(dtype), precision=precision).residual.max()
        for dtype, precision in [
            (torch.float64, None),
            (torch.float32, None),
            (torch.float32, torch.float16),
            (torch.float32, torch.bfloat16),
        ]
    ]
    for residual, rtol in zip(reached, [1e-10, 1e-4, 1e-2, 3e-2], strict=True):
        assert rtol / 100 < residual <= rtol
    assert GMRES(rtol=1e-3).tolerance(torch.bfloat16) == 1e-3


def test_a_preconditioner_saves_products_and_changes_no_solution():
    # A = D + N with D over six decades: without a preconditioner the Krylov space must be whole.
    size = 40
    d = torch.logspace(0, 6, size, dtype=torch.float64)
    a = torch.diag(d) + 0.1 * torch.randn(3, size, size, dtype=torch.float64)
    b = torch.randn(3, 8, 5, dtype=torch.float64)
    solver = GMRES(rtol=1e-10, restart=60, max_steps=200)
    plain = solver.solve(product(a, 8), b)
    sizes = []

    def inverse(u: Tensor) -> Tensor:
        sizes.append(u.shape)
        return u / d.unflatten(0, (8, 5))

    quick = solver.solve(product(a, 8), b, preconditioner=inverse)
    dense = torch.linalg.solve(a, b.flatten(-2)[..., None])[..., 0].unflatten(-1, (8, 5))
    torch.testing.assert_close(quick.solution, dense, rtol=1e-6, atol=1e-9)
    assert (quick.status == LinearStatus.CONVERGED).all()
    assert (3 * quick.steps < plain.steps).all()
    assert set(sizes) == {b.shape}
    left = (b - product(a, 8)(quick.solution)).flatten(-2).norm(dim=-1) / b.flatten(-2).norm(dim=-1)
    torch.testing.assert_close(quick.residual, left, rtol=1e-3, atol=1e-15)
    again = solver.solve(product(a, 8), b, start=quick.solution, preconditioner=inverse)
    assert (again.steps == 1).all()
