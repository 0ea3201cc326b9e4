"""One step of a training."""

from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_

from ddeq_models.distributed import Ranks
from ddeq_models.tasks.base import Task
from ddeq_models.training.state import State


def optimise(task: Task, state: State, inputs: Any, rate: float, ranks: Ranks) -> None:
    """One step, recorded in the state.

    Args:
        task: What the loss is.
        state: The model and all that changes with it.
        inputs: What the task prepared, of the whole batch.
        rate: Learning rate.
        ranks: The processes that share the batch.
    """
    plan, model, share = task.config.train, state.model, ranks.share(inputs)
    if len(share[0]):  # with fewer clouds than processes some have none
        bf16 = plan.precision == "bf16"
        with torch.autocast(ranks.device.type, torch.bfloat16, enabled=bf16):
            answer = task.answer(model, share)
            loss = task.loss(answer, share)
        if ranks.count > 1:
            loss = loss * (len(share[0]) / len(inputs[0]))
        loss.backward()  # type: ignore[no-untyped-call]
        state.tally.add(task.records(answer, share))
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
