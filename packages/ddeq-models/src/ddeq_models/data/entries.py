"""What the program knows of a data set: an entry, and the table of them.

A data set of one's own is registered by one call::

    register_data(DataSet("rings", "circles of two sizes", lambda config, split: Rings(split)))

and then known to every command; see ``docs/extending.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ddeq_data import CloudDataset
from ddeq_models.config import DataConfig, Release, Split
from ddeq_models.registry import DATA_SETS

__all__ = ["DataSet", "entry", "register_data"]


@dataclass(frozen=True)
class DataSet:
    """A data set.

    Attributes:
        name: What commands and files call it.
        text: What it is, in a few words.
        open: One split of it, neither normalised nor augmented.
        clouds: How many there are, or None where that depends on the files.
        dim: Dimension of the points, or None likewise.
        find: Where under a folder its files are, in words, one for each release or part that is
            there; None where it reads no files.
        download: Fetches it into a folder; None where there is nothing to fetch.
        releases: In which it is published; () where there is but one.
        place: Where under a folder a release is; None where there are none.
        recipe: The data set whose recipes are taken where it has none of its own.
        title: Its name for people; empty: `name`.
        source: Where it comes from and under which terms, for the model card.
        hub: What the Hugging Face Hub calls it; empty where it is not there.
        image: Whether its clouds are the pixels of images, x to the right and y upwards.
        weighed: Whether points always weigh as much as their pixels.
    """

    name: str
    text: str
    open: Callable[[DataConfig, Split], CloudDataset]
    clouds: int | None = None
    dim: int | None = None
    find: Callable[[Path], list[str]] | None = None
    download: Callable[[Path, Release], object] | None = None
    releases: tuple[Release, ...] = ()
    place: Callable[[Path, Release], Path | None] | None = None
    recipe: str = "folder"
    title: str = ""
    source: str = ""
    hub: str = ""
    image: bool = False
    weighed: bool = False

    def release(self, root: Path) -> Release:
        """The first release whose files are under a folder; the meshes where there is none."""
        for one in self.releases:
            if self.place is not None and self.place(root, one) is not None:
                return one
        return "meshes"


def register_data(data_set: DataSet) -> None:
    """Register a data set under its name.

    Raises:
        UserError: The name is taken by another module.
    """
    # Nothing is decorated that would tell where it is from: the caller is.
    module = sys._getframe(1).f_globals.get("__name__", "")
    DATA_SETS.add(data_set.name, data_set, module, data_set.text)


def entry(name: str) -> DataSet:
    """The data set of that name.

    Raises:
        UserError: There is none.
    """
    found: DataSet = DATA_SETS.find(name)
    return found
