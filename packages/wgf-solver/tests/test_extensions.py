"""What others write: each protocol by its least, and what was written for the version before."""

from dataclasses import dataclass

import pytest
import torch

from wgf_solver import Flow, Implicit, Measure, Phantom, Residual, equilibrium

F64 = torch.float64


def contraction(theta):
    return lambda mu: mu.with_points(0.5 * mu.points + theta)


def test_a_flow_is_its_field_at_its_map():
    mu, f = Measure(torch.randn(4, 2, dtype=F64)), contraction(1.0)
    flow = Flow(Residual(), f)
    assert torch.equal(flow(mu).velocity, Residual()(f, mu).velocity)
    assert not flow.descends
    with pytest.raises(TypeError, match="the flow of a functional has no map F"):
        Flow(Residual())(mu)


class AdjointOfBefore:
    """An adjoint as of 0.4, which takes the map and the field apart."""

    def attach(self, f, velocity, mu, usable, step):
        assert torch.equal(velocity(f, mu).image.points, f(mu).points)
        return Implicit().attach(Flow(velocity, f), mu, usable, step)


def test_an_adjoint_of_the_version_before_works_and_is_told():
    theta = torch.tensor(0.25, dtype=F64, requires_grad=True)
    start = Measure(torch.zeros(2, 1, dtype=F64))
    with pytest.warns(DeprecationWarning, match=r"write attach\(flow, mu, usable, step\)") as seen:
        solution = equilibrium(contraction(theta), start, adjoint=AdjointOfBefore())
    assert seen[0].filename == __file__
    (slope,) = torch.autograd.grad(solution.measure.points.mean(), theta)
    torch.testing.assert_close(slope, torch.tensor(2.0, dtype=F64))


@dataclass(frozen=True)
class Relabelled:
    """The residual of a map that returns the atoms in reverse order, by one who knows it."""

    picard = True
    descends = False

    def __call__(self, f, mu):
        return Residual()(lambda m: m.with_points(f(m).points.flip(-2)), mu)


def test_a_phantom_takes_the_steps_of_a_field_of_ones_own_that_are_the_map():
    theta = torch.tensor([[0.0], [1.0]], dtype=F64, requires_grad=True)
    start = Measure(torch.zeros(2, 1, dtype=F64))
    solution = equilibrium(
        lambda mu: contraction(theta)(mu).with_points(contraction(theta)(mu).points.flip(-2)),
        start, velocity=Relabelled(), adjoint=Phantom(),
    )  # fmt: skip
    torch.testing.assert_close(solution.measure.points, 2 * theta.detach(), rtol=1e-3, atol=1e-3)
    (slope,) = torch.autograd.grad(solution.measure.points[0, 0], theta)
    torch.testing.assert_close(slope, torch.tensor([[1.0], [0.0]], dtype=F64))
