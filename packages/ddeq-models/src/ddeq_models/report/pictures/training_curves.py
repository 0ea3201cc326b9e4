"""The picture of a training: loss, accuracy, and how the solver did."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
)

from ddeq_models.report.pictures.style import (
    BLUE,
    GREY,
    SMALL,
    VERMILION,
    figure,
    plain,
    png,
    series,
)

_SHARES = ("accuracy", "miou")  # drawn in per cent
SPLITS = (("train", BLUE, "training"), ("validation", VERMILION, "validation"))


def draw_training_curves(
    records: Sequence[dict[str, Any]],
    tolerance: float | None = None,
    *,
    loss: str = "cross-entropy (nats)",
    figure_name: str = "accuracy",
    title: str = "Accuracy",
) -> bytes:
    """Draw what ``metrics.jsonl`` says.

    Args:
        records: Its records, at least those of one whole epoch.
        tolerance: The solver's, drawn as a dashed line.
        loss: What the loss is, and in which unit.
        figure_name: The figure that is drawn beside it, as the records call it; shares,
            ``accuracy`` and ``miou``, are drawn in per cent.
        title: Its title.

    Returns:
        A PNG file of 1350 x 900 pixels, half as high of a model without a solver.
    """
    whole = [record for record in records if record["split"] == "validation"][-1]
    steps_per_epoch = whole["step"] / whole["epoch"]
    solved = "solver_steps_mean" in whole  # a baseline solves nothing, and has two panels
    made = figure(9.0, 6.0 if solved else 3.0)
    axes = made.subplots(2 if solved else 1, 2, sharex=True, squeeze=False)
    plain(axes[0, 0], "Loss", x="" if solved else "epoch", y=loss)
    plain(axes[0, 1], title, x="" if solved else "epoch")
    if solved:
        plain(axes[1, 0], "Solver: steps", x="epoch", y="evaluations per cloud")
        plain(axes[1, 1], "Solver: relative residual", x="epoch")
    for split, colour, label in SPLITS:
        own = [record for record in records if record["split"] == split]
        x = [record["step"] / steps_per_epoch for record in own]
        _draw(axes[0, 0], x, series(own, "loss"), colour, label)
        _draw(axes[0, 1], x, series(own, figure_name), colour, label)
        if solved:
            _draw(axes[1, 0], x, series(own, "solver_steps_mean"), colour, label)
            _draw(axes[1, 1], x, series(own, "residual_mean"), colour, label)
    if solved and tolerance is not None:
        axes[1, 1].axhline(tolerance, color=GREY, lw=1.0, ls="--", zorder=1)
        axes[1, 1].annotate(
            "tolerance",
            (1.0, tolerance),
            (0, 3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            fontsize=SMALL,
            color=GREY,
        )
    _logarithmic(axes[0, 0], "{:g}")
    if figure_name in _SHARES:
        axes[0, 1].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes[0, 1].set_ylim(top=1.0)
    elif figure_name == "r2":
        axes[0, 1].set_ylim(top=1.0)
    else:
        _logarithmic(axes[0, 1], "{:g}")
    if solved:
        _logarithmic(axes[1, 1], "{:.0e}")
        axes[1, 0].set_ylim(0, 1.15 * axes[1, 0].get_ylim()[1])
    if whole["epoch"] > 1:
        axes[-1, 0].xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes[0, 0].legend(frameon=False, fontsize=SMALL)
    return png(made)


def _logarithmic(axes: Axes, numbers: str) -> None:
    """A logarithmic axis with numbers at 1, 2 and 5 of each decade, however short it is."""
    low, high = axes.dataLim.intervaly
    if 0 < low <= high < math.inf:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.5, high * 1.5)
        axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: numbers.format(y)))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _draw(axes: Axes, x: list[float], y: list[float], colour: str, label: str) -> None:
    # A training of one epoch has one validation: a line through one point would not be seen.
    axes.plot(
        x, y, color=colour, label=label, linewidth=1.6, marker="o" if len(x) < 25 else "", ms=3.5
    )
