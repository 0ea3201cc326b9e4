"""From the stories of runs to one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files

from ddeq_models._internal.text import shown
from ddeq_models.report.markup import in_html, sha256_of
from ddeq_models.report.results import results
from ddeq_models.report.section import section
from ddeq_models.report.story import Story


def render(stories: Sequence[Story], missing: Sequence[str] = ()) -> str:
    """The page, as text.

    Args:
        stories: What is told.
        missing: A sentence for each run that was asked for and is not told of.
    """
    assets = files("ddeq_models.report")
    style = assets.joinpath("page.css").read_text(encoding="utf-8")
    script = "\n" + assets.joinpath("page.js").read_text(encoding="utf-8")
    names = ", ".join(shown(story.name) for story in stories)
    sections = "".join(section(i, story) for i, story in enumerate(stories))
    contents, notes = "", "".join(f'<p class="note">{in_html(text)}</p>' for text in missing)
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
        f"{notes}</header>\n{results(stories)}\n{sections}\n</main>\n<script>{script}</script>\n"
        "</body>\n</html>\n"
    )
