"""The statistics of batch norms, taken anew for the weights that are measured and kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ddeq_data import CloudDataset, Transform
from ddeq_models.data import generator_of, moved
from ddeq_models.tasks.base import Task

CLOUDS = 512  # of all training clouds, evenly chosen
BATCH = 64


@torch.no_grad()
def take_statistics(
    task: Task,
    model: nn.Module,
    trained: nn.Module,
    train_set: CloudDataset,
    seen: Transform,
    device: torch.device,
) -> None:
    r"""Set the running statistics of a model's batch norms to those of training clouds.

    In a training they follow the last batches of the weights as they change, each with its
    augmentation; what is kept is an average of weights, and it meets clouds as they are. Where a
    few clouds lie far from the others the last batches are no fair sample besides: means were off
    by 0.7 standard deviations on a set of 120. Taken anew as the mean over batches of the clouds
    that the model is then to judge: Wu and Johnson (2021), "Rethinking 'batch' in BatchNorm",
    section 3.

    All but the norms is in evaluation mode. A norm whose weights are not trained, of a part that is
    frozen, keeps what it has. Nothing is drawn by chance, and the training goes on as if this had
    not been done where an average of the weights is kept, which takes over the statistics of the
    trained model at each step.

    Args:
        task: How clouds are shown to the model.
        model: The model that is measured, which is left in evaluation mode.
        trained: The model that is trained, of which the other one is an average, or the same.
        train_set: The training clouds.
        seen: What is done to every cloud that is measured.
        device: Where the model is.
    """
    norms: list[Any] = [
        one
        for one, origin in zip(model.modules(), trained.modules(), strict=True)
        if _is_norm(one) and any(p.requires_grad for p in origin.parameters())
    ]
    model.eval()
    if not norms or not len(train_set):
        return
    momenta = [one.momentum for one in norms]
    chosen = torch.linspace(0, len(train_set) - 1, min(CLOUDS, len(train_set))).round().long()
    generator = generator_of(0, 0)
    for one in norms:
        one.train()
    # Every BATCH-th, so that clouds that stand together in the set do not meet in a batch.
    count = -(-len(chosen) // BATCH)
    for number in range(count):
        for one in norms:
            one.momentum = 1 / (number + 1)  # the mean of all so far
        batch = moved(train_set.__getitems__(chosen[number::count].tolist()), device, seen)
        task.answer(model, task.prepare(batch, generator))
    for one, momentum in zip(norms, momenta, strict=True):
        one.momentum = momentum
    model.eval()


def _is_norm(module: nn.Module) -> bool:
    """Whether it keeps running statistics: PyTorch's batch norms, and those of measures."""
    runs = isinstance(getattr(module, "momentum", None), float)
    return runs and any(True for _ in module.buffers(recurse=False))
