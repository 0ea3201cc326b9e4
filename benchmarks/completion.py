"""Completion of MNIST after a number of steps, beside PCN, noise and the truth itself.

The protocol of the paper (`ddeq_data.DDEQsCrop` on clouds that are z-scored whole), 32 points are
added to each cloud, and judged by the energy distance ``2 E|x−y| − E|x−x'| − E|y−y'|`` to the
points that are missing, a mean over the first test clouds. Two figures tell its scale: 32 points of
a standard normal, and 32 points drawn from the missing ones, with replacement. Both models see the
same clouds in the same order, cut alike, and learn by the same loss, each at the learning rate of
its recipe.

Mean and variance of what is visible of a cloud that was z-scored whole tell where the rest of it
must be (``--frame given`` lets the model see them, ``--frame visible`` takes them away).
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from ddeq_data import (
    CloudDataset,
    CroppedBatch,
    DDEQsCrop,
    MNISTPointCloud,
    SizeBuckets,
    ZScore,
    collate,
)
from ddeq_models.config import TrainConfig
from ddeq_models.data import generator_of
from ddeq_models.models.baselines import PCN, PCNConfig
from ddeq_models.models.completer import CompleterConfig, DDEQCompleter
from ddeq_models.tasks.distances import chamfer_l1, energy_distance, neighbour
from ddeq_models.training.memory import keep_freed_memory
from ddeq_models.training.optimiser import Average, build_optimiser, learning_rate
from wgf_solver import Measure

POINTS = 32
PLAN = TrainConfig(learning_rate=2e-3, weight_decay=0.01, ema=0.99)
RATES = {"DDEQ": 2e-3, "PCN": 5e-4}
Figures = dict[str, float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--root", required=True, metavar="DIR", help="folder with MNIST")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--clouds", type=int, default=1280, help="that are measured")
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--frame", choices=("given", "visible"), default="given")
    parser.add_argument("--models", nargs="+", choices=tuple(RATES), default=list(RATES))
    parser.add_argument("--ema", type=float, default=PLAN.ema, help="decay of the average weights")
    parser.add_argument("--seed", type=int, default=0)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train each model, and measure it once, at the end."""
    keep_freed_memory()  # as ``ddeq train`` does
    measured = MNISTPointCloud(options.root, split=options.split)
    cuts = _cuts(measured, options.clouds)
    clouds = MNISTPointCloud(options.root, split="train")
    rows = {}
    for name in options.models:
        start = time.perf_counter()
        model = _trained(name, clouds, options)
        seconds = time.perf_counter() - start
        parameters = sum(p.numel() for p in model.parameters())
        rows[name] = {"parameters": parameters, "seconds": seconds, **_measured(model, cuts)}
    return {
        "steps": options.steps,
        "frame": options.frame,
        "split": options.split,
        "clouds": options.clouds,
        "completed": rows,
        "references": _references(cuts),
    }


def table(figures: dict[str, Any]) -> str:
    """The figures as Markdown."""
    rows = {**figures["completed"], **figures["references"]}
    lines = [
        f"{figures['steps']} steps, frame {figures['frame']}, {figures['clouds']:,} "
        f"{figures['split']} clouds",
        "",
        "| 32 points | energy distance | Chamfer l1 | nearest neighbour | parameters "
        "| seconds of training | solver's steps | failures |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    forms = {"parameters": ",", "seconds": ".0f", "steps": ".3g", "failures": "d"}
    for name, row in rows.items():
        rest = (format(row[key], form) if key in row else "" for key, form in forms.items())
        lines.append(
            f"| {name} | {row['energy_distance']:.4f} | {row['chamfer_l1']:.4f} "
            f"| {row['neighbour']:.3f} | {' | '.join(rest)} |"
        )
    return "\n".join(lines)


def _cuts(dataset: CloudDataset, clouds: int) -> list[CroppedBatch]:
    generator, size = torch.Generator().manual_seed(0), 128
    return [
        DDEQsCrop()(collate(_some(dataset, s, min(s + size, clouds))).map(ZScore()), generator)
        for s in range(0, clouds, size)
    ]


def _some(dataset: CloudDataset, start: int, stop: int) -> list[Any]:
    return [dataset[i] for i in range(start, stop)]


def _steps(
    dataset: CloudDataset, options: argparse.Namespace
) -> Iterator[tuple[int, CroppedBatch]]:
    """Each step's number and its clouds, cut by chance of its own."""
    sampler = SizeBuckets(dataset.sizes, options.batch, shuffle=True, seed=options.seed)
    step = epoch = 0
    while True:
        sampler.set_epoch(epoch)
        for rows in sampler:
            if step == options.steps:
                return
            batch = collate([dataset[i] for i in rows]).map(ZScore())
            yield step, DDEQsCrop()(batch, generator_of(options.seed, step))
            step += 1
        epoch += 1


def _trained(name: str, dataset: CloudDataset, options: argparse.Namespace) -> nn.Module:
    torch.manual_seed(options.seed)
    plan = replace(PLAN, learning_rate=RATES[name], ema=options.ema)
    model: nn.Module
    if name == "DDEQ":
        model = DDEQCompleter(CompleterConfig(frame=options.frame))
    else:
        model = PCN(PCNConfig(frame=options.frame))
    average, optimiser = Average(model, plan.ema), build_optimiser(model, plan)
    for step, cut in _steps(dataset, options):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(plan, step, options.steps)
        visible = cut.visible.compact()
        answer = model(visible.points, visible.weights, POINTS)
        loss = _judged(energy_distance, answer.points, answer.weights, cut).mean()
        optimiser.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), plan.clip_norm)
        optimiser.step()
        average.update(model)
        if step % 50 == 0:
            print(f"{name}, step {step}: {float(loss.detach()):.4f}", flush=True)
    return average.model.eval()


def _judged(distance: Any, x: Tensor, w: Tensor, cut: CroppedBatch) -> Tensor:
    """A distance to what is missing, of the clouds that could be cut."""
    missing = cut.missing.compact()
    there = (missing.weights > 0).any(-1)
    judged: Tensor = distance(x[there], w[there], missing.points[there], missing.weights[there])
    return judged


@torch.no_grad()
def _measured(model: nn.Module, cuts: list[CroppedBatch]) -> Figures:
    rows, steps, failures = [], [], 0
    for cut in cuts:
        visible = cut.visible.compact()
        answer = model(visible.points, visible.weights, POINTS)
        rows.append(_row(answer.points, answer.weights, cut))
        if answer.solution is not None:
            steps.append(answer.solution.steps.float())
            failures += int(answer.solution.failed.sum())
    if not steps:
        return _means(rows)
    return {**_means(rows), "steps": float(torch.cat(steps).mean()), "failures": failures}


def _row(x: Tensor, w: Tensor, cut: CroppedBatch) -> dict[str, Tensor]:
    return {
        "energy_distance": _judged(energy_distance, x, w, cut),
        "chamfer_l1": _judged(chamfer_l1, x, w, cut),
        "neighbour": neighbour(x, w),
    }


def _references(cuts: list[CroppedBatch]) -> dict[str, Figures]:
    generator = torch.Generator().manual_seed(0)
    names = ("standard normal", "drawn from the truth", "the missing points")
    rows: dict[str, list[dict[str, Tensor]]] = {name: [] for name in names}
    for cut in cuts:
        missing = cut.missing
        weights = torch.full((len(missing), POINTS), 1 / POINTS)
        there = (missing.weights > 0).any(-1, keepdim=True)
        # Where nothing is missing, nothing is drawn either: `_judged` leaves that cloud out.
        truth = Measure(missing.points, torch.where(there, missing.weights, 1.0))
        for name, points in (
            ("standard normal", torch.randn(*weights.shape, 2, generator=generator)),
            ("drawn from the truth", truth.sample(POINTS, generator).points),
        ):
            rows[name].append(_row(points, weights, cut))
        gaps = neighbour(missing.points[there[:, 0]], missing.weights[there[:, 0]])
        zero = torch.zeros_like(gaps)
        rows["the missing points"].append(
            {"energy_distance": zero, "chamfer_l1": zero, "neighbour": gaps}
        )
    return {name: _means(of) for name, of in rows.items()}


def _means(rows: list[dict[str, Tensor]]) -> Figures:
    return {name: float(torch.cat([row[name] for row in rows]).mean()) for name in rows[0]}
