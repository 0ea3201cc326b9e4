"""Peak memory of a training step of the classifier by the solver's budget, for each adjoint.

Counted are the bytes of all tensors that are alive at once, from the encoding to the optimiser's
step: gradients, graph, the solver's own and what is recorded. The tolerance is out of reach, so
that every evaluation of the budget is made.
"""

import argparse
from dataclasses import replace
from typing import Any

import torch

from benchmarks.live_bytes import LiveBytes, growth_table
from benchmarks.steps import Steps
from ddeq_data import PointBatch
from ddeq_models.config import TrainConfig
from ddeq_models.registry import PRESETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmark's own options."""
    parser.add_argument("--budgets", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--points", type=int, default=60)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Peak bytes for each adjoint and budget."""
    rows = {
        adjoint: {
            str(budget): peak_of(adjoint, budget, options.batch, options.points)
            for budget in options.budgets
        }
        for adjoint in ("phantom", "implicit")
    }
    return {"peak_bytes": rows}


def table(figures: dict[str, Any]) -> str:
    """A row for each adjoint, in MB, and by how much the largest figure exceeds the smallest."""
    return growth_table(figures["peak_bytes"], "adjoint", "evaluations")


def peak_of(adjoint: Any, budget: int, batch: int, points: int) -> int:
    """Of the second step of a training: the first one makes the optimiser's moments."""
    config = replace(
        PRESETS["ddeq"], adjoint=adjoint, rtol=1e-30, max_steps=budget, adjoint_steps=10,
        integrator="euler", step=1e-3,
    )  # fmt: skip
    steps = Steps(config, TrainConfig())
    weights, labels = torch.full((batch, points), 1 / points), torch.arange(batch) % 10
    inputs = steps.prepared(PointBatch(torch.randn(batch, points, 2), weights, labels))
    steps.step(inputs)
    steps.told()
    with LiveBytes() as counter:
        steps.step(inputs)
    made = steps.told()["solver_steps_max"]
    if made != budget:
        raise RuntimeError(f"the solve ended after {made} of {budget} evaluations")
    return counter.peak
