"""A zip archive unpacked whole or not at all, and nowhere else."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path

from ddeq_data._internal.locks import locked
from ddeq_data.downloads.fetch import work_folder
from ddeq_data.errors import DataError

__all__ = ["unpack"]

_DEEPEST = 64
_MOST = 32 << 30  # bytes that an archive may unpack to


def unpack(archive: Path, name: str, *, most: int = _MOST) -> Path:
    """Unpack the folder `name` of an archive beside it, unless it is there.

    It is unpacked under another name and moved to its place in one step. What the archive holds
    beside that folder (`__MACOSX`, say) is left in it.

    Args:
        archive: A zip archive.
        name: Of the folder.
        most: Bytes that the archive may say it unpacks to; no file gets longer than it says.

    Returns:
        The folder.

    Raises:
        DataError: If the archive is damaged, too large, lacks the folder, or holds names that
            lead out of it.
    """
    folder = archive.parent / name
    work = work_folder(archive.parent)
    with locked(work / f"{name}.unpack.lock"):
        if folder.is_dir():
            return folder
        for left in work.glob(f"{name}.*.partial"):  # by processes that were killed
            if not left.is_symlink():
                shutil.rmtree(left)
        partial = Path(tempfile.mkdtemp(prefix=f"{name}.", suffix=".partial", dir=work))
        try:
            with zipfile.ZipFile(archive) as bundle:
                for member in _members(bundle, archive, name, most):
                    _extract(bundle, member, partial)
            os.rename(partial / name, folder)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            RuntimeError,  # encrypted; NotImplementedError is one
            ValueError,  # a name with a NUL
            FileExistsError,
            NotADirectoryError,
        ) as error:
            if isinstance(error, DataError):
                raise
            raise _refused(archive, "a whole zip archive", str(error)) from error
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
                raise _refused(
                    archive, "names that this file system can hold", error.strerror or str(error)
                ) from error
            raise DataError.at(
                folder,
                expected="a folder to unpack to",
                found=error.strerror or str(error),
                remedy="make room or check its permissions, or use another root",
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _members(bundle: zipfile.ZipFile, archive: Path, name: str, most: int) -> list[zipfile.ZipInfo]:
    members = [
        member
        for member in bundle.infolist()
        if member.filename.startswith(f"{name}/") and not member.is_dir()
    ]
    if not members:
        found = sorted({member.filename.partition("/")[0] for member in bundle.infolist()})
        raise _refused(archive, f"a folder {name} in it", ", ".join(found) or "nothing")
    for member in members:
        parts = member.filename.split("/")
        if len(parts) > _DEEPEST:
            raise _refused(archive, f"at most {_DEEPEST} folders within each other", "more")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if any(
            part in ("", ".", "..") or "\\" in part or ":" in part for part in parts
        ) or kind not in (0, stat.S_IFREG):
            raise _refused(archive, "files that lie in its folder", repr(member.filename))
    total = sum(member.file_size for member in members)
    if total > most:
        raise _refused(archive, f"at most {most:,} bytes unpacked", f"{total:,}")
    free = shutil.disk_usage(archive.parent).free
    if total > free:
        raise DataError.at(
            archive,
            expected=f"room for {total:,} bytes on the disk",
            found=f"{free:,}",
            remedy="make room, or use another root",
        )
    return members


def _extract(bundle: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    path = folder / member.filename
    path.parent.mkdir(parents=True, exist_ok=True)
    # zipfile reads no more than the size that is listed, and compares checksums at the end.
    with bundle.open(member) as source, open(path, "xb") as out:
        shutil.copyfileobj(source, out, 1 << 20)


def _refused(archive: Path, expected: str, found: str) -> DataError:
    return DataError.at(
        archive, expected=expected, found=found, remedy="delete it and download it again"
    )
