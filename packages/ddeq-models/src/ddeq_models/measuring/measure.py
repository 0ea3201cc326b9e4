"""Recording every cloud of a split."""

import torch
from torch import nn
from torch.utils.data import DataLoader

from ddeq_data import PointBatch
from ddeq_models.data import moved, view
from ddeq_models.data.chance import pass_over
from ddeq_models.distributed import Ranks
from ddeq_models.tasks.base import Task
from ddeq_models.tasks.tally import Tally

EVALUATION_BATCH = 256  # clouds at once
CHANCE = 0  # seed of what a task draws when it measures: crops of the clouds, perhaps


@torch.no_grad()
def measure(
    task: Task,
    model: nn.Module,
    loader: "DataLoader[PointBatch]",
    device: torch.device,
    *,
    ranks: Ranks | None = None,
    thorough: bool = False,
) -> Tally:
    """Record every cloud of a loader. Chance, if the task has any, is the same each time.

    Weights and arithmetic are float32, also after a training in bf16.

    Args:
        task: What is recorded.
        model: The model, on `device`; it is put into evaluation mode and back.
        loader: Batches that are not normalised yet.
        device: Where to work.
        ranks: The processes among which the batches are dealt out; all of them get all records.
        thorough: Record also what is dear; see `Task.records`.
    """
    tally, seen = Tally(), view(task.config.data)
    generator = torch.Generator().manual_seed(CHANCE)
    training = model.training
    model.eval()
    for number, batch in enumerate(loader):
        if ranks is not None and not ranks.is_mine(number):
            pass_over(generator, len(batch))
            continue
        inputs = task.prepare(moved(batch, device, seen), generator)
        tally.add(task.records(task.answer(model, inputs), inputs, thorough))
    model.train(training)
    return tally if ranks is None else ranks.gather(tally)


def forward_only(figures: dict[str, float | None]) -> dict[str, float | None]:
    """The figures without those of a backward pass, of which there was none."""
    return {name: value for name, value in figures.items() if not name.startswith("adjoint")}
