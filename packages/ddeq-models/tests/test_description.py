"""The description of clouds: its laws, what it tells, and how it is fitted."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ddeq_models.models.description import BINS, Description, describe, description_size

LAW = settings(max_examples=25, deadline=None, derandomize=True)


def cloud(n: int, d: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(1, n, d, generator=generator, dtype=torch.float64)
    weights = torch.rand(1, n, generator=generator, dtype=torch.float64) + 0.1
    return points, weights / weights.sum(-1, keepdim=True)


@LAW
@given(
    n=st.integers(1, 9), d=st.sampled_from([1, 2, 3, 5, 18]), seed=st.integers(0, 99),
    placed=st.booleans(),
)  # fmt: skip
def test_order_and_padding_are_not_seen_and_nothing_is_infinite(n, d, seed, placed):
    points, weights = cloud(n, d, seed)
    out = describe(points, weights, placed=placed)
    assert out.shape == (1, description_size(d, placed))
    assert out.isfinite().all()
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    close = {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(
        describe(points[:, order], weights[:, order], placed=placed), out, **close
    )
    padded = torch.cat([torch.full((1, 2, d), math.nan), points, torch.full((1, 1, d), 1e30)], 1)
    masses = torch.cat([torch.zeros(1, 2), weights, torch.zeros(1, 1)], 1).double()
    torch.testing.assert_close(describe(padded.double(), masses, placed=placed), out, **close)


def test_clouds_without_extent_or_points_are_finite():
    points = torch.zeros(4, 3, 2)
    points[1] = 5.6e6
    points[2, 0] = torch.tensor([1.0, 2.0])
    weights = torch.tensor([[0.5, 0.5, 0], [0.2, 0.3, 0.5], [1, 0, 0], [0, 0, 0]])
    for placed in (False, True):
        assert describe(points, weights, placed=placed).isfinite().all()
        empty = describe(torch.zeros(2, 0, 2), torch.zeros(2, 0), placed=placed)
        assert empty.isfinite().all()


def test_all_but_support_and_count_are_functions_of_the_measure():
    points, weights = cloud(7, 3, 0)
    halved = torch.cat([weights[:, :1] / 2, weights[:, :1] / 2, weights[:, 1:]], 1)
    doubled = torch.cat([points[:, :1], points], 1)
    one, other = describe(points, weights)[0], describe(doubled, halved)[0]
    measure = description_size(3) - (3 * 3 + 3) - 2  # support, then count
    torch.testing.assert_close(one[:measure], other[:measure])
    assert other[-2] == pytest.approx(math.log(8))
    assert one[-2] == pytest.approx(math.log(7))


def test_place_and_scale_are_what_they_say():
    points, weights = cloud(50, 2, 1)
    mean = (weights[..., None] * points).sum(1)
    out, moved = describe(points, weights), describe(3 * points + 7, weights)
    torch.testing.assert_close(out[:, :2], mean)
    torch.testing.assert_close(moved[:, :2], 3 * mean + 7)
    torch.testing.assert_close(moved[:, 2:5], out[:, 2:5] + math.log(3))
    torch.testing.assert_close(moved[:, 5:], out[:, 5:])  # all else knows neither


def test_quantiles_of_the_place_are_those_of_the_coordinates_as_they_are():
    points, weights = cloud(50, 2, 1)
    start = description_size(2)
    out, moved = (describe(x, weights, placed=True)[0] for x in (points, 3 * points + 7))
    torch.testing.assert_close(out[:start], describe(points, weights)[0])
    torch.testing.assert_close(moved[start:], 3 * out[start:] + 7)
    torch.testing.assert_close(out[-4:-2], points[0].amax(0))
    torch.testing.assert_close(out[-2:], points[0].amin(0))
    median = out[start:-4].view(2, 5)[:, 2]
    below = (weights[0, :, None] * (points[0] < median)).sum(0)
    assert ((below <= 0.5) & (below > 0.4)).all()
    # A point far away moves the mean and the radius, and with them all else but these.
    points[0, 0], weights[0] = 1e4, 1 / 50
    far = describe(points, weights, placed=True)[0]
    points[0, 0] = 1e5
    farther = describe(points, weights, placed=True)[0]
    assert torch.equal(far[start:-4], farther[start:-4])
    assert (far[10:start] != farther[10:start]).any()


def test_invariants_are_what_no_rotation_changes():
    points, weights = cloud(40, 3, 2)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    size = 3 + 3 + 5 + 1  # eigenvalues, moments, quantiles, largest norm
    start = 3 + 4 + 6 + 6 + 3 + 15
    one, other = describe(points, weights), describe(points @ turn, weights)
    torch.testing.assert_close(one[:, start : start + size], other[:, start : start + size])
    assert not torch.allclose(one[:, :start], other[:, :start], rtol=1e-2)


def test_what_tells_the_classes_is_what_counts():
    # 60 clouds of two classes that differ in the number of points alone.
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 2
    described = torch.randn(60, description_size(2), generator=generator)
    described[:, -2] = labels.float() + 0.01 * torch.randn(60, generator=generator)
    described[:, 5] = 3.0  # never changes
    module = Description(2)
    module.fit(described, labels)
    relevance = module.relevance
    assert relevance[-2] == relevance.max() == 1
    assert relevance[torch.arange(len(relevance)) != len(relevance) - 2].max() < 0.6
    assert relevance[5] < 0.06
    out = module(described).view(60, BINS, -1)
    assert out.abs().max() <= 1
    assert (out[:, :, 5] == 0).all()
    # A threshold between the classes is one of the parts.
    parts = out[..., -2]
    assert ((parts > 0) == (labels[:, None] == 1)).all(0).any()
    # Beyond what was seen in training nothing grows.
    assert torch.equal(module(described + 1e9), module(described + 1e12))
    module.fit(described, None)
    assert torch.equal(module.relevance, relevance)
    fresh = Description(2)
    fresh.fit(described, None)
    assert (fresh.relevance == 1).all()


def test_what_rounding_leaves_is_not_stretched():
    # Points that all weigh the same: the measure and the list agree, but for rounding.
    generator = torch.Generator().manual_seed(0)
    many = torch.randn(40, 12, 2, generator=generator)
    sizes = torch.randint(6, 13, (40,), generator=generator)
    weights = (torch.arange(12) < sizes[:, None]) / sizes[:, None]
    module = Description(2, placed=True)
    module.fit(describe(many, weights, placed=True), torch.arange(40) % 2)
    order = torch.stack([torch.randperm(12, generator=generator) for _ in sizes])
    shuffled = many.take_along_dim(order[..., None], 1), weights.gather(1, order)
    ours, other = (module(describe(*some, placed=True)) for some in ((many, weights), shuffled))
    torch.testing.assert_close(other, ours, rtol=0, atol=1e-3)
    assert ours.std() > 0.1
