"""One step of a training."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_

from ddeq_models.distributed import Ranks
from ddeq_models.tasks.base import Task
from ddeq_models.training.feeding import Prepared
from ddeq_models.training.state import State
from set_attention import without_autocast


def optimise(task: Task, state: State, prepared: Prepared, rate: float, ranks: Ranks) -> None:
    """One step, recorded in the state.

    The loss of each part of the step's clouds, on this process and on the others, counts by its
    share of them: what is followed is the gradient of the mean over all.

    Args:
        task: What the loss is.
        state: The model and all that changes with it.
        prepared: What this process works on.
        rate: Learning rate.
        ranks: The processes that share the step.
    """
    plan, model, kind = task.config.train, state.model, ranks.device.type
    for part in _cut(prepared.inputs, plan.accumulate):
        bf16 = plan.precision == "bf16"
        with torch.autocast(kind, torch.bfloat16) if bf16 else without_autocast(part[0]):
            answer = task.answer(state.called, part)
            loss = task.loss(answer, part)
        if len(part[0]) != prepared.clouds:
            loss = loss * (len(part[0]) / prepared.clouds)
        loss.backward()  # type: ignore[no-untyped-call]
        state.tally.add(task.records(answer, part))
    ranks.add_gradients(model)
    if plan.clip_norm:
        clip_grad_norm_(model.parameters(), plan.clip_norm)
    for group in state.optimiser.param_groups:
        group["lr"] = rate
    state.optimiser.step()
    state.optimiser.zero_grad()
    ranks.same_buffers(model)
    state.average.update(model)
    state.step += 1


def _cut(inputs: Any, count: int) -> Iterator[Any]:
    """A `NamedTuple` of tensors in so many parts of its clouds; with fewer clouds in fewer."""
    if inputs is None:
        return
    clouds = len(inputs[0])
    ends = sorted({clouds * i // count for i in range(count + 1)})
    for start, stop in pairwise(ends):
        whole = stop - start == clouds
        yield inputs if whole else type(inputs)(*(tensor[start:stop] for tensor in inputs))
