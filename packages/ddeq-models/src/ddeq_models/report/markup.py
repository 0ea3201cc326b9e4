"""From values and texts of others to HTML that is text and nothing else."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Any

from ddeq_models._internal.text import shown

__all__ = ["in_html", "in_script", "in_words", "of_classes", "sha256_of"]


def in_html(text: str) -> str:
    """A text of a user's: as it is shown, and no markup."""
    return escape(shown(text))


def in_script(text: str) -> str:
    """JSON within a script element, which no name in it can end or turn into something else.

    ``<!--<script>`` does the latter: HTML then looks for the end of another script.
    """
    hidden = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
    return text.translate(hidden)


def sha256_of(text: str) -> str:
    """The digest by which a content security policy knows a script."""
    return b64encode(sha256(text.encode()).digest()).decode()


def of_classes(shown: int, there: int) -> str:
    """A sentence where not every class is shown, or nothing."""
    return f" Shown are {shown} of {there} classes." if shown < there else ""


def in_words(value: Any) -> str:
    """A value of a configuration."""
    if value is None or value is False:
        return "none" if value is None else "no"
    if value is True:
        return "yes"
    if isinstance(value, list | tuple):
        return ", ".join(in_words(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
