"""Tables within pages: what stands between two marks is made from ``results/``.

<!-- results: digits -->
| ... |
<!-- end -->
"""

import re
from pathlib import Path

from benchmarks.frozen.store import RESULTS
from benchmarks.frozen.tables import table

ROOT = Path(__file__).parents[2]
RESULT_PAGES = tuple(sorted((ROOT / "docs" / "results").glob("*.md")))
PAGES = (*RESULT_PAGES, ROOT / "README.md")

_BLOCK = re.compile(r"(<!-- results: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str, results: Path = RESULTS) -> str:
    """A page whose tables say what ``results/`` says."""
    return _BLOCK.sub(lambda m: f"{m[1]}{table(m[2], results)}\n{m[3]}", text)


def named(text: str) -> set[str]:
    """The tasks whose tables a page has."""
    return {found[2] for found in _BLOCK.finditer(text)}
