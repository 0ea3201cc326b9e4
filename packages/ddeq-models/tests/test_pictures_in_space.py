"""Clouds in space are seen from above at an angle, and what is nearer is darker."""

import io
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from ddeq_models.report.completions import completions
from ddeq_models.report.pictures import Flow, draw_completions, draw_flows
from ddeq_models.report.pictures.projection import ink, on_paper, shades, up_of
from ddeq_models.report.samples import CompletedCloud
from ddeq_models.report.story import Story

BOX = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0.0, 1.0)])


def test_a_box_is_seen_from_above_at_an_angle() -> None:
    places, depth = on_paper(BOX)
    lower, upper = places[::2], places[1::2]
    assert (upper[:, 1] > lower[:, 1]).all()  # z is up
    np.testing.assert_allclose(upper[:, 0], lower[:, 0])
    assert len({tuple(place.round(6)) for place in places}) == 8  # no corner hides another
    assert (depth[1::2] < depth[::2]).all()  # what is above is nearer
    turned, _ = on_paper(BOX[:, [1, 2, 0]], "y")  # y is up
    np.testing.assert_allclose(turned, places)
    assert (up_of("meshes"), up_of("resampled"), up_of("hdf5")) == ("z", "y", "y")


def test_what_is_nearer_is_darker_and_the_plane_has_one_shade() -> None:
    shade = shades(np.array([0.0, 1.0, 2.0]))
    assert shade.tolist() == [1.0, 0.625, 0.25]
    assert (np.diff(ink(shade).sum(1)) > 0).all()
    flat, depth = on_paper(np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert flat.tolist() == [[1, 2], [3, 4]]
    assert shades(depth).tolist() == [1, 1]
    line, _ = on_paper(np.array([[1.0], [3.0]]))
    assert line.tolist() == [[1, 0], [3, 0]]
    many, _ = on_paper(np.arange(10.0).reshape(2, 5))
    np.testing.assert_allclose(many, on_paper(np.arange(10.0).reshape(2, 5)[:, :3])[0])


def _pixels(png: bytes) -> Any:
    return (255 * matplotlib.image.imread(io.BytesIO(png))[..., :3]).round().astype(int)


def _flow(points: Any) -> Flow:
    rest = np.random.default_rng(0).normal(size=(2, 3, 4))
    return Flow(points, np.full(len(points), 1 / len(points)), rest, "a", "a", 0.9)


def _column(png: bytes, row: int, rows: int) -> Any:
    """The pixels within the frame of an input cloud that are not white."""
    image = _pixels(png)
    height = (len(image) - 105) // rows
    cell = image[150 + row * height : 80 + (row + 1) * height, 60:250]
    return cell, (cell.min(-1) < 200)


def test_a_chair_is_told_from_a_monitor_however_small_it_is() -> None:
    rng = np.random.default_rng(0)
    seat = rng.uniform(size=(300, 3)) * [1, 1, 0.05]
    back = rng.uniform(size=(300, 3)) * [0.05, 1, 1]
    chair, monitor = np.concatenate([seat, back]), rng.uniform(size=(600, 3)) * [0.05, 1, 0.6]
    png = draw_flows([_flow(0.01 * chair), _flow(monitor)])
    cell, drawn = _column(png, 0, 2)
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    # It fills its place, whatever the scale of the others is,
    assert max(np.ptp(rows) / cell.shape[0], np.ptp(columns) / cell.shape[1]) > 0.6
    # and is no silhouette in black: near is darker than far.
    blues = {tuple(pixel) for pixel in cell[drawn]}
    assert len(blues) > 20
    assert all(blue >= red for red, _, blue in blues)
    shown, _ = _column(draw_flows([_flow(0.01 * chair[:, :2])]), 0, 1)
    assert all(max(p) - min(p) <= 2 for p in shown[shown.min(-1) < 200])  # in the plane it is ink


def test_completions_in_space_are_shaded_and_in_the_plane_they_are_not() -> None:
    rng = np.random.default_rng(0)
    clouds = [rng.normal(size=(n, 3)) for n in (300, 100, 100)]

    def pure(dim: int) -> float:
        """Share of the red of a picture that is as red as can be."""
        image = _pixels(draw_completions([CompletedCloud(*(c[:, :dim] for c in clouds))]))
        flat = image.reshape(-1, 3)
        red = flat[flat[:, 0] > flat[:, 2] + 60]
        return float((red == [0xD5, 0x5E, 0x00]).all(1).mean())

    assert pure(2) > 0.3
    assert pure(3) < 0.05
    noted = draw_completions([CompletedCloud(clouds[0], clouds[1])], note="1 of 40 classes")
    assert noted != draw_completions([CompletedCloud(clouds[0], clouds[1])])


@pytest.mark.parametrize(("release", "up"), [("meshes", "z"), ("resampled", "y")])
def test_the_page_sees_completions_as_the_picture_does(release: str, up: Any) -> None:
    config: dict[str, Any] = {"data": {"release": release}}
    story = Story("run", config, {}, [], [], completions=(CompletedCloud(BOX, BOX, BOX),))
    text = completions(story)
    expected, _ = on_paper(BOX, up)
    xs = [float(part.split('"')[0]) for part in text.split('cx="')[1:9]]

    assert np.corrcoef(xs, expected[:, 0])[0, 1] > 0.999
