"""A page of clouds whose points have colours: the parts of things, what a number is of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ddeq_data import CloudDataset
from ddeq_models._internal.text import in_picture
from ddeq_models.report.pictures.projection import Array, Up, ink, on_paper, shades
from ddeq_models.report.pictures.style import INK, SMALL, TEXT, bare, figure, png

# Okabe and Ito; of more labels the colours come again.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#B8A900")
_CELL = 1.45  # inches
_FILL = 0.86
_POINTS = 4096  # drawn of a cloud, at most
_ACROSS, _SHOWN = 6, 24  # clouds of a data set: in a row, and in all
_NAMED = 16  # labels in the legend, at most


@dataclass(frozen=True, eq=False)
class Panel:
    """One cloud of the page.

    Attributes:
        points: (n, d).
        labels: (n,) the number of each point's colour.
        caption: Said below.
    """

    points: Array
    labels: np.ndarray[tuple[int], np.dtype[np.int64]]
    caption: str = ""


def draw_panels(
    panels: Sequence[Panel],
    columns: int,
    title: str,
    names: Sequence[str] = (),
    up: Up = "z",
) -> bytes:
    """Draw clouds in rows, their points in the colours of their labels.

    Args:
        panels: At least one.
        columns: Clouds in a row.
        title: Said above.
        names: Of the labels, for the legend; without any there is none.
        up: The axis that points up in space.

    Returns:
        A PNG file.
    """
    rows, height = -(-len(panels) // columns), 1.14
    shown = [in_picture(name) for name in names[:_NAMED]]
    made = figure(columns * _CELL, rows * height * _CELL + 0.4 + 0.3 * bool(shown))
    axes = made.subplots()
    bare(axes)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for place, panel in enumerate(panels):
        row, column = divmod(place, columns)
        spots, colours = _view(panel, up)
        size = min(9.0, 420 / max(len(spots), 1))
        axes.scatter(
            spots[:, 0] + column + 0.5, spots[:, 1] - row * height - 0.5, s=size, c=colours,
            linewidths=0,
        )  # fmt: skip
        axes.text(
            column + 0.5, -row * height - 1.03, in_picture(panel.caption), ha="center",
            va="center", fontsize=SMALL, color=INK,
        )  # fmt: skip
    axes.set_xlim(0, columns)
    axes.set_ylim(-rows * height, 0)
    for i, name in enumerate(shown):
        axes.scatter([], [], s=30, c=PALETTE[i % len(PALETTE)], label=name)
    if shown:
        made.legend(loc="outside lower center", ncols=8, frameon=False, fontsize=SMALL)
    axes.set_title(in_picture(title, 120), loc="left", fontsize=TEXT, color=INK, fontweight="bold")
    return png(made)


def draw_targets(dataset: CloudDataset, title: str, up: Up = "z") -> bytes:
    """Draw clouds of a data set with their numbers, or with the labels of their points.

    Those of numbers are spread over the values of the first, in rising order.

    Args:
        dataset: At least one cloud, which has such targets.
        title: Said above.
        up: The axis that points up in space.

    Returns:
        A PNG file.
    """
    targets, count = dataset.targets, min(_SHOWN, len(dataset))
    assert targets is not None
    numbers = dataset.target_kind == "numbers"
    order = targets[:, 0].argsort(stable=True).tolist() if numbers else range(len(dataset))
    panels = []
    for i in range(count):
        index = order[i * (len(dataset) - 1) // max(count - 1, 1)]
        points, _, label = dataset[index]
        assert isinstance(label, Tensor)
        places = points[:, : dataset.coordinates].double().numpy()
        if numbers:
            caption = ", ".join(f"{x:.4g}" for x in label.tolist()[:3])
            panels.append(Panel(places, np.zeros(len(places), dtype=np.int64), caption))
        else:
            panels.append(Panel(places, label.numpy(), f"cloud {index}"))
    if numbers:
        title += f"; {', '.join(dataset.classes[:3])}"
    return draw_panels(panels, _ACROSS, title, () if numbers else dataset.classes, up)


def _view(panel: Panel, up: Up) -> tuple[Array, Array]:
    # (n, 2) places in [-1/2, 1/2]^2, and (n, 3) colours, paler farther away.
    step = -(-len(panel.points) // _POINTS) or 1
    places, depth = on_paper(panel.points[::step].astype(float), up)
    if not len(places):
        return np.empty((0, 2)), np.empty((0, 3))
    order = np.argsort(-depth, kind="stable")
    shade, labels = shades(depth[order]), panel.labels[::step][order]
    colours = np.empty((len(labels), 3))
    for label in np.unique(labels):
        own = labels == label
        colours[own] = ink(shade[own], PALETTE[int(label) % len(PALETTE)])
    low, high = places.min(0), places.max(0)
    spots = (places - (low + high) / 2) * _FILL / (np.ptp(places, 0).max() or 1.0)
    return spots[order], colours
