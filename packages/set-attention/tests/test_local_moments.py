"""Local moments: the formula, what they do not change with, and where they are cut into blocks."""

import math

import pytest
import torch

import set_attention as sa
from set_attention import local_moments


@pytest.mark.parametrize("spread", [1.0, 40.0])  # of the second windows, some hold one point
def test_formula(normal, ragged, spread) -> None:
    x, module = spread * normal(4, 5, 2), sa.LocalMoments(2, 3, widest=0.7)
    out = module(x, ragged)
    assert out.shape == (4, 5, module.out_dim) == (4, 5, 12)
    for i in range(3):
        share = ragged[i] / ragged[i].sum()
        for p in range(5):
            if share[p] == 0:
                assert (out[i, p] == 0).all()
                continue
            for k in range(3):
                width = 0.7 * math.sqrt(2) / 2**k
                apart = (x[i] - x[i, p]).square().sum(-1)
                mass = share * (-apart / (2 * width**2)).exp().clamp(min=2e-9)
                density = mass.sum()
                drift = (mass[:, None] * (x[i] - x[i, p])).sum(0) / density
                spread = (mass * apart).sum() / density
                expected = torch.cat([density.log()[None], drift / width, spread[None] / width**2])
                torch.testing.assert_close(
                    out[i, p, 4 * k : 4 * k + 4], expected, rtol=1e-8, atol=1e-8
                )
    assert (out[3] == 0).all()


def test_they_do_not_change_with_the_place_and_turn_with_the_cloud(normal) -> None:
    module, x = sa.LocalMoments(2, 2), normal(20, 2)
    torch.testing.assert_close(module(x + 1e6), module(x), rtol=1e-5, atol=1e-5)
    turn = torch.linalg.qr(normal(2, 2)).Q
    first, turned = module(x).unflatten(-1, (2, 4)), module(x @ turn).unflatten(-1, (2, 4))
    torch.testing.assert_close(turned[..., 1:3], first[..., 1:3] @ turn)
    torch.testing.assert_close(turned[..., [0, 3]], first[..., [0, 3]])
    assert module(x[:0]).shape == (0, 8)


@pytest.mark.parametrize("pairs", [1, 40, 100])
def test_blocks_of_rows_change_nothing(normal, monkeypatch, pairs) -> None:
    module, x, weights = sa.LocalMoments(3), normal(2, 7, 3), normal(2, 7).softmax(-1)
    whole = module(x, weights)
    monkeypatch.setattr(local_moments, "_PAIRS", pairs)
    torch.testing.assert_close(module(x, weights), whole)


def test_their_gradient_is_right_and_autocast_does_not_lower_their_precision(normal) -> None:
    module, weights = sa.LocalMoments(2, 2), normal(1, 5).softmax(-1).requires_grad_()
    x = normal(1, 5, 2).requires_grad_()
    assert torch.autograd.gradcheck(module, (x, weights))
    low = x.detach().float()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(module(low), sa.LocalMoments(2, 2)(low))
    torch.testing.assert_close(module(low), module(low.double()).float(), rtol=1e-4, atol=1e-4)


def test_it_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="dim=2, scales=0"):
        sa.LocalMoments(2, 0)
    with pytest.raises(ValueError, match=r"\(\.\.\., n, 2\), but got \(4, 3\)"):
        sa.LocalMoments(2)(torch.ones(4, 3))
