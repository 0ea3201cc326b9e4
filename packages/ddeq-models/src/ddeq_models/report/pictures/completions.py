"""The picture of completed clouds beside what was visible and what is true."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from ddeq_models.report.pictures.projection import Array, Up, ink, on_paper, shades
from ddeq_models.report.pictures.style import (
    BLUE,
    GREY,
    INK,
    SMALL,
    TEXT,
    VERMILION,
    bare,
    figure,
    png,
)
from ddeq_models.report.samples import CompletedCloud


def draw_completions(completions: Sequence[CompletedCloud], up: Up = "z", note: str = "") -> bytes:
    """Draw a column for each cloud: what is visible, what was completed, and the truth if known.

    Clouds in space are seen from above at an angle, and what is nearer is darker.

    Args:
        completions: At least one.
        up: The axis of the clouds that points up in space.
        note: Said below them: of how many classes they are, perhaps.

    Returns:
        A PNG file.
    """
    rows = 2 if all(c.missing is None for c in completions) else 3
    made = figure(1.7 * max(len(completions), 2), 1.75 * rows)
    axes = made.subplots(rows, len(completions), squeeze=False)
    for column, completion in enumerate(completions):
        whole = [completion.visible, completion.completed]
        whole += [] if completion.missing is None else [completion.missing]
        # In units in which no square overflows.
        unit = max(float(np.abs(part).max(initial=0.0)) for part in whole) or 1.0
        every = np.concatenate(whole) / unit
        seen, depth = on_paper(every, up)
        shade, solid = shades(depth), bool(np.ptp(depth) > 0)
        parts = np.split(np.arange(len(every)), np.cumsum([len(part) for part in whole])[:-1])
        centre, reach = (seen.max(0) + seen.min(0)) / 2, 0.56 * float(np.ptp(seen, axis=0).max())
        area = 60 * min(1.0, 40 / len(every))
        for row in range(rows):
            place = axes[row, column]
            rest = BLUE if solid else INK
            drawn = [(0, rest if row == 0 else GREY)]
            drawn += [(row, VERMILION if row == 1 else rest)] if 0 < row < len(parts) else []
            if row < len(parts):
                rows_ = np.concatenate([parts[i] for i, _ in drawn])
                colours = np.concatenate([ink(shade[parts[i]], colour) for i, colour in drawn])
                # In space the farthest first, so that what is added is behind what hides it.
                order = np.argsort(-depth[rows_], kind="stable")
                _dots(place, seen[rows_[order]], area, colours[order])
            bare(place)
            place.set_xlim(centre[0] - reach, centre[0] + reach)
            place.set_ylim(centre[1] - reach, centre[1] + reach)
    for row, name in enumerate(("visible", "completed", "truth")[:rows]):
        axes[row, 0].set_ylabel(name, fontsize=TEXT, color=INK, fontweight="bold")
    if note:
        made.supxlabel(note, fontsize=SMALL, color=INK)
    return png(made)


def _dots(axes: Axes, points: Array, area: float, colours: Array) -> None:
    axes.scatter(points[:, 0], points[:, 1], s=area, c=colours, lw=0)
