"""What can be seen of a package and its archives without installing anything."""

import re
import subprocess
import tarfile
import tomllib
import zipfile
from email.parser import BytesParser
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from tools.address import ROOT

_HEADING = re.compile(r"^## (?P<title>.+)$", re.MULTILINE)


def project(package: str) -> dict[str, Any]:
    """The ``[project]`` table of a package."""
    text = (ROOT / "packages" / package / "pyproject.toml").read_text("utf-8")
    table: dict[str, Any] = tomllib.loads(text)["project"]
    return table


def version_faults(version: str, tags: list[str], package: str) -> list[str]:
    """What is wrong with a version, given the tags that there are.

    Args:
        version: It, as `pyproject.toml` has it.
        tags: All tags of the repository.
        package: The package: its tags are ``PACKAGE-vVERSION``.
    """
    try:
        new = Version(version)
    except InvalidVersion:
        return [f"{version} is no version; expected one such as 1.2.0"]
    if str(new) != version or len(new.release) != 3:
        return [f"{version} is not in the form MAJOR.MINOR.PATCH"]
    begin = f"{package}-v"
    released = [Version(tag.removeprefix(begin)) for tag in tags if tag.startswith(begin)]
    if new in released:
        return [f"{version} is released already: there is a tag {begin}{version}"]
    if released and new < max(released):
        return [f"{version} is older than {max(released)}, which is released"]
    return []


def changelog_faults(text: str, version: str) -> list[str]:
    """What is wrong with a changelog, of which a version is to be released.

    Args:
        text: Its content: a heading ``## VERSION`` for each version, the newest first.
        version: The one to be released.
    """
    titles = [match["title"] for match in _HEADING.finditer(text)]
    parts = dict(zip(titles, _HEADING.split(text)[2::2], strict=True))
    faults = []
    if re.search(r"^\S", _of("unreleased", parts), re.MULTILINE):
        faults.append(f"CHANGELOG.md has lines under Unreleased: put them under {version}")
    named = [title for title in titles if title.lower() != "unreleased"]
    if not named or named[0].split()[0].strip("[]") != version:
        found = named[0] if named else "none"
        faults.append(f"CHANGELOG.md: expected ## {version} as its first version, found {found}")
    elif not re.search(r"^- ", parts[named[0]], re.MULTILINE):
        faults.append(f"CHANGELOG.md says nothing of {version}")
    return faults


def _of(title: str, parts: dict[str, str]) -> str:
    return next((text for name, text in parts.items() if name.lower() == title), "")


def archive_faults(package: str, wheel: Path, sdist: Path) -> list[str]:
    """What is wrong with the archives of a package.

    Args:
        package: Its name.
        wheel: It.
        sdist: The archive of sources.
    """
    module, faults = package.replace("-", "_"), []
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        described = next(name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = BytesParser().parsebytes(file.read(described))
    needed = [f"{module}/__init__.py", f"{module}/py.typed"]
    faults += [f"the wheel lacks {name}" for name in needed if name not in names]
    if not any("/licenses/" in name for name in names):
        faults.append("the wheel lacks its licence")
    strange = [n for n in names if not n.startswith((f"{module}/", f"{module}-"))]
    faults += [f"the wheel holds {name}, which is not the package's" for name in strange]
    for name in ("Author", "License-Expression", "Project-URL", "Requires-Python", "Summary"):
        if not metadata.get(name):
            faults.append(f"the metadata lack {name}")
    if re.search(r"\]\((?!https?:|#|mailto:)", str(metadata.get_payload())):
        faults.append("the README has a link that holds in the repository alone")
    sources = subprocess.run(
        ["git", "ls-files", "src"], cwd=ROOT / "packages" / package, capture_output=True, text=True
    ).stdout.splitlines()
    installed = {f"src/{name}" for name in names}
    faults += [f"the wheel lacks {name}" for name in sources if name not in installed]
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", *sources):
        if name not in held:
            faults.append(f"the sdist lacks {name}")
    if not any(name.startswith("tests/test_") for name in held):
        faults.append("the sdist lacks the tests")
    return faults
