"""The share of moments and quantiles in the answer of a trained classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ddeq_data import CloudDataset, PointBatch
from ddeq_models.data import held_out, moved, view
from ddeq_models.distributed import Ranks
from ddeq_models.measuring.measure import EVALUATION_BATCH
from ddeq_models.models.direct import direct_of
from ddeq_models.runs.folder import RunFolder
from ddeq_models.tasks.base import Task
from ddeq_models.training.forecast import some_of

MOST = 5000  # validation clouds that tell the shares, evenly chosen


def take_opinion(
    task: Task,
    run: RunFolder,
    train_set: CloudDataset,
    validation_set: CloudDataset,
    ranks: Ranks,
    odds: Tensor | None = None,
) -> float | None:
    """Give moments and quantiles their share in the answer of the weights that a run keeps.

    To do it twice is to do it once: what the network says is not changed.

    Args:
        task: What the model was trained for.
        run: The run, whose weights are written once more.
        train_set: The clouds it was trained on.
        validation_set: Others. If it is the same set, where there were too few to spare any, or
            was learnt from, nothing could tell the share: the network answers alone.
        ranks: The processes, of which the first one works.
        odds: How often each training cloud was drawn, relative to the others; None: all alike.

    Returns:
        The share; None where a model has no `Direct`, or nothing can tell it.
    """

    def work() -> float | None:
        if ranks.rank:
            return None
        model = run.model(ranks.device)
        found = _fitted(task, model, train_set, validation_set, ranks.device, odds)
        if found is not None:
            run.write_weights(model.state_dict())
        return found

    return ranks.of_first(ranks.together(work))


@torch.no_grad()
def _fitted(
    task: Task,
    model: nn.Module,
    train_set: CloudDataset,
    validation_set: CloudDataset,
    device: torch.device,
    odds: Tensor | None,
) -> float | None:
    """The regression fitted, its share chosen; the model is in evaluation mode."""
    direct = direct_of(model)
    if direct is None:
        return None
    direct.forget()  # its network answers alone
    if not held_out(task.config.data, train_set, validation_set):
        return None
    seen = view(task.config.data)
    chosen = some_of(train_set)
    known = moved(train_set.__getitems__(chosen.tolist()), device, seen)
    direct.fit(known.points, known.weights, known.labels, None if odds is None else odds[chosen])
    held = torch.arange(len(validation_set))[:: max(1, -(-len(validation_set) // MOST))]
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for some in torch.split(held, EVALUATION_BATCH):
        batch: PointBatch = moved(validation_set.__getitems__(some.tolist()), device, seen)
        own: Tensor = task.answer(model, task.prepare(batch, torch.Generator())).logits
        parts.append((own.cpu(), direct(batch.points, batch.weights).cpu(), batch.labels.cpu()))
    own, other, labels = (torch.cat(column) for column in zip(*parts, strict=True))
    if not bool(own.isfinite().all()):
        return None
    direct.weigh(own, other, labels)
    return direct.share()
