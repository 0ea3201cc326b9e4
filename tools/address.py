"""Where the project lives: the one place in which its address is decided.

The packages' ``[project.urls]`` and the links of their READMEs repeat it, since a package index
shows them alone; `tests/test_publishing.py` holds them to it.
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
ADDRESS = "https://github.com/ddeq/ddeq"
BRANCH = "main"
PACKAGES = ("wgf-solver", "set-attention", "ddeq-data", "ddeq-models")


def address(path: Path) -> str:
    """Where a file or folder of the repository can be seen.

    Args:
        path: It, below `ROOT`.
    """
    kind = "tree" if path.is_dir() else "blob"
    return f"{ADDRESS}/{kind}/{BRANCH}/{path.resolve().relative_to(ROOT).as_posix()}"


def place(target: str) -> Path | None:
    """The file or folder that an address of the project leads to; None for any other target."""
    for kind in ("tree", "blob", "raw"):
        if target.startswith(begin := f"{ADDRESS}/{kind}/{BRANCH}/"):
            return ROOT / target.removeprefix(begin)
    return None
