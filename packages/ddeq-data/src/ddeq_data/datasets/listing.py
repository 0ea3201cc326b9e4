"""Which files of a folder are clouds of which class, and what they are for."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ddeq_data._internal.text import counted
from ddeq_data.datasets.splits import stratified_share
from ddeq_data.errors import DataError
from ddeq_data.readers.cloud import SUFFIXES

__all__ = ["PARTS", "Listing", "list_folder", "part_of", "walk"]

PARTS = {
    "train": "train",
    "test": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
}


def part_of(name: str) -> str:
    """What a folder of this name is for, in small or capital letters; "" if it does not say."""
    return PARTS.get(name.lower(), "")


# Only where it is true: of a file, where all files are taken.
_CHOICE = ", or, from Python, say with suffixes= which files to take"


@dataclass(frozen=True, eq=False)
class Listing:
    """The files of a data set.

    Attributes:
        root: The folder.
        classes: Names of the classes, sorted.
        files: Paths of the files relative to `root`, sorted by class, part and name.
        labels: (C,) int64, the class of each file.
        parts: What each file is for: "train", "validation", "test"; "" where nothing says it.
        archives: Where `files` are places in archives, archive#row, the archives themselves.
        drawn: Of the files of one split: whether chance decided which these are, so that among
            other files the choice is another one.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: Tensor
    parts: tuple[str, ...]
    archives: tuple[Path, ...] = ()
    drawn: bool = False

    def summary(self) -> str:
        """How many files there are of how many classes, in words."""
        classes = counted(len(self.classes), "class", "classes")
        return f"{counted(len(self.files), 'file')} of {classes}"

    def select(
        self, split: str, *, validation_share: float, test_share: float, seed: int
    ) -> Listing:
        """Return the files of one split.

        Where folders say what is for the test, that holds; otherwise a share of each class is
        held out, one at least of each class of 3 or more files. The same goes for validation,
        whose files are taken from what is left.

        Args:
            split: "train", "validation", "test" or "train+validation".
            validation_share: Share of the files to train that validate instead.
            test_share: Share of all files for the test.
            seed: Seed of the choice; see `stratified_share`.

        Raises:
            DataError: If there are no files in that split.
        """
        parts, drawn = list(self.parts), set[str]()
        for part, share in (("test", test_share), ("validation", validation_share)):
            if part in parts or (part == "test" and "train" in parts):
                continue
            free = torch.tensor([i for i, name in enumerate(parts) if name in ("", "train")])
            if len(free):
                held = stratified_share(self.labels[free], share, seed)
                for i in free[held].tolist():
                    parts[i] = part
                    drawn |= {part, "train"}
        parts = ["train" if name == "" else name for name in parts]
        wanted = split.split("+")
        chosen = [i for i, name in enumerate(parts) if name in wanted]
        if not chosen:
            raise DataError.at(
                self.root,
                expected=f"files for the split {split}",
                found=f"none among {counted(len(parts), 'file')}",
                remedy=(
                    "a part is held out of classes that have at least 3 files to spare: add files, "
                    f"or put some into folders class/{wanted[0]}"
                ),
            )
        return Listing(
            self.root,
            self.classes,
            tuple(self.files[i] for i in chosen),
            self.labels[chosen],
            tuple(parts[i] for i in chosen),
            self.archives,
            not drawn.isdisjoint(wanted),
        )


def list_folder(root: Path, suffixes: Collection[str] | None = None) -> Listing:
    """List the clouds of a folder laid out as class/part/file, part/class/file or class/file.

    A part is a folder called train, test, validation, valid or val, in small or capital letters.
    Names that begin with a dot or two underscores are passed over, and so are other files beside
    the folders of the classes, such as a readme. Everything else must be a cloud: no file is lost
    without a word.

    Args:
        root: The folder.
        suffixes: Suffixes of the files to take, ".off" say; others are passed over then. None for
            every file, and an error for one that cannot be read.

    Raises:
        DataError: If there is no such folder, it is laid out otherwise, or a file in it is of an
            unknown kind; naming the place.
    """
    if not root.is_dir():
        raise DataError.at(
            root,
            expected="a folder of clouds, class/part/file or class/file",
            found="a file" if root.exists() else "nothing",
            remedy="check the path, or unpack the archive there",
        )
    wanted = None if suffixes is None else {suffix.lower() for suffix in suffixes}
    outer = [entry for entry in _entries(root) if entry.is_dir()]
    for entry in _entries(root):
        if entry.is_file() and entry.suffix.lower() in set(SUFFIXES) - {".txt", ".csv"}:
            raise _strange(entry, "a folder for each class", "a file beside them")
    found: list[tuple[str, str, Path]] = []
    if outer and all(part_of(entry.name) for entry in outer):
        for part in outer:
            for folder in _entries(part):
                if folder.is_dir():
                    found += [(folder.name, part_of(part.name), f) for f in _files(folder, wanted)]
                else:
                    raise _strange(folder, "a folder for each class", "a file beside them")
    else:
        for folder in outer:
            found += [(folder.name, part, f) for part, f in _parted(folder, wanted)]
    if not found:
        raise DataError.at(
            root,
            expected="clouds in folders class/part/file or class/file",
            found="no file" if wanted is None else f"no file that ends in {', '.join(wanted)}",
            remedy="check the path, or unpack the archive there",
        )
    if {"", "train"} <= {part for _, part, _ in found}:
        name, _, file = next(row for row in found if row[1] == "")
        raise _strange(file, f"{name}/train and {name}/test, as in other classes", "a file")
    found.sort()
    classes = tuple(sorted({name for name, _, _ in found}))
    index = {name: i for i, name in enumerate(classes)}
    return Listing(
        root,
        classes,
        tuple(file.relative_to(root) for _, _, file in found),
        torch.tensor([index[name] for name, _, _ in found]),
        tuple(part for _, part, _ in found),
    )


def _parted(folder: Path, wanted: set[str] | None) -> Iterator[tuple[str, Path]]:
    # The files of one class and what they are for.
    entries = _entries(folder)
    if not any(entry.is_dir() for entry in entries):
        for file in _files(folder, wanted):
            yield "", file
        return
    for entry in entries:
        if entry.is_dir() and part_of(entry.name):
            for file in _files(entry, wanted):
                yield part_of(entry.name), file
        elif entry.is_dir() or wanted is None or entry.suffix.lower() in wanted:
            raise _strange(
                entry,
                "train, test or validation in the folder of a class",
                "another folder" if entry.is_dir() else "a file beside them",
                "" if entry.is_dir() else _CHOICE,
            )


def _files(folder: Path, wanted: set[str] | None) -> Iterator[Path]:
    for entry in _entries(folder):
        if entry.is_dir():
            raise _strange(entry, "files only", "a folder")
        suffix = entry.suffix.lower()
        if wanted is None and suffix not in SUFFIXES:
            raise _strange(
                entry, f"files that end in {', '.join(SUFFIXES)}", repr(entry.suffix), _CHOICE
            )
        if wanted is None or suffix in wanted:
            yield entry


def walk(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """All files of a folder, however deep, those behind links among them, in the order of names.

    Names that begin with a dot or two underscores are passed over.

    Raises:
        DataError: If a link leads back to a folder that it is in.
    """
    own = folder.resolve()
    if own in above:
        raise DataError.at(
            folder,
            expected="folders of clouds",
            found=f"a link back to {own}, which it is in",
            remedy="remove that link",
        )
    for entry in _entries(folder):
        if entry.is_dir():
            yield from walk(entry, (*above, own))
        else:
            yield entry


def _entries(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith((".", "__")))


def _strange(place: Path, expected: str, found: str, choice: str = "") -> DataError:
    return DataError.at(place, expected=expected, found=found, remedy=f"move it away{choice}")
