"""On a GPU: training steps, velocities between large clouds, a solver's step, the host's waiting.

A training step of the preset ddeq, of the same in bf16, in 128 dimensions (``ddeq-large``) and of
PointNet, as it comes and compiled, and how often the host waits for the device in it. One velocity
of the energy distance, exact, by KeOps and sliced, beside geomloss. What a step of the solver takes
beyond the evaluation of f, and how often the host waits in it: the difference between a solve and
one of twice as many steps, which should be at most one in as many steps as the driver goes without
a look (`check_every`). ``--device cpu`` runs the same on the processor.
"""

import argparse
import itertools
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.device import median_seconds, name_of, peak_megabytes, waits
from benchmarks.solver.large_measures import METHODS, SAMPLE, clouds, reference
from benchmarks.solver.solver_overhead import BATCH, DIM, INTEGRATORS, PARTICLES, Cell
from benchmarks.steps import Steps, digit_like
from benchmarks.training.training_step import LARGE
from ddeq_models.config import ModelConfig, TrainConfig
from ddeq_models.registry import PRESETS
from wgf_solver import Integrator, Measure, equilibrium

VELOCITIES = ("exact", "exact-keops", "sliced", "geomloss-online", "geomloss-tensorized")
MODELS: dict[str, tuple[ModelConfig, TrainConfig]] = {
    "ddeq": (PRESETS["ddeq"], TrainConfig()),
    "ddeq-bf16": (PRESETS["ddeq"], TrainConfig(precision="bf16")),
    "ddeq-large": (LARGE, TrainConfig()),
    "pointnet": (PRESETS["pointnet"], TrainConfig()),
}
Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmark's own options."""
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, cpu [cuda]")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--batches", type=int, default=8, help="that steps are timed on, in turn")
    parser.add_argument("--backend", default="inductor", help="of torch.compile")
    parser.add_argument("--compiled", nargs="*", choices=list(MODELS), default=list(MODELS))
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], metavar="N",
        help="atoms of each cloud",
    )  # fmt: skip
    parser.add_argument("--dim", type=int, default=3)
    parser.add_argument("--slices", type=int, default=128)
    parser.add_argument(
        "--pairs", type=float, default=1e12, metavar="MOST", help="that a method may visit"
    )
    parser.add_argument("--solver-steps", type=int, default=64)
    parser.add_argument("--check-every", type=int, default=8, help="steps of the solver")
    parser.add_argument("--context", type=int, default=150, help="points the cell attends to")
    parser.add_argument("--repeats", type=int, default=5)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all three on one device."""
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            "bench gpu measures a CUDA device and PyTorch sees none here; --device cpu runs the "
            "same on the processor"
        )
    steps = [{"step": name, **step_row(name, device, options)} for name in MODELS]
    velocities = [
        {"n": n, "method": name, **velocity_row(name, n, device, options)}
        for n in options.sizes
        for name in VELOCITIES
    ]
    return {
        "card": name_of(device),
        "batch_size": options.batch_size,
        "check_every": options.check_every,
        "steps": steps,
        "velocities": velocities,
        "solver": solver_rows(device, options),
    }


def table(figures: dict[str, Any]) -> str:
    """The card, and a table for each of the three."""
    lines = [
        f"{figures['card']}, batches of {figures['batch_size']} clouds",
        "",
        "| step of a training | ms | evaluations | waits of the host | ms compiled |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in figures["steps"]:
        compiled = row["why"] or _shown(row["compiled_seconds"], ".2f", 1e3)
        lines.append(
            f"| {row['step']} | {1e3 * row['seconds']:.2f} | {_shown(row['evaluations'], '.1f')} | "
            f"{_shown(row['waits'], 'd')} | {compiled} |"
        )
    lines += ["", "| n = m | velocity | ms | peak memory | error |"]
    lines.append("| ---: | --- | ---: | ---: | ---: |")
    for row in figures["velocities"]:
        cells = row["why"] or (
            f"{1e3 * row['seconds']:.2f} | {_shown(row['megabytes'], '.0f')} | {row['error']:.1e}"
        )
        lines.append(f"| {row['n']:,} | {row['method']} | {cells} |")
    lines += ["", "| solver | ms in f | ms a step beyond it | waits of the host a step | allowed |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    for row in figures["solver"]:
        lines.append(
            f"| {row['integrator']} | {1e3 * row['within_seconds']:.3f} | "
            f"{1e3 * row['beyond_seconds']:.3f} | {_shown(row['waits_a_step'], '.3f')} | "
            f"{1 / figures['check_every']:.3f} |"
        )
    return "\n".join(lines)


def _shown(value: float | None, form: str, factor: int = 1) -> str:
    return "–" if value is None else format(factor * value, form)


def step_row(name: str, device: torch.device, options: argparse.Namespace) -> Row:
    """A step of a training, as it comes and compiled."""
    plain = Steps(*MODELS[name], device=device)
    batches = [plain.prepared(b) for b in digit_like(options.batch_size, options.batches)]
    row: Row = {"seconds": over(plain, batches, device), "compiled_seconds": None, "why": None}
    row["evaluations"] = plain.told().get("solver_steps_mean")
    row["waits"] = waits(lambda: plain.step(batches[0]), device)
    if name not in options.compiled:
        return row
    torch.compiler.reset()
    compiled = Steps(*MODELS[name], device=device)
    compiled.model.compile(backend=options.backend)
    try:
        row["compiled_seconds"] = over(compiled, batches, device)
    except Exception as error:  # whatever a compiler says: the row tells, the others go on
        row["why"] = first_line(error)
    return row


def over(steps: Steps, batches: list[Any], device: torch.device) -> float:
    """Median seconds of a step, on one batch after the other, all of them seen before."""
    for batch in batches:
        steps.step(batch)
    steps.told()
    turn = itertools.cycle(batches)
    return median_seconds(lambda: steps.step(next(turn)), device, len(batches))


def velocity_row(name: str, n: int, device: torch.device, options: argparse.Namespace) -> Row:
    """One velocity between two clouds; why not, where it cannot be."""
    method = METHODS[name]
    row: Row = {"seconds": None, "megabytes": None, "error": None, "why": None}
    if method.most is not None and n * n > min(method.most, options.pairs):
        return row | {"why": "n² pairs"}
    mu, nu = (cloud.to(device) for cloud in clouds(n, options.dim))
    try:
        velocity = method.build(options.slices)
        row["megabytes"] = peak_megabytes(lambda: velocity(mu, nu), device)
        row["seconds"] = median_seconds(lambda: velocity(mu, nu), device, options.repeats)
        atoms = torch.arange(0, n, max(1, n // SAMPLE), device=device)
        expected = reference(mu, nu, atoms)
        row["error"] = float((velocity(mu, nu)[atoms] - expected).norm() / expected.norm())
    except Exception as error:  # not installed, or not enough memory: the row tells
        row |= {"seconds": None, "why": first_line(error)}
    return row


@torch.no_grad()
def solver_rows(device: torch.device, options: argparse.Namespace) -> list[Row]:
    """A step of each integrator beyond the evaluation of f, and the waiting of the host."""
    torch.manual_seed(0)
    cell = Cell(torch.randn(BATCH, options.context, DIM)).eval().to(device)
    start = torch.randn(BATCH, PARTICLES, DIM).to(device)
    count = options.solver_steps

    def alone() -> None:
        z = start
        for _ in range(count):
            z = cell(z)

    within = median_seconds(alone, device, options.repeats) / count
    rows = []
    for name, integrator in INTEGRATORS.items():
        some, twice = (
            solve(cell, start, integrator, steps, options.check_every)
            for steps in (count, 2 * count)
        )
        whole = median_seconds(some, device, options.repeats)
        few, many = waits(some, device), waits(twice, device)
        rows.append(
            {
                "integrator": name,
                "within_seconds": within,
                "beyond_seconds": whole / count - within,
                "waits": few,
                # What a solve waits for at its start and end does not grow with its steps.
                "waits_a_step": None if few is None or many is None else (many - few) / count,
            }
        )
    return rows


def solve(
    cell: Cell, start: torch.Tensor, integrator: Integrator, steps: int, check_every: int
) -> Callable[[], object]:
    """A solve of exactly so many steps."""
    return lambda: equilibrium(
        lambda mu: mu.with_points(cell(mu.points)),
        Measure(start),
        integrator=integrator,
        rtol=1e-30,
        max_steps=steps,
        check_every=check_every,
        on_failure="ignore",
    )


def first_line(error: Exception) -> str:
    """What an error says, in a cell of a table."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return said[:80].replace("|", "/")
