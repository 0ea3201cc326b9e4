"""Solves in threads, as `torch.nn.DataParallel` runs them, in copies, and in other transforms."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from wgf_solver import MMD, Descent, Gaussian, Measure, Residual, equilibrium, gradient_flow


class Model(torch.nn.Module):
    """Linear maps around a solve whose map has the parameters."""

    def __init__(self, field) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(2, 2).double()
        self.field = field

    def forward(self, x: Tensor) -> Tensor:
        def f(mu: Measure) -> Measure:
            return mu.with_points((0.5 * self.inner(mu.points)).tanh() + x)

        return equilibrium(f, Measure(x), velocity=self.field, rtol=1e-6).measure.points


FIELDS = [Residual(), Descent(MMD(Gaussian(1.0)), "through")]


@pytest.mark.parametrize("field", FIELDS, ids=repr)
def test_replicas_in_threads_are_the_model_on_the_whole_batch(field):
    model, x = Model(field), torch.randn(6, 4, 2).double()
    whole = model(x)
    gradients = torch.autograd.grad(whole.square().sum(), list(model.parameters()))
    replicas = []
    for _ in range(3):  # as DataParallel makes them: parameters that are no leaves
        replica = copy.copy(model)
        replica._modules = {"inner": copy.copy(model.inner)}
        replica.inner._parameters = {}
        for name, parameter in model.inner.named_parameters():
            setattr(replica.inner, name, parameter * 1)
        replicas.append(replica)
    with ThreadPoolExecutor(3) as pool:
        parts = list(pool.map(lambda replica, rows: replica(rows), replicas, x.chunk(3)))
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-4, atol=1e-5)
    for part, rows in zip(parts, x.chunk(3), strict=True):
        assert torch.equal(part, model(rows))
    loss = sum(part.square().sum() for part in parts)
    for one, other in zip(
        torch.autograd.grad(loss, list(model.parameters())), gradients, strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)


def test_data_parallel_without_other_devices_is_the_model():
    model, x = Model(Residual()), torch.randn(3, 4, 2).double()
    assert torch.equal(torch.nn.DataParallel(model, device_ids=[])(x), model(x))


def test_a_copy_of_a_model_that_has_solved_is_on_its_own():
    model, x = Model(Residual()), torch.randn(2, 4, 2).double()
    model(x).sum().backward()
    clone = copy.deepcopy(model)
    assert torch.equal(clone(x), model(x))
    with torch.no_grad():
        clone.inner.bias += 0.1
    assert not torch.equal(clone(x), model(x))


@pytest.mark.parametrize("transform", ["vmap", "grad", "jacrev"])
def test_a_transform_of_torch_func_is_an_error_and_no_wrong_answer(transform):
    x = torch.randn(3, 4, 2).double()

    def solved(x: Tensor) -> Tensor:
        f = lambda mu: mu.with_points(0.5 * mu.points + x)  # noqa: E731
        return equilibrium(f, Measure(torch.zeros_like(x))).measure.points.sum((-2, -1))

    calls = {
        "vmap": lambda: torch.func.vmap(solved)(x),
        "grad": lambda: torch.func.grad(lambda x: solved(x).sum())(x),
        "jacrev": lambda: torch.func.jacrev(solved)(x),
    }
    with pytest.raises(RuntimeError, match="equilibrium cannot be transformed"):
        calls[transform]()


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("recording", [True, False])
def test_forward_mode_is_an_error_and_no_lost_tangent(recording):
    x = torch.randn(4, 2).double()
    with torch.autograd.forward_ad.dual_level(), torch.set_grad_enabled(recording):
        shift = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        with pytest.raises(NotImplementedError, match="backward pass alone"):
            equilibrium(lambda mu: mu.with_points(0.5 * mu.points + shift), Measure(2 * x))
        with pytest.raises(NotImplementedError, match="backward pass alone"):
            gradient_flow(
                lambda mu: (mu.weights * (mu.points - shift).square().sum(-1)).sum(-1), Measure(x)
            )
