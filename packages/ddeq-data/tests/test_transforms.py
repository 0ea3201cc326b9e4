"""What each transform does."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from ddeq_data import (
    Compose,
    DropPoints,
    FarthestSample,
    Jitter,
    OnCoordinates,
    PointBatch,
    RandomRotation,
    RandomSample,
    RandomScale,
    RandomShear,
    RandomShift,
    ToFloat32,
    UnitSphere,
    ZScore,
)


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(*shape: int) -> torch.Tensor:
    return torch.full(shape, 1 / shape[-1], dtype=torch.float64)


def test_z_score_is_that_of_numpy():
    rng = np.random.default_rng(0)
    values, mass = rng.normal(3, [1, 10, 0.1], (40, 3)), rng.random(40)
    mean = np.average(values, axis=0, weights=mass)
    std = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=mass))
    moved, _ = ZScore()(torch.tensor(values), torch.tensor(mass / mass.sum()))
    np.testing.assert_allclose(moved.numpy(), (values - mean) / std, atol=1e-12)


def test_unit_sphere_keeps_proportions():
    points = torch.randn(30, 3, generator=seeded()).double() * torch.tensor([1.0, 2.0, 3.0]) + 7
    moved, _ = UnitSphere()(points, uniform(30))
    torch.testing.assert_close(moved.norm(dim=-1).max(), torch.tensor(1.0).double())
    torch.testing.assert_close(moved.mean(0), torch.zeros(3).double(), atol=1e-12, rtol=0)
    ratio = torch.cdist(moved, moved)[0, 1:] / torch.cdist(points, points)[0, 1:]
    torch.testing.assert_close(ratio, ratio[:1].expand(29))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_normalisation_knows_no_unit(dtype, scale):
    points = torch.randn(2, 30, 2, generator=seeded()).to(dtype)
    weights = uniform(2, 30).to(dtype)
    for transform in (ZScore(), UnitSphere()):
        expected, _ = transform(points, weights)
        moved, _ = transform(points * scale, weights)
        torch.testing.assert_close(moved, expected, atol=1e-5, rtol=0)


def test_normalisation_is_accurate_far_from_the_origin():
    grid = torch.randint(-64, 64, (50, 2), generator=seeded()).float() / 64  # exact after the shift
    for transform in (ZScore(), UnitSphere()):
        near, _ = transform(grid, uniform(50).float())
        far, _ = transform(grid + 4096, uniform(50).float())
        torch.testing.assert_close(far, near, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_axis_without_spread_is_only_centred(dtype):
    points = torch.randn(40, 3, generator=seeded()).to(dtype)
    points[:, 1] = 5.3
    moved, _ = ZScore()(points, uniform(40).to(dtype))
    assert moved[:, 1].abs().max() < 1e-5
    torch.testing.assert_close(moved[:, 0].square().mean(), torch.ones((), dtype=dtype))
    # The rounding of a rotation must not be blown up to a spread of 1 either.
    flat = points - torch.tensor([0, 5.3, 0], dtype=dtype)
    angle = torch.tensor(0.7, dtype=dtype)
    turn = torch.eye(3, dtype=dtype)
    turn[1:, 1:] = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).reshape(2, 2)
    moved, _ = ZScore()(flat @ turn.T @ turn, uniform(40).to(dtype))
    assert moved[:, 1].abs().max() < 1e-5


@pytest.mark.parametrize("transform", [ZScore(), UnitSphere()], ids=repr)
def test_a_single_place_goes_to_the_origin_with_finite_gradient(transform):
    points = torch.tensor([[[3.0, 4.0]] * 3, [[0.0, 0.0]] * 3], requires_grad=True)
    moved, _ = transform(points, uniform(2, 3).float())
    assert moved.abs().max() < 1e-6
    moved.sum().backward()
    assert points.grad.isfinite().all()


@pytest.mark.parametrize("transform", [ZScore(), UnitSphere()], ids=repr)
def test_the_gradient_of_normalisation(transform):
    points = torch.randn(5, 2, generator=seeded()).double().requires_grad_()
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.0]).double()
    assert torch.autograd.gradcheck(lambda x: transform(x, weights)[0], points)


@pytest.mark.parametrize(
    ("transform", "dim"), [(RandomRotation(180), 2), (RandomRotation(70), 3)], ids=repr
)
def test_rotation_is_proper_and_about_the_origin(transform, dim):
    basis = torch.eye(dim).double().expand(500, dim, dim)
    turned, _ = transform(basis, uniform(500, dim), seeded())
    torch.testing.assert_close(turned @ turned.mT, basis, atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.linalg.det(turned), torch.ones(500).double())
    trace = turned.diagonal(dim1=-2, dim2=-1).sum(-1)
    cosine = trace / 2 if dim == 2 else (trace - 1) / 2
    angle = torch.rad2deg(torch.arccos(cosine.clamp(-1, 1)))
    law = stats.uniform(0, transform.degrees)  # of its absolute value
    assert stats.kstest(angle.numpy(), law.cdf).pvalue > 0.01


def test_rotation_goes_both_ways():
    right = torch.tensor([[1.0, 0.0]]).expand(2000, 1, 2).double()
    turned, _ = RandomRotation(30)(right, uniform(2000, 1), seeded())
    angle = torch.rad2deg(torch.atan2(turned[:, 0, 1], turned[:, 0, 0]))
    assert stats.kstest(angle.numpy(), stats.uniform(-30, 60).cdf).pvalue > 0.01


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rotation_about_an_axis_leaves_it(axis):
    points = torch.randn(20, 6, 3, generator=seeded()).double()
    turned, _ = RandomRotation(180, axis=axis)(points, uniform(20, 6), seeded())
    torch.testing.assert_close(turned[..., axis], points[..., axis])
    torch.testing.assert_close(turned.norm(dim=-1), points.norm(dim=-1))


def test_axes_of_rotation_are_uniform_on_the_sphere():
    basis = torch.eye(3).double().expand(2000, 3, 3)
    turned, _ = RandomRotation(90)(basis, uniform(2000, 3), seeded())
    axis = torch.stack(  # the antisymmetric part of the transposed matrix holds it
        [
            turned[:, 1, 2] - turned[:, 2, 1],
            turned[:, 2, 0] - turned[:, 0, 2],
            turned[:, 0, 1] - turned[:, 1, 0],
        ],
        -1,
    )
    height = (axis / axis.norm(dim=-1, keepdim=True))[:, 2]  # uniform, by Archimedes
    assert stats.kstest(height.numpy(), stats.uniform(-1, 2).cdf).pvalue > 0.01


@pytest.mark.parametrize("per_axis", [False, True])
def test_scale_is_uniform(per_axis):
    ones = torch.ones(2000, 2, 3).double()
    scaled, _ = RandomScale(0.5, 2, per_axis=per_axis)(ones, uniform(2000, 2), seeded())
    assert torch.equal(scaled[:, 0], scaled[:, 1])
    assert torch.equal(scaled[:, 0, 0], scaled[:, 0, 1]) is not per_axis
    for axis in range(3):
        values = scaled[:, 0, axis].numpy()
        assert stats.kstest(values, stats.uniform(0.5, 1.5).cdf).pvalue > 0.01


def test_shear_has_a_unit_diagonal_and_uniform_entries():
    basis = torch.eye(2).double().expand(2000, 2, 2)
    sheared, _ = RandomShear(0.3)(basis, uniform(2000, 2), seeded())
    assert (sheared.diagonal(dim1=-2, dim2=-1) == 1).all()
    for values in (sheared[:, 0, 1], sheared[:, 1, 0]):
        assert stats.kstest(values.numpy(), stats.uniform(-0.3, 0.6).cdf).pvalue > 0.01


def test_shift_is_uniform_and_one_for_the_cloud():
    zeros = torch.zeros(2000, 2, 2).double()
    shifted, _ = RandomShift(0.3)(zeros, uniform(2000, 2), seeded())
    assert torch.equal(shifted[:, 0], shifted[:, 1])
    for axis in range(2):
        values = shifted[:, 0, axis].numpy()
        assert stats.kstest(values, stats.uniform(-0.3, 0.6).cdf).pvalue > 0.01


def test_jitter_is_normal_and_independent():
    zeros = torch.zeros(2, 3000, 2).double()
    moved, _ = Jitter(0.5)(zeros, uniform(2, 3000), seeded())
    series = moved.movedim(1, 0).flatten(1)
    for column in series.unbind(1):
        assert stats.kstest(column.numpy(), stats.norm(0, 0.5).cdf).pvalue > 0.01
    correlation = np.corrcoef(series.T.numpy()) - np.eye(4)
    assert np.abs(correlation).max() < 0.06


def test_drop_keeps_proportions_and_the_expected_share():
    mass = torch.rand(50, 200, generator=seeded()).double() + 0.1
    mass /= mass.sum(-1, keepdim=True)
    points = torch.randn(50, 200, 2, generator=seeded()).double()
    kept, weights = DropPoints(0.3)(points, mass, seeded())
    stays = weights > 0
    assert torch.equal(kept[stays], points[stays])
    torch.testing.assert_close(weights.sum(-1), torch.ones(50).double())
    factor = torch.where(stays, weights / mass, torch.nan)
    assert torch.allclose(factor.nanmean(-1, keepdim=True).expand(50, 200)[stays], factor[stays])
    assert stats.binomtest(int(stays.sum()), stays.numel(), 0.7).pvalue > 0.01


def test_drop_leaves_one_point():
    _, weights = DropPoints(0.99)(torch.ones(200, 3, 2), uniform(200, 3).float(), seeded())
    assert ((weights > 0).sum(-1) >= 1).all()
    assert (weights.sum(-1) - 1).abs().max() < 1e-6
    assert stats.chisquare((weights > 0).sum(0).numpy()).pvalue > 0.01  # not always the same one


def test_nothing_is_dropped_for_p_0():
    points, weights = torch.randn(20, 5, 2, generator=seeded()), uniform(20, 5).float()
    kept, mass = DropPoints(0.0)(points, weights, seeded())
    assert torch.equal(kept, points)
    assert torch.equal(mass, weights)


def test_compose_applies_in_order():
    points, weights = torch.tensor([[1.0, 0.0], [3.0, 2.0]]), torch.tensor([0.5, 0.5])
    both = Compose([UnitSphere(), RandomScale(2, 2)])
    moved, mass = both(points, weights, seeded())
    root = math.sqrt(2)
    torch.testing.assert_close(moved, torch.tensor([[-root, -root], [root, root]]))
    assert torch.equal(mass, weights)
    same, _ = Compose([])(points, weights)
    assert same is points
    assert not Compose([]).random
    with pytest.raises(TypeError, match="a transform must be callable, got 'ZScore'"):
        Compose(["ZScore"])


def test_reprs_say_how_to_make_them():
    text = repr(Compose([ZScore(), RandomRotation(15, axis=2), DropPoints(0.1)]))
    assert text == (
        "Compose(transforms=(ZScore(), RandomRotation(degrees=15, axis=2), DropPoints(p=0.1)))"
    )
    assert Compose([ZScore(), Jitter(0.1)]) == Compose((ZScore(), Jitter(0.1)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomRotation(181), r"degrees must be in 0\.\.180, got 181"),
        (lambda: RandomRotation(10, axis=3), "axis must be 0, 1, 2 or None, got 3"),
        (lambda: RandomScale(0, 1), "0 < low <= high"),
        (lambda: RandomScale(2, 1), "0 < low <= high"),
        (lambda: RandomShear(-1), "limit must be finite and at least 0, got -1"),
        (lambda: RandomShift(math.nan), "limit must be finite and at least 0, got nan"),
        (lambda: Jitter(math.inf), "std must be finite and at least 0, got inf"),
        (lambda: DropPoints(1), "p must be at least 0 and less than 1, got 1"),
    ],
)
def test_arguments_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_rotation_refuses_other_dimensions():
    for transform, dim in ((RandomRotation(10), 4), (RandomRotation(10, axis=2), 2)):
        with pytest.raises(ValueError, match=f"got dimension {dim} and axis="):
            transform(torch.zeros(3, dim), torch.ones(3) / 3, seeded())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_draw_is_the_same_on_every_device():
    points, weights = torch.randn(2, 5, 3), torch.full((2, 5), 0.2)
    for transform in (Jitter(0.1), RandomRotation(10), DropPoints(0.4)):
        expected, mass = transform(points, weights, seeded())
        found, found_mass = transform(points.cuda(), weights.cuda(), seeded())
        torch.testing.assert_close(found.cpu(), expected)
        torch.testing.assert_close(found_mass.cpu(), mass)
        on_device = torch.Generator("cuda").manual_seed(0)
        assert transform(points, weights, on_device)[0].device.type == "cpu"


def test_results_are_on_the_device_of_the_points():
    points, weights = torch.zeros(2, 3, 2, device="meta"), torch.zeros(2, 3, device="meta")
    for transform in (Jitter(0.1), RandomRotation(10), DropPoints(0.1)):
        assert transform(points, weights, seeded())[0].device.type == "meta"


@pytest.mark.parametrize("sample", [RandomSample, FarthestSample])
@pytest.mark.parametrize("count", [3, 6, 9])
def test_features_and_labels_go_where_their_points_go(sample, count):
    rows = torch.arange(6.0, dtype=torch.float64)
    points = torch.stack([rows, rows**2, 10 * rows], -1)[None]
    weights = torch.full((1, 6), 1 / 6, dtype=torch.float64)
    chosen = OnCoordinates(Compose([sample(count), RandomShift(0.5)]), 1)
    batch = PointBatch(points, weights, torch.zeros(1, dtype=torch.int64), rows.long()[None])
    found = batch.map(chosen, seeded())
    assert found.points.shape == (1, count, 3)
    there = found.mask[0]
    assert torch.equal(found.points[0, there, 2], 10.0 * found.targets[0, there])
    assert (found.targets[0, ~there] == -1).all()
    assert not found.points[0, ~there].any()
    alone, mass = chosen(points, weights, seeded())
    assert torch.equal(alone, found.points)
    assert torch.equal(mass, found.weights)
    empty, none = chosen(points[:, :0], weights[:, :0], seeded())
    assert empty.shape == (1, count, 3)
    assert not none.any()


def test_features_cannot_follow_what_does_not_say_where():
    def first(points, weights, generator=None):
        return points[..., :1, :], weights[..., :1]

    points, weights = torch.ones(2, 3, 3), torch.full((2, 3), 1 / 3)
    with pytest.raises(ValueError, match=r"no method with_labels.*features"):
        OnCoordinates(first, 1)(points, weights)
    with pytest.raises(ValueError, match="points of 3 columns, 3 of them features"):
        OnCoordinates(ZScore(), 3)(points, weights)


def test_float32_moves_nothing_that_is_not_asked_for():
    points = torch.rand(7, 5, 5, generator=seeded()).double() + 100
    weights = torch.full((7, 5), 0.2).double()
    rounded, mass = ToFloat32()(points, weights)
    assert torch.equal(rounded, points.float())
    assert mass.dtype == torch.float32
    centred, _ = ToFloat32(centre=True, features=3)(points, weights)
    assert torch.equal(centred[..., 2:], points[..., 2:].float())
    assert centred[..., :2].mean(-2).abs().max() < 1e-6
    assert torch.equal(ToFloat32(centre=True)(points.float(), weights)[0], points.float())
    with pytest.raises(ValueError, match="features must be at least 0, got -1"):
        ToFloat32(features=-1)
