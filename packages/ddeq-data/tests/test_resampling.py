import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ddeq_data import (
    Compose,
    FarthestSample,
    PointBatch,
    RandomSample,
    ZScore,
    collate,
    farthest_points,
)

LAW = settings(max_examples=20, deadline=None, derandomize=True)
SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=5)
ALL = [
    RandomSample(4),
    RandomSample(20),
    FarthestSample(4),
    FarthestSample(4, random=True),
    FarthestSample(12, weights="equal"),
    FarthestSample(4, at="mean"),
]
each = pytest.mark.parametrize("sample", ALL, ids=repr)


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spread(count: int, clouds: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    points = torch.arange(count).double().expand(clouds, count)[..., None]
    return points, torch.full((clouds, count), 1 / count).double()


@each
@LAW
@given(sizes=SIZES, seed=st.integers(0, 99), dim=st.integers(1, 3), rows=st.integers(0, 3))
def test_padding_is_not_seen(ragged, sample, sizes, seed, dim, rows):
    batch = collate(ragged(sizes, dim, seed))
    points, weights = sample(batch.points, batch.weights, seeded())
    assert points.shape == (len(sizes), sample.count, dim)
    width = batch.points.shape[1]
    wide = torch.full((len(sizes), 2 * rows + width, dim), math.nan).double()
    wide[:, rows : rows + width] = torch.where(batch.mask[..., None], batch.points, 1e30)
    heavy = torch.zeros(wide.shape[:-1]).double()
    heavy[:, rows : rows + width] = batch.weights
    again, mass = sample(wide, heavy, seeded())
    assert torch.equal(again, points)
    torch.testing.assert_close(mass, weights, atol=1e-12, rtol=0)
    PointBatch(points, weights, batch.labels).check(atol=1e-9)
    assert torch.equal((weights > 0).any(-1), batch.sizes > 0)


@each
@LAW
@given(sizes=SIZES, seed=st.integers(0, 99))
def test_a_batch_is_its_clouds(ragged, sample, sizes, seed):
    clouds = ragged(sizes, 3, seed)
    batch = collate(clouds)
    points, weights = sample(batch.points, batch.weights, seeded())
    generator = seeded()
    for i, cloud in enumerate(clouds):
        single, mass = sample(cloud.points, cloud.weights, generator)
        assert torch.equal(points[i], single)
        torch.testing.assert_close(weights[i], mass, atol=1e-12, rtol=0)


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(4, 2), (0, 3), (3, 4, 2), (2, 3, 5, 3), (0, 4, 2)], ids=str)
def test_any_leading_shape_and_dtype(sample, dtype, shape):
    points = torch.randn(shape, generator=seeded()).to(dtype)
    weights = torch.full(shape[:-1], 1 / max(shape[-2], 1), dtype=dtype)
    taken, mass = sample(points, weights, seeded())
    assert taken.shape == (*shape[:-2], sample.count, shape[-1])
    assert mass.shape == taken.shape[:-1]
    assert taken.dtype == mass.dtype == dtype
    if shape[-2]:
        torch.testing.assert_close(mass.sum(-1), torch.ones(shape[:-2], dtype=dtype))
    else:
        assert not mass.any()


@each
def test_gradients_go_to_the_points_that_were_taken(ragged, sample):
    batch = collate(ragged([3, 9, 0]))
    points = torch.where(batch.mask[..., None], batch.points, math.nan).requires_grad_()
    taken, mass = sample(points, batch.weights, seeded())
    taken.sum().backward()
    assert points.grad.isfinite().all()
    assert not points.grad[~batch.mask].any()
    assert points.grad.sum() == pytest.approx(2 * int((mass > 0).sum()))


@LAW
@given(size=st.integers(1, 40), count=st.integers(1, 60), seed=st.integers(0, 99))
def test_every_point_comes_as_often_as_its_weight_asks(ragged, size, count, seed):
    points, weights, _ = ragged([size], 1, seed)[0]
    taken, mass = RandomSample(count)(points, weights, seeded(seed))
    times = (taken == points.T).sum(0)
    assert times.sum() == count
    assert ((times - count * weights).abs() < 1 + 1e-9).all()
    assert torch.equal(mass, torch.full((count,), 1 / count, dtype=torch.float64))


@pytest.mark.parametrize("count", [1, 7, 49, 50, 51, 99, 100, 101, 250])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_points_are_drawn_without_replacement(count, dtype):
    points, weights = spread(50, 20)
    taken, _ = RandomSample(count)(points.to(dtype), weights.to(dtype), seeded())
    for cloud in taken[..., 0]:
        times = torch.bincount(cloud.long(), minlength=50)
        assert set(times.tolist()) <= {count // 50, -(-count // 50)}


def test_every_point_and_pair_is_drawn_alike():
    points, weights = spread(10, 6000)
    taken, _ = RandomSample(4)(points, weights, seeded(0))
    there = torch.zeros(6000, 10).scatter(1, taken[..., 0].long(), 1)
    assert stats.chisquare(there.sum(0).numpy()).pvalue > 0.01
    pairs = there.T @ there
    above = pairs[torch.triu(torch.ones(10, 10), 1).bool()]
    assert stats.chisquare(above.numpy()).pvalue > 0.01


def test_heavy_points_are_drawn_more_often():
    points = torch.arange(4.0)[None, :, None].expand(5000, 4, 1)
    weights = torch.tensor([0.05, 0.15, 0.3, 0.5]).expand(5000, 4)
    taken, _ = RandomSample(2)(points, weights, seeded())
    counts = torch.bincount(taken.flatten().long(), minlength=4) / 10_000
    # Each mean is of 5,000 clouds, and at most 1 of variance.
    torch.testing.assert_close(counts, weights[0], atol=3 / 2 / math.sqrt(5000), rtol=0)


def naive(points: torch.Tensor, count: int, first: int) -> list[int]:
    chosen = [first]
    while len(chosen) < count:
        apart = [min(math.dist(p, points[c]) for c in chosen) for p in points.tolist()]
        if max(apart) == 0:
            break
        chosen.append(apart.index(max(apart)))
    return chosen


@LAW
@given(
    size=st.integers(1, 12),
    count=st.integers(1, 14),
    seed=st.integers(0, 99),
    dim=st.integers(1, 3),
    grid=st.booleans(),
)
def test_farthest_points_are_those_of_a_loop(ragged, size, count, seed, dim, grid):
    points, weights, _ = ragged([size], dim, seed)[0]
    points = points.mul(1.5).round() if grid else points  # then with ties and duplicates
    first = torch.tensor(seed % size)
    expected = naive(points, count, int(first))
    expected += [-1] * (count - len(expected))
    assert farthest_points(points, weights, count, first).tolist() == expected
    for scale in (2.0**-500, 2.0**500):
        assert farthest_points(points * scale, weights, count, first).tolist() == expected


def test_the_first_point_is_the_farthest_from_the_mean():
    points = torch.tensor([[0.0], [1.0], [1.5], [4.0]])
    assert farthest_points(points, torch.full((4,), 0.25), 2).tolist() == [3, 0]
    heavy = torch.tensor([0.05, 0.05, 0.05, 0.85])
    assert farthest_points(points, heavy, 2).tolist() == [0, 3]
    square = torch.tensor([[0, 0], [0, 1], [1, 0], [1.0, 1]]) / 3  # all are equally far
    for shift in range(30):
        moved = square + shift / 7
        assert farthest_points(moved, torch.full((4,), 0.25), 2).tolist() == [0, 3]


@LAW
@given(
    size=st.integers(3, 9), unit=st.floats(1e-3, 1e3), seed=st.integers(0, 99), given=st.booleans()
)
def test_rounding_decides_nothing_on_a_grid(size, unit, seed, given):
    """Where many are equally far: scaled, moved or in another precision, the same are chosen."""
    grid = torch.cartesian_prod(*[torch.arange(float(size)).double()] * 2)
    weights = torch.rand(len(grid), generator=seeded(seed)) + 0.1
    first = torch.tensor(seed % size) if given else None
    expected = farthest_points(grid, weights, 20, first)
    _, mass = FarthestSample(20)(grid, weights)
    moved = unit * (grid - 3.3)
    noise = unit * 1e-6 * torch.randn(grid.shape, generator=seeded(seed)).double()
    for points in (moved, moved.float(), moved + noise):
        assert torch.equal(farthest_points(points, weights, 20, first), expected)
        assert torch.equal(FarthestSample(20)(points, weights)[1], mass)


def test_what_differs_by_more_than_rounding_is_told_apart():
    """A part in 2,000 of the square is no rounding, and a part in 10,000 is."""
    for part, told in ((5e-4, True), (1e-4, False)):
        line = torch.tensor([[-1.0], [0.0], [1 + part / 2]], dtype=torch.float64)
        weights = torch.tensor([1.0, 1e9, 1.0], dtype=torch.float64)  # the mean is at 0
        assert farthest_points(line, weights, 2).tolist() == ([2, 0] if told else [0, 2])
        assert farthest_points(line, weights, 2, torch.tensor(1)).tolist() == [1, 2 * told]
        _, mass = FarthestSample(2)(line, torch.tensor([3.0, 3.0, 1.0]))  # the last one first
        assert mass.tolist() == ([1, 6] if told else [4, 3])


def test_what_is_chosen_covers_the_cloud():
    points = torch.randn(5, 300, 3, generator=seeded()).double()
    weights = torch.full((5, 300), 1 / 300).double()
    taken, mass = FarthestSample(20)(points, weights)
    among = torch.cdist(taken, taken) + torch.eye(20) * 1e9
    reach = torch.cdist(points, taken).amin(-1).amax(-1)
    assert (reach <= among.amin((-1, -2)) * (1 + 2**-12)).all()
    nearest = torch.cdist(points, taken).argmin(-1)
    expected = torch.zeros(5, 20).double().scatter_add(1, nearest, weights)
    torch.testing.assert_close(mass, expected)
    _, equal = FarthestSample(20, weights="equal")(points, weights)
    assert torch.equal(equal, torch.full((5, 20), 0.05, dtype=torch.float64))


def test_a_place_is_chosen_once():
    points = torch.tensor([[0.0], [0.0], [2.0], [5.0], [5.0], [9.0]])
    weights = torch.tensor([0.1, 0.2, 0.3, 0.1, 0.3, 0.0])
    taken, mass = FarthestSample(5)(points, weights)
    assert taken.flatten().tolist() == [0.0, 5.0, 2.0, 0.0, 0.0]
    torch.testing.assert_close(mass, torch.tensor([0.3, 0.4, 0.3, 0.0, 0.0]))
    taken, mass = FarthestSample(5, weights="equal")(points, weights)
    torch.testing.assert_close(mass, torch.tensor([1 / 3, 1 / 3, 1 / 3, 0.0, 0.0]))
    told = torch.cat([points, torch.tensor([[7.0], [0], [1e9], [3], [1], [2]])], -1)
    taken, mass = FarthestSample(3, features=1)(told, weights)
    assert taken.tolist() == [[0, 7], [5, 3], [2, 1e9]]
    torch.testing.assert_close(mass, torch.tensor([0.3, 0.4, 0.3]))
    with pytest.raises(ValueError, match="features must be at least 0, got -1"):
        FarthestSample(3, features=-1)


@LAW
@given(size=st.integers(1, 9), seed=st.integers(0, 99))
def test_farthest_samples_do_not_depend_on_order_or_multiplicity(ragged, size, seed):
    points, weights, _ = ragged([size], 3, seed)[0]
    order = torch.randperm(size, generator=seeded(seed))
    twice = torch.cat([points[order], points[:1]])
    halved = torch.cat([weights[order], weights[:1]])
    halved = torch.where((twice == points[0]).all(-1), halved / 2, halved)
    expected, mass = FarthestSample(6)(points, weights)
    found, found_mass = FarthestSample(6)(twice, halved)
    assert torch.equal(found, expected)
    torch.testing.assert_close(found_mass, mass)


def test_the_first_point_may_be_drawn_by_weight():
    points = torch.arange(4.0)[None, :, None].expand(4000, 4, 1)
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64).expand(4000, 4)
    sample = FarthestSample(1, random=True)
    taken, _ = sample(points.double(), weights, seeded())
    counts = torch.bincount(taken.flatten().long(), minlength=4)
    assert stats.chisquare(counts.numpy(), (4000 * weights[0]).numpy()).pvalue > 0.01
    assert Compose([ZScore(), sample]).random
    assert not Compose([ZScore(), FarthestSample(3)]).random
    with pytest.raises(ValueError, match=r"is random and needs a torch\.Generator"):
        sample(points, weights.float())


def test_batches_are_resampled(ragged):
    batch = collate(ragged([9, 3, 0], 3))
    small = batch.map(RandomSample(5), seeded())
    assert small.points.shape == (3, 5, 3)
    assert small.sizes.tolist() == [5, 5, 0]
    assert batch.map(FarthestSample(5)).sizes.tolist() == [5, 3, 0]


def test_what_is_wrong_is_said():
    for wrong in (lambda: RandomSample(0), lambda: FarthestSample(2**22 + 1)):
        with pytest.raises(ValueError, match=r"count must be in 1\.\.4194304, got"):
            wrong()
    with pytest.raises(ValueError, match='weights must be "nearest" or "equal", got \'voronoi\''):
        FarthestSample(3, weights="voronoi")
    with pytest.raises(ValueError, match='at must be "chosen" or "mean", got \'centre\''):
        FarthestSample(3, at="centre")
    points, weights = spread(4, 2)
    with pytest.raises(ValueError, match=r"first must be torch.int64 of shape \(2,\).*got.*\(\)"):
        farthest_points(points, weights, 2, torch.tensor(0))
    with pytest.raises(ValueError, match="weights must have shape"):
        farthest_points(points, weights[:, :2], 2)


@LAW
@given(size=st.integers(1, 40), count=st.integers(1, 12), seed=st.integers(0, 99))
def test_points_in_the_mean_are_nearer_and_keep_the_mean_of_the_cloud(ragged, size, count, seed):
    points, weights, _ = ragged([size], 2, seed)[0]
    chosen, mass = FarthestSample(count)(points, weights)
    moved, same = FarthestSample(count, at="mean")(points, weights)
    assert torch.equal(mass, same)
    nearest = torch.cdist(points, chosen[mass > 0]).argmin(-1)
    for i in range(int((mass > 0).sum())):
        own = nearest == i
        expected = (weights[own, None] * points[own]).sum(0) / weights[own].sum()
        torch.testing.assert_close(moved[i], expected, atol=1e-9, rtol=0)
    mean = (weights[:, None] * points).sum(0)
    torch.testing.assert_close((mass[:, None] * moved).sum(0), mean, atol=1e-9, rtol=0)
    assert torch.equal(moved[mass == 0], torch.zeros_like(moved[mass == 0]))


@pytest.mark.parametrize("features", [2, 3])
def test_features_that_leave_no_coordinates_are_refused(features):
    points, weights = spread(4)
    points = torch.cat([points, points], -1)
    with pytest.raises(ValueError, match=r"points of 2 columns, .* have no coordinates"):
        FarthestSample(2, features=features)(points, weights)
