"""In which frame coordinates tell what is to be learned, and what the encoder makes of it."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ddeq_models import DDEQConfig, TrainConfig, train
from ddeq_models.data import generator_of
from ddeq_models.models.encoder import PointEncoder
from ddeq_models.models.frames import place_tells

pytestmark = pytest.mark.usefixtures("no_pictures")

CLASSES = torch.arange(60) % 3


def clouds(*, place: bool, shape: bool, scatter: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Sixty clouds of eight to twelve points, whose class is in their place, their shape or both.

    Args:
        place: Whether the classes lie apart.
        shape: Whether their shapes differ.
        scatter: How far the place of a cloud is from that of its class.
        seed: Of the generator.
    """
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(60, 12, 2, generator=generator, dtype=torch.float64)
    points[..., 0] *= (1 + shape * CLASSES.double())[:, None]
    points += scatter * torch.randn(60, 1, 2, generator=generator, dtype=torch.float64)
    points[..., 1] += 2 * place * CLASSES.double()[:, None]
    weights = torch.rand(60, 12, generator=generator, dtype=torch.float64) + 0.5
    weights[torch.arange(60) % 2 == 0, 8:] = 0
    return points, weights / weights.sum(-1, keepdim=True)


@pytest.mark.parametrize("seed", range(4))
def test_place_tells_where_the_classes_lie_apart_and_nothing_else_does(seed: int) -> None:
    apart = clouds(place=True, shape=False, scatter=0.5, seed=seed)
    assert place_tells(*apart, CLASSES)
    numbers = torch.stack([CLASSES - 1.0, -CLASSES.double()], -1).double()
    assert place_tells(*apart, numbers)
    assert not place_tells(*apart, CLASSES[torch.randperm(60, generator=generator_of(seed, 0))])
    assert not place_tells(*apart, torch.zeros(60).long())
    assert not place_tells(*clouds(place=False, shape=True, scatter=3.0, seed=seed), CLASSES)
    assert not place_tells(*clouds(place=False, shape=True, scatter=0.0, seed=seed), CLASSES)
    assert not place_tells(*clouds(place=False, shape=False, scatter=1.0, seed=seed), CLASSES)


def test_a_difference_must_be_sure_and_large() -> None:
    # Of fifteen clouds a seventh of the variance is less than one standard error.
    points, weights = clouds(place=True, shape=False, scatter=2.5, seed=2)
    assert not place_tells(points[:15], weights[:15], CLASSES[:15])
    assert not place_tells(points[:2], weights[:2], CLASSES[:2])
    # Of many a hundredth is sure, too, but no reason to do without the other frames.
    many = [clouds(place=True, shape=True, scatter=4.0, seed=seed) for seed in range(20)]
    points, weights = (torch.cat(parts) for parts in zip(*many, strict=True))
    assert not place_tells(points, weights, CLASSES.repeat(20))
    assert place_tells(*clouds(place=True, shape=True, scatter=0.5), CLASSES)


def test_no_other_frame_may_tell_as_much() -> None:
    points, weights = clouds(place=False, shape=False, scatter=0.1)
    size = (1 + CLASSES.double())[:, None, None]
    assert not place_tells(size * points, weights, CLASSES)  # about the own centre as much
    points, weights = clouds(place=False, shape=True, scatter=0.0)
    size = torch.randn(60, 1, 1, generator=generator_of(0, 0), dtype=torch.float64).mul(2).exp()
    points = size * points
    points[..., 1] += 3 * CLASSES[:, None]
    assert not place_tells(points, weights, CLASSES)  # and this in units of the radius


def test_it_is_a_law_of_measures() -> None:
    points, weights = clouds(place=True, shape=False, scatter=2.0, seed=1)
    said = place_tells(points, weights, CLASSES)
    order = torch.randperm(12)
    padded = torch.cat([points, torch.full((60, 2, 2), math.nan)], 1)
    more = torch.cat([weights, torch.zeros(60, 2)], 1)
    assert place_tells(points[:, order], weights[:, order], CLASSES) == said
    assert place_tells(padded, more, CLASSES) == said
    assert place_tells(1e6 * points + 1e6, weights, CLASSES) == said
    assert place_tells(points.float(), weights.float(), CLASSES) == said


def test_of_many_columns_the_means_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def costly(points: Tensor, share: Tensor) -> Tensor:
        raise AssertionError(f"the quantiles of {points.shape[-1]} columns")

    monkeypatch.setattr("ddeq_models.models.frames.quantiles", costly)
    points, weights = clouds(place=True, shape=False, scatter=0.5)
    noise = torch.randn(60, 12, 70, generator=torch.Generator().manual_seed(0)).double()
    assert place_tells(torch.cat([3 * points, noise], -1), weights, CLASSES)


def test_the_frame_of_the_set_is_not_hidden_where_it_tells() -> None:
    def hidden(place: bool, **settings: bool) -> bool:
        torch.manual_seed(0)
        options = {"placed": True, "dropout": 0.0, "description": False} | settings
        module = PointEncoder(2, 0, 8, pooled=8, hiding=0.5, **options).double()
        points, weights = clouds(place=place, shape=not place, scatter=0.5)
        module.fit(points, weights, CLASSES)
        module.train()
        torch.manual_seed(1)
        first = module(points, weights).summary
        return not torch.equal(first, module(points, weights).summary)

    assert not hidden(True)
    assert hidden(False)
    assert hidden(True, placed=False)  # it shall not be learned from


def test_a_training_says_what_its_clouds_decided(
    tiny_config: DDEQConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = replace(tiny_config, encoder="moments", pooled=8, readout="max-mean", placed=True)
    plan = TrainConfig(epochs=1, batch_size=32)
    for place, quiet, says in ((True, False, True), (True, True, False), (False, False, False)):
        points, weights = clouds(place=place, shape=not place, scatter=0.5)
        rows = [
            (p[w > 0].float(), w[w > 0].float(), int(label))
            for p, w, label in zip(points, weights, CLASSES, strict=True)
        ]
        out = tmp_path / f"{place}-{quiet}"
        train(model, (rows, rows[:6], rows[:6]), plan, out=out, quiet=quiet)
        assert ("where a cloud lies tells most of it" in capsys.readouterr().err) == says
