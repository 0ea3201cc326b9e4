"""From the stories of runs to one HTML page that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from ddeq_models._internal.text import shown
from ddeq_models.report.completions import completions, worst
from ddeq_models.report.markup import in_html, in_script, in_words, sha256_of
from ddeq_models.report.story import Failure, Flow, Story
from ddeq_models.report.svg import Series, cloud, fitted, line_chart

# What is known of a run by the names of its figures: title, and whether the axis is logarithmic.
_CURVES = (
    ("loss", "Loss", False),
    ("accuracy", "Accuracy", False),
    ("energy_distance", "Energy distance", False),
    ("chamfer_l1", "Chamfer distance, l1", False),
    ("solver_steps_mean", "Evaluations of the cell per cloud", False),
    ("residual_mean", "Relative residual at the equilibrium", True),
    ("spread", "Relative spread of the particles", False),
)
# Columns of the table of results: key of result.json, heading, format, and what is best.
_COLUMNS = (
    ("test_accuracy", "Accuracy", "{:.2%}", max),
    ("test_mean_class_accuracy", "Mean class accuracy", "{:.2%}", max),
    ("test_energy_distance", "Energy distance", "{:.4f}", min),
    ("test_chamfer_l1", "Chamfer l1", "{:.4f}", min),
    ("test_chamfer_l2", "Chamfer l2", "{:.4f}", min),
    ("test_wasserstein", "Exact W2", "{:.4f}", min),
    ("test_f_score", "F-score", "{:.3f}", max),
    ("test_loss", "Loss", "{:.4f}", min),
    ("parameters", "Parameters", "{:,.0f}", min),
    ("solver_steps_mean", "Evaluations", "{:.1f}", None),
    ("residual_max", "Largest residual", "{:.1e}", None),
    ("solver_failures", "Unsolved", "{:,.0f}", None),
    ("seconds", "Seconds", "{:,.0f}", None),
    ("test_clouds", "Test clouds", "{:,.0f}", None),
)


def render(stories: Sequence[Story]) -> str:
    """The page, as text."""
    assets = files("ddeq_models.report")
    style = assets.joinpath("page.css").read_text(encoding="utf-8")
    script = "\n" + assets.joinpath("page.js").read_text(encoding="utf-8")
    names = ", ".join(shown(story.name) for story in stories)
    sections = "".join(_section(i, story) for i, story in enumerate(stories))
    contents = ""
    if len(stories) > 1:
        links = "".join(
            f'<a href="#run-{i}">{in_html(story.name)}</a>' for i, story in enumerate(stories)
        )
        contents = f'<nav aria-label="Runs">{links}</nav>'
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        # No script but this page's own, whatever the files of a run hold.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        f"img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{sha256_of(script)}'\">\n"
        f"<title>ddeq: {escape(names)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>{'Report' if len(stories) == 1 else 'Runs side by side'}</h1>{contents}"
        f"</header>\n{_results(stories)}\n{sections}\n</main>\n<script>{script}</script>\n"
        "</body>\n</html>\n"
    )


def _results(stories: Sequence[Story]) -> str:
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
    return f"<section><h2>Results</h2>{tables}</section>"


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


def _section(number: int, story: Story) -> str:
    parts = [
        _curves(story),
        _solver(story),
        _confusion(story),
        _flows(number, story),
        completions(story),
        _failures(story),
        _configuration(story),
    ]
    return (
        f'<section class="run" id="run-{number}"><h2>{in_html(story.name)}</h2>'
        f"{''.join(parts)}</section>\n"
    )


def _curves(story: Story) -> str:
    charts = []
    for key, title, log in _CURVES:
        series = [
            Series(name, style, [r["step"] for r in records], [r.get(key) for r in records])
            for name, style, records in (
                ("training", "first", story.train),
                ("validation", "second", story.validation),
            )
        ]
        chart = line_chart(series, f"{title} against training steps", log=log)
        if chart:
            charts.append(f"<figure><figcaption>{title}</figcaption>{chart}</figure>")
    legend = (
        '<p class="legend"><span class="key first"></span>training '
        '<span class="key second"></span>validation, against training steps</p>'
    )
    note = ""
    if story.damaged:
        lines = "line of metrics.jsonl is" if story.damaged == 1 else "lines of metrics.jsonl are"
        note = f'<p class="note">{story.damaged} {lines} damaged and left out.</p>'
    if not charts:
        return note
    return f'<h3>Training</h3>{note}{legend}<div class="grid-of-charts">{"".join(charts)}</div>'


def _solver(story: Story) -> str:
    """How the equilibria are found, and how that went on the test clouds."""
    model, result = story.config["model"], story.result
    if "velocity" not in model or "solver_steps_mean" not in result:
        return ""
    rows = {
        "Velocity, integrator, adjoint": " / ".join(
            str(model[name]) for name in ("velocity", "integrator", "adjoint")
        ),
        "Tolerance, budget": f"{model['rtol']:g}, {model['max_steps']:,} evaluations",
        "Evaluations per cloud": f"{_number(result.get('solver_steps_mean'), '.1f')} on average, "
        f"at most {_number(result.get('solver_steps_max'), ',')}",
        "Relative residual": f"{_number(result.get('residual_mean'), '.1e')} on average, at most "
        f"{_number(result.get('residual_max'), '.1e')}",
        "Not found to the tolerance": f"{_number(result.get('solver_failures'), ',')} of "
        f"{_number(result.get('test_clouds'), ',')} clouds",
        "Relative spread of the particles": _number(result.get("spread"), ".2f"),
    }
    timed = [r for r in story.train if r.get("solver_seconds") and r.get("step_seconds")]
    if timed:
        step, solver = (
            sum(r[name] for r in timed) / len(timed) for name in ("step_seconds", "solver_seconds")
        )
        rows["Seconds of a training step"] = (
            f"{step:.3f}, of which {solver:.3f} in the solver, without its adjoint"
        )
    cells = "".join(
        f'<tr><th scope="row">{title}</th><td>{in_html(text)}</td></tr>'
        for title, text in rows.items()
    )
    return f'<h3>Solver</h3><div class="wide"><table class="facts">{cells}</table></div>'


def _number(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)


def _confusion(story: Story) -> str:
    counts = story.result.get("confusion")
    if not counts:
        return ""
    classes = [in_html(str(name)) for name in story.config["classes"]]
    head = "".join(f'<th scope="col">{name}</th>' for name in classes)
    rows = []
    for i, (name, row) in enumerate(zip(classes, counts, strict=True)):
        total = max(sum(row), 1)
        cells = "".join(
            f'<td class="{"hit" if i == j else "miss"}" style="--share:{100 * n / total:.0f}%" '
            f'title="{name} taken for {classes[j]}: {n} of {total}">{n or ""}</td>'
            for j, n in enumerate(row)
        )
        rows.append(f'<tr><th scope="row">{name}</th>{cells}</tr>')
    return (
        "<h3>Confusion matrix</h3><p>A row for each true class, a column for each answer.</p>"
        f'<div class="wide"><table class="confusion"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _flows(number: int, story: Story) -> str:
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
        "of them attends to. Touch a particle to see its points, and lines to them.</p>"
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


def _flow(flow: Flow) -> dict[str, Any]:
    """What page.js needs of one flow."""
    dots = zip(*fitted(flow.cloud), strict=True)
    attention = flow.attention / max(float(flow.attention.max()), 1e-30)
    path, rest = _framed(flow.path), _framed(flow.rest)
    return {
        "title": shown(flow.truth),
        "verdict": f"{shown(flow.predicted)} ({flow.probability:.0%})",
        "right": flow.predicted == flow.truth,
        "message": flow.message,
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


def _failures(story: Story) -> str:
    if story.note:
        return ""
    if story.config["task"]["kind"] != "classification":
        return worst(story)
    unsolved = ""
    if story.flows:
        found = "equilibrium was" if story.unsolved == 1 else "equilibria were"
        unsolved = f" {story.unsolved} {found} not found to the tolerance."
    if not story.failures:
        return f"<h3>Failures</h3><p>Every test cloud was given its class.{unsolved}</p>"
    shown = "".join(_failure(f) for f in story.failures)
    many = "cloud was" if story.wrong == 1 else "clouds were"
    which = "" if story.wrong == len(story.failures) else " These answers were the most confident."
    return (
        f"<h3>Failures</h3><p>{story.wrong} test {many} given a wrong class.{which}{unsolved}</p>"
        f'<div class="failures">{shown}</div>'
    )


def _failure(failure: Failure) -> str:
    says = shown(f"{failure.truth} taken for {failure.predicted}")
    return (
        f"<figure>{cloud(failure.cloud, says)}<figcaption>{escape(says)} "
        f"({failure.probability:.0%})<small>test cloud {failure.index}</small></figcaption>"
        "</figure>"
    )


def _configuration(story: Story) -> str:
    groups = []
    for name in ("task", "data", "model", "train"):
        rows = "".join(
            f"<tr><th scope='row'>{escape(key.replace('_', ' '))}</th>"
            f"<td>{in_html(in_words(value))}</td></tr>"
            for key, value in story.config[name].items()
        )
        groups.append(f"<div><h4>{name}</h4><table>{rows}</table></div>")
    known = story.result.get("versions") or {}
    versions = ", ".join(f"{k} {v}" for k, v in known.items())
    place = f"{story.result.get('device', '')}, {story.result.get('threads', '–')} threads"
    return (
        "<details><summary>Configuration</summary>"
        f'<div class="configuration">{"".join(groups)}</div>'
        f"<p>{in_html(place)}; {in_html(versions)}</p></details>"
    )
