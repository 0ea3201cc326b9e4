"""`torch.compile` of a model gives what the model gives."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from ddeq_models import PRESETS, DDEQConfig
from ddeq_models.models.base import build_model

SMALL = DDEQConfig(
    particles=3, dim=8, heads=2, hidden=8, bilinear_dim=4, encoder="moments", pooled=8,
    self_blocks=0, max_steps=12, adjoint="implicit",
)  # fmt: skip


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def clouds() -> tuple[torch.Tensor, torch.Tensor]:
    points = torch.randn(3, 12, 2, generator=torch.Generator().manual_seed(0))
    weights = torch.full((3, 12), 1 / 12)
    weights[0, 6:], weights[0, :6] = 0, 1 / 6
    return points, weights


def gradients(model: Any, call: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    answer = call(*clouds())[0]
    parameters = [p for p in model.parameters() if p.requires_grad]
    found = torch.autograd.grad(
        answer.square().sum(), parameters, allow_unused=True, materialize_grads=True
    )
    return answer.detach(), list(found)


# PyTorch's own, of tensors that it looks at while it compiles.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_a_model_that_solves() -> None:
    torch.manual_seed(0)
    model = build_model(SMALL).eval()
    eager, compiled = (
        gradients(model, call) for call in (model, torch.compile(model, backend="eager"))
    )
    assert torch.allclose(eager[0], compiled[0], atol=1e-6)
    for one, other in zip(eager[1], compiled[1], strict=True):
        assert torch.allclose(one, other, atol=1e-5 + 1e-4 * float(one.abs().max()))


@pytest.mark.parametrize("name", ["deep-sets", "pointnet-vanilla"])
def test_a_model_that_solves_nothing_is_one_graph(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(PRESETS[name]).eval()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        assert torch.allclose(model(*clouds())[0], compiled(*clouds())[0], atol=1e-6)
