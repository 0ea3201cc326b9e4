"""A trained classifier as one file that PyTorch alone runs, without this package.

The file takes clouds as they are, normalises them as the training did, solves, and answers with
calibrated probabilities. A solve is written out step by step: `steps` of them, after which nothing
moves that was at rest before.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddeq_data import Transform
from ddeq_models._internal.files import json_document, write_output
from ddeq_models.data import normaliser
from ddeq_models.errors import UserError
from ddeq_models.models.base import Output
from ddeq_models.runs.calibration import read_calibration
from ddeq_models.runs.pretrained import open_model
from ddeq_models.tasks.base import build_task
from ddeq_models.tasks.classification import Classification

__all__ = ["STEPS", "Exported", "export"]

STEPS = 16  # evaluations that are written out: twice what trained models take on average
_TOLERANCE = 1e-3  # of a probability, between the file and the model
_SHAPES = ((1, 1), (1, 9), (4, 23), (7, 5))  # clouds and points on which the two are compared
_SHIFT = 1e-5  # in units of the frame: the least that rounding may move a point by, and matter


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: The file.
        steps: Evaluations of the solver in it; 0 of a model that solves nothing.
        difference: Largest difference of a probability from the model's own with as many steps.
        dtype: What points and weights must come in.
    """

    path: Path
    steps: int
    difference: float
    dtype: torch.dtype = torch.float32


class _Whole(nn.Module):
    """From clouds as they are to probabilities, and whether the solver reached its tolerance."""

    def __init__(self, model: nn.Module, normalise: Transform, temperature: float) -> None:
        super().__init__()
        self.model, self.normalise, self.temperature = model, normalise, temperature

    def forward(self, points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        points, weights = self.normalise(points, weights, None)
        output: Output = self.model(points, weights)
        probabilities = (output.logits / self.temperature).softmax(-1)
        if output.solution is None:
            return probabilities, torch.ones_like(probabilities[:, 0], dtype=torch.bool)
        return probabilities, output.solution.converged


@torch.no_grad()
def export(run: str | Path, out: str | Path, *, steps: int | None = None) -> Exported:
    """Write a classifier by `torch.export`, checked against itself before it is written.

    The file is read by ``program = torch.export.load(FILE).module()``; ``program(points, weights)``
    takes points (B, n, d) and weights (B, n), both float32, the weights of a cloud summing to 1 and
    0 in padding, for every B and n; it returns probabilities (B, classes) and, (B,), whether the
    solver reached its tolerance. ``config.json`` with the classes is among its extra files.

    Far from the origin, as in geographic coordinates, float32 would move the points of a cloud. So
    where the clouds of the training were normalised by one frame that is there, points and weights
    are float64. Where each cloud is centred by itself (``z-score``, ``unit-sphere``), take its mean
    off before you round it to float32: the answer is the same.

    Where a run has ``data.points``, it samples clouds to as many points: the file does not, and
    wants clouds of about as many. A model with ``rows`` chooses among the points of a larger cloud;
    the file takes no larger ones: `ddeq_data.FarthestSample` makes them smaller.

    Args:
        run: The run folder, a model folder, or the name of a shipped model.
        out: The file, ``NAME.pt2``; one that exists is replaced.
        steps: Evaluations of the solver; None: 16, or the budget of the model if that is less.

    Raises:
        UserError: The run cannot be used, does not classify, PyTorch cannot export its model, or
            what it exported answers otherwise than the model; nothing was written.
    """
    path = Path(out)
    if path.suffix != ".pt2":
        raise UserError(f"{out}: expected a name that ends in .pt2")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: no such folder for the file; make it first")
    folder = open_model(run)
    config, model = folder.config(), folder.model()
    if not isinstance(build_task(config), Classification):
        raise UserError(f"{folder.path} is a run of {config.task.kind}; give one that classifies")
    if steps is not None and steps < 1:
        raise UserError(f"steps must be at least 1, got {steps}")
    taken = 0
    if hasattr(model, "configure"):
        settings: Any = model.config
        taken = min(steps or STEPS, settings.max_steps)
        model.configure(replace(settings, max_steps=taken))  # type: ignore[operator]
    elif steps is not None:
        raise UserError(f"the model {config.model.kind} solves nothing; leave steps out")
    calibration = read_calibration(folder.path, len(config.classes))
    temperature = 1.0 if calibration is None else float(calibration.temperature)
    whole = _Whole(model.requires_grad_(False), normaliser(config.data), temperature).eval()
    draw = _Draw(config.model.point_dim, config.data.centre, config.data.unit or 1.0)
    most = getattr(config.model, "rows", 0) or None
    program = _exported(whole, draw, most)
    difference = _difference(whole, program, draw, most)
    if not difference <= _TOLERANCE:
        raise UserError(
            f"what PyTorch exported answers otherwise than the model, by {difference:.1e}, and "
            "was not written; report this with the run's config.json"
        )
    buffer = io.BytesIO()
    document = json_document(replace(config, data=replace(config.data, root=None)).to_dict())
    torch.export.save(program, buffer, extra_files={"config.json": document})
    write_output(path, buffer.getvalue())
    return Exported(path, taken, difference, draw.dtype)


@dataclass(frozen=True)
class _Draw:
    """Made-up clouds where those of the training were.

    Attributes:
        dim: Columns of a point.
        centre: Of the frame of the training, for the first columns; () of none.
        unit: Of that frame.
    """

    dim: int
    centre: tuple[float, ...]
    unit: float

    @property
    def dtype(self) -> torch.dtype:
        """float64 where float32 would move the points."""
        farthest = max(map(abs, self.centre), default=0.0)
        rounded = farthest * torch.finfo(torch.float32).eps / 2
        return torch.float64 if rounded > _SHIFT * self.unit else torch.float32

    def __call__(self, batch: int, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Points and weights; the second half of each but the first one is padding."""
        generator = torch.Generator().manual_seed(seed)
        points = torch.randn(batch, count, self.dim, generator=generator).double()
        placed = len(self.centre)
        points[..., :placed] = points.new_tensor(self.centre) + self.unit * points[..., :placed]
        weights = torch.ones(batch, count)
        weights[1:, (count + 1) // 2 :] = 0
        weights = weights / weights.sum(-1, keepdim=True)
        return points.to(self.dtype), weights.to(self.dtype)


def _exported(whole: nn.Module, draw: _Draw, most: int | None) -> torch.export.ExportedProgram:
    shapes = {0: torch.export.Dim("clouds"), 1: torch.export.Dim("points", max=most)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's own, of how it goes about it
            return torch.export.export(
                whole,
                draw(3, min(11, most or 11)),
                dynamic_shapes=(shapes, shapes),
                strict=False,
            )
    except Exception as error:  # whatever PyTorch raises, the model is not to be exported
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        by = f"PyTorch {torch.__version__}"
        raise UserError(f"{by} cannot export this model: {reason}") from error


def _difference(
    whole: nn.Module, program: torch.export.ExportedProgram, draw: _Draw, most: int | None
) -> float:
    """The largest difference on clouds of several numbers and sizes; infinite if one answers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        called = program.module()
    worst = 0.0
    for seed, (batch, count) in enumerate(_SHAPES):
        clouds = draw(batch, min(count, most or count), seed)
        (mine, solved), (theirs, reached) = whole(*clouds), called(*clouds)
        if mine.shape != theirs.shape or not torch.equal(solved, reached):
            return float("inf")
        worst = max(worst, float((mine - theirs).abs().nan_to_num(nan=torch.inf).max()))
    return worst
