"""The particles' way to the equilibrium: what ``page.js`` moves."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ddeq_models._internal.text import shown
from ddeq_models.report.markup import in_html, in_script, of_classes
from ddeq_models.report.story import SHOWN_POINTS, PlayedFlow, Story
from ddeq_models.report.svg import fitted

__all__ = ["flows"]


def flows(number: int, story: Story) -> str:
    """The flows of some test clouds, or why there are none."""
    if story.note:
        return f'<p class="note">{in_html(story.note)}</p>'
    if not story.flows:
        return ""
    data = in_script(json.dumps([_flow(f) for f in story.flows], separators=(",", ":")))
    return (
        "<h3>Flow to the equilibrium</h3><p>The particles of one test cloud, evaluation by "
        "evaluation, in the plane of the two largest principal components of all flows shown. "
        "At the right the equilibrium alone, in the plane in which it is widest. At the left the "
        "input, darker where the particles attend to it; a coloured dot is the mean of what one "
        "of them attends to. Touch a particle to see its points, and lines to them."
        f"{of_classes(len(story.flows), story.classes)}{_thinned(story)}</p>"
        f'<div class="flow" id="flow-{number}"><div class="choices" role="group" '
        'aria-label="Test cloud"></div><div class="stage"><figure><figcaption>Input, by attention'
        '</figcaption><svg class="input" viewBox="0 0 100 100" role="img" aria-label="The input '
        'cloud"></svg></figure><figure><figcaption>Particles</figcaption><svg class="particles" '
        'viewBox="0 0 100 100" role="img" aria-label="The particles"></svg></figure><figure>'
        '<figcaption>Equilibrium, enlarged</figcaption><svg class="rest" viewBox="0 0 100 100" '
        'role="img" aria-label="The equilibrium"></svg></figure></div>'
        '<div class="controls"><button type="button" class="play">Play</button><label>Evaluation '
        '<input type="range" class="step" min="0" value="0" step="1"></label>'
        '<output class="where"></output></div><p class="message"></p>'
        f'<script type="application/json">{data}</script></div>'
    )


def _thinned(story: Story) -> str:
    if max(len(flow.cloud) for flow in story.flows) < SHOWN_POINTS:
        return ""
    return f" Of a cloud of more points {SHOWN_POINTS} are drawn."


def _flow(flow: PlayedFlow) -> dict[str, Any]:
    """What page.js needs of one flow."""
    dots = zip(*fitted(flow.cloud), strict=True)
    attention = flow.attention / max(float(flow.attention.max()), 1e-30)
    path, rest = _framed(flow.path), _framed(flow.rest)
    told = flow.recorded
    return {
        "title": shown(told.truth),
        "verdict": f"{shown(told.predicted)} ({told.probability:.0%})",
        "right": told.predicted == told.truth,
        "message": told.message,
        "cloud": [[round(x, 1), round(y, 1), round(r, 2)] for (x, y), r in dots],
        "path": path.round(2).tolist(),
        "rest": rest.round(2).tolist(),
        "attention": attention.round(3).tolist(),
        "gaps": [float(f"{gap:.2e}") for gap in flow.gaps],
    }


def _framed(places: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
    """Places ``(..., 2)`` fitted into a square of 100 by 100, the second axis upwards."""
    flat = places.reshape(-1, 2)
    low, high = flat.min(0), flat.max(0)
    size = max(float((high - low).max()), 1e-12)
    framed: np.ndarray[Any, np.dtype[Any]]
    framed = 50 + (places - (low + high) / 2) * np.array([84.0, -84.0]) / size
    return framed
