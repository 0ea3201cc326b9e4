"""Time of one training step of the MNIST classifier, and what each part of it takes.

Beside it, in the same process and on the same batches: a step late in training, when the cell
contracts less and more evaluations are needed (here: as many, by a tolerance that is not reached);
a step of the smaller preset by which ``ddeq train --data mnist`` trains; PointNet and the Point
Transformer; the same step with the input branch evaluated anew at every solver step, and a step of
the paper's hyperparameters (energy flow through F, 200 steps, constant step 5), both as the
authors' published code does them.

In a table of its own: PointNet, PointNet++, DGCNN, the Point Transformer and ours on solids of
1,024 points, what choosing points and finding neighbours takes of a step, and a prediction.

A step is that of `ddeq_models.training`, from the inputs to the new average of the weights, and is
measured against what the machine can do: its products of matrices are counted, and
compared with the rate at which this process multiplies a large pair of them.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from benchmarks.products import gflop
from benchmarks.steps import Steps, digit_like
from benchmarks.training import solids
from ddeq_data import MNISTPointCloud
from ddeq_models.config import ModelConfig, TrainConfig
from ddeq_models.models.classifier import DDEQ
from ddeq_models.models.paper import PaperClassifier
from ddeq_models.registry import PRESETS
from ddeq_models.tasks.classification import Labelled
from ddeq_models.training.memory import keep_freed_memory
from wgf_solver import Measure, Solution, equilibrium

# About the size of the authors' MNIST classifier: 10 particles in 128 dimensions, 770k parameters.
OURS = "ours: input encoded once, Anderson"
LARGE = replace(PRESETS["ddeq"], dim=128, hidden=512, bilinear_dim=16)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmark's own options."""
    parser.add_argument("--root", help="folder of the MNIST files; without: synthetic clouds")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40, help="timed steps, after the warm-up")
    parser.add_argument("--warm-up", type=int, default=10, help="steps, at most")
    parser.add_argument("--late", type=int, default=6, help="evaluations of the late step")
    parser.add_argument(
        "--give-back", action="store_true", help="freed memory to the system, as malloc would"
    )
    parser.add_argument("--paper-steps", type=int, default=1, help="of ddeq-paper, 0: leave out")
    parser.add_argument(
        "--paper-evaluations", type=int, default=PRESETS["ddeq-paper"].max_steps, help="of each"
    )
    parser.add_argument("--product", type=int, default=2048, help="rows of the large matrices")
    solids.add_arguments(parser)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train for a few steps of each kind; medians in seconds."""
    if not options.give_back:
        keep_freed_memory()  # as ``ddeq train`` does
    clouds = batches(options.root, options.batch_size, options.steps + options.warm_up)
    sizes = [float((batch.weights > 0).sum(-1).float().mean()) for batch in clouds]
    few = clouds[:10]
    kinds = {
        OURS: (LARGE, clouds, 10, None),
        f"{OURS}, {options.late} evaluations": (
            replace(LARGE, rtol=1e-12, max_steps=options.late), few, 4, None,
        ),
        "the preset ddeq, 64 dimensions": (PRESETS["ddeq"], few, 4, None),
        "PointNet": (PRESETS["pointnet"], few, 4, None),
        "PointNet without transforms": (PRESETS["pointnet-vanilla"], few, 4, None),
        "Point Transformer": (PRESETS["point-transformer"], clouds[:3], 1, None),
        "ours, input encoded at each evaluation": (
            # What the encoder draws in training it would draw anew: no map to have a fixed point.
            replace(LARGE, hiding=0.0, summary_dropout=0.0), clouds[:7], 2,
            encode_at_each_evaluation,
        ),
    }  # fmt: skip
    if options.paper_steps:
        paper = replace(PRESETS["ddeq-paper"], max_steps=options.paper_evaluations)
        kinds["ddeq-paper: energy flow through F"] = (
            paper, clouds[: options.paper_steps], 0, None,
        )  # fmt: skip
    return {
        "clouds": "MNIST" if options.root else "synthetic",
        "batch_size": options.batch_size,
        "points_mean": statistics.mean(sizes),
        "rows_mean": statistics.mean(batch.points.shape[1] for batch in clouds),
        "gflops_of_a_large_product": product_rate(options.product),
        "steps": {
            name: timed(config, batches, min(warm_up, options.warm_up), change)
            for name, (config, batches, warm_up, change) in kinds.items()
        },
        "solid_batch": options.solids,
        "solid_points": options.solid_points,
        "solids": solids.run(options),
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
    if figures["solids"]:
        of_solids = (figures[name] for name in ("solids", "solid_batch", "solid_points"))
        lines += ["", solids.table(*of_solids)]
    return "\n".join(lines)


def _shown(row: dict[str, float], name: str, form: str) -> str:
    return format(row[name], form) if name in row else ""


def product_rate(size: int) -> float:
    """GFLOP/s of a product of two square float32 matrices, the median of some."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - start)
    return 2e-9 * size**3 / statistics.median(seconds)


def timed(
    config: ModelConfig,
    clouds: Sequence[Labelled],
    warm_up: int,
    change: Callable[[DDEQ], None] | None = None,
) -> dict[str, float]:
    """Medians over real training steps, each on a batch of its own.

    Args:
        config: The model.
        clouds: What the steps are made on.
        warm_up: Steps that do not count.
        change: What is done to the model before.
    """
    steps, rows = Steps(config, TrainConfig()), []
    if change is not None:
        change(steps.model)
    marks = watch(steps)
    for batch in clouds:
        marks.clear()
        start = time.perf_counter()
        steps.step(batch)
        row = spans(marks, start, time.perf_counter())
        figures = steps.told()
        if "solver_steps_max" in figures:
            row["evaluations"] = figures["solver_steps_max"]
            row["residual"] = figures["residual_max"]
        rows.append(row)
    counted = rows[warm_up:]
    # Batches are of like sizes within, and differ among each other.
    middle = sorted(clouds[warm_up:], key=lambda batch: batch.points.shape[1])[len(counted) // 2]
    return {
        "parameters": steps.parameters,
        **{name: statistics.median(row[name] for row in counted) for name in counted[0]},
        "gflop": gflop(lambda: steps.step(middle)),
    }


def watch(steps: Steps) -> dict[str, float]:
    """When each part of a step begins and ends, filled in by the step itself."""
    marks: dict[str, float] = {}

    def note(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def noted(*given: Any, **named: Any) -> Any:
            marks[f"{name} begins"] = time.perf_counter()
            answer = function(*given, **named)
            marks[f"{name} ends"] = time.perf_counter()
            if name == "encode" and hasattr(answer, "bilinear"):
                # Its first layer is the last of the cell that the backward pass comes to.
                answer.bilinear.matrix.register_hook(
                    lambda _: marks.__setitem__("adjoint ends", time.perf_counter())
                )
            return answer

        setattr(owner, name, noted)

    if isinstance(steps.model, DDEQ | PaperClassifier):
        note(steps.model, "encode")
        note(steps.model, "equilibrium")
    note(steps.task, "loss")  # after it the backward pass begins,
    note(steps.task, "records")  # before it that has ended
    return marks


def spans(marks: dict[str, float], start: float, end: float) -> dict[str, float]:
    """Seconds of a step and of what it is made of."""
    row = {
        "step_seconds": end - start,
        "backward_seconds": marks["records begins"] - marks["loss ends"],
        "optimiser_seconds": end - marks["records begins"],
    }
    for part, name in (("encode", "encode"), ("solve", "equilibrium")):
        if f"{name} ends" in marks:
            row[f"{part}_seconds"] = marks[f"{name} ends"] - marks[f"{name} begins"]
    if "adjoint ends" in marks:
        adjoint = marks["adjoint ends"] - marks["loss ends"]  # from the loss back to the context
        row["solver_share"] = (row["solve_seconds"] + adjoint) / row["step_seconds"]
    return row


def encode_at_each_evaluation(model: DDEQ) -> None:
    """Have the model find the same equilibrium with nothing hoisted out of the map."""
    encode = model.encode

    def solve(clouds: Any, *, trajectory: bool = False) -> Solution:
        config, solver, marks = model.config, model.solver, model.marks
        assert marks is not None

        def cell(mu: Measure) -> Measure:
            return mu.with_points(model.cell(mu.points, mu.marks, encode(*clouds)))

        start = marks.detach().expand(len(clouds[0]), config.particles, config.dim)
        return equilibrium(
            cell,
            Measure(start, marks=marks),
            velocity=solver.velocity,
            integrator=solver.integrator,
            adjoint=solver.adjoint,
            rtol=config.rtol,
            max_steps=config.max_steps,
            on_failure="ignore",
            trajectory=trajectory,
        )

    changed: Any = model  # a module takes functions of its own in the place of its methods
    changed.encode = lambda points, weights: (points, weights)
    changed.equilibrium = solve


def batches(root: str | None, size: int, count: int) -> list[Labelled]:
    """Batches as the training makes them: drawn evenly, z-scored."""
    steps = Steps(LARGE, TrainConfig(batch_size=size))
    if root is None:
        return [steps.prepared(batch) for batch in digit_like(size, count)]
    return list(steps.inputs(MNISTPointCloud(root, split="train"), count))
