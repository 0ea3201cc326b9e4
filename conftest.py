"""What holds for all tests of the workspace.

The processes that share them take one thread each; `--once` runs one case of each.
"""

import os

import pytest

# Set before torch is imported, and inherited by what a test starts. Threads of several processes on
# the same cores wait for each other by spinning, and everything takes many times as long.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Name the option `--once`."""
    parser.addoption(
        "--once",
        action="store_true",
        help="of the cases of each test only the first: what an environment lacks, it shows",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep one case of each test where that was asked for."""
    if config.getoption("--once"):
        first = {item.nodeid.partition("[")[0]: item for item in reversed(items)}
        kept = set(first.values())
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = [item for item in items if item in kept]
