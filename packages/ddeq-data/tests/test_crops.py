import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ddeq_data import (
    Cloud,
    DDEQsCrop,
    HalfSpaceCrop,
    PointBatch,
    UniformCrop,
    UnitSphere,
    ViewpointCrop,
    ZScore,
    collate,
)

LAW = settings(max_examples=15, deadline=None, derandomize=True)
FRACTIONS = [
    HalfSpaceCrop(0.4),
    HalfSpaceCrop((0.2, 0.7)),
    ViewpointCrop(0.5),
    ViewpointCrop(0.25, corner=1),
    UniformCrop(0.3),
]
ALL = [
    DDEQsCrop(),
    DDEQsCrop(radius=1.5, balls=4),
    DDEQsCrop(radius=1.5, balls=2, together=True),
    *FRACTIONS,
]
SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=5)
each = pytest.mark.parametrize("crop", ALL, ids=repr)


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> PointBatch:
    # Clouds of one size, all of whose points weigh the same.
    points = torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)
    return PointBatch(points, torch.full(shape[:2], 1 / shape[1]).double(), torch.arange(shape[0]))


def seeds_of(count: int, seed: int = 3) -> torch.Tensor:
    return torch.randint(-(2**62), 2**62, (count,), generator=seeded(seed))


@each
@LAW
@given(sizes=SIZES, seed=st.integers(0, 99), dim=st.integers(1, 3))
def test_the_parts_partition_every_cloud(ragged, crop, sizes, seed, dim):
    batch = collate(ragged(sizes, dim, seed))
    cut = crop(batch, seeded(seed))
    visible, missing = cut.visible.check(atol=1e-9), cut.missing.check(atol=1e-9)
    assert torch.equal(visible.mask ^ missing.mask, batch.mask)
    assert torch.equal(visible.mask & missing.mask, torch.zeros_like(batch.mask))
    assert torch.equal(visible.points + missing.points, batch.points)
    share = cut.share[:, None]
    whole = (1 - share) * visible.weights + share * missing.weights
    torch.testing.assert_close(whole, batch.weights, atol=1e-12, rtol=0)
    assert torch.equal(visible.sizes > 0, batch.sizes > 0)
    assert torch.equal(missing.sizes == 0, cut.share == 0)
    if not (isinstance(crop, ViewpointCrop) and crop.corner is not None and dim == 1):
        assert torch.equal(missing.sizes > 0, batch.sizes > 1)  # generic points can be divided
    for part in (visible, missing):
        assert torch.equal(part.labels, batch.labels)


@each
@LAW
@given(sizes=SIZES, seed=st.integers(0, 99), rows=st.integers(0, 3))
def test_padding_is_not_seen(ragged, crop, sizes, seed, rows):
    batch = collate(ragged(sizes, 2, seed))
    width = batch.points.shape[1]
    points = torch.full((len(sizes), width + 2 * rows, 2), math.nan).double()
    weights = torch.zeros(points.shape[:2]).double()
    points[:, rows : rows + width] = torch.where(batch.mask[..., None], batch.points, 1e30)
    weights[:, rows : rows + width] = batch.weights
    seeds = seeds_of(len(sizes), seed)
    cut = crop.repeat(batch, seeds)
    wide = crop.repeat(PointBatch(points, weights, batch.labels), seeds)
    for part, other in ((cut.visible, wide.visible), (cut.missing, wide.missing)):
        assert torch.equal(part.mask, other.mask[:, rows : rows + width])
        assert torch.equal(part.points, other.points[:, rows : rows + width])
        assert not other.points[~other.mask].any()


@each
@LAW
@given(sizes=SIZES, seed=st.integers(0, 99))
def test_a_cloud_does_not_depend_on_its_batch(ragged, crop, sizes, seed):
    clouds = ragged(sizes, 3, seed)
    seeds = seeds_of(len(sizes), seed)
    whole = crop.repeat(collate(clouds), seeds)
    for i, size in enumerate(sizes):
        alone = crop.repeat(collate(clouds[i : i + 1]), seeds[i : i + 1])
        assert torch.equal(whole.visible.mask[i, :size], alone.visible.mask[0, :size])
        assert torch.equal(whole.missing.points[i, :size], alone.missing.points[0, :size])


@each
@LAW
@given(size=st.integers(1, 9), seed=st.integers(0, 99))
def test_the_order_of_points_does_not_matter(ragged, crop, size, seed):
    batch = collate(ragged([size, size], 3, seed))
    order = torch.randperm(size, generator=seeded(seed))
    moved = PointBatch(batch.points[:, order], batch.weights[:, order], batch.labels)
    seeds = seeds_of(2, seed)
    expected = crop.repeat(batch, seeds)
    assert torch.equal(crop.repeat(moved, seeds).visible.mask, expected.visible.mask[:, order])


@each
@LAW
@given(size=st.integers(1, 9), seed=st.integers(0, 99), part=st.sampled_from([0.5, 0.25, 0.3]))
def test_a_doubled_weight_is_a_duplicated_point(ragged, crop, size, seed, part):
    points, weights, _ = ragged([size], 2, seed)[0]
    twice = Cloud(
        torch.cat([points, points[:1]]),
        torch.cat([part * weights[:1], weights[1:], (1 - part) * weights[:1]]),
        0,
    )
    seeds = seeds_of(1, seed)
    expected = crop.repeat(collate([Cloud(points, weights, 0)]), seeds)
    found = crop.repeat(collate([twice]), seeds)
    assert torch.equal(found.visible.mask[:, :-1], expected.visible.mask)
    assert torch.equal(found.visible.mask[:, -1], expected.visible.mask[:, 0])
    torch.testing.assert_close(found.share, expected.share)


@each
def test_a_seed_repeats_a_crop(crop):
    batch = normal(6, 40, 3)
    first = crop(batch, seeded())
    again = crop.repeat(batch, first.seeds)
    assert torch.equal(first.visible.points, again.visible.points)
    assert torch.equal(first.share, again.share)
    assert torch.equal(first.seeds, crop(batch, seeded()).seeds)
    if crop != ViewpointCrop(0.25, corner=1):  # in which there is no chance
        assert not torch.equal(first.visible.mask, crop(batch, seeded(6)).visible.mask)
    chosen = torch.tensor([4, 1])
    part = PointBatch(batch.points[chosen], batch.weights[chosen], batch.labels[chosen])
    some = crop.repeat(part, first.seeds[chosen])
    assert torch.equal(some.missing.points, first.missing.points[chosen])


@each
def test_single_precision_has_the_same_crop(crop):
    batch = normal(6, 40, 2).to(dtype=torch.float32)
    cut = crop(batch, seeded())
    wide = crop.repeat(batch.to(dtype=torch.float64), cut.seeds)
    assert torch.equal(cut.visible.mask, wide.visible.mask)
    assert cut.share.dtype == cut.missing.weights.dtype == torch.float32
    half = crop.repeat(batch.to(dtype=torch.float16), cut.seeds)
    assert torch.equal(half.visible.mask ^ half.missing.mask, batch.mask)


@each
def test_gradients_go_to_the_part_of_the_point(crop):
    batch = normal(3, 12, 2)
    points = torch.cat([batch.points, torch.full((3, 1, 2), math.nan)], 1).requires_grad_()
    weights = torch.cat([batch.weights, torch.zeros(3, 1)], 1)
    cut = crop(PointBatch(points, weights, batch.labels), seeded())
    cut.missing.points.sum().backward()
    expected = cut.missing.mask[..., None].double().expand_as(points)
    assert torch.equal(points.grad, expected)


@each
def test_what_cannot_be_divided_is_visible(crop):
    place = torch.tensor([[[2.0, 3.0]] * 4, [[0.0, 0.0]] * 4])
    weights = torch.tensor([[0.25] * 4, [0.0] * 4])
    cut = crop(PointBatch(place, weights, torch.tensor([0, 1])), seeded())
    assert torch.equal(cut.visible.weights, weights)
    assert not cut.missing.weights.any()
    assert not cut.share.any()
    for shape in ((0, 4, 2), (2, 0, 2)):
        batch = PointBatch(torch.zeros(shape), torch.zeros(shape[:2]), torch.zeros(shape[0]).long())
        assert crop(batch, seeded()).missing.points.shape == shape


@pytest.mark.parametrize("crop", FRACTIONS[:-1], ids=repr)  # the others look coordinates up
def test_units_do_not_matter(crop):
    batch = normal(5, 30, 2)
    other = PointBatch(batch.points * 1000 + 77, batch.weights, batch.labels)
    seeds = seeds_of(5)
    expected = crop.repeat(batch, seeds).visible.mask
    assert torch.equal(crop.repeat(other, seeds).visible.mask, expected)


def test_balls_are_what_they_are_in_z_scored_coordinates():
    batch = normal(20, 60, 3)
    stretched = batch.points * torch.tensor([1.0, 5.0, 0.1])
    stretched = PointBatch(stretched, batch.weights, batch.labels)
    cut = DDEQsCrop(radius=0.9, balls=1)(stretched, seeded())
    scaled, _ = ZScore()(stretched.points, stretched.weights)
    taken = cut.missing.mask
    for cloud, inside in zip(scaled, taken, strict=True):
        near = torch.cdist(cloud, cloud) <= 0.9
        # Some point of the missing ones is the centre: its ball is all of them.
        assert any(torch.equal(near[i], inside) for i in inside.nonzero().flatten().tolist())


def test_the_second_ball_is_around_a_visible_point():
    # Three clusters, each within a ball: two balls always take two of them.
    points = torch.tensor([[0.0], [0.25], [0.5], [60.0], [60.5], [30.0]]).double()[None]
    batch = PointBatch(points, torch.full((1, 6), 1 / 6).double(), torch.tensor([0]))
    left = set()
    for seed in range(40):
        cut = DDEQsCrop(radius=0.3, balls=2).repeat(batch, torch.tensor([seed]))
        left.add(tuple(cut.visible.points[0][cut.visible.mask[0]].flatten().tolist()))
    assert left == {(30.0,), (60.0, 60.5), (0.0, 0.25, 0.5)}


def test_centres_that_are_drawn_together_may_be_one():
    points = torch.tensor([0.0, 60.0, 30.0]).double()[None, :, None].expand(4000, 3, 1)
    weights = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    batch = PointBatch(points, weights.expand(4000, 3), torch.zeros(4000).long())
    cut = DDEQsCrop(radius=1e-3, balls=2, together=True)(batch, seeded())
    # Two draws with replacement: both the same with probability w_i^2, i and j with 2 w_i w_j.
    left = (cut.visible.mask.long() @ torch.tensor([4, 2, 1])).bincount(minlength=8)
    squares, pairs = weights**2, 2 * weights * weights.roll(-1)
    expected = 4000 * torch.cat([squares, pairs])
    observed = left[[3, 5, 6, 1, 4, 2]]
    assert stats.chisquare(observed.numpy(), expected.numpy()).pvalue > 0.01


def test_centres_are_drawn_by_weight():
    points = torch.arange(5.0).double()[None, :, None].expand(6000, 5, 1) * 3
    weights = torch.tensor([0.1, 0.3, 0.0, 0.2, 0.4], dtype=torch.float64).expand(6000, 5)
    batch = PointBatch(points, weights, torch.zeros(6000).long())
    cut = DDEQsCrop(radius=1e-3, balls=1)(batch, seeded())
    counts = cut.missing.mask.sum(0)
    assert counts[2] == 0
    expected = 6000 * weights[0, [0, 1, 3, 4]]
    assert stats.chisquare(counts[[0, 1, 3, 4]].numpy(), expected.numpy()).pvalue > 0.01


@each
def test_the_lightest_points_take_part(crop):
    points = torch.randn(200, 4, 2, generator=seeded(), dtype=torch.float64)
    weights = torch.tensor([1.0, 1e-20, 1e-25, 0.0], dtype=torch.float64).expand(200, 4)
    batch = PointBatch(points, weights, torch.zeros(200).long())
    cut = crop(batch, seeded())
    assert torch.equal(cut.visible.mask ^ cut.missing.mask, batch.mask)
    assert (cut.visible.sizes > 0).all()
    assert (cut.missing.sizes > 0).all()


@pytest.mark.parametrize("count", [2, 3, 7, 8, 100, 101])
@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.25, 0.5, 0.75, 0.99])
def test_fractions_are_rounded_to_whole_points(count, fraction):
    expected = min(max(math.floor(fraction * count + 0.5), 1), count - 1)
    batch = normal(4, count, 3)
    padded = PointBatch(
        torch.cat([batch.points, torch.zeros(4, 5, 3)], 1),
        torch.cat([batch.weights, torch.zeros(4, 5)], 1),
        batch.labels,
    )
    for crop in (HalfSpaceCrop(fraction), ViewpointCrop(fraction), UniformCrop(fraction)):
        for clouds in (batch, padded, batch.to(dtype=torch.float32)):
            assert crop(clouds, seeded()).missing.sizes.tolist() == [expected] * 4


def test_a_range_of_fractions_is_uniform():
    batch = normal(2000, 500, 2)
    for crop in (HalfSpaceCrop((0.25, 0.75)), UniformCrop((0.25, 0.75))):
        share = crop(batch, seeded()).share
        assert stats.kstest(share.numpy(), stats.uniform(0.25, 0.5).cdf).pvalue > 0.01
    assert HalfSpaceCrop([0.25, 0.75]) == HalfSpaceCrop((0.25, 0.75))


def test_half_spaces_divide_and_their_directions_are_uniform():
    batch = normal(800, 300, 3)
    cut = HalfSpaceCrop(0.5)(batch, seeded())
    means = [(part.points * part.weights[..., None]).sum(1) for part in (cut.missing, cut.visible)]
    direction = torch.nn.functional.normalize(means[0] - means[1], dim=-1)
    assert stats.kstest(direction[:, 2].numpy(), stats.uniform(-1, 2).cdf).pvalue > 0.01
    # What is missing is separated from what is not, along the direction of the means of a circle.
    angle = torch.arange(360).double() * math.pi / 180 + 0.001
    circle = torch.stack([angle.cos(), angle.sin()], -1).expand(50, 360, 2)
    cut = HalfSpaceCrop(0.3)(
        PointBatch(circle, torch.full((50, 360), 1 / 360).double(), torch.zeros(50).long()),
        seeded(),
    )
    along = (circle @ cut.missing.points.sum(1)[..., None])[..., 0]
    lowest = torch.where(cut.missing.mask, along, math.inf).amin(1)
    highest = torch.where(cut.missing.mask, -math.inf, along).amax(1)
    assert (lowest > highest).all()


def test_viewpoints_take_the_nearest():
    batch = normal(400, 200, 3)
    cut = ViewpointCrop(0.25)(batch, seeded())
    away = (cut.missing.points * cut.missing.weights[..., None]).sum(1)
    direction = torch.nn.functional.normalize(away, dim=-1)
    assert stats.kstest(direction[:, 2].numpy(), stats.uniform(-1, 2).cdf).pvalue > 0.01
    corners = torch.tensor([[x, y, z] for z in (1, -1) for y in (1, -1) for x in (1, -1)]).double()
    scaled, _ = UnitSphere()(batch.points, batch.weights)
    for k, corner in enumerate(corners):
        taken = ViewpointCrop(0.25, corner=k)(batch, seeded()).missing.mask
        nearest = (scaled - corner).norm(dim=-1).argsort(-1)[:, :50]
        expected = torch.zeros_like(taken).scatter(1, nearest, True)
        assert torch.equal(taken, expected)


def test_points_of_a_grid_are_taken_alike_whatever_their_order():
    # Many of its points are equally far from a corner, but for rounding.
    grid = torch.cartesian_prod(torch.arange(9.0), torch.arange(9.0))
    weights = torch.full((1, 81), 1 / 81)
    expected = None
    for seed in range(30):
        order = torch.randperm(81, generator=seeded(seed))
        cut = ViewpointCrop(0.4, corner=0)(
            PointBatch(grid[order][None], weights, torch.tensor([0])), seeded()
        )
        taken = {tuple(p) for p in cut.missing.points[0][cut.missing.mask[0]].tolist()}
        assert all((y, x) in taken for x, y in taken)
        assert expected is None or taken == expected
        expected = taken


def test_uniform_crops_take_every_point_alike():
    points = torch.randn(1, 12, 2, generator=seeded()).expand(3000, 12, 2)
    batch = PointBatch(points, torch.full((3000, 12), 1 / 12), torch.zeros(3000).long())
    counts = UniformCrop(0.5)(batch, seeded()).missing.mask.sum(0)
    # The counts of a draw without replacement spread less than those of chi-square.
    assert counts.sum() == 6 * 3000
    assert stats.chisquare(counts.numpy()).pvalue > 0.01
    taken = UniformCrop(0.5)(batch, seeded()).missing.mask.double()
    # Without replacement, any two indicators have the correlation -1 / (n - 1).
    expected = torch.eye(12) * 12 / 11 - 1 / 11
    assert (torch.corrcoef(taken.T) - expected).abs().max() < 0.07


def test_what_is_wrong_is_said():
    batch = normal(3, 4, 2)
    with pytest.raises(ValueError, match=r"seeds must be torch.int64 of shape \(3,\).*got.*\(2,\)"):
        UniformCrop(0.5).repeat(batch, torch.tensor([1, 2]))
    for wrong in (
        lambda: UniformCrop(0.0),
        lambda: HalfSpaceCrop(1.0),
        lambda: ViewpointCrop((0.7, 0.2)),
        lambda: UniformCrop(math.nan),
    ):
        with pytest.raises(ValueError, match="fraction must be above 0 and below 1"):
            wrong()
    with pytest.raises(ValueError, match="a finite radius above 0 and at least 1 ball"):
        DDEQsCrop(radius=0)
    with pytest.raises(ValueError, match="corner must be None or at least 0, got -1"):
        ViewpointCrop(0.5, corner=-1)
    with pytest.raises(ValueError, match=r"in dimension 2 there are the corners 0\.\.3, got 4"):
        ViewpointCrop(0.5, corner=4)(batch, seeded())


def test_it_moves(ragged):
    cut = UniformCrop(0.5)(collate(ragged([3, 5])), seeded()).to(dtype=torch.float32)
    assert cut.visible.points.dtype == cut.share.dtype == torch.float32
    assert cut.seeds.dtype == torch.int64
    assert len(cut) == 2
    assert cut.to("meta").missing.points.device.type == "meta"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@each
def test_a_crop_is_the_same_on_every_device(crop):
    batch = normal(4, 50, 3)
    cut = crop(batch, seeded())
    there = crop.repeat(batch.to("cuda"), cut.seeds)
    assert torch.equal(there.visible.mask.cpu(), cut.visible.mask)


@each
def test_features_have_no_part_in_what_is_near(crop):
    batch = normal(3, 60, 3)
    coloured = PointBatch(
        torch.cat([batch.points, 255 * torch.rand(3, 60, 2, generator=seeded()).double()], -1),
        batch.weights,
        batch.labels,
    )
    seeds = torch.tensor([5, 6, 7])
    found = replace(crop, features=2).repeat(coloured, seeds)
    expected = crop.repeat(batch, seeds)
    assert torch.equal(found.missing.mask, expected.missing.mask)
    there = found.missing.mask
    assert torch.equal(found.missing.points[there], coloured.points[there])
    assert repr(replace(crop, features=2)) != repr(crop)
    for features, said in ((5, "have no coordinates"), (-1, "at least 0, got -1")):
        with pytest.raises(ValueError, match=said):
            replace(crop, features=features).repeat(coloured, seeds)
