import io
from dataclasses import replace
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import torch

from ddeq_models import PRESETS, DataConfig, RunConfig
from ddeq_models.data import open_split
from ddeq_models.models.base import build_model
from ddeq_models.report.pictures import (
    Flow,
    draw_confusion_matrix,
    draw_flows,
    draw_training_curves,
)
from ddeq_models.report.pictures.projection import principal_plane
from ddeq_models.report.recording import recorded_flows

RNG = np.random.default_rng(0)


def pixels(png: bytes) -> Any:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return matplotlib.image.imread(io.BytesIO(png))[..., :3]


def colours(png: bytes) -> int:
    numbers = (255 * pixels(png)).round().astype(np.int64) @ [1 << 16, 1 << 8, 1]
    return len(np.unique(numbers))


def records(epochs: int, parts: int = 1) -> list[dict[str, Any]]:
    made = []
    for epoch in range(1, epochs + 1):
        for part in range(parts):
            step = 10 * parts * (epoch - 1) + 10 * (part + 1)
            made.append({"split": "train", "epoch": epoch, "step": step, "loss": 1 / step})
        made.append({"split": "validation", "epoch": epoch, "step": step, "loss": 2 / step})
    for record in made:
        record |= {"accuracy": 1 - record["loss"], "solver_steps_mean": 5.0 + record["step"] % 3}
        record["residual_mean"] = 1e-4 * record["loss"]
    return made


def flow(steps: int, dim: int = 2, seed: int = 0) -> Flow:
    rng = np.random.default_rng(seed)
    end = rng.normal(size=(1, 4, 6))
    start = rng.normal(size=(1, 4, 6))
    return Flow(
        points=rng.normal(size=(15, dim)),
        weights=np.full(15, 1 / 15),
        trajectory=end + (start - end) * 0.3 ** np.arange(steps)[:, None, None],
        truth="3",
        predicted="3" if seed else "5",
        probability=0.9,
    )


@pytest.mark.parametrize(("epochs", "parts"), [(1, 1), (1, 12), (40, 2)])
def test_training_curves(epochs: int, parts: int) -> None:
    png = draw_training_curves(records(epochs, parts), tolerance=1e-3)
    assert pixels(png).shape == (900, 1350, 3)
    assert colours(png) > 100


def test_a_figure_that_is_no_share_is_drawn_whole_and_not_in_per_cent() -> None:
    few, many = records(5), records(5)
    for scale, made in ((1.0, few), (40.0, many)):
        for record in made:
            record["energy_distance"] = scale * record["loss"]
    first, second, shares = (
        draw_training_curves(made, figure_name=name, title="Figure")
        for made, name in ((few, "energy_distance"), (many, "energy_distance"), (few, "accuracy"))
    )
    upper_right = np.s_[:430, 680:]
    curve = [(pixels(png)[upper_right].min(-1) < 0.1).sum() for png in (first, second)]
    assert curve[0] > 1000  # a line that leaves the axes has fewer pixels
    assert curve[1] == pytest.approx(curve[0], rel=0.2)
    assert first != shares


def test_the_same_figures_make_the_same_picture() -> None:
    first, second, other = (
        draw_training_curves(records(2), tolerance) for tolerance in (1e-3, 1e-3, None)
    )
    assert first == second != other
    assert draw_flows([flow(5)]) == draw_flows([flow(5)])


def test_curves_with_gaps() -> None:
    some = records(5)
    for record in some[:4]:
        record["residual_mean"] = None  # every solve of the epoch failed
    assert colours(draw_training_curves(some)) > 100
    for record in some:
        record["residual_mean"] = None
        record["loss"] = 0.0
    assert colours(draw_training_curves(some)) > 50


def test_flows() -> None:
    png = draw_flows([flow(9), flow(5, seed=1), flow(7, seed=2)])
    assert pixels(png).shape == (1005, 1500, 3)
    assert colours(png) > 200


@pytest.mark.parametrize(("steps", "dim"), [(1, 2), (4, 3), (4, 1)])
def test_flows_of_solids_and_of_no_step(steps: int, dim: int) -> None:
    assert colours(draw_flows([flow(steps, dim)])) > 50


def test_where_tokens_are_attended_to_the_whole_cloud_is_drawn() -> None:
    plain = flow(3)
    tokens = replace(
        plain,
        points=plain.points[:4],
        weights=plain.weights[:4],
        whole=(plain.points, plain.weights),
    )
    assert draw_flows([tokens]) == draw_flows([plain])
    model = replace(
        PRESETS["ddeq"], dim=8, heads=2, hidden=8, bilinear_dim=4, pooled=8, particles=3, scales=0,
        rows=0, tokens=(4, 2), widths=(4, 6, 8), neighbours=3,
    )  # fmt: skip
    config = RunConfig("ddeq", tuple("0123456789"), DataConfig("digits", normalise="none"), model)
    digits = open_split(config.data, "test")
    (recorded,) = recorded_flows(config, build_model(model).eval(), digits, 1, torch.device("cpu"))
    assert recorded.points.shape == (2, 2)
    assert recorded.whole is not None
    points, weights = recorded.whole
    assert len(points) == len(weights) > 10
    assert float(weights.sum()) == pytest.approx(1)


def test_the_plane_is_that_of_the_largest_variance() -> None:
    axes = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    rows = 4 + RNG.normal(size=(400, 5)) * [9.0, 5.0, 0.1, 0.1, 0.1] @ axes
    project, share = principal_plane(rows)
    seen = project(rows)
    np.testing.assert_allclose(seen.mean(0), 0, atol=1e-9)
    singular = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(seen, axis=0), singular[:2])
    assert share == pytest.approx((singular[:2] ** 2).sum() / (singular**2).sum())
    assert principal_plane(rows[:, :1])[0](rows[:, :1]).shape == (400, 2)


@pytest.mark.parametrize("classes", [2, 10, 40])
def test_confusion_matrix(classes: int) -> None:
    counts = RNG.integers(0, 4, (classes, classes)) + 50 * np.eye(classes, dtype=int)
    names = [f"class {i}" if classes == 40 else str(i) for i in range(classes)]
    png = draw_confusion_matrix(counts, names, "title")
    height, width, _ = pixels(png).shape
    assert min(height, width) > 400
    assert colours(png) > 50


def test_a_class_without_clouds() -> None:
    assert colours(draw_confusion_matrix(np.diag([3, 0]), ["a", "b"], "")) > 20
