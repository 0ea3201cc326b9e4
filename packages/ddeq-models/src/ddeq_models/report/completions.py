"""Completed clouds on the page: beside what the model was given, and the truth."""

from __future__ import annotations

from base64 import b64encode
from html import escape

import numpy as np

from ddeq_models._internal.text import shown
from ddeq_models.report.markup import of_classes
from ddeq_models.report.pictures.projection import Up, on_paper, up_of
from ddeq_models.report.samples import CompletedCloud
from ddeq_models.report.story import Story
from ddeq_models.report.svg import layers


def completions(story: Story) -> str:
    """Some test clouds, or the pictures of the run where these are not at hand."""
    if story.completions:
        shown = "".join(_completion(c, _up(story)) for c in story.completions)
        return (
            "<h3>Completions</h3><p>Test clouds: what the model was given, what it "
            '<span class="added-word">added</span>, and what was there. The energy distance is '
            "between the points that were added and those that were taken away."
            f"{of_classes(len(story.completions), story.classes)}</p>"
            f'<div class="completions">{shown}</div>'
        )
    if not story.pictures:
        return ""
    shown = "".join(
        f'<img alt="{escape(name)}" src="data:image/png;base64,{b64encode(png).decode()}">'
        for name, png in story.pictures.items()
    )
    title = "Completions" if story.config["task"]["kind"] == "completion" else "Predictions"
    return f'<h3>{title}</h3><div class="pictures">{shown}</div>'


def worst(story: Story) -> str:
    """The completions that went wrong most."""
    if not story.worst:
        return ""
    found = "equilibrium was" if story.unsolved == 1 else "equilibria were"
    judged = f"{story.judged:,}"
    if story.judged < story.clouds:
        judged += f" of {story.clouds:,}"
    shown = "".join(_completion(c, _up(story)) for c in story.worst)
    return (
        f"<h3>Failures</h3><p>The largest energy distances among {judged} test clouds. "
        f"{story.unsolved:,} {found} not found to the tolerance.</p>"
        f'<div class="completions">{shown}</div>'
    )


def _up(story: Story) -> Up:
    return up_of(story.config["data"]["release"])


def _completion(completed: CompletedCloud, up: Up) -> str:
    title = shown(completed.name)
    missing = completed.visible[:0] if completed.missing is None else completed.missing
    parts = [completed.visible, completed.completed, missing]
    every = np.concatenate(parts)
    every, parts = on_paper(every, up)[0], [on_paper(part, up)[0] for part in parts]
    visible, added, truth = parts
    panels = {
        "given": [("seen", visible)],
        "completed": [("seen", visible), ("added", added)],
        "truth": [("seen", visible), ("truth", truth)],
    }
    drawn = "".join(
        f"<div>{layers(clouds, every, f'{title}, {name}')}<small>{name}</small></div>"
        for name, clouds in panels.items()
    )
    unsolved = "" if completed.solved else ", equilibrium not found to the tolerance"
    return (
        f"<figure><div>{drawn}</div><figcaption>{escape(title)}"
        f"<small>energy distance {completed.distance:.3f}{unsolved}</small></figcaption></figure>"
    )
