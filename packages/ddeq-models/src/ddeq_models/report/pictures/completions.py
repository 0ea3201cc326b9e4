"""The picture of completed clouds beside what was visible and what is true."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from ddeq_models.report.pictures.flow import principal_plane
from ddeq_models.report.pictures.style import GREY, INK, TEXT, VERMILION, bare, figure, png
from ddeq_models.report.samples import Array, CompletedCloud


def draw_completions(completions: Sequence[CompletedCloud]) -> bytes:
    """Draw a column for each cloud: what is visible, what was completed, and the truth if known.

    Args:
        completions: At least one.

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
        project = principal_plane(every)[0] if every.shape[1] > 2 else np.asarray
        seen = project(every)
        centre, reach = (seen.max(0) + seen.min(0)) / 2, 0.56 * float(np.ptp(seen, axis=0).max())
        area = 60 * min(1.0, 40 / len(every))
        for row in range(rows):
            place = axes[row, column]
            added = (None, completion.completed, completion.missing)[row]
            if row < 2 or added is not None:
                _dots(place, project(completion.visible / unit), area, INK if row == 0 else GREY)
            if added is not None:
                _dots(place, project(added / unit), area, VERMILION if row == 1 else INK)
            bare(place)
            place.set_xlim(centre[0] - reach, centre[0] + reach)
            place.set_ylim(centre[1] - reach, centre[1] + reach)
    for row, name in enumerate(("visible", "completed", "truth")[:rows]):
        axes[row, 0].set_ylabel(name, fontsize=TEXT, color=INK, fontweight="bold")
    return png(made)


def _dots(axes: Axes, points: Array, area: float, colour: str) -> None:
    axes.scatter(points[:, 0], points[:, 1], s=area, c=colour, lw=0)
