"""The picture of a regression: predicted against true, and what is left over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ddeq_models._internal.text import in_picture
from ddeq_models.report.pictures.projection import Array
from ddeq_models.report.pictures.style import (
    BLUE,
    GREY,
    INK,
    TEXT,
    VERMILION,
    figure,
    padded,
    plain,
    png,
)

NUMBERS = 6  # that are drawn, at most
_POINTS = 5000


def draw_estimates(
    truth: Array, said: Array, names: Sequence[str], figures: Sequence[str], title: str
) -> bytes:
    """Draw a row for each number: predicted against true, and the residuals against true.

    A point on the line is right; residuals are predicted minus true, in the number's unit. Of more
    than six numbers the first six are drawn.

    Args:
        truth: (C, k).
        said: (C, k).
        names: Of the numbers.
        figures: Said of each.
        title: Said above.

    Returns:
        A PNG file.
    """
    rows = min(len(names), NUMBERS)
    step = -(-len(truth) // _POINTS) or 1
    made = figure(7.6, 3.2 * rows + 0.3)
    grid = made.subplots(rows, 2, squeeze=False)
    for i in range(rows):
        true, found = truth[::step, i], said[::step, i]
        finite = np.isfinite(true) & np.isfinite(found)
        true, found = true[finite], found[finite]
        name = in_picture(names[i])
        plain(grid[i, 0], in_picture(figures[i]), x=f"{name}, true", y="predicted")
        plain(grid[i, 1], "", x=f"{name}, true", y="predicted - true")
        if not len(true):
            continue
        ends = padded(float(min(true.min(), found.min())), float(max(true.max(), found.max())))
        grid[i, 0].plot(ends, ends, color=GREY, lw=1.0, ls="--", zorder=1)
        grid[i, 0].scatter(true, found, s=9, c=BLUE, alpha=0.6, linewidths=0)
        grid[i, 0].set(xlim=ends, ylim=ends)
        grid[i, 1].axhline(0.0, color=GREY, lw=1.0, ls="--", zorder=1)
        grid[i, 1].scatter(true, found - true, s=9, c=VERMILION, alpha=0.6, linewidths=0)
    made.suptitle(in_picture(title, 120), fontsize=TEXT, color=INK, x=0.01, ha="left")
    return png(made)
