"""Scripts in percent format, which Jupyter and editors open as notebooks, as Markdown."""

import re

_CELL = re.compile(r"^# %%(?P<kind>[^\n]*)\n", re.MULTILINE)


def cells(script: str) -> list[tuple[str, str]]:
    """The cells of a script.

    Args:
        script: Cells that begin with ``# %%``, or ``# %% [markdown]`` where each line is a comment.
            What stands ahead of the first is left out.

    Returns:
        Kind, ``code`` or ``markdown``, and text of each; of Markdown without the signs of comments.
    """
    parts = _CELL.split(script)[1:]
    found = []
    for kind, text in zip(parts[::2], parts[1::2], strict=True):
        if "[markdown]" in kind:
            text = re.sub(r"^# ?", "", text, flags=re.MULTILINE)
            found.append(("markdown", text.strip()))
        else:
            found.append(("code", text.strip()))
    return found


def markdown(script: str) -> str:
    """A script in percent format as a page: its text, and its code in blocks."""
    fenced = {"markdown": "{}", "code": "```python\n{}\n```"}
    return "\n\n".join(fenced[kind].format(text) for kind, text in cells(script)) + "\n"
