"""Time of one training step of the MNIST classifier, and what each part of it takes.

Beside it, in the same process and on the same batches: the same step with the input branch
evaluated anew at every solver step, and a step of the paper's hyperparameters (energy flow through
F, 200 steps, constant step 5), both as the authors' published code does them.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ddeq_data import MNISTPointCloud, SizeBuckets, ZScore
from ddeq_models.ddeq import DDEQ, DDEQConfig
from ddeq_models.presets import PRESETS
from wgf_solver import Measure, equilibrium

# About the size of the authors' MNIST classifier: 10 particles in 128 dimensions, 770k parameters.
LARGE = replace(PRESETS["ddeq"], dim=128, hidden=512, bilinear_dim=16)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmark's own options."""
    parser.add_argument("--root", help="folder of the MNIST files; without: synthetic clouds")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40, help="timed steps, after 10 of warm-up")
    parser.add_argument("--paper-steps", type=int, default=1, help="timed steps of ddeq-paper")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train for a few steps of each kind; medians in seconds."""
    clouds = batches(options.root, options.batch_size, options.steps + 10)
    mean_points = statistics.mean(float((w > 0).sum(-1).float().mean()) for _, w, _ in clouds)
    rows = statistics.mean(p.shape[1] for p, _, _ in clouds)
    ours = timed(LARGE, clouds, warm_up=10)
    recomputed = timed(LARGE, clouds[:12], warm_up=4, solve=solve_and_encode)
    paper = timed(PRESETS["ddeq-paper"], clouds[: max(1, options.paper_steps)], warm_up=0)
    return {
        "clouds": "MNIST" if options.root else "synthetic",
        "batch_size": options.batch_size,
        "points_mean": mean_points,
        "rows_mean": rows,
        **ours,
        "input_recomputed": recomputed,
        "ddeq_paper": paper,
    }


def table(figures: dict[str, Any]) -> str:
    """A row for each kind of step."""
    lines = [
        f"{figures['clouds']} clouds, batch {figures['batch_size']}, "
        f"{figures['points_mean']:.0f} points on average padded to {figures['rows_mean']:.0f}",
        "",
        "| step | parameters | seconds | encode | solve | backward | optimiser | evaluations |"
        " residual | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    kinds = (
        ("ours: input encoded once, Anderson", figures),
        ("the same, input encoded at each evaluation", figures["input_recomputed"]),
        ("ddeq-paper: energy flow through F", figures["ddeq_paper"]),
    )
    for name, row in kinds:
        parts = [row[f"{part}_seconds"] for part in ("encode", "solve", "backward", "optimiser")]
        lines.append(
            f"| {name} | {row['parameters']:,} | {row['step_seconds']:.3f} | "
            + " | ".join(f"{part:.3f}" for part in parts)
            + f" | {row['evaluations']:.1f} | {row['residual']:.1e} | "
            f"{row['step_seconds'] / figures['step_seconds']:.1f} |"
        )
    return "\n".join(lines)


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
    rows = []
    for points, weights, labels in clouds:
        marks = [time.perf_counter()]
        if solve is None:
            context = model.encode(points, weights)
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
        rows.append((*spans, float(solution.steps.max()), float(solution.residual.max())))
    middle = [statistics.median(column) for column in zip(*rows[warm_up:], strict=True)]
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "step_seconds": statistics.median(sum(row[:4]) for row in rows[warm_up:]),
        "encode_seconds": middle[0],
        "solve_seconds": middle[1],
        "backward_seconds": middle[2],
        "optimiser_seconds": middle[3],
        "evaluations": middle[4],
        "residual": middle[5],
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
