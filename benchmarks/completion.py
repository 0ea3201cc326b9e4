"""Completion of MNIST after a number of steps, beside noise and beside the truth itself.

The protocol of the paper (`ddeq_data.DDEQsCrop` on clouds that are z-scored whole), 32 points are
added to each cloud, and judged by the energy distance ``2 E|x−y| − E|x−x'| − E|y−y'|`` to the
points that are missing, a mean over the first test clouds. Two figures tell its scale: 32 points of
a standard normal, and 32 points drawn from the missing ones.

Mean and variance of what is visible of a cloud that was z-scored whole tell where the rest of it
must be (``--frame given`` lets the model see them, ``--frame visible`` takes them away).
"""

import argparse
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from ddeq_data import (
    CloudDataset,
    Completion,
    DDEQsCrop,
    MNISTPointCloud,
    SizeBuckets,
    ZScore,
    collate,
)
from ddeq_models.cloud_distances import energy_distance, neighbour
from ddeq_models.completer import CompleterConfig, DDEQCompleter
from ddeq_models.config import TrainConfig
from ddeq_models.data import generator_of
from ddeq_models.optimisation import Average, build_optimiser, learning_rate
from wgf_solver import Measure

POINTS = 32
PLAN = TrainConfig(learning_rate=2e-3, weight_decay=0.01, ema=0.99)
Figures = dict[str, float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--root", required=True, metavar="DIR", help="folder with MNIST")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--clouds", type=int, default=1280, help="that are measured")
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--frame", choices=("given", "visible"), default="given")
    parser.add_argument("--seed", type=int, default=0)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train, and measure once, at the end."""
    measured = MNISTPointCloud(options.root, split=options.split)
    cuts = _cuts(measured, options.clouds)
    start = time.perf_counter()
    model = _trained(MNISTPointCloud(options.root, split="train"), options)
    return {
        "steps": options.steps,
        "frame": options.frame,
        "split": options.split,
        "clouds": options.clouds,
        "seconds": time.perf_counter() - start,
        "completed": _measured(model, cuts),
        "references": _references(cuts),
    }


def table(figures: dict[str, Any]) -> str:
    """The figures as Markdown."""
    rows = {"DDEQ": figures["completed"], **figures["references"]}
    lines = [
        f"{figures['steps']} steps, frame {figures['frame']}, {figures['clouds']:,} "
        f"{figures['split']} clouds, {figures['seconds']:.0f} s of training",
        "",
        "| 32 points | energy distance | nearest neighbour | solver's steps | failures |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, row in rows.items():
        steps, failures = (f"{row[key]:.3g}" if key in row else "" for key in ("steps", "failures"))
        lines.append(
            f"| {name} | {row['energy_distance']:.4f} | {row['neighbour']:.3f} "
            f"| {steps} | {failures} |"
        )
    return "\n".join(lines)


def _cuts(dataset: CloudDataset, clouds: int) -> list[Completion]:
    generator, size = torch.Generator().manual_seed(0), 128
    return [
        DDEQsCrop()(collate(_some(dataset, s, min(s + size, clouds))).map(ZScore()), generator)
        for s in range(0, clouds, size)
    ]


def _some(dataset: CloudDataset, start: int, stop: int) -> list[Any]:
    return [dataset[i] for i in range(start, stop)]


def _steps(dataset: CloudDataset, options: argparse.Namespace) -> Iterator[tuple[int, Completion]]:
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


def _trained(dataset: CloudDataset, options: argparse.Namespace) -> DDEQCompleter:
    torch.manual_seed(options.seed)
    model = DDEQCompleter(CompleterConfig(frame=options.frame))
    average, optimiser = Average(model, PLAN.ema), build_optimiser(model, PLAN)
    for step, cut in _steps(dataset, options):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(PLAN, step, options.steps)
        visible = cut.visible.compact()
        answer = model(visible.points, visible.weights, POINTS)
        loss = _energy(answer.points, answer.weights, cut).mean()
        optimiser.zero_grad()
        loss.backward()
        clip_grad_norm_(model.parameters(), PLAN.clip_norm)
        optimiser.step()
        average.update(model)
        if step % 50 == 0:
            print(f"step {step}: {float(loss.detach()):.4f}", flush=True)
    trained: DDEQCompleter = average.model.eval()
    return trained


def _energy(x: Tensor, w: Tensor, cut: Completion) -> Tensor:
    """Of the clouds that could be cut."""
    missing = cut.missing.compact()
    there = (missing.weights > 0).any(-1)
    return energy_distance(x[there], w[there], missing.points[there], missing.weights[there])


@torch.no_grad()
def _measured(model: DDEQCompleter, cuts: list[Completion]) -> Figures:
    energies, gaps, steps, failures = [], [], [], 0
    for cut in cuts:
        visible = cut.visible.compact()
        answer = model(visible.points, visible.weights, POINTS)
        energies.append(_energy(answer.points, answer.weights, cut))
        gaps.append(neighbour(answer.points, answer.weights))
        steps.append(answer.solution.steps.float())
        failures += int(answer.solution.failed.sum())
    return {**_means(energies, gaps), "steps": float(torch.cat(steps).mean()), "failures": failures}


def _references(cuts: list[Completion]) -> dict[str, Figures]:
    generator = torch.Generator().manual_seed(0)
    energies: dict[str, list[Tensor]] = {"standard normal": [], "the truth": []}
    gaps: dict[str, list[Tensor]] = {name: [] for name in energies}
    for cut in cuts:
        missing = cut.missing
        weights = torch.full((len(missing), POINTS), 1 / POINTS)
        there = (missing.weights > 0).any(-1, keepdim=True)
        # Where nothing is missing, nothing is drawn either: `_energy` leaves that cloud out.
        truth = Measure(missing.points, torch.where(there, missing.weights, 1.0))
        for name, points in (
            ("standard normal", torch.randn(*weights.shape, 2, generator=generator)),
            ("the truth", truth.sample(POINTS, generator).points),
        ):
            energies[name].append(_energy(points, weights, cut))
            gaps[name].append(neighbour(points, weights))
    return {name: _means(energies[name], gaps[name]) for name in energies}


def _means(energies: list[Tensor], gaps: list[Tensor]) -> Figures:
    return {
        "energy_distance": float(torch.cat(energies).mean()),
        "neighbour": float(torch.cat(gaps).mean()),
    }
