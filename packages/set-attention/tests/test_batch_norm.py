"""Batch norm of measures: the formula, both modes, and what it has in common with torch's."""

import pytest
import torch
from torch import nn

import set_attention as sa
from set_attention import laws
from set_attention.batch_norm import normalise


def test_formula_in_training_and_evaluation(normal, ragged) -> None:
    norm = sa.MeasureBatchNorm(3, momentum=0.25).double()
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    x = 5 + 3 * normal(4, 5, 3)
    x[2, 1] = torch.nan  # padding
    out = norm(x, ragged)
    share = (ragged / ragged.sum(-1, keepdim=True).clamp(min=1e-9) / 3)[..., None]
    clean = torch.where(ragged[..., None] > 0, x, 0)
    mean = (share * clean).sum((0, 1))
    variance = (share * (clean - mean).square()).sum((0, 1))
    expected = (clean - mean) / (variance + 1e-5).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(out, torch.where(ragged[..., None] > 0, expected, 0))
    torch.testing.assert_close(norm.running_mean, 0.25 * mean)
    torch.testing.assert_close(norm.running_variance, 0.75 + 0.25 * variance)
    norm.eval()
    expected = (clean - norm.running_mean) / (norm.running_variance + 1e-5).sqrt()
    expected = expected * norm.weight + norm.bias
    torch.testing.assert_close(norm(x, ragged), torch.where(ragged[..., None] > 0, expected, 0))
    torch.testing.assert_close(norm(x[1:2], ragged[1:2])[0], norm(x, ragged)[1])


def test_on_full_sets_it_is_that_of_torch(normal) -> None:
    x = normal(4, 6, 3)
    ours, theirs = sa.MeasureBatchNorm(3).double(), nn.BatchNorm1d(3).double()
    torch.testing.assert_close(ours(x), theirs(x.flatten(0, 1)).view_as(x))
    torch.testing.assert_close(ours(x), ours(x, torch.full((4, 6), 1 / 6).double()))
    # A packed batch, all rows as one measure of the sets' weights, is the batch.
    weights = normal(4, 6).softmax(-1)
    torch.testing.assert_close(
        ours(x, weights).flatten(0, 1), ours(x.flatten(0, 1), weights.flatten() / 4)
    )


def test_the_laws_hold_in_training_too(normal, ragged) -> None:
    norm = sa.MeasureBatchNorm(3).double()
    x = normal(4, 5, 3)
    for law in (laws.assert_equivariant, laws.assert_padding_free, laws.assert_mass_consistent):
        law(norm, x, ragged)
    rows = normal(2, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(norm, (rows, ragged[:2, :4]), check_batched_grad=True)


def test_its_derivatives_are_right_twice_and_mapped(normal, ragged) -> None:
    share, rest = normal(6).softmax(-1), (normal(3), normal(3))
    every = [part.requires_grad_() for part in (normal(6, 3), *rest)]
    x, gain, bias = every
    torch.autograd.gradgradcheck(lambda x, g, b: normalise(x, share, g, b, 0.1)[0], every)
    # A share by itself: what holds it to the sum 1 is what came before.
    raw = normal(6).requires_grad_()
    torch.autograd.gradgradcheck(
        lambda x, s: normalise(x, s.softmax(-1), gain, bias, 0.1)[0], (x, raw)
    )
    several = normal(4, 6, 3)
    mapped = torch.vmap(lambda rows: normalise(rows, share, gain, bias, 0.1)[0])(several)
    looped = torch.stack([normalise(rows, share, gain, bias, 0.1)[0] for rows in several])
    torch.testing.assert_close(mapped, looped)


def test_under_autocast_its_statistics_are_not_rounded(normal) -> None:
    x, weights = normal(4, 50, 3).float() + 30, torch.ones(4, 50)
    expected = sa.MeasureBatchNorm(3)(x, weights)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(sa.MeasureBatchNorm(3)(x, weights), expected)


def test_a_batch_without_points_changes_nothing(normal) -> None:
    norm = sa.MeasureBatchNorm(3)
    norm(torch.randn(8, 3))
    before = norm.running_mean.clone(), norm.running_variance.clone()
    assert norm(torch.full((2, 4, 3), torch.nan), torch.zeros(2, 4)).eq(0).all()
    assert norm(torch.ones(2, 0, 3)).shape == (2, 0, 3)
    assert torch.equal(norm.running_mean, before[0])
    assert torch.equal(norm.running_variance, before[1])
    norm.reset_parameters()
    assert torch.equal(norm.running_mean, torch.zeros(3))


def test_a_single_row_is_normalised_as_in_evaluation(normal) -> None:
    norm = sa.MeasureBatchNorm(3)
    norm(torch.randn(8, 3))
    before, row = norm.running_variance.clone(), torch.randn(1, 1, 3)
    out = norm(row)
    assert torch.equal(norm.running_variance, before)
    assert torch.equal(out, norm.eval()(row))


def test_a_single_row_beside_padding_is_normalised_as_in_evaluation(normal) -> None:
    norm = sa.MeasureBatchNorm(3).double()
    norm(5 + normal(8, 3))
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    x, direction = normal(2, 4, 3), normal(3)
    x[0] = torch.nan
    x.requires_grad_()
    weights = torch.zeros(2, 4).double()
    weights[1, 2] = 0.5
    weights.requires_grad_()
    tracked, found = [x, weights, *norm.parameters()], []
    for training in (True, False):
        out = norm.train(training)(x, weights)
        slopes = torch.autograd.grad(
            (out * direction).sum(), tracked, allow_unused=True, materialize_grads=True
        )
        found.append((out, *slopes))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    assert all(torch.equal(norm.state_dict()[name], value) for name, value in before.items())


def test_it_says_what_is_wrong() -> None:
    for arguments in ({"dim": 0}, {"dim": 2, "epsilon": 0.0}, {"dim": 2, "momentum": 1.5}):
        with pytest.raises(ValueError, match="expected a positive width"):
            sa.MeasureBatchNorm(**arguments)


def test_what_a_compiler_sees_is_the_same(normal, monkeypatch) -> None:
    x, weights = normal(3, 7, 4), torch.rand(3, 7, dtype=torch.float64)
    found = []
    for compiling in (False, True):
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda told=compiling: told)
        norm, rows = sa.MeasureBatchNorm(4).double(), x.clone().requires_grad_()
        out = norm(rows, weights)
        (out * torch.arange(4.0)).square().sum().backward()
        found.append((out, rows.grad, norm.weight.grad, norm.running_mean, norm.running_variance))
    for ours, other in zip(*found, strict=True):
        torch.testing.assert_close(other, ours)
