"""Time of one training step of the MNIST classifier, and what each part of it takes.

Beside it, in the same process and on the same batches: a step late in training, when the cell
contracts less and more evaluations are needed (here: as many, by a tolerance that is not reached);
a step of the smaller preset by which ``ddeq train --data mnist`` trains; PointNet and the Point
Transformer; the same step with the input branch evaluated anew at every solver step, and a step of
the paper's hyperparameters (energy flow through F, 200 steps, constant step 5), both as the
authors' published code does them.

A step is measured against what the machine can do: its products of matrices are counted, and
compared with the rate at which this process multiplies a large pair of them.
"""

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from ddeq_data import MNISTPointCloud, SizeBuckets, ZScore
from ddeq_models.models.base import ModelConfig, Output, build_model
from ddeq_models.models.classifier import DDEQ, DDEQConfig
from ddeq_models.registry import PRESETS
from ddeq_models.training.memory import keep_freed_memory
from wgf_solver import Measure, equilibrium

# About the size of the authors' MNIST classifier: 10 particles in 128 dimensions, 770k parameters.
OURS = "ours: input encoded once, Anderson"
LARGE = replace(PRESETS["ddeq"], dim=128, hidden=512, bilinear_dim=16)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmark's own options."""
    parser.add_argument("--root", help="folder of the MNIST files; without: synthetic clouds")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40, help="timed steps, after 10 of warm-up")
    parser.add_argument("--late", type=int, default=6, help="evaluations of the late step")
    parser.add_argument(
        "--give-back", action="store_true", help="freed memory to the system, as malloc would"
    )
    parser.add_argument("--paper-steps", type=int, default=1, help="of ddeq-paper, 0: leave out")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train for a few steps of each kind; medians in seconds."""
    if not options.give_back:
        keep_freed_memory()  # as ``ddeq train`` does
    clouds = batches(options.root, options.batch_size, options.steps + 10)
    mean_points = statistics.mean(float((w > 0).sum(-1).float().mean()) for _, w, _ in clouds)
    rows = statistics.mean(p.shape[1] for p, _, _ in clouds)
    few = clouds[:10]
    late = replace(LARGE, rtol=1e-12, max_steps=options.late)
    kinds = {
        OURS: timed(LARGE, clouds, warm_up=10),
        f"{OURS}, {options.late} evaluations": timed(late, few, warm_up=4),
        "the preset ddeq, 64 dimensions": timed(PRESETS["ddeq"], few, warm_up=4),
        "PointNet": timed_baseline(PRESETS["pointnet"], few, warm_up=4),
        "PointNet without transforms": timed_baseline(PRESETS["pointnet-vanilla"], few, warm_up=4),
        "Point Transformer": timed_baseline(PRESETS["point-transformer"], clouds[:3], warm_up=1),
        "ours, input encoded at each evaluation": timed(
            LARGE, clouds[:7], warm_up=2, solve=solve_and_encode
        ),
    }
    if options.paper_steps:
        paper = timed(PRESETS["ddeq-paper"], clouds[: options.paper_steps], warm_up=0)
        kinds["ddeq-paper: energy flow through F"] = paper
    return {
        "clouds": "MNIST" if options.root else "synthetic",
        "batch_size": options.batch_size,
        "points_mean": mean_points,
        "rows_mean": rows,
        "gflops_of_a_large_product": product_rate(),
        "steps": kinds,
    }


def table(figures: dict[str, Any]) -> str:
    """A row for each kind of step."""
    ours = figures["steps"][OURS]
    lines = [
        f"{figures['clouds']} clouds, batch {figures['batch_size']}, "
        f"{figures['points_mean']:.0f} points on average padded to {figures['rows_mean']:.0f}; a "
        f"product of large matrices runs at {figures['gflops_of_a_large_product']:.0f} GFLOP/s",
        "",
        "| step | parameters | seconds | encode | solve | backward | evaluations | residual |"
        " solve and adjoint | GFLOP | GFLOP/s | ratio |",
        "| --- |" + " --- |" * 11,
    ]
    for name, row in figures["steps"].items():
        parts = [_shown(row, f"{part}_seconds", ".3f") for part in ("encode", "solve", "backward")]
        rate = row["gflop"] / row["step_seconds"]
        lines.append(
            f"| {name} | {row['parameters']:,} | {row['step_seconds']:.3f} | {' | '.join(parts)} | "
            f"{_shown(row, 'evaluations', '.1f')} | {_shown(row, 'residual', '.1e')} | "
            f"{_shown(row, 'solver_share', '.0%')} | {row['gflop']:.1f} | {rate:.0f} | "
            f"{row['step_seconds'] / ours['step_seconds']:.2f} |"
        )
    return "\n".join(lines)


def _shown(row: dict[str, float], name: str, form: str) -> str:
    return format(row[name], form) if name in row else ""


def product_rate(size: int = 2048) -> float:
    """GFLOP/s of a product of two square float32 matrices, the median of some."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - start)
    return 2e-9 * size**3 / statistics.median(seconds)


def timed_baseline(
    config: ModelConfig, clouds: list[tuple[Tensor, Tensor, Tensor]], warm_up: int
) -> dict[str, float]:
    """Medians over real training steps of a model that solves nothing."""
    torch.manual_seed(0)
    model = build_model(config).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    seconds = []

    def step(points: Tensor, weights: Tensor, labels: Tensor) -> None:
        output: Output = model(points, weights)
        loss = functional.cross_entropy(output.logits, labels)
        (loss if output.penalty is None else loss + output.penalty.mean()).backward()
        optimiser.step()
        optimiser.zero_grad()

    for cloud in clouds:
        start = time.perf_counter()
        step(*cloud)
        seconds.append(time.perf_counter() - start)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "step_seconds": statistics.median(seconds[warm_up:]),
        "gflop": _gflop(lambda: step(*_middle(clouds[warm_up:]))),
    }


def _middle(clouds: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """The batch of median size: batches are of like sizes within, and differ among each other."""
    return sorted(clouds, key=lambda batch: batch[0].shape[1])[len(clouds) // 2]


def _gflop(step: Callable[[], object]) -> float:
    """Of the products of matrices in a step: two for each multiplication and addition."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops() / 1e9


def timed(
    config: DDEQConfig,
    clouds: list[tuple[Tensor, Tensor, Tensor]],
    warm_up: int,
    solve: Callable[[DDEQ, Tensor, Tensor], Any] | None = None,
) -> dict[str, float]:
    """Medians over real training steps, each on a batch of its own."""
    torch.manual_seed(0)
    model = DDEQ(config).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step(points: Tensor, weights: Tensor, labels: Tensor) -> tuple[float, ...]:
        marks, back = [time.perf_counter()], [math.nan]
        if solve is None:
            context = model.encode(points, weights)
            # Its first layer is the last of the cell that the backward pass comes to.
            context.bilinear.matrix.register_hook(
                lambda _: back.__setitem__(0, time.perf_counter())
            )
            marks.append(time.perf_counter())
            solution = model.equilibrium(context)
        else:
            marks.append(time.perf_counter())
            solution = solve(model, points, weights)
        logits = model.read(solution.measure.points)
        marks.append(time.perf_counter())
        functional.cross_entropy(logits, labels).backward()
        marks.append(time.perf_counter())
        optimiser.step()
        optimiser.zero_grad()
        marks.append(time.perf_counter())
        spans = [b - a for a, b in itertools.pairwise(marks)]
        adjoint = back[0] - marks[2]  # from the loss back to the context
        return (*spans, adjoint, float(solution.steps.max()), float(solution.residual.max()))

    rows = [step(*cloud) for cloud in clouds]
    middle = [statistics.median(column) for column in zip(*rows[warm_up:], strict=True)]
    share = statistics.median((row[1] + row[4]) / sum(row[:4]) for row in rows[warm_up:])
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "step_seconds": statistics.median(sum(row[:4]) for row in rows[warm_up:]),
        "encode_seconds": middle[0],
        "solve_seconds": middle[1],
        "backward_seconds": middle[2],
        "optimiser_seconds": middle[3],
        **({} if math.isnan(share) else {"solver_share": share}),
        "evaluations": middle[5],
        "residual": middle[6],
        "gflop": _gflop(lambda: step(*_middle(clouds[warm_up:]))),
    }


def solve_and_encode(model: DDEQ, points: Tensor, weights: Tensor) -> Any:
    """The same equilibrium with nothing hoisted out of the map."""
    config, solver = model.config, model.solver
    assert model.marks is not None

    def cell(mu: Measure) -> Measure:
        return mu.with_points(model.cell(mu.points, mu.marks, model.encode(points, weights)))

    start = model.marks.detach().expand(len(points), config.particles, config.dim)
    return equilibrium(
        cell,
        Measure(start, marks=model.marks),
        velocity=solver.velocity,
        integrator=solver.integrator,
        adjoint=solver.adjoint,
        rtol=config.rtol,
        max_steps=config.max_steps,
        on_failure="ignore",
    )


def batches(root: str | None, size: int, count: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Batches as the training makes them: bucketed by size, z-scored."""
    if root is None:
        return list(_synthetic(size, count))
    dataset = MNISTPointCloud(root, split="train")
    sampler = SizeBuckets(dataset.sizes, size, shuffle=True, seed=0)
    chosen = []
    for indices, _ in zip(sampler, range(count), strict=False):
        batch = dataset.__getitems__(indices)
        chosen.append((*ZScore()(batch.points, batch.weights), batch.labels))
    return chosen


def _synthetic(size: int, count: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Random pixels of a 28 x 28 grid, as many as MNIST digits have (34 to 351, 150 on average)."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        centre = 150 + 40 * float(torch.randn((), generator=generator))
        sizes = (centre + 5 * torch.randn(size, generator=generator)).clamp(34, 351).long()
        order = torch.rand(size, 784, generator=generator).argsort(-1)[:, : int(sizes.max())]
        points = torch.stack([order % 28, order // 28], -1).float()
        mask = torch.arange(points.shape[1]) < sizes[:, None]
        weights = mask / sizes[:, None]
        labels = torch.randint(10, (size,), generator=generator)
        yield (*ZScore()(torch.where(mask[..., None], points, 0), weights), labels)
