"""``python -m benchmarks.unseen.peers``: what the peers (a) and (b) reach on the sets."""

import argparse
import time

import numpy as np

from benchmarks.unseen import pointnet, trees
from benchmarks.unseen.clouds import Clouds
from benchmarks.unseen.sets import SETS
from benchmarks.unseen.split import split


def main() -> None:
    """A line for each set: the mean test accuracies over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="the PointNet's, a training")
    options = parser.parse_args()
    columns = ("PointNet", "trees", "SVC", "best of both", "s of (b)")
    print(f"{'set':16}{'clouds':>7}{'classes':>8}" + "".join(f"{name:>13}" for name in columns))
    for name in options.sets:
        clouds = SETS[name].make(0)
        figures = np.mean([accuracies(clouds, seed, options.seconds) for seed in options.seeds], 0)
        cells = "".join(f"{100 * figure:>13.1f}" for figure in figures[:-1])
        size = f"{len(clouds.points):>7}{len(clouds.classes):>8}"
        print(f"{name:16}{size}{cells}{figures[-1]:>13.1f}", flush=True)


def accuracies(clouds: Clouds, seed: int, seconds: float) -> list[float]:
    """Of the PointNet, the trees, the SVC and the better of the two; the seconds of the last."""
    parts = split(clouds, seed)
    truth = clouds.labels[parts[2]]
    by_net = pointnet.fit(clouds, *parts, seconds=seconds, seed=seed)
    start = time.process_time()
    described = trees.fit(clouds, *parts, seed=seed)
    spent = time.process_time() - start
    predictions = (by_net, described.trees, described.svc, described.best)
    return [float((each == truth).mean()) for each in predictions] + [spent]


if __name__ == "__main__":
    main()
