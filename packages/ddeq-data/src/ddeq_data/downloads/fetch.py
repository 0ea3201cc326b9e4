"""A published file from the first mirror that gives it whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
import zlib
from pathlib import Path

from ddeq_data._internal.extras import import_extra
from ddeq_data._internal.locks import locked
from ddeq_data.downloads.resource import Resource
from ddeq_data.downloads.transfer import Transfer, TransferError
from ddeq_data.errors import DataError

__all__ = ["WORK", "fetch", "own_folder", "work_folder"]

WORK = ".download"  # folder of parts and locks, beside the file


def fetch(resource: Resource, folder: Path, *, seconds: float = 30.0) -> Path:
    """Put a published file into a folder, unless it is there.

    Mirrors are tried in order. What has come goes into `.download` and is moved to its place in
    one step when its checksum is right, so that the file is there whole or not at all; a later run
    goes on where one was cut or killed. Of several processes that start at once, one fetches it
    and the others wait.

    Args:
        resource: The file.
        folder: Made where it is missing.
        seconds: Longest time to wait for a connection, and for the next byte.

    Returns:
        The file.

    Raises:
        DataError: If no mirror gives it, saying why of each; or if there is another file of this
            name.
        ModuleNotFoundError: If pooch is needed and missing.
    """
    file = folder / resource.name
    with locked(work_folder(folder) / f"{resource.name}.lock"):
        work = own_folder(folder / WORK / resource.name)
        if file.exists():
            _check_present(file, resource)
            _clear(work, resource)
            return file
        part = work / "part"
        # By processes that were killed: under the lock nobody works.
        _clear(work, resource, keep=part)
        own_folder(work)
        failures: list[str] = []
        for url in resource.urls:
            transfer = Transfer(part, seconds, resource.most)
            if _try(resource, url, work, transfer, failures):
                os.replace(work / resource.name, file)
                _clear(work, resource)
                return file
    tried = "; ".join(failures) or "there is none"
    raise DataError(
        f"{file}: expected one of {len(resource.urls)} mirrors to give this file, tried in vain: "
        f"{tried}; try again later, which goes on with what has come, or {resource.by_hand}."
    )


def work_folder(folder: Path) -> Path:
    """Make the folder of parts and locks, and those above it.

    Raises:
        DataError: If a link is in its place: what is deleted there would be somebody else's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return own_folder(folder / WORK)


def own_folder(path: Path) -> Path:
    """Make a folder that this program works in, unless it is there.

    Raises:
        DataError: If a link or a file is in its place.
    """
    if not path.is_symlink():
        with contextlib.suppress(FileExistsError):
            path.mkdir(exist_ok=True)
    if path.is_symlink() or not path.is_dir():
        raise DataError.at(
            path,
            expected="a folder, or nothing",
            found="a link, which is not followed" if path.is_symlink() else "a file",
            remedy="remove it",
        )
    return path


def _clear(work: Path, resource: Resource, keep: Path | None = None) -> None:
    # Delete what this program left in the folder of a download, and the folder if it is empty.
    for left in work.iterdir():
        mine = left.name in ("part", resource.name) or left.name.startswith("tmp")  # pooch's
        if mine and left != keep and (left.is_symlink() or left.is_file()):
            left.unlink()
    if keep is not None and keep.is_symlink():
        keep.unlink()
    with contextlib.suppress(OSError):
        work.rmdir()


def _try(resource: Resource, url: str, work: Path, transfer: Transfer, failures: list[str]) -> bool:
    pooch = import_extra("pooch", "download", "a download")
    known = None if resource.md5 is None else f"md5:{resource.md5}"
    # A file that was put together from several runs or mirrors gets a second chance as a whole.
    for _ in range(2):
        resumed = transfer.size() > 0
        try:
            pooch.retrieve(url, known, fname=resource.name, path=work, downloader=transfer)
            if known is None:
                _check_zip(work / resource.name)
        except TransferError as error:
            failures.append(f"{url} ({error})")
            return False
        except ValueError as error:  # of pooch, or of the archive
            why = str(error) if known is None else f"md5 {_md5(transfer.part)}, not {resource.md5}"
            failures.append(f"{url} ({why}; removed)")
            (work / resource.name).unlink(missing_ok=True)
            transfer.part.unlink(missing_ok=True)
            if not resumed:
                return False
        else:
            return True
    return False


def _check_present(file: Path, resource: Resource) -> None:
    try:
        if resource.md5 is None:
            _check_zip(file)
        elif (found := _md5(file)) != resource.md5:
            raise ValueError(f"md5 {found}")
    except ValueError as error:
        raise DataError.at(
            file,
            expected=f"the published file, of md5 {resource.md5 or 'unknown'}",
            found=str(error),
            remedy="move it away and try again",
        ) from error


def _check_zip(file: Path) -> None:
    try:
        with zipfile.ZipFile(file) as bundle:
            damaged = bundle.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"no whole zip archive, {error}") from error
    if damaged is not None:
        raise ValueError(f"no whole zip archive, {damaged} is damaged")


def _md5(file: Path) -> str:
    with open(file, "rb") as source:
        return hashlib.file_digest(source, "md5").hexdigest()
