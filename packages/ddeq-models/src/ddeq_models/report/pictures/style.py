"""How all pictures look: legible at the width of a README, in colours for colour-blind eyes."""

import io
import warnings
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito, "Color universal design" (2008).
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
INK, GREY, PALE = "#222222", "#777777", "#e4e4e4"
TEXT, SMALL = 10.5, 9.0
DOTS_PER_INCH = 150


def figure(width: float, height: float) -> Figure:
    """A figure in inches, with a canvas of its own: no window and no global state."""
    made = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(made)
    made.set_layout_engine("constrained")
    return made


def plain(axes: Axes, title: str = "", x: str = "", y: str = "", grid: bool = True) -> None:
    """Axes with a title at the left, thin lines and no box."""
    if title:
        axes.set_title(title, loc="left", fontsize=TEXT, color=INK, fontweight="bold")
    axes.set_xlabel(x, fontsize=SMALL, color=INK)
    axes.set_ylabel(y, fontsize=SMALL, color=INK)
    axes.tick_params(labelsize=SMALL, colors=INK, length=3, width=0.6, which="both")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set(color=GREY, linewidth=0.6)
    if grid:
        axes.grid(color=PALE, linewidth=0.7)
        axes.set_axisbelow(True)


def bare(axes: Axes, equal: bool = True) -> None:
    """Axes without ticks, by default of equal scale: a picture of points."""
    if equal:
        axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=PALE, linewidth=0.8)


def padded(low: float, high: float, share: float = 0.06) -> tuple[float, float]:
    """Limits of an axis with some room at both ends."""
    room = share * (high - low) or 1.0
    return low - room, high + room


def png(made: Figure) -> bytes:
    """The picture as the content of a PNG file, the same bytes for the same picture."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A class may be named in a script of which the font has no letters.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        made.savefig(buffer, format="png", metadata={"Software": "ddeq-models"})
    return buffer.getvalue()


def series(records: Sequence[dict[str, float | None]], name: str) -> list[float]:
    """One figure of a list of records; NaN where it is not known."""
    return [float("nan") if (v := record[name]) is None else v for record in records]
