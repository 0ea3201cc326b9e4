"""The picture of the particles' way from their initial to their equilibrium measure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.ticker import MaxNLocator, NullLocator

from ddeq_models._internal.text import in_picture
from ddeq_models.report.pictures.projection import (
    Array,
    Up,
    ink,
    on_paper,
    principal_plane,
    shades,
)
from ddeq_models.report.pictures.style import (
    BLUE,
    GREY,
    INK,
    SMALL,
    TEXT,
    VERMILION,
    bare,
    figure,
    padded,
    plain,
    png,
)

_HEADING: dict[str, Any] = {
    "xy": (0.5, 1.0),
    "xytext": (0, 24),
    "xycoords": "axes fraction",
    "textcoords": "offset points",
    "ha": "center",
    "fontsize": TEXT,
    "color": INK,
    "fontweight": "bold",
}


@dataclass(frozen=True)
class Flow:
    """One cloud and what the solver did with it.

    Attributes:
        points: (m, d) what the particles attend to, without padding: the input cloud, some of its
            points, or tokens.
        weights: (m,) their weights.
        trajectory: (K, n, h) the particles at each step, the initial measure first.
        truth: Name of the true class.
        predicted: Name of the predicted class.
        probability: Its probability.
        attention: (n, m) how much each particle looks at each point at the end; None: not known.
        message: What the solver says, in a sentence.
        whole: (k, d) the input cloud and (k,) its weights, where `points` are not all of it.
    """

    points: Array
    weights: Array
    trajectory: Array
    truth: str
    predicted: str
    probability: float
    attention: Array | None = None
    message: str = ""
    whole: tuple[Array, Array] | None = None


def draw_flows(flows: Sequence[Flow], up: Up = "z", note: str = "") -> bytes:
    """Draw a row for each cloud: the cloud, the flow of the particles, where it ends, how fast.

    All flows are seen from the same side: the plane of the two largest principal components of
    all particles of all flows. There an equilibrium may be small beside the way to it; so each is
    drawn again in the plane in which it is widest. Each cloud fills its place; one in space is seen
    from above at an angle, and what is nearer is darker.

    Args:
        flows: At least one.
        up: The axis of the clouds that points up in space.
        note: Said below them: of how many classes they are, perhaps.

    Returns:
        A PNG file.
    """
    particles = np.concatenate([f.trajectory.reshape(-1, f.trajectory.shape[-1]) for f in flows])
    project, share = principal_plane(particles)
    seen = project(particles)
    made = figure(10.0, 2.0 * len(flows) + 0.7)
    rows = made.subplots(len(flows), 4, squeeze=False, width_ratios=(1.0, 1.6, 1.0, 1.1))
    for column in (1, 3):
        for row in rows[1:]:
            row[column].sharex(rows[0, column])
            row[column].sharey(rows[0, column])
    for row, flow in zip(rows, flows, strict=True):
        _draw_cloud(row[0], flow, up)
        _draw_paths(row[1], project(flow.trajectory))
        _draw_equilibrium(row[2], flow.trajectory[-1])
        _draw_distance(row[3], flow.trajectory)
    rows[0, 1].set(xlim=padded(*_range(seen[:, 0])), ylim=padded(*_range(seen[:, 1])))
    rows[-1, 0].set_xlabel(note, fontsize=SMALL, color=INK)
    rows[-1, 1].set_xlabel(
        f"two principal components, {share:.0%} of the variance", fontsize=SMALL, color=INK
    )
    rows[-1, 2].set_xlabel("each in its own plane", fontsize=SMALL, color=INK)
    rows[-1, 3].set_xlabel("steps of the solver", fontsize=SMALL, color=INK)
    rows[0, 0].annotate("input cloud", **_HEADING)
    rows[0, 1].annotate("from start \u25cb to equilibrium \u25cf", **_HEADING)
    rows[0, 2].annotate("equilibrium \u25cf", **_HEADING)
    rows[0, 3].annotate("distance to equilibrium", **_HEADING)
    return png(made)


def _range(values: Array) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _draw_cloud(axes: Axes, flow: Flow, up: Up) -> None:
    points, weights = flow.whole or (flow.points, flow.weights)
    places, depth = on_paper(points, up)
    order = np.argsort(-depth, kind="stable")  # the farthest first
    places, weights = places[order], weights[order]
    area = 45 * min(1.0, 60 / len(places))  # many points are drawn smaller
    colours = ink(shades(depth[order]), BLUE if np.ptp(depth) > 0 else INK)
    axes.scatter(places[:, 0], places[:, 1], s=area * weights / weights.max(), c=colours, lw=0)
    centre = (places.max(0) + places.min(0)) / 2
    reach = 0.56 * (float(np.ptp(places, axis=0).max()) or 1.0)
    axes.set(
        xlim=(centre[0] - reach, centre[0] + reach), ylim=(centre[1] - reach, centre[1] + reach)
    )
    bare(axes)
    right = flow.predicted == flow.truth
    text = f"predicted {in_picture(flow.predicted, 20)} ({flow.probability:.0%})"
    axes.set_title(
        text if right else f"{text}, is {in_picture(flow.truth, 20)}",
        fontsize=SMALL,
        color=BLUE if right else VERMILION,
    )


def _draw_paths(axes: Axes, path: Array) -> None:
    """The way (K, n, 2) of every particle, in its own colour."""
    colours = _colours(path.shape[1])
    lines = LineCollection(list(path.transpose(1, 0, 2)), colors=colours, lw=1.1, alpha=0.75)
    axes.add_collection(lines)
    axes.scatter(
        path[0, :, 0], path[0, :, 1], s=20, facecolors="white", edgecolors=colours, lw=1.1, zorder=3
    )
    axes.scatter(
        path[-1, :, 0], path[-1, :, 1], s=34, c=colours, edgecolors="white", lw=0.6, zorder=4
    )
    bare(axes, equal=False)


def _draw_equilibrium(axes: Axes, particles: Array) -> None:
    """The particles (n, h) at rest, in the colours of their ways."""
    seen = principal_plane(particles)[0](particles)
    axes.scatter(seen[:, 0], seen[:, 1], s=34, c=_colours(len(seen)), edgecolors="white", lw=0.6)
    reach = 1.15 * max(float(np.abs(seen).max()), 1e-30)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    bare(axes)


def _colours(count: int) -> list[str]:
    shades = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.92, count))
    return [to_hex(shade) for shade in shades.tolist()]


def _draw_distance(axes: Axes, trajectory: Array) -> None:
    """How far the particles are from where they end, relative to where that is, step by step."""
    plain(axes)
    gaps = np.sqrt(np.square(trajectory - trajectory[-1]).sum((1, 2)))
    gaps = gaps / max(float(np.sqrt(np.square(trajectory[-1]).sum())), 1e-30)
    moving = np.flatnonzero(gaps)
    axes.semilogy(moving, gaps[moving], color=GREY, lw=1.4, marker="o", ms=3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelbottom=True)
