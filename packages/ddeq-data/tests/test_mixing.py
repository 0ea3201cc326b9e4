"""Measures made of two."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ddeq_data import cut_mix

LAW = settings(max_examples=30, deadline=None, derandomize=True)


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(sizes: list[int], dim: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    chance = seeded(seed)
    points = torch.randn(len(sizes), max(sizes), dim, generator=chance, dtype=torch.float64)
    weights = torch.rand(len(sizes), max(sizes), generator=chance, dtype=torch.float64) + 0.1
    for i, size in enumerate(sizes):
        weights[i, size:] = 0
        points[i, size:] = math.nan
    return points, weights


@LAW
@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=5), seed=st.integers(0, 999))
def test_each_is_a_part_of_itself_and_a_part_of_the_next(sizes, seed):
    if not max(sizes):
        sizes = [*sizes, 3]
    points, weights = batch(sizes, 1, seed)
    mixed, mass, share = cut_mix(points, weights, seeded(seed), odds=0.8)
    assert mixed.isfinite().all()
    assert (mass >= 0).all()
    torch.testing.assert_close(mass.sum(-1), weights.sum(-1))
    for i, size in enumerate(sizes):
        j = (i + 1) % len(sizes)
        found = dict(zip(mixed[i, :, 0].tolist(), mass[i].tolist(), strict=True))
        found = {x: w for x, w in found.items() if w}
        parts = []
        for k in (i, j):
            line = sorted(points[k, : sizes[k], 0].tolist())
            kept = [x for x in line if x in found]
            assert kept in (line[: len(kept)], line[len(line) - len(kept) :])  # along ±1
            parts.append(kept)
        if not size or not sizes[j]:
            assert (share[i], len(found)) == (1, size)
        elif i != j:
            assert len(found) == len(parts[0]) + len(parts[1])
            whole = {k: points.new_tensor(0) + weights[k].sum() for k in (i, j)}
            own, other = (
                sum(float(weights[k, points[k, :, 0] == x].sum() / whole[k]) for x in part)
                for k, part in zip((i, j), parts, strict=True)
            )
            assert math.isclose(float(share[i]), own / (own + other), abs_tol=1e-9)
            if parts[0] and parts[1]:  # the low end of one, the high end of the other
                low = parts[0][0] == min(points[i, :size, 0].tolist())
                high = parts[1][-1] == max(points[j, : sizes[j], 0].tolist())
                whole_other = len(parts[1]) == sizes[j]
                assert low == high or whole_other or len(parts[0]) == size


def test_shares_are_uniform_and_directions_too():
    angle = torch.linspace(0, 2 * math.pi, 201, dtype=torch.float64)[:-1]
    circle = torch.stack([angle.cos(), angle.sin()], -1).expand(2000, 200, 2)
    weights = torch.full((2000, 200), 0.005, dtype=torch.float64)
    tag = torch.arange(2000.0).double()[:, None, None].expand(2000, 200, 1)
    points = torch.cat([circle, tag], -1)
    mixed, mass, share = cut_mix(points, weights, seeded(), odds=1.0, features=1)
    assert stats.kstest(share.numpy(), "uniform").pvalue > 0.01
    own = mixed[..., 2] == tag[:, :1, 0]
    torch.testing.assert_close((mass * own).sum(-1), share)
    some = (share - 0.5).abs() < 0.4
    mean = ((mass * own)[..., None] * mixed[..., :2]).sum(-2)[some]
    heading = torch.atan2(mean[:, 1], mean[:, 0]) / (2 * math.pi) + 0.5
    assert stats.kstest(heading.numpy(), "uniform").pvalue > 0.01
    # The other part is on the other side, so that all in all the circle is whole.
    torch.testing.assert_close((mass[..., None] * mixed[..., :2]).sum(-2).norm(dim=-1), 0 * share,
                               atol=0.02, rtol=0)  # fmt: skip
    _, _, half = cut_mix(points, weights, seeded(), odds=0.25, features=1)
    assert 0.72 < float((half == 1).double().mean()) < 0.78


def test_padding_and_features_choose_nothing():
    points, weights = batch([5, 9, 7], 3)
    expected = cut_mix(points, weights, seeded(1), odds=1.0, features=1)
    more = torch.cat([torch.full((3, 2, 3), math.nan).double(), points], 1)
    padded = torch.cat([torch.zeros(3, 2).double(), weights], 1)
    for a, b in zip(cut_mix(more, padded, seeded(1), odds=1.0, features=1), expected, strict=True):
        torch.testing.assert_close(a, b)
    other = points.clone()
    other[..., 2] = other[..., 2].exp()
    for a, b in zip(
        cut_mix(other, weights, seeded(1), odds=1.0, features=1), expected, strict=True
    ):
        torch.testing.assert_close(
            a[..., :2] if a.dim() == 3 else a, b[..., :2] if b.dim() == 3 else b
        )
    same, mass, share = cut_mix(points, weights, seeded(1), odds=0.0)
    assert (share == 1).all()
    assert torch.equal(mass[mass > 0], weights[weights > 0])
    assert torch.equal(same[mass > 0], points[weights > 0])
    assert cut_mix(points[:0], weights[:0], seeded())[0].shape == (0, 0, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"odds": 1.5}, "odds must be in 0..1, got 1.5"),
        ({"features": 2}, "features must be in 0..1, got 2"),
        ({"features": -1}, "features must be in 0..1, got -1"),
    ],
)
def test_what_it_refuses(options, said):
    with pytest.raises(ValueError, match=said):
        cut_mix(*batch([3, 4]), seeded(), **options)
    with pytest.raises(ValueError, match=r"points must be \(B, n, d\), got shape \(4, 2\)"):
        cut_mix(torch.zeros(4, 2), torch.ones(4), seeded())
