import math
from itertools import pairwise

import pytest
import torch

from ddeq_models import DDEQ, DDEQConfig, TrainConfig
from ddeq_models.training.optimiser import Average, build_optimiser, learning_rate


def test_learning_rate_rises_to_its_peak_and_falls_along_a_cosine() -> None:
    config = TrainConfig(learning_rate=2.0, warmup=0.1, final_learning_rate=0.25)
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])
    assert rates[10] == max(rates) == 2.0
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[55] == pytest.approx(2.0 * (0.25 + 0.75 / 2))  # half way down
    assert rates[-1] == pytest.approx(2.0 * 0.25, rel=1e-2)


@pytest.mark.parametrize("warmup", [0.0, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_learning_rate_of_short_trainings(warmup: float, steps: int) -> None:
    config = TrainConfig(warmup=warmup)
    for step in range(steps):
        assert 0 < learning_rate(config, step, steps) <= config.learning_rate


def test_only_weights_of_linear_maps_are_decayed(tiny_config: DDEQConfig) -> None:
    model = DDEQ(tiny_config)
    decayed, free = build_optimiser(model, TrainConfig(weight_decay=0.5)).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.5, 0.0)
    assert len(decayed["params"]) + len(free["params"]) == len(list(model.parameters()))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert all(names[id(p)].endswith("weight") and p.ndim >= 2 for p in decayed["params"])
    assert "marks" in {names[id(p)] for p in free["params"]}
    assert "head.weight" in {names[id(p)] for p in decayed["params"]}


def test_the_average_is_an_exponential_one(tiny_config: DDEQConfig) -> None:
    model = DDEQ(tiny_config)
    average = Average(model, 0.9)
    expected = {name: p.detach().clone() for name, p in model.named_parameters()}
    for step in range(1, 200):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += math.sin(step)
        average.update(model)
        decay = min(0.9, (1 + step) / (10 + step))
        for name, parameter in model.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * parameter.detach()
    for name, parameter in average.model.named_parameters():
        torch.testing.assert_close(parameter, expected[name])
        assert not parameter.requires_grad


def test_without_decay_there_is_no_second_model(tiny_config: DDEQConfig) -> None:
    model = DDEQ(tiny_config)
    average = Average(model, 0.0)
    average.update(model)
    assert average.model is model
