"""What the page says of one run."""

from __future__ import annotations

from html import escape

from ddeq_models._internal.text import shown
from ddeq_models.report.completions import completions, worst
from ddeq_models.report.flows import flows
from ddeq_models.report.markup import in_html, in_words
from ddeq_models.report.story import Failure, Story
from ddeq_models.report.svg import Series, cloud, line_chart

__all__ = ["section"]

# What is known of a run by the names of its figures: title, and whether the axis is logarithmic.
_CURVES = (
    ("loss", "Loss", False),
    ("accuracy", "Accuracy", False),
    ("r2", "R2", False),
    ("miou", "Mean intersection over union", False),
    ("energy_distance", "Energy distance", False),
    ("chamfer_l1", "Chamfer distance, l1", False),
    ("solver_steps_mean", "Evaluations of the cell per cloud", False),
    ("residual_mean", "Relative residual at the equilibrium", True),
    ("spread", "Relative spread of the particles", False),
)


def section(number: int, story: Story) -> str:
    """All of it, under an id that the tables link to."""
    parts = [
        _curves(story),
        _solver(story),
        _confusion(story),
        _each(story),
        flows(number, story),
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


def _each(story: Story) -> str:
    """The figures of each number of a regression, or of each label of a segmentation."""
    targets, ious = story.result.get("targets"), story.result.get("ious")
    heads: tuple[str, ...]
    if targets:
        heads = ("R2", "Mean absolute error", "Root mean squared error")
        rows = {
            name: [_number(each[key], ".4g") for key in ("r2", "mae", "rmse")]
            for name, each in targets.items()
        }
    elif ious:
        heads = ("Intersection over union",)
        rows = {name: [_number(iou, ".2%")] for name, iou in ious.items()}
    else:
        return ""
    head = "".join(f'<th scope="col">{title}</th>' for title in heads)
    body = "".join(
        f'<tr><th scope="row">{in_html(name)}</th>{"".join(f"<td>{x}</td>" for x in cells)}</tr>'
        for name, cells in rows.items()
    )
    return (
        "<h3>Test figures of each</h3>"
        f'<div class="wide"><table><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


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
    which = (
        ""
        if story.wrong == len(story.failures)
        else f" These {len(story.failures)} answers were the most confident."
    )
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
