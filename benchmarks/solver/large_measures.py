"""One velocity of the energy distance between large clouds: exact, sliced, geomloss, POT, KeOps.

Each row runs in a process of its own, so that the peak memory is its own: the largest resident
size less that of the same process before the call. The error is relative to our exact velocity in
float64 at a sample of atoms.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.nursery import nursery
from wgf_solver import MMD, Energy, Measure, SlicedMMD, SlicedWasserstein
from wgf_solver.kernels.pairwise import force

Velocity = Callable[[Measure, Measure], Tensor]

SAMPLE = 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmark's own options."""
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[10_000], metavar="N",
        help="atoms of each cloud; the claims are about 10000 100000 1000000",
    )  # fmt: skip
    parser.add_argument("--dim", type=int, default=3)
    parser.add_argument("--slices", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3, help="of which the fastest counts")
    parser.add_argument(
        "--pairs", type=float, default=1e10, metavar="MOST",
        help="a method that visits all n² pairs is extrapolated beyond so many",
    )  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=sorted(METHODS), default=list(METHODS))


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds, megabytes and error of each method at each size; None where it cannot run."""
    rows: list[dict[str, Any]] = []
    for n in options.sizes:
        for name in options.only:
            most = METHODS[name].most
            if most is not None and n * n > min(most, options.pairs):
                known = [row for row in rows if row["method"] == name and row["seconds"]]
                row = {"method": name, "n": n, "seconds": None, "why": "n² pairs; see --pairs"}
                if known and most >= options.pairs:
                    last = known[-1]
                    row["extrapolated"] = last["seconds"] * (n / last["n"]) ** 2
                rows.append(row)
                continue
            rows.append({"method": name, "n": n, **_in_a_process(name, n, options)})
    return {"dim": options.dim, "slices": options.slices, "rows": rows}


def table(figures: dict[str, Any]) -> str:
    """A row for each size and method."""
    lines = [
        "| n = m | method | seconds | peak memory | velocity error |",
        "| ---: | --- | ---: | ---: | ---: |",
    ]
    for row in figures["rows"]:
        if row["seconds"] is None:
            guess = row.get("extrapolated")
            seconds = f"about {guess:.0f}, by n²" if guess else "—"
            lines.append(f"| {row['n']:,} | {row['method']} | {seconds} | — | {row['why']} |")
            continue
        error = "—" if row["error"] is None else f"{100 * row['error']:.2g} %"
        lines.append(
            f"| {row['n']:,} | {row['method']} | {row['seconds']:.3g} | {row['megabytes']:.0f} MB |"
            f" {error} |"
        )
    return "\n".join(lines)


class Method:
    """A velocity, the number of pairs it can bear (None: it visits no pairs), and its meaning."""

    def __init__(
        self, build: Callable[[int], Velocity], most: float | None, energy: bool = True
    ) -> None:
        self.build, self.most, self.energy = build, most, energy


def _exact(slices: int) -> Velocity:
    return lambda mu, nu: MMD(Energy()).pull(mu, nu).velocity


def _sliced(slices: int) -> Velocity:
    return lambda mu, nu: SlicedMMD(slices).pull(mu, nu).velocity


def _sliced_wasserstein(slices: int) -> Velocity:
    return lambda mu, nu: SlicedWasserstein(slices).pull(mu, nu).velocity


def _geomloss(backend: str) -> Callable[[int], Velocity]:
    def build(slices: int) -> Velocity:
        import geomloss

        loss = geomloss.SamplesLoss("energy", backend=backend)

        def velocity(mu: Measure, nu: Measure) -> Tensor:
            z = mu.points.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(loss(mu.weights, z, nu.weights, nu.points), z)
            return -gradient / mu.weights[:, None]

        return velocity

    return build


def _keops(slices: int) -> Velocity:
    return lambda mu, nu: MMD(Energy(), keops=True).pull(mu, nu).velocity


def _pot_exact(slices: int) -> Velocity:
    import ot

    def velocity(mu: Measure, nu: Measure) -> Tensor:
        cost = ot.dist(mu.points, nu.points).double()
        plan = ot.emd(mu.weights.double(), nu.weights.double(), cost, numItermax=10_000_000)
        return (plan / mu.weights[:, None]) @ nu.points.double() - mu.points

    return velocity


def _pot_sliced(slices: int) -> Velocity:
    import ot

    def velocity(mu: Measure, nu: Measure) -> Tensor:
        z = mu.points.clone().requires_grad_()
        value = ot.sliced_wasserstein_distance(
            z, nu.points, mu.weights, nu.weights, n_projections=slices, seed=0
        )
        (gradient,) = torch.autograd.grad(value.square() / 2, z)
        return -gradient / mu.weights[:, None]

    return velocity


METHODS = {
    "exact": Method(_exact, 1e14),
    "sliced": Method(_sliced, None),
    "geomloss-tensorized": Method(_geomloss("tensorized"), 1e8),
    "geomloss-online": Method(_geomloss("online"), 1e14),
    "exact-keops": Method(_keops, 1e14),
    "sliced-wasserstein": Method(_sliced_wasserstein, None, energy=False),
    "pot-sliced": Method(_pot_sliced, None, energy=False),
    "pot-exact": Method(_pot_exact, 4e6, energy=False),
}


def clouds(n: int, dim: int) -> tuple[Measure, Measure]:
    """Two Gaussian clouds that overlap; weights are not uniform."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, n, dim, generator=generator)
    w, v = torch.rand(2, n, generator=generator) + 0.5
    return Measure(x, w), Measure(0.7 * y + 0.5, v)


def _in_a_process(name: str, n: int, options: argparse.Namespace) -> dict[str, Any]:
    request = {
        "method": name, "n": n, "dim": options.dim, "slices": options.slices,
        "repeats": options.repeats,
    }  # fmt: skip
    here = "benchmarks.solver.large_measures"
    ended = nursery().call(f"{here}:measured", request, imports=(here, "geomloss", "ot"))
    if ended.answer is None:
        return {"seconds": None, "why": (ended.error or f"exit code {ended.code}")[:80]}
    result: dict[str, Any] = ended.answer
    return result


def measured(request: dict[str, Any]) -> dict[str, Any]:
    """What a child process does: the fastest of some repetitions, its memory, its error."""
    method, n = METHODS[request["method"]], request["n"]
    small, large = clouds(64, request["dim"]), clouds(n, request["dim"])
    velocity = method.build(request["slices"])
    velocity(*small)  # what is loaded or compiled once is no part of the figures
    before = _peak()
    seconds = []
    for _ in range(request["repeats"]):
        start = time.perf_counter()
        result = velocity(*large)
        seconds.append(time.perf_counter() - start)
        if sum(seconds) > 20:
            break
    megabytes = _peak() - before
    error = None
    if method.energy:
        rows = torch.arange(0, n, max(1, n // SAMPLE))
        expected = reference(*large, rows)
        error = float((result[rows] - expected).norm() / expected.norm())
    return {"seconds": min(seconds), "megabytes": megabytes, "error": error}


def reference(mu: Measure, nu: Measure, rows: Tensor) -> Tensor:
    """The exact velocity of some atoms, in float64."""
    kernel = Energy()
    mu, nu = mu.to(dtype=torch.float64), nu.to(dtype=torch.float64)
    at = mu.points[rows]
    return force(kernel, at, nu.points, nu.weights) - force(kernel, at, mu.points, mu.weights)


def _peak() -> float:
    """The largest resident size so far, in megabytes (Linux counts in kilobytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
