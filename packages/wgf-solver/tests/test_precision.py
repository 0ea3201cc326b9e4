"""Devices, autocast, and maps that torch compiles."""

import pytest
import torch
from torch import nn

from wgf_solver import (
    GMRES,
    MMD,
    AdjointWarning,
    Anderson,
    Descent,
    Energy,
    Euler,
    Flow,
    Gaussian,
    Implicit,
    Measure,
    Phantom,
    Residual,
    equilibrium,
)
from wgf_solver.driving.iteration import Iteration
from wgf_solver.driving.options import Options

FIELDS = [Residual(), Descent(MMD(Energy()), "frozen"), Descent(MMD(Gaussian(1.0)), "through")]

recorded = pytest.mark.skipif(
    torch.__version__ < (2, 6), reason="this PyTorch keeps no record of the precision of a graph"
)


def cell(dim: int = 8) -> nn.Module:
    """A small contraction."""
    return nn.Sequential(nn.Linear(dim, 16), nn.Tanh(), nn.Linear(16, dim))


@pytest.mark.parametrize("field", FIELDS, ids=repr)
@pytest.mark.parametrize("integrator", [Euler(), Anderson()], ids=repr)
def test_no_tensor_leaves_the_device_nor_looks_at_values(field, integrator):
    # On the meta device there are no values; a look at one, or a tensor made elsewhere, raises.
    points = torch.randn(2, 5, 8, device="meta")
    mu0 = Measure(points, torch.rand(2, 5, device="meta"), torch.rand(5, 3, device="meta"))
    net = cell().to("meta")
    flow = Flow(field, lambda mu: mu.with_points(net(mu.points)))
    iteration = Iteration(flow, mu0.zero_padding(), integrator, Options(rtol=1e-3), watch=True)
    with torch.no_grad():
        for _ in range(3):
            iteration.evaluate()
            iteration.step()
        solution = iteration.solution()
    for tensor in (solution.measure.points, solution.residual, solution.steps, solution.status):
        assert tensor.device.type == "meta"
    assert iteration.depends_on_something
    assert mu0.mean().device.type == mu0.spread().device.type == "meta"


@pytest.mark.parametrize("adjoint", [Phantom(2), Implicit()], ids=repr)
def test_adjoints_attach_on_the_device(adjoint):
    net = cell().to("meta")
    mu = Measure(torch.randn(2, 5, 8, device="meta"))
    flow = Flow(Residual(), lambda mu: mu.with_points(net(mu.points)))
    points, _ = adjoint.attach(flow, mu, torch.ones(2, dtype=torch.bool, device="meta"), 1.0)
    assert points.device.type == "meta"
    assert points.requires_grad


@pytest.mark.parametrize("field", FIELDS[:2], ids=repr)
def test_a_map_under_autocast(field):
    net, mu0 = cell(), Measure(torch.randn(3, 5, 8))

    def f(mu: Measure) -> Measure:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return mu.with_points(0.5 * net(mu.points))

    # Few steps: eight bits of the map are no descent, which would try all that it may.
    solution = equilibrium(f, mu0, velocity=field, rtol=1e-2, max_steps=20, on_failure="ignore")
    assert solution.measure.points.dtype == torch.float32
    assert solution.residual.dtype == torch.float32


@recorded
def test_a_map_in_half_precision_has_the_tolerance_of_half_precision():
    net, mu0 = cell(), Measure(torch.randn(3, 5, 8))

    def f(mu: Measure) -> Measure:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return mu.with_points(0.3 * net(mu.points).float())

    solution = equilibrium(f, mu0, rtol=1e-2)
    solution.measure.points.square().sum().backward()  # warnings are errors
    assert (solution.adjoint.residual > 1e-4).any()
    assert (solution.adjoint.residual <= 3e-2).all()
    strict = equilibrium(f, mu0, rtol=1e-2, adjoint=Implicit(GMRES(rtol=1e-6)))
    with pytest.warns(AdjointWarning, match="computes in torch.bfloat16.*in float32"):
        strict.measure.points.square().sum().backward()


@recorded
def test_autocast_around_the_solver_reaches_the_map_alone():
    net = cell()
    far = Measure(torch.randn(3, 5, 8) + 50)
    seen = []

    def f(mu: Measure) -> Measure:
        hidden = net(mu.points - 50)
        seen.append(hidden.dtype)
        return mu.with_points(hidden.float() * 0.5 + 50)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        solution = equilibrium(f, far, rtol=1e-2)
        solution.measure.points.sum().backward()
        value = MMD(Energy())(far, f(far))
    assert set(seen) == {torch.bfloat16}
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, MMD(Energy())(far, f(far)), rtol=1e-2, atol=0)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    with torch.no_grad():
        exact = equilibrium(f, far, rtol=1e-5)
    torch.testing.assert_close(solution.measure.points, exact.measure.points, atol=2e-2, rtol=0)


def test_mmd_under_autocast_is_what_it_is_without():
    mu, nu = Measure(torch.randn(6, 3)), Measure(torch.randn(5, 3), torch.rand(5))
    distance = MMD(Gaussian(0.5) + Energy())
    z = mu.points.clone().requires_grad_()

    def everything() -> list[torch.Tensor]:
        value = distance(mu.with_points(z), nu)
        (gradient,) = torch.autograd.grad(value, z, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), z)
        return [value, gradient, second, *distance.pull(mu, nu)[:3]]

    expected = everything()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        came = everything()
    for mine, theirs in zip(came, expected, strict=True):
        assert torch.equal(mine, theirs)


def test_a_map_that_returns_a_measure_of_lower_precision_keeps_its_mass():
    mu0 = Measure(torch.randn(7, 2))

    def doubled(mu: Measure) -> Measure:
        low = mu.to(dtype=torch.bfloat16)
        weights = torch.cat([low.weights, low.weights], -1)
        return Measure(torch.cat([low.points / 2, low.points / 2 + 1], -2), weights)

    image = Descent(MMD(Energy()))(doubled, mu0).image
    assert image.points.dtype == image.weights.dtype == torch.float32
    torch.testing.assert_close(image.weights.sum(), torch.tensor(1.0))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("field", FIELDS, ids=repr)
def test_a_gpu_agrees_with_the_cpu(field):
    net = cell().double()
    mu0 = Measure(torch.randn(4, 5, 8).double(), torch.rand(4, 5))

    def solved(device: str) -> tuple[torch.Tensor, torch.Tensor]:
        net.to(device).zero_grad()
        solution = equilibrium(
            lambda mu: mu.with_points(0.5 * net(mu.points)), mu0.to(device), velocity=field,
            integrator=Euler(0.3), max_steps=30, on_failure="ignore", adjoint=Phantom(),
        )  # fmt: skip
        solution.measure.points.square().sum().backward()
        return solution.measure.points.detach().cpu(), net[0].weight.grad.cpu()

    for mine, theirs in zip(solved("cuda"), solved("cpu"), strict=True):
        torch.testing.assert_close(mine, theirs)
