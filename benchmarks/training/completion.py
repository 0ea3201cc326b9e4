"""Completion of MNIST after a number of steps, beside PCN, noise and the truth itself.

The protocol of the paper (`ddeq_data.DDEQsCrop` on clouds that are z-scored whole), 32 points are
added to each cloud, and judged by the energy distance ``2 E|x−y| − E|x−x'| − E|y−y'|`` to the
points that are missing, a mean over the first test clouds. Two figures tell its scale: 32 points of
a standard normal, and 32 points drawn from the missing ones, with replacement. Both models see the
same clouds in the same order, cut alike, and learn by the same loss, by the steps of
`ddeq_models.training` and each by its recipe. The paper's completer (``--models paper``)
learns by its own, on whole clouds cut as in its code, and takes some hundred times as long; all are
measured on the same cuts, and on whole clouds as well.

Mean and variance of what is visible of a cloud that was z-scored whole tell where the rest of it
must be (``--frame given`` lets the model see them, ``--frame visible`` takes them away).
"""

import argparse
import time
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from benchmarks.steps import Steps
from ddeq_data import CloudDataset, MNISTPointCloud, collate
from ddeq_models.data import view
from ddeq_models.models.completer import Completed
from ddeq_models.recipes import RECIPES
from ddeq_models.tasks.base import Task
from ddeq_models.tasks.completion import Completion, Incomplete
from ddeq_models.tasks.tally import Figures, Tally
from ddeq_models.training.memory import keep_freed_memory
from wgf_solver import Measure

POINTS = 32
PRESETS = {"DDEQ": "completer-given", "PCN": "pcn", "paper": "ddeq-paper-completer"}
PLAN = RECIPES["mnist", PRESETS["DDEQ"]].train
_AT_ONCE = 128  # clouds, when they are measured


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--root", required=True, metavar="DIR", help="folder with MNIST")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--clouds", type=int, default=1280, help="that are measured")
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--frame", choices=("given", "visible"), default="given")
    parser.add_argument("--models", nargs="+", choices=tuple(PRESETS), default=["DDEQ", "PCN"])
    parser.add_argument("--ema", type=float, default=PLAN.ema, help="decay of the average weights")
    parser.add_argument("--seed", type=int, default=0)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train each model, and measure it once, at the end."""
    keep_freed_memory()  # as ``ddeq train`` does
    measured = MNISTPointCloud(options.root, split=options.split)
    clouds = MNISTPointCloud(options.root, split="train")
    trainings = {name: _steps(name, options) for name in options.models}
    task = _steps("DDEQ", options).task  # what they are measured by, whatever they learn by
    cuts, rows = _cuts(task, measured, options.clouds), {}
    for name, training in trainings.items():
        start = time.perf_counter()
        for step in training.train(clouds, options.steps):
            if step % 50 == 0:
                print(f"{name}, step {step}: {training.told()['loss']:.4f}", flush=True)
        seconds = time.perf_counter() - start
        figures = _measured(task, training.state.average.model.eval(), cuts)
        rows[name] = {"parameters": training.parameters, "seconds": seconds, **figures}
    return {
        "steps": options.steps,
        "frame": options.frame,
        "split": options.split,
        "clouds": options.clouds,
        "completed": rows,
        "references": _references(task, cuts),
    }


def table(figures: dict[str, Any]) -> str:
    """The figures as Markdown."""
    rows = {**figures["completed"], **figures["references"]}
    lines = [
        f"{figures['steps']} steps, frame {figures['frame']}, {figures['clouds']:,} "
        f"{figures['split']} clouds",
        "",
        "| 32 points | energy distance | Chamfer l1 | energy distance, whole | nearest neighbour "
        "| parameters | seconds of training | solver's steps | failures |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    forms = {
        "parameters": ",",
        "seconds": ".0f",
        "solver_steps_mean": ".3g",
        "solver_failures": "d",
    }
    for name, row in rows.items():
        rest = (format(row[key], form) if key in row else "" for key, form in forms.items())
        lines.append(
            f"| {name} | {row['energy_distance']:.4f} | {row['chamfer_l1']:.4f} "
            f"| {row['whole_energy_distance']:.4f} | {row['neighbour']:.3f} "
            f"| {' | '.join(rest)} |"
        )
    return "\n".join(lines)


class _Asked(Completion):
    """The task, with a model that is asked for 32 points, whatever is visible."""

    def answer(self, model: nn.Module, inputs: Incomplete) -> Completed:
        completed: Completed = model(inputs.points, inputs.weights, POINTS)
        return completed


def _steps(name: str, options: argparse.Namespace) -> Steps:
    # Ours has another encoder where the frame does not tell.
    alone = name == "DDEQ" and options.frame == "visible"
    recipe = RECIPES["mnist", "completer" if alone else PRESETS[name]]
    plan = replace(recipe.train, ema=options.ema, seed=options.seed, batch_size=options.batch)
    model = recipe.model
    if hasattr(model, "frame"):
        model = replace(model, frame=options.frame)
    training = Steps(model, plan, data=recipe.data, task=recipe.task)
    training.task = _Asked(training.task.config)
    return training


def _cuts(task: Task, dataset: CloudDataset, clouds: int) -> list[Incomplete]:
    """The first clouds, cut by the same chance for every model."""
    generator, seen = torch.Generator().manual_seed(0), view(task.config.data)
    cuts = []
    for start in range(0, clouds, _AT_ONCE):
        rows = range(start, min(start + _AT_ONCE, clouds))
        cuts.append(task.prepare(collate([dataset[i] for i in rows]).map(seen), generator))
    return cuts


@torch.no_grad()
def _measured(task: Task, model: nn.Module, cuts: list[Incomplete]) -> Figures:
    tally = Tally()
    for cut in cuts:
        tally.add(task.records(task.answer(model, cut), cut, thorough=True))
    return task.figures(tally.columns())


def _references(task: Task, cuts: list[Incomplete]) -> dict[str, Figures]:
    """What 32 points reach that know nothing, or the answer."""
    generator = torch.Generator().manual_seed(0)
    normal, drawn = Tally(), Tally()
    for cut in cuts:
        weights = torch.full((len(cut.points), POINTS), 1 / POINTS)
        cloud = torch.randn(*weights.shape, cut.points.shape[-1], generator=generator)
        normal.add(task.records(Completed(cloud, weights), cut, thorough=True))
        # Where nothing is missing, nothing is drawn either: the task leaves that cloud out.
        there = (cut.missing_weights > 0).any(-1, keepdim=True)
        truth = Measure(cut.missing, torch.where(there, cut.missing_weights, 1.0))
        sample = truth.sample(POINTS, generator).points
        drawn.add(task.records(Completed(sample, weights), cut, thorough=True))
    found = {
        "standard normal": task.figures(normal.columns()),
        "drawn from the truth": task.figures(drawn.columns()),
    }
    gap = found["standard normal"]["neighbour_truth"]
    nothing = dict.fromkeys(("energy_distance", "chamfer_l1", "whole_energy_distance"), 0.0)
    found["the missing points"] = {**nothing, "neighbour": gap}
    return found
