"""Line charts and clouds as SVG, in the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 20, 12, 30


@dataclass(frozen=True)
class Series:
    """A line of a chart; places where a value is None or not finite are left out.

    Attributes:
        name: Beside its colour in the legend.
        style: CSS class that gives the colour.
        x: Where.
        y: What.
    """

    name: str
    style: str
    x: Sequence[float]
    y: Sequence[float | None]


def line_chart(series: Sequence[Series], label: str, *, log: bool = False) -> str:
    """A chart of one or more lines, or nothing if there is nothing to draw.

    Args:
        series: The lines.
        label: What is drawn, for those who cannot see it.
        log: Logarithmic second axis; values that are not positive are left out.
    """
    lines = [[(x, math.log10(y) if log else y) for x, y in _usable(s, log)] for s in series]
    every = [point for line in lines for point in line]
    if not every:
        return ""
    x_low, x_high = min(p[0] for p in every), max(p[0] for p in every)
    y_low, y_high = min(p[1] for p in every), max(p[1] for p in every)
    x_ticks = [x for x in ticks(x_low, x_high) if x_low <= x <= x_high]
    y_ticks = ticks(y_low, y_high, whole=log)
    y_low, y_high = min(y_low, y_ticks[0]), max(y_high, y_ticks[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / ((x_high - x_low) or 1.0)
        up = (y - y_low) / ((y_high - y_low) or 1.0)
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
    for y in y_ticks:
        _, v = place(x_low, y)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{v:.1f}" y2="{v:.1f}"/>'
        )
        name = f"1e{y:.0f}" if log else _number(y)
        parts.append(f'<text class="tick end" x="{LEFT - 6}" y="{v + 4:.1f}">{name}</text>')
    for x in x_ticks:
        h, _ = place(x, y_low)
        parts.append(
            f'<text class="tick mid" x="{h:.1f}" y="{HEIGHT - BOTTOM + 16}">{_number(x)}</text>'
        )
    for s, line in zip(series, lines, strict=True):
        if line:
            path = " ".join(f"{h:.1f},{v:.1f}" for h, v in (place(*point) for point in line))
            parts.append(f'<polyline class="line {s.style}" points="{path}"/>')
            if len(line) == 1:
                h, v = place(*line[0])
                parts.append(f'<circle class="dot {s.style}" cx="{h:.1f}" cy="{v:.1f}" r="3"/>')
    parts.append("</svg>")
    return "".join(parts)


def cloud(points: np.ndarray[Any, np.dtype[Any]], label: str) -> str:
    """A cloud ``(m, 3)`` of two coordinates and a relative weight, seen as it stands."""
    places, radii = fitted(points)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"/>'
        for (x, y), r in zip(places, radii, strict=True)
    )
    head = f'<svg class="cloud" viewBox="0 0 100 100" role="img" aria-label="{escape(label)}">'
    return f"{head}{dots}</svg>"


def layers(
    clouds: Sequence[tuple[str, np.ndarray[Any, np.dtype[Any]]]],
    every: np.ndarray[Any, np.dtype[Any]],
    label: str,
) -> str:
    """Clouds ``(m, 2)`` over each other, each in the colour of its CSS class.

    Args:
        clouds: CSS class and points.
        every: ``(k, 2)``: points that fit the square, the same in pictures that are to be compared.
        label: What is drawn, for those who cannot see it.
    """
    counts = [len(points) for _, points in clouds]
    together = np.concatenate([every, *(points for _, points in clouds)])
    places, radii = fitted(np.concatenate([together, np.ones((len(together), 1))], 1))
    dots = []
    start = len(every)
    for (style, _), count in zip(clouds, counts, strict=True):
        inner = "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"/>'
            for (x, y), r in zip(
                places[start : start + count], radii[start : start + count], strict=True
            )
        )
        dots.append(f'<g class="{style}">{inner}</g>')
        start += count
    head = f'<svg viewBox="0 0 100 100" role="img" aria-label="{escape(label)}">'
    return f"{head}{''.join(dots)}</svg>"


def fitted(
    points: np.ndarray[Any, np.dtype[Any]],
) -> tuple[list[tuple[float, float]], list[float]]:
    """Places in a square of 100 by 100, the second axis upwards, and radii with area by weight."""
    xy = points[:, :2]
    centre = (xy.min(0) + xy.max(0)) / 2
    size = max(float((xy.max(0) - xy.min(0)).max()), 1e-12)
    scaled = 50 + (xy - centre) * np.array([88.0, -88.0]) / size
    largest = min(4.0, 24 / math.sqrt(len(points)))
    radii = largest * np.sqrt(np.clip(points[:, 2], 0.02, 1))
    return [(float(x), float(y)) for x, y in scaled], radii.tolist()


def ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """About four round numbers that span the range; ``whole`` keeps them integers."""
    if high <= low:
        return [low]
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    if whole:
        step = max(1.0, float(math.ceil(step)))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * i for i in range(first, last + 1)]


def _usable(series: Series, log: bool) -> Iterator[tuple[float, float]]:
    for x, y in zip(series.x, series.y, strict=True):
        if y is not None and math.isfinite(y) and (y > 0 or not log):
            yield x, y


def _number(x: float) -> str:
    return f"{x:.4g}"
