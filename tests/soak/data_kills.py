"""A process killed at random moments of download, unpacking, processing and caching.

After each kill, what stands under its own name must be whole: the archive, the unpacked folder,
the processed clouds. The next run goes on with what there is. It needs the extra `download`.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.by_place import ROOT, SOAK, load

_SERVER = ROOT / "packages" / "ddeq-data" / "tests" / "server.py"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmark's own options."""
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Kill so often; an AssertionError where something unfinished looked finished."""
    kills, server = load(SOAK / "download_kills.py"), load(_SERVER)
    before = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        hit = kills.kill_often(Path(folder), server.serve, options.kills, options.seed)
    return {**hit, "seconds": time.perf_counter() - before}


def table(figures: dict[str, Any]) -> str:
    """Kills by stage, runs that were not hit, files found whole after a kill."""
    names = {"finished": "not hit", "checked": "files found whole"}
    stages = ("download", "unpacking", "processing", "caching", "between", *names)
    rows = [f"| {names.get(stage, stage)} | {figures.get(stage, 0):,} |" for stage in stages]
    end = f"{figures['seconds']:.0f} s; nothing unfinished was taken for whole"
    return "\n".join(["| stage | kills |", "| --- | --- |", *rows, "", end])
