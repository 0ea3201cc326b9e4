"""Damaged files and folders by the thousand: used rightly, refused in a sentence, and nothing else.

Clouds of 10 kB to 1 MB in every format, whole and damaged, are read by ddeq-data and by numpy or
trimesh, which must agree. Each key of each document of run folders gets values of another kind, and
bytes of each file are cut, doubled or zeroed, before the folder is used. No process may take more
than 1 GB beyond its imports, nor more than 10 seconds for a case. The code is that of the tests.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.by_place import ROOT
from benchmarks.nursery import nursery

_PACKAGES = ROOT / "packages"
_CLOUDS = _PACKAGES / "ddeq-data" / "tests" / "damaged_clouds.py"
_FOLDERS = _PACKAGES / "ddeq-models" / "tests" / "damaged_folders.py"
_IMPORTS = ("trimesh", "ddeq_models.models.classifier", "ddeq_models.report")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the benchmark."""
    parser.add_argument("--clouds", type=int, default=100_000, help="inputs to readers [100,000]")
    parser.add_argument("--folders", type=int, default=20_000, help="cases of folders [20,000]")
    parser.add_argument("--seed", type=int, default=0)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Both, one after the other; a process that was ended counts as wrong, with its case."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        clouds = _outcome(
            _CLOUDS, [options.clouds, options.seed, folder / "cloud"], folder / "cloud"
        )
        folders = _outcome(_FOLDERS, [folder, options.folders, options.seed], folder / "case")
    return {"clouds": clouds, "folders": folders}


def table(figures: dict[str, Any]) -> str:
    """What came of them."""
    lines = ["| | cases | used | refused | compared | slowest (processor) | wrong |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for name, found in figures.items():
        used = found.get("read", found.get("used", 0))
        lines.append(
            f"| {name} | {used + found['refused'] + len(found['wrong']):,} | {used:,} | "
            f"{found['refused']:,} | {found.get('compared', '')} | {found['slowest']:.2f} s | "
            f"{len(found['wrong'])} |"
        )
    wrong = [line for found in figures.values() for line in found["wrong"]]
    return "\n".join([*lines, "", *wrong[:50]])


def _outcome(file: Path, words: list[Any], case: Path) -> dict[str, Any]:
    begin = time.perf_counter()
    ended = nursery().call(
        "benchmarks.nursery:script", str(file), *map(str, words), imports=_IMPORTS
    )
    if ended.answer is None:
        what = case.read_text() if case.exists() else ended.error
        outcome = {"refused": 0, "slowest": 0.0, "wrong": [f"ended by {ended.code}: {what}"]}
    else:
        outcome = json.loads(ended.answer)
    return {**outcome, "seconds": time.perf_counter() - begin}
