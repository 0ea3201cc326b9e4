"""Texts of users, where they are shown: none of them is markup, or a command, anywhere."""

from collections.abc import Sequence

from ddeq_data.errors import shown

__all__ = ["in_code", "in_markdown", "in_picture", "names_in_markdown", "shortened", "shown"]


def shortened(text: str, most: int = 40) -> str:
    """A text as it is `shown`, of at most so many characters, its middle left out."""
    if len(text) > 10 * most:
        text = text[: 5 * most] + text[-5 * most :]
    text = shown(text)
    if len(text) <= most:
        return text
    ahead = (most - 1) // 2
    return f"{text[:ahead]}…{text[len(text) - (most - 1 - ahead) :]}"


def in_picture(text: str, most: int = 24) -> str:
    """A text for matplotlib, which takes what is between two `$` for mathematics."""
    return shortened(text, most).replace("$", r"\$")


def in_markdown(text: str) -> str:
    """A text within a paragraph of Markdown, where it is text and nothing else."""
    return "".join(f"\\{c}" if c in r"\`*{}[]()#+!|~$&<>" else c for c in shown(text))


def names_in_markdown(names: Sequence[str], most: int = 12) -> str:
    """The first names of a list within a paragraph of Markdown."""
    told = ", ".join(in_markdown(shortened(name)) for name in names[:most])
    return told + ", ..." * (len(names) > most)


def in_code(text: str) -> str:
    """A text as code within a paragraph of Markdown."""
    text = shown(text)
    return in_markdown(text) if "`" in text or not text.strip() else f"`{text}`"
