"""``hatch run results [ACTION]``: frozen configurations, their runs, and the tables made of them.

    hatch run results try TASK/NAME [--root DIR] -- --data D --preset P [options of ddeq train]
                                               one trial, measured on validation clouds alone
    hatch run results freeze TASK/NAME -- ...  fix the configuration, before the test set is opened
    hatch run results run TASK/NAME [--seeds 0 1 2] [--root DIR]
                                               train it; each seed's test set is opened once
    hatch run results                          make the tables and pictures again

A training that is stopped is gone on with by the same command.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.frozen import pages, pictures
from benchmarks.frozen.running import RUNS, assembled, attempt, run_seed
from benchmarks.frozen.store import RESULTS, entry


def main(argv: Sequence[str] | None = None) -> None:
    """Do what the words say."""
    words = list(sys.argv[1:] if argv is None else argv)
    cut = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(
        prog="hatch run results", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("action", nargs="?", choices=("write", "try", "freeze", "run"))
    parser.add_argument("name", nargs="?", metavar="TASK/NAME")
    parser.add_argument("--root", help="folder of the data's files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=RUNS, help=f"where trainings are [{RUNS}]")
    parser.add_argument("--results", type=Path, default=RESULTS, help=argparse.SUPPRESS)
    options, training = parser.parse_args(words[:cut]), words[cut + 1 :]
    if options.action in (None, "write"):
        write(options.results)
        return
    if options.name is None:
        parser.error(f"{options.action} needs TASK/NAME")
    one = entry(options.name, options.results)
    if options.action == "run":
        for seed in options.seeds:
            if seed not in one.results():
                run_seed(one, seed, root=options.root, runs=options.runs)
    elif not training:
        parser.error(f"{options.action} needs the options of ddeq train, after --")
    elif options.action == "try":
        attempt(one, training, root=options.root, runs=options.runs)
    else:
        one.freeze(assembled(training), training)


def write(results: Path = RESULTS) -> None:
    """Make tables and pictures from ``results/``."""
    for page in pages.PAGES:
        page.write_text(
            pages.filled(page.read_text(encoding="utf-8"), results), encoding="utf-8"
        )  # fmt: skip
    pictures.draw(results)


if __name__ == "__main__":
    main()
