"""Damaged files and folders by the thousand: used rightly, refused in a sentence, and nothing else.

Clouds of 10 kB to 1 MB in every format, whole and damaged, are read by ddeq-data and by numpy or
trimesh, which must agree. Each key of each document of run folders gets values of another kind, and
bytes of each file are cut, doubled or zeroed, before the folder is used. No process may take more
than 1 GB beyond its imports, nor more than 10 seconds for a case. The code is that of the tests.

A round is a thousand cases of one seed, in a process of its own. With ``--records FILE`` each is
written there when it is done, and a round that is there is not done again: what takes hours can be
stopped and goes on, and two machines can share it by ``--seed``.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.by_place import ROOT
from benchmarks.nursery import nursery

_PACKAGES = ROOT / "packages"
_CLOUDS = _PACKAGES / "ddeq-data" / "tests" / "damaged_clouds.py"
_FOLDERS = _PACKAGES / "ddeq-models" / "tests" / "damaged_folders.py"
_IMPORTS = ("trimesh", "ddeq_models.models.classifier", "ddeq_models.report")
_ROUND = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the benchmark."""
    parser.add_argument("--folders", type=int, default=20_000, help="cases of folders [20,000]")
    parser.add_argument("--clouds", type=int, default=100_000, help="inputs to readers [100,000]")
    parser.add_argument("--seed", type=int, default=0, help="of the first round of each kind [0]")
    parser.add_argument("--records", type=Path, metavar="FILE", help="rounds, to go on with")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Both, one after the other; a process that was ended counts as wrong, with its case."""
    done: dict[tuple[str, int, int], dict[str, Any]] = {}
    if options.records is not None and options.records.exists():
        rounds = map(json.loads, options.records.read_text().splitlines())
        done = {(one["kind"], one["seed"], one["turns"]): one for one in rounds}
    found: dict[str, list[dict[str, Any]]] = {"folders": [], "clouds": []}
    with tempfile.TemporaryDirectory() as place:
        for kind, seed, turns in _rounds(options):
            outcome = done.get((kind, seed, turns))
            if outcome is None:
                outcome = {"kind": kind, "seed": seed, "turns": turns}
                outcome |= _outcome(kind, Path(place), turns, seed)
                if options.records is not None:
                    with open(options.records, "a") as file:
                        file.write(json.dumps(outcome) + "\n")
            found[kind].append(outcome)
    return {kind: _together(rounds) for kind, rounds in found.items() if rounds}


def table(figures: dict[str, Any]) -> str:
    """What came of them."""
    lines = ["| | cases | used | refused | compared | slowest (processor) | wrong |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for name, found in figures.items():
        lines.append(
            f"| {name} | {found['used'] + found['refused'] + len(found['wrong']):,} | "
            f"{found['used']:,} | {found['refused']:,} | {found['compared']:,} | "
            f"{found['slowest']:.2f} s | {len(found['wrong'])} |"
        )
    wrong = [line for found in figures.values() for line in found["wrong"]]
    return "\n".join([*lines, "", *wrong[:50]])


def _rounds(options: argparse.Namespace) -> Iterator[tuple[str, int, int]]:
    """Kind, seed and number of cases of each round."""
    for kind, count in (("folders", options.folders), ("clouds", options.clouds)):
        for i, begin in enumerate(range(0, count, _ROUND)):
            yield kind, options.seed + i, min(_ROUND, count - begin)


def _outcome(kind: str, place: Path, turns: int, seed: int) -> dict[str, Any]:
    """Of one round."""
    if kind == "folders":
        words, case = [_FOLDERS, place, turns, seed], place / "case"
    else:
        words, case = [_CLOUDS, turns, seed, place / "cloud"], place / "cloud"
    begin = time.perf_counter()
    ended = nursery().call("benchmarks.nursery:script", *map(str, words), imports=_IMPORTS)
    if ended.answer is None:
        what = case.read_text() if case.exists() else ended.error
        outcome = {"refused": 0, "slowest": 0.0, "wrong": [f"ended by {ended.code}: {what}"]}
    else:
        outcome = json.loads(ended.answer)
    outcome["wrong"] = [f"seed {seed}, {line}" for line in outcome["wrong"]]
    return {**outcome, "seconds": time.perf_counter() - begin}


def _together(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Sums over rounds, and the slowest case of all."""
    sums = {
        "used": sum(one.get("read", one.get("used", 0)) for one in rounds),
        "refused": sum(one["refused"] for one in rounds),
        "compared": sum(one.get("compared", 0) for one in rounds),
        "seconds": sum(one["seconds"] for one in rounds),
    }
    wrong = [line for one in rounds for line in one["wrong"]]
    return {**sums, "slowest": max(one["slowest"] for one in rounds), "wrong": wrong}
