"""The pages of the site, laid out as in the repository, with links that hold on the site."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from tools.address import PACKAGES, ROOT, address, place
from tools.site.notebook import markdown

_LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
_CODE = re.compile(r"(^```.*?^```$|`[^`\n]*`)", re.MULTILINE | re.DOTALL)
_API = """# All public names

Made from the docstrings of the packages:
{}
"""


def sources() -> list[Path]:
    """The files that become pages, or stand on them."""
    folders = [ROOT / "packages" / name for name in PACKAGES]
    own = [
        ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CODE_OF_CONDUCT", "SECURITY")
    ]
    written = [path for kind in ("*.md", "*.py", "*.png") for path in (ROOT / "docs").rglob(kind)]
    return [
        *own,
        *written,
        *(folder / f"{n}.md" for folder in folders for n in ("README", "CHANGELOG")),
    ]


def write_pages(folder: Path) -> None:
    """Write all pages, where they are in the repository.

    Args:
        folder: The place of the repository's root.

    Raises:
        FileNotFoundError: For a link that leads nowhere, with the page.
    """
    known = set(sources())
    for source in sorted(known):
        page = folder / source.relative_to(ROOT)
        page.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            page.write_text(linked(source.read_text("utf-8"), source, known), "utf-8")
        elif source.suffix == ".py":
            text = linked(markdown(source.read_text("utf-8")), source, known)
            page.with_suffix(".md").write_text(text, "utf-8")
        else:
            shutil.copyfile(source, page)
    names = (name.replace("-", "_") for name in PACKAGES)
    rows = "".join(f'\n- <a href="../api/{name}.html"><code>{name}</code></a>' for name in names)
    (folder / "docs/api.md").write_text(_API.format(rows), "utf-8")


def linked(text: str, source: Path, known: set[Path]) -> str:
    """A page's text, each link to a page of the site or to the project's address.

    Args:
        text: Markdown.
        source: Its file: links are relative to that.
        known: The files that are on the site.
    """

    def changed(match: re.Match[str]) -> str:
        begin, target, end = match.groups()
        found = place(target)
        if found is None:
            if re.match(r"[a-z]+:", target):
                return match[0]
            found = (source.parent / target).resolve()
        if found.is_dir() and found / "README.md" in known:
            found /= "README.md"
        if not found.exists():
            raise FileNotFoundError(
                f"{source.relative_to(ROOT)} links to {target}, which is not there"
            )
        if found not in known:
            return f"{begin}{address(found)}{end}"
        there = found.with_suffix(".md") if found.suffix == ".py" else found
        return f"{begin}{_relative(there, source.parent)}{end}"

    return _outside_code(text, lambda part: _LINK.sub(changed, part))


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    parts = _CODE.split(text)
    return "".join(part if i % 2 else change(part) for i, part in enumerate(parts))


def _relative(path: Path, folder: Path) -> str:
    """From a folder to a file; `Path.relative_to` walks up from Python 3.12 on."""
    up, base = "", folder
    while not path.is_relative_to(base):
        up, base = f"{up}../", base.parent
    return up + path.relative_to(base).as_posix()
