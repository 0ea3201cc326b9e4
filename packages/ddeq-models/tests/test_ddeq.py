"""The model: its gradients and its diagnostics; its laws are in test_laws.py."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ddeq_data import Digits, PointBatch, ZScore
from ddeq_models.models.base import Output
from ddeq_models.models.classifier import DDEQ, DDEQConfig, low_discrepancy_normal
from wgf_solver import Status

SMALL = DDEQConfig(particles=4, dim=16, heads=2, hidden=32, bilinear_dim=8, max_steps=100)
UNMARKED = replace(SMALL, marked=False)
FLOW = replace(
    UNMARKED, velocity="through", integrator="euler", step=5.0, step_decay=0.8, max_steps=20
)
KINDS = {"marked": SMALL, "unmarked": UNMARKED, "flow": FLOW}


def model_of(config: DDEQConfig, dtype: torch.dtype = torch.float64) -> DDEQ:
    torch.manual_seed(0)
    return DDEQ(config).to(dtype).eval()


@pytest.fixture(scope="module")
def digits() -> PointBatch:
    batch = Digits("test").__getitems__(list(range(6)))
    return batch.to(dtype=torch.float64).map(ZScore())


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest) -> DDEQ:
    return model_of(KINDS[request.param])


def logits(model: DDEQ, points: Tensor, weights: Tensor) -> Tensor:
    with torch.no_grad():
        output: Output = model(points, weights)
    return output.logits


def test_float32_logits_do_not_depend_on_padding(digits: PointBatch) -> None:
    model = model_of(replace(SMALL, rtol=1e-5), torch.float32)
    batch = digits.to(dtype=torch.float32)
    weights = torch.cat([batch.weights, batch.weights.new_zeros(6, 9)], -1)
    points = torch.cat([batch.points, batch.points.new_full((6, 9, 2), torch.nan)], -2)
    expected = logits(model, batch.points, batch.weights)
    torch.testing.assert_close(logits(model, points, weights), expected, atol=1e-6, rtol=1e-6)


def test_a_bad_cloud_leaves_the_others_bit_identical(model: DDEQ, digits: PointBatch) -> None:
    points = digits.points.clone()
    points[2, 0] = torch.nan
    with torch.no_grad():
        good, bad = (model(p, digits.weights) for p in (digits.points, points))
    others = [0, 1, 3, 4, 5]
    assert torch.equal(good.logits[others], bad.logits[others])
    assert torch.equal(good.solution.steps[others], bad.solution.steps[others])
    assert bad.solution.status[2] == Status.NONFINITE


def test_empty_cloud_has_finite_logits(model: DDEQ, digits: PointBatch) -> None:
    weights = digits.weights.clone()
    weights[1] = 0
    result = logits(model, digits.points, weights)
    assert result.isfinite().all()
    torch.testing.assert_close(
        result[0], logits(model, digits.points, digits.weights)[0], atol=1e-6, rtol=0
    )


def test_predictions_are_deterministic_without_a_seed(model: DDEQ, digits: PointBatch) -> None:
    first = logits(model, digits.points, digits.weights)
    torch.manual_seed(12345)
    assert torch.equal(first, logits(model, digits.points, digits.weights))


def test_equilibrium_does_not_depend_on_the_start(digits: PointBatch) -> None:
    model = model_of(SMALL)
    context = model.encode(digits.points, digits.weights)
    with torch.no_grad():
        found = [
            model.equilibrium(context, start=torch.randn(4, 16).double(), rtol=1e-8)
            for _ in range(2)
        ]
    assert all(bool(solution.converged.all()) for solution in found)
    torch.testing.assert_close(
        found[0].measure.points, found[1].measure.points, atol=1e-4, rtol=1e-4
    )


def test_marks_keep_the_equilibrium_from_collapsing(digits: PointBatch) -> None:
    """Without marks a contraction's equilibrium is one point (docs/mathematics.md, "Collapse")."""
    spreads = {}
    for name, config in (("marked", SMALL), ("unmarked", UNMARKED)):
        model = model_of(replace(config, rtol=1e-8))
        with torch.no_grad():
            solution = model(digits.points, digits.weights).solution
        assert bool(solution.converged.all())
        spreads[name] = solution.measure.spread(relative=True)
    assert float(spreads["unmarked"].max()) < 1e-6
    assert float(spreads["marked"].min()) > 0.1


def test_the_input_is_encoded_once(digits: PointBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = model_of(SMALL), []
    encode = model.cell.encode
    monkeypatch.setattr(model.cell, "encode", lambda *a: calls.append(1) or encode(*a))
    output = model(digits.points, digits.weights)
    assert len(calls) == 1
    assert int(output.solution.steps.min()) > 2


def test_implicit_gradient_is_that_of_the_resolved_problem(digits: PointBatch) -> None:
    """Central differences along a random direction of all parameters at once."""
    tight = replace(SMALL, adjoint="implicit", rtol=1e-11, adjoint_rtol=1e-11, max_steps=300)
    model = model_of(tight)
    points, weights = digits.points[:2], digits.weights[:2]

    def loss() -> Tensor:
        result: Tensor = model(points, weights).logits.square().sum()
        return result

    parameters = list(model.parameters())
    generator = torch.Generator().manual_seed(1)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    gradients = torch.autograd.grad(loss(), parameters)
    slope = sum(float((g * v).sum()) for g, v in zip(gradients, direction, strict=True))
    values = []
    with torch.no_grad():
        for h in (1e-6, -1e-6):
            for p, v in zip(parameters, direction, strict=True):
                p.add_(v, alpha=h)
            values.append(float(loss()))
            for p, v in zip(parameters, direction, strict=True):
                p.add_(v, alpha=-h)
    assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


@pytest.mark.parametrize("adjoint", ["phantom", "implicit"])
def test_every_parameter_gets_a_gradient(digits: PointBatch, adjoint: str) -> None:
    model = model_of(replace(SMALL, adjoint=adjoint, adjoint_rtol=1e-8, rtol=1e-6)).train()
    model(digits.points, digits.weights).logits.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert bool((parameter.grad != 0).any()), name


def test_padding_receives_no_gradient(digits: PointBatch) -> None:
    points = torch.where(digits.mask[..., None], digits.points, torch.nan).requires_grad_()
    model_of(SMALL)(points, digits.weights).logits.sum().backward()
    assert points.grad is not None
    assert bool((points.grad[~digits.mask] == 0).all())
    assert bool(points.grad[digits.mask].isfinite().all())


def test_dropout_is_held_during_a_solve(digits: PointBatch) -> None:
    model = model_of(replace(SMALL, dropout=0.3, rtol=1e-8)).train()
    with torch.no_grad():
        first, second = (model(digits.points, digits.weights) for _ in range(2))
    assert bool(first.solution.converged.all())  # a map that changed at each step would not settle
    assert not torch.equal(first.logits, second.logits)


def test_low_discrepancy_normal_is_the_same_each_time_and_standard() -> None:
    first, second = low_discrepancy_normal(256, 3), low_discrepancy_normal(256, 3)
    assert torch.equal(first, second)
    torch.testing.assert_close(first.mean(0), torch.zeros(3), atol=0.02, rtol=0)
    torch.testing.assert_close(first.std(0), torch.ones(3), atol=0.03, rtol=0)


@pytest.mark.parametrize(
    ("change", "word"),
    [({"particles": 0}, "particles"), ({"heads": 3}, "multiple"), ({"rtol": 0.0}, "rtol")],
)
def test_a_bad_configuration_is_refused(change: dict[str, float], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        replace(SMALL, **change)


def test_bad_shapes_are_refused(digits: PointBatch) -> None:
    model = model_of(SMALL)
    with pytest.raises(ValueError, match=r"points must have shape \(batch, n, 2\)"):
        model(torch.zeros(2, 5, 3), torch.zeros(2, 5))
    with pytest.raises(ValueError, match="weights must have shape"):
        model(digits.points, digits.weights[:, :3])
