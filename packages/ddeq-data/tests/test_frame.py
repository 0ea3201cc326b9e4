import math

import pytest
import torch

from ddeq_data import Cloud, CloudDataset, Frame, PackedClouds, fit_frame


def dataset(clouds: list[torch.Tensor], coordinates: int | None = None) -> CloudDataset:
    packed = PackedClouds.from_clouds(
        [Cloud(x, torch.full((len(x),), 1 / max(len(x), 1)).to(x), 0) for x in clouds]
    )
    if coordinates is not None:
        packed = PackedClouds(
            packed.points, packed.weights, packed.offsets, packed.labels, coordinates
        )
    return CloudDataset(packed, ["only"])


def test_the_frame_of_a_set_is_its_middle_place_and_size():
    generator = torch.Generator().manual_seed(0)
    clouds = [
        torch.randn(50, 2, generator=generator).double() * 3 + torch.tensor([10.0, -5.0])
        for _ in range(41)
    ]
    clouds += [1e9 * torch.randn(50, 2, generator=generator).double()] * 3  # move nothing
    clouds.append(torch.empty(0, 2).double())
    frame = fit_frame(dataset(clouds))
    assert frame.centre == pytest.approx((10, -5), abs=0.3)
    assert frame.scale == pytest.approx(3, abs=0.2)
    # Whoever moves and scales the set gets the same clouds out.
    moved = fit_frame(dataset([7 * x + 1e6 for x in clouds]))
    w = torch.full((50,), 0.02).double()
    torch.testing.assert_close(moved(7 * clouds[0] + 1e6, w)[0], frame(clouds[0], w)[0])


def test_features_behind_the_coordinates_are_left_alone():
    clouds = [torch.randn(9, 3).double() + 4 for _ in range(5)]
    frame = fit_frame(dataset(clouds, coordinates=2))
    assert len(frame.centre) == 2
    out, _ = frame(clouds[0], torch.full((9,), 1 / 9).double())
    assert torch.equal(out[:, 2], clouds[0][:, 2])
    centre = torch.tensor(frame.centre, dtype=torch.float64)
    expected = (clouds[0][:, :2] - centre) / frame.scale
    torch.testing.assert_close(out[:, :2], expected)


def test_without_any_extent_the_places_give_the_scale_and_else_it_is_one():
    singles = [torch.tensor([[float(i), 0.0]]).double() for i in (0, 1, 2, 3, 4)]
    assert fit_frame(dataset(singles)).scale == pytest.approx(math.sqrt(10 / 5 / 2))
    same = [torch.tensor([[5.6e6, 1.0]]).double()] * 3
    assert fit_frame(dataset(same)) == Frame((5.6e6, 1.0), 1.0)
    with pytest.raises(ValueError, match="at least one cloud with points"):
        fit_frame(dataset([torch.empty(0, 2).double()]))


def test_it_says_what_is_wrong():
    with pytest.raises(ValueError, match="at least one axis"):
        Frame((), 1.0)
    with pytest.raises(ValueError, match="must be finite"):
        Frame((math.inf,), 1.0)
    for scale in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="scale must be finite and above 0"):
            Frame((0.0,), scale)
    with pytest.raises(ValueError, match="has 3 coordinates, these points have 2"):
        Frame((0.0, 0.0, 0.0), 1.0)(torch.ones(4, 2), torch.full((4,), 0.25))
