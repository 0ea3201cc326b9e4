"""One self-contained HTML page about one run or several side by side."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from ddeq_models._internal.device import choose_device
from ddeq_models._internal.files import write_output
from ddeq_models.errors import SeveralProblems, UserError
from ddeq_models.report.page import render
from ddeq_models.report.story import Story, tell
from ddeq_models.runs.pretrained import open_model

__all__ = ["write_report"]

_LOG = logging.getLogger(__name__)


def write_report(
    runs: Sequence[str | Path],
    out: str | Path,
    *,
    root: str | None = None,
    device: str = "auto",
    warn: Callable[[str], object] = _LOG.warning,
) -> Path:
    """Write a page with the results, curves, flows, attention and failures of finished runs.

    The page needs no network and no other file. The test clouds of a run are read again to show
    what its model does with them; where they are not at hand the page says so and goes without.
    Of several runs one that is not finished or damaged is left out, and the page says why.

    Args:
        runs: Run folders, model folders or names of shipped models, in the order in which they are
            shown.
        out: The HTML file; one that exists is replaced.
        root: Folder of the data; None is that of each run.
        device: See `choose_device`.
        warn: Told, in a sentence each, of the runs that are left out.

    Returns:
        `out`.

    Raises:
        UserError: No run can be told of, or the file cannot be written.
    """
    place, path = choose_device(device), Path(out)
    if not runs:
        raise UserError("a report needs at least one run folder")
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the name of a file such as {path}/report.html")
    if not path.absolute().parent.is_dir():
        raise UserError(f"there is no folder {path.absolute().parent} to write {path.name} to")
    stories: list[Story] = []
    missing: list[str] = []
    for run in runs:
        try:
            stories.append(tell(open_model(run), place, root))
        # Whatever is wrong with it: the others can be told of.
        except (ValueError, OSError, RuntimeError) as error:
            if len(runs) == 1:
                raise
            missing.append(f"{run} is left out: {error}")
    if not stories:
        raise SeveralProblems(f"none of {len(runs)} runs can be told of, no page:", missing)
    for text in missing:
        warn(text)
    page = render(stories, missing)
    try:
        write_output(path, page.encode())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; give another --out") from error
    return path
