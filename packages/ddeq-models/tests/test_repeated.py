"""The control without an equilibrium: the cell of a DDEQ, applied k times from end to end."""

from dataclasses import replace

import pytest
import torch

from ddeq_models.models.classifier import DDEQ, DDEQConfig
from ddeq_models.models.repeated import Repeated, RepeatedConfig, repeated
from ddeq_models.recipes import recipe_for
from ddeq_models.registry import PRESETS

SMALL = replace(
    PRESETS["ddeq"], dim=8, heads=2, hidden=8, bilinear_dim=4, particles=3, pooled=8, classes=3
)


def pair(k: int, **changes: object) -> tuple[DDEQ, Repeated]:
    config = replace(SMALL, **changes)
    torch.manual_seed(0)
    model = DDEQ(config).double().eval()
    control = Repeated(repeated(config, k)).double().eval()
    control.of.load_state_dict(model.state_dict())
    return model, control


def clouds() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(4, 6, 2, generator=generator, dtype=torch.float64)
    weights = torch.full((4, 6), 1 / 6, dtype=torch.float64)
    weights[1, 4:] = 0
    return points, weights / weights.sum(-1, keepdim=True)


def test_the_preset_has_the_parameters_of_the_default() -> None:
    config = PRESETS["ddeq-repeated"]
    assert isinstance(config, RepeatedConfig)
    sizes = [
        sum(p.numel() for p in model.parameters())
        for model in (DDEQ(PRESETS["ddeq"]), Repeated(config))
    ]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("data", ["digits", "mnist", "modelnet40", "folder"])
def test_the_control_is_as_large_and_as_well_trained_as_what_it_controls(data: str) -> None:
    ours, control = recipe_for(data, "ddeq"), recipe_for(data, "ddeq-repeated")
    assert control == replace(ours, model=repeated(ours.model, 4))
    assert PRESETS["pointnet"].sized_like(ours.model) is None


@pytest.mark.parametrize("k", [1, 3])
def test_the_cell_is_applied_so_often(k: int) -> None:
    model, control = pair(k)
    points, weights = clouds()
    calls = []
    control.of.cell.register_forward_hook(lambda *_: calls.append(1))
    context = model.encode(points, weights)
    z = model.begin(context)
    for _ in range(k):
        z = model.cell(z, model.marks, context)
    torch.testing.assert_close(control(points, weights).logits, model.read(z, points, weights))
    assert len(calls) == k
    assert control(points, weights).solution is None


def test_many_applications_are_the_equilibrium_and_have_its_gradient() -> None:
    settings = {"rtol": 1e-12, "max_steps": 200, "adjoint": "implicit", "adjoint_rtol": 1e-12}
    model, _ = pair(1)
    model.configure(replace(model.config, **settings))
    _, control = pair(60)
    points, weights = clouds()
    ours, theirs = model(points, weights).logits, control(points, weights).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    for (name, p), (_, q) in zip(
        model.named_parameters(), control.of.named_parameters(), strict=True
    ):
        if p.grad is None:
            assert q.grad is None or not q.grad.any(), name
        else:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-6, atol=1e-9, msg=name)


def test_dropout_is_one_mask_for_all_applications() -> None:
    control = Repeated(repeated(replace(SMALL, dropout=0.5, summary_dropout=0.0, hiding=0.0), 60))
    control.double().train()
    points, weights = clouds()
    with torch.no_grad():
        context = control.of.encode(points, weights)
        torch.manual_seed(3)
        control.of.encode = lambda *_: context  # the batch norms' statistics stay
        once = control(points, weights).logits
        control.config = replace(control.config, applications=80)
        torch.manual_seed(3)
        again = control(points, weights).logits
    torch.testing.assert_close(once, again, rtol=1e-6, atol=1e-6)


def test_settings_of_a_solver_are_refused() -> None:
    with pytest.raises(ValueError, match=r"solves nothing: leave rtol at 0\.001"):
        RepeatedConfig(rtol=1e-6)
    for k in (0, 1001):
        with pytest.raises(Exception, match="applications"):
            RepeatedConfig(applications=k)
    assert not RepeatedConfig.solves
    assert DDEQConfig.solves
