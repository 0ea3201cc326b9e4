"""The tables that set runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ddeq_models._internal.text import shortened
from ddeq_models.config import flattened
from ddeq_models.report.markup import in_html, in_words
from ddeq_models.report.story import Story

__all__ = ["results"]

# Columns of the table of results: key of result.json, heading, format, and what is best.
_COLUMNS = (
    ("test_accuracy", "Accuracy", "{:.2%}", max),
    ("test_mean_class_accuracy", "Mean class accuracy", "{:.2%}", max),
    ("test_r2", "R2", "{:.4f}", max),
    ("test_mae", "Mean absolute error", "{:.4g}", min),
    ("test_miou", "mIoU", "{:.2%}", max),
    ("test_cloud_miou", "mIoU of clouds", "{:.2%}", max),
    ("test_energy_distance", "Energy distance", "{:.4f}", min),
    ("test_chamfer_l1", "Chamfer l1", "{:.4f}", min),
    ("test_chamfer_l2", "Chamfer l2", "{:.4f}", min),
    ("test_wasserstein", "Exact W2", "{:.4f}", min),
    ("test_f_score", "F-score", "{:.3f}", max),
    ("test_whole_energy_distance", "Energy distance, whole", "{:.4f}", min),
    ("test_loss", "Loss", "{:.4f}", min),
    ("test_calibration_error", "Calibration error", "{:.2%}", min),
    ("test_calibrated_error", "the same, calibrated", "{:.2%}", min),
    ("parameters", "Parameters", "{:,.0f}", min),
    ("solver_steps_mean", "Evaluations", "{:.1f}", None),
    ("residual_max", "Largest residual", "{:.1e}", None),
    ("solver_failures", "Unsolved", "{:,.0f}", None),
    ("seconds", "Seconds", "{:,.0f}", None),
    ("test_clouds", "Test clouds", "{:,.0f}", None),
)

_ABSENT = object()  # of a key that a model of another kind does not have
_FEW = 16  # keys that are read at a glance


def results(stories: Sequence[Story]) -> str:
    """A table of all runs for each task and data set: what is not of the same does not compare."""
    groups: dict[tuple[str, str], list[int]] = {}
    for i, story in enumerate(stories):
        key = (story.config["task"]["kind"], story.config["data"]["name"])
        groups.setdefault(key, []).append(i)
    tables = "".join(
        (f"<h3>{escape(task.capitalize())} of {escape(data)}</h3>" if len(groups) > 1 else "")
        + _table({i: stories[i] for i in members})
        for (task, data), members in groups.items()
    )
    return f"<section><h2>Results</h2>{tables}{_what_differs(stories)}</section>"


def _table(stories: Mapping[int, Story]) -> str:
    """The runs by their numbers on the page; the best of each column stands out."""
    results = [story.result for story in stories.values()]
    columns = [c for c in _COLUMNS if any(r.get(c[0]) is not None for r in results)]
    head = "".join(f"<th>{escape(title)}</th>" for _, title, _, _ in columns)
    best = {}
    for key, _, _, choose in columns:
        values = [v for r in results if (v := r.get(key)) is not None]
        if choose is not None and len(values) > 1:
            best[key] = choose(values)
    rows = []
    for i, story in stories.items():
        cells = []
        for key, _, form, _ in columns:
            value = story.result.get(key)
            text = "–" if value is None else form.format(value)
            mark = ' class="best"' if key in best and value == best[key] else ""
            cells.append(f"<td{mark}>{text}</td>")
        kind, preset = story.config["model"]["kind"], story.config["preset"]
        words = [*dict.fromkeys((kind, preset)), story.config["data"]["name"]]
        rows.append(
            f'<tr><th scope="row"><a href="#run-{i}">{in_html(story.name)}</a><small>'
            f"{in_html(', '.join(words))}, seed {in_html(str(story.result.get('seed', '–')))}"
            f"</small></th>{''.join(cells)}</tr>"
        )
    return (
        '<div class="wide"><table class="results"><thead><tr><th>Run</th>'
        f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _what_differs(stories: Sequence[Story]) -> str:
    """The keys of the configurations in which the runs are not alike."""
    if len(stories) < 2:
        return ""
    known = [flattened({**story.config, "version": ""}) for story in stories]
    rows = []
    for key in dict.fromkeys(name for values in known for name in values):
        values = [values.get(key, _ABSENT) for values in known]
        if any(value != values[0] for value in values):
            cells = "".join(f"<td>{in_html(_said(value))}</td>" for value in values)
            rows.append(f'<tr><th scope="row">{in_html(key)}</th>{cells}</tr>')
    if not rows:
        return "<h3>What differs</h3><p>No key of the configurations of these runs.</p>"
    head = "".join(
        f'<th><a href="#run-{i}">{in_html(story.name)}</a></th>' for i, story in enumerate(stories)
    )
    table = (
        '<div class="wide"><table class="facts"><thead><tr><th>Key of config.json</th>'
        f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
    if len(rows) <= _FEW:
        return f"<h3>What differs</h3>{table}"
    summary = f"What differs: {len(rows)} keys of the configurations"
    return f"<details><summary>{summary}</summary>{table}</details>"


def _said(value: Any) -> str:
    return "–" if value is _ABSENT else shortened(in_words(value), 80)
