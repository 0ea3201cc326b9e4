"""A published file and where it can be had."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Resource"]


@dataclass(frozen=True)
class Resource:
    """A published file.

    Attributes:
        name: Its name.
        urls: Where it can be had, the best place first.
        md5: Its published checksum, or None where none is known. Then it must be a zip archive,
            whose own checksums are checked instead.
        by_hand: What to do where no download works, completing "or ...".
        most: Bytes that it has at most: no server gets to fill the disk.
    """

    name: str
    urls: tuple[str, ...]
    md5: str | None
    by_hand: str
    most: int = 1 << 26
