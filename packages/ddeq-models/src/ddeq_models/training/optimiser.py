"""The optimiser, its learning rate as a function of the step, and the average of the weights."""

import copy
import math

import torch
from torch import nn

from ddeq_models.config import TrainConfig


def build_optimiser(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) with weight decay on the weights of linear maps alone.

    Biases, gains of norms, and the marks and initial places of the particles are not decayed:
    pulling these to zero would pull the particles together.
    """
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        matrix = parameter.ndim >= 2 and name.endswith("weight")
        (decayed if matrix else free).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    # In one kernel where every PyTorch from 2.4 on has it; on Apple's GPUs 2.4 has none.
    fused = all(p.device.type in ("cpu", "cuda") for p in model.parameters())
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=fused)


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Learning rate of a step: a linear warm-up, then the schedule.

    The cosine is that of Loshchilov and Hutter (2017).

    Args:
        config: The training.
        step: From 0 to `steps` - 1.
        steps: Steps of the whole training.
    """
    warmup = round(config.warmup * steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "step":
        epoch = step * config.epochs // steps  # from 0
        return config.learning_rate * config.decay_factor ** (epoch // config.decay_epochs)
    done = (step - warmup) / max(steps - warmup, 1)
    low = config.final_learning_rate
    return config.learning_rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * done)))


class Average:
    """Exponential moving average of a model's weights: the model that is evaluated and saved.

    The decay of step t is ``min(decay, (1 + t) / (10 + t))``: early on the average is short, so
    that it does not carry the first, random weights along. A decay of 0 is the model itself.

    Args:
        model: The model that is trained.
        decay: Decay per step, in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = model if decay == 0 else copy.deepcopy(model).requires_grad_(False)
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after a step; buffers are copied."""
        if self.decay == 0:
            return
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(
            list(self.model.parameters()), list(model.parameters()), weight=1 - decay
        )
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
