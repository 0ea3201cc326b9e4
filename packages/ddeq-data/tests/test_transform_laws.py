"""What holds for every transform."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddeq_data import (
    Compose,
    DropPoints,
    Frame,
    Jitter,
    OnCoordinates,
    RandomRotation,
    RandomScale,
    RandomShear,
    RandomShift,
    UnitSphere,
    ZScore,
    collate,
)

LAW = settings(max_examples=15, deadline=None, derandomize=True)
NORMALISING = [ZScore(), UnitSphere()]
FRAME = Frame((1.0, -2.0), 3.0)
PER_CLOUD = [  # one draw for a whole cloud: nothing depends on the order of the points
    RandomRotation(90),
    RandomScale(0.5, 2),
    RandomScale(0.5, 2, per_axis=True),
    RandomShear(0.4),
    RandomShift(1.0),
]
PER_POINT = [Jitter(0.3), DropPoints(0.4)]
MIXED = Compose([DropPoints(0.3), ZScore(), RandomRotation(40), Jitter(0.1), UnitSphere()])
BESIDE = OnCoordinates(Compose([ZScore(), DropPoints(0.4)]), 1)
ALL = [*NORMALISING, FRAME, BESIDE, *PER_CLOUD, *PER_POINT, MIXED]
SIZES = st.lists(st.integers(0, 6), min_size=1, max_size=5)
each = pytest.mark.parametrize("transform", ALL, ids=repr)


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@each
@LAW
@given(sizes=SIZES, seed=st.integers(0, 99), dim=st.integers(2, 3), rows=st.integers(0, 3))
def test_padding_is_not_seen(ragged, transform, sizes, seed, dim, rows):
    batch = collate(ragged(sizes, dim, seed))
    points, weights = transform(batch.points, batch.weights, seeded())
    # More padding, before and after the points, with anything in it.
    wide = torch.full((len(sizes), 2 * rows + batch.points.shape[1], dim), math.nan).double()
    wide[:, rows : rows + batch.points.shape[1]] = torch.where(
        batch.mask[..., None], batch.points, 1e30
    )
    heavy = torch.zeros(wide.shape[:-1]).double()
    heavy[:, rows : rows + batch.points.shape[1]] = batch.weights
    again, mass = transform(wide, heavy, seeded())
    inner = slice(rows, rows + batch.points.shape[1])
    torch.testing.assert_close(again[:, inner], points, atol=1e-12, rtol=0)
    torch.testing.assert_close(mass[:, inner], weights, atol=1e-15, rtol=0)
    assert not again[mass == 0].any()
    assert not mass[:, :rows].any()
    assert not mass[heavy == 0].any()


@each
@LAW
@given(sizes=SIZES, seed=st.integers(0, 99))
def test_a_batch_is_its_clouds(ragged, transform, sizes, seed):
    clouds = ragged(sizes, 3, seed)
    batch = collate(clouds)
    generator = seeded()
    if transform is MIXED:  # draws for the first transform come before those for the second
        sizes = sizes[:1]
        batch = collate(clouds[:1])
    points, weights = transform(batch.points, batch.weights, seeded())
    for i, size in enumerate(sizes):
        single, mass = transform(clouds[i].points, clouds[i].weights, generator)
        torch.testing.assert_close(points[i, :size], single, atol=1e-12, rtol=0)
        torch.testing.assert_close(weights[i, :size], mass, atol=1e-15, rtol=0)


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(4, 2), (0, 3), (3, 4, 2), (2, 3, 5, 3), (0, 4, 2)], ids=str)
def test_any_leading_shape_and_dtype(transform, dtype, shape):
    points = torch.randn(shape, generator=seeded()).to(dtype)
    weights = torch.full(shape[:-1], 1 / max(shape[-2], 1), dtype=dtype)
    moved, mass = transform(points, weights, seeded())
    assert moved.shape == points.shape
    assert mass.shape == weights.shape
    assert moved.dtype == mass.dtype == dtype
    assert moved.isfinite().all()
    if shape[-2]:
        torch.testing.assert_close(mass.sum(-1), torch.ones(shape[:-2], dtype=dtype))


@each
def test_arguments_are_left_as_they_were(ragged, transform):
    batch = collate(ragged([3, 5]))
    before = batch.points.clone(), batch.weights.clone()
    transform(batch.points, batch.weights, seeded())
    assert torch.equal(batch.points, before[0])
    assert torch.equal(batch.weights, before[1])


@each
def test_no_gradient_comes_from_padding(ragged, transform):
    batch = collate(ragged([2, 4, 0]))
    points = torch.where(batch.mask[..., None], batch.points, math.nan).requires_grad_()
    transform(points, batch.weights, seeded())[0].square().sum().backward()
    assert points.grad.isfinite().all()
    assert not points.grad[~batch.mask].any()


@pytest.mark.parametrize("transform", [*NORMALISING, *PER_CLOUD], ids=repr)
@LAW
@given(size=st.integers(1, 7), seed=st.integers(0, 99))
def test_the_order_of_points_does_not_matter(ragged, transform, size, seed):
    points, weights, _ = ragged([size], 3, seed)[0]
    order = torch.randperm(size, generator=seeded(seed))
    expected, _ = transform(points, weights, seeded())
    moved, _ = transform(points[order], weights[order], seeded())
    torch.testing.assert_close(moved, expected[order], atol=1e-12, rtol=0)


@pytest.mark.parametrize("transform", [*NORMALISING, *PER_CLOUD], ids=repr)
@LAW
@given(size=st.integers(1, 7), seed=st.integers(0, 99))
def test_a_doubled_weight_is_a_duplicated_point(ragged, transform, size, seed):
    points, weights, _ = ragged([size], 3, seed)[0]
    twice = torch.cat([points, points[:1]])
    halved = torch.cat([weights[:1] / 2, weights[1:], weights[:1] / 2])
    expected, _ = transform(points, weights, seeded())
    moved, _ = transform(twice, halved, seeded())
    torch.testing.assert_close(moved[:-1], expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("transform", [*PER_CLOUD, *PER_POINT], ids=repr)
def test_random_transforms_draw_for_each_cloud_and_need_a_generator(ragged, transform):
    cloud = ragged([12])[0]
    batch = collate([cloud, cloud])
    points, _ = transform(batch.points, batch.weights, seeded())
    assert not torch.equal(points[0], points[1])
    repeated, _ = transform(batch.points, batch.weights, seeded())
    assert torch.equal(points, repeated)
    other, _ = transform(batch.points, batch.weights, seeded(6))
    assert not torch.equal(points, other)
    with pytest.raises(ValueError, match=r"is random and needs a torch.Generator"):
        transform(batch.points, batch.weights)
    assert transform.random
    assert Compose([ZScore(), transform]).random


@each
def test_shapes_that_do_not_fit_are_named(transform):
    with pytest.raises(ValueError, match=r"weights must have shape \(3,\).*got \(2,\)"):
        transform(torch.zeros(3, 2), torch.ones(2), seeded())
    with pytest.raises(ValueError, match=r"points must be floating.*got torch.int64"):
        transform(torch.zeros(3, 2).long(), torch.ones(3), seeded())
