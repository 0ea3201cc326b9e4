"""What moments and quantiles alone say, and their share in the answer."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from small_estimators import SMALL, small
from torch import Tensor
from torch.nn import functional

from ddeq_data import Cloud, CloudDataset, PackedClouds
from ddeq_models import DataConfig, DDEQConfig, TrainConfig, evaluate, train
from ddeq_models.distributed import Ranks
from ddeq_models.models.base import build_model
from ddeq_models.models.direct import Direct, direct_of
from ddeq_models.models.logistic import fitted_shares, logistic, pooled
from ddeq_models.registry import PRESETS
from ddeq_models.runs.folder import RunFolder
from ddeq_models.tasks.base import build_task
from ddeq_models.training import loop
from ddeq_models.training.opinion import take_opinion


def drawn(count: int, features: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, features, generator=generator, dtype=torch.float64)
    return x, torch.arange(count) % 3


@pytest.mark.parametrize(("count", "features"), [(60, 5), (30, 80)])
def test_it_is_what_scikit_learn_finds(count: int, features: int) -> None:
    x, labels = drawn(count, features)  # of each class as many: an offset of the same number each
    found = logistic(x, labels, 3, penalty=2.0)
    # Scikit-learn has no penalty on the intercept: a column of ones has one.
    ones = np.hstack([x.numpy(), np.ones((count, 1))])
    other = LogisticRegression(C=0.5, fit_intercept=False, tol=1e-10, max_iter=10_000)
    other.fit(ones, labels.numpy())
    mine = (x @ found.slope + found.offset).softmax(-1)
    assert np.allclose(mine.numpy(), other.predict_proba(ones), atol=2e-5)


def test_it_is_where_the_gradient_is_none() -> None:
    x, _ = drawn(40, 6)
    labels = (x[:, 0] > 0.7).long() + (x[:, 1] > 0).long()
    found = logistic(x, labels, 4)
    slope, offset = (part.clone().requires_grad_() for part in found)
    counts = torch.bincount(labels, minlength=4) + 1.0
    usual = (counts / counts.sum()).log()
    loss = functional.cross_entropy(x @ slope + offset, labels, reduction="sum")
    loss = loss + 1.5 * (slope.square().sum() + (offset - usual).square().sum())
    for gradient in torch.autograd.grad(loss, (slope, offset)):
        assert gradient.abs().max() < 1e-4
    # A class that does not occur is improbable, and not impossible.
    never = (x @ found.slope + found.offset).softmax(-1)[:, 3]
    assert never.min() > 0
    assert never.max() < 0.2


def test_an_example_that_counts_twice_is_there_twice() -> None:
    x, labels = drawn(12, 4)
    odds = torch.tensor([2.0] + [1.0] * 11)
    twice = logistic(torch.cat([x[:1], x]), torch.cat([labels[:1], labels]), 3)
    once = logistic(x, labels, 3, odds, penalty=3.0 * 12 / 13)  # odds are relative
    assert torch.allclose((x @ once.slope).diff(dim=1), (x @ twice.slope).diff(dim=1), atol=0.01)
    rare = logistic(x, labels, 3, torch.where(labels == 0, 100.0, 1.0))
    assert rare.offset[0] > rare.offset[1:].max() + 2


def told(labels: Tensor, classes: int, right: float, seed: int) -> Tensor:
    """Logits of an opinion that knows what it does not know: calibrated, right so often."""
    generator = torch.Generator().manual_seed(seed)
    p = torch.full((classes,), (1 - right) / (classes - 1), dtype=torch.float64)
    said = labels.clone()
    wrong = torch.rand(len(labels), generator=generator) > right
    said[wrong] = (labels[wrong] + torch.randint(1, classes, (int(wrong.sum()),))) % classes
    table = p.repeat(classes, 1)
    table.fill_diagonal_(right)
    return table[said].log()


def test_who_is_right_is_believed() -> None:
    labels = torch.arange(600) % 3
    good, poor = told(labels, 3, 0.9, 0), told(labels, 3, 0.4, 1)
    a, b = fitted_shares(good, poor, labels)
    assert 0.85 < a < 1.15
    a, b = fitted_shares(poor, good, labels)
    assert 0.85 < b < 1.15
    nothing = torch.zeros(600, 3, dtype=torch.float64)
    a, b = fitted_shares(good, nothing, labels)
    assert functional.cross_entropy(
        pooled(good, nothing, torch.stack([a, b])), labels
    ) <= functional.cross_entropy(good, labels)
    # Two that err independently are both believed, and better together than either.
    other = told(labels, 3, 0.9, 2)
    a, b = fitted_shares(good, other, labels)
    assert 0.6 < a / b < 1.6
    both = functional.cross_entropy(pooled(good, other, torch.stack([a, b])), labels)
    assert both < 0.8 * min(functional.cross_entropy(x, labels) for x in (good, other))


def test_a_few_labels_make_no_answer_certain() -> None:
    sure = torch.tensor([[3.0, 0.0]], dtype=torch.float64)
    a, b = fitted_shares(sure, sure, torch.tensor([0]))
    assert 0.9 < a + b < 1.6  # the likelihood alone would have it infinite
    a, b = fitted_shares(sure, -sure, torch.tensor([0]))
    assert b < 0.05 * a


def test_one_alone_is_itself() -> None:
    own, other = torch.randn(4, 3), torch.randn(4, 3)
    assert torch.allclose(pooled(own, other, torch.tensor([1.0, 0.0])), own.log_softmax(-1))
    assert torch.allclose(pooled(own, other, torch.tensor([0.0, 1.0])), other.log_softmax(-1))


def test_in_training_the_network_answers_alone() -> None:
    config: Any = PRESETS["ddeq"]
    torch.manual_seed(0)
    model: Any = build_model(config.for_data(2, 3, 2))
    points, weights = torch.randn(5, 12, 2), torch.full((5, 12), 1 / 12)
    direct = direct_of(model)
    assert direct is model.direct
    assert not any(p.requires_grad for p in direct.parameters())
    model.eval()
    own = model(points, weights).logits
    direct.fit(points, weights, torch.tensor([0, 1, 2, 0, 1]))
    other = direct(points, weights)
    assert torch.allclose(model(points, weights).logits, own)
    direct.shares.copy_(torch.tensor([0.3, 0.7]))
    expected = pooled(own, other, direct.shares)
    assert torch.allclose(model(points, weights).logits, expected, atol=1e-5)
    assert direct.share() == pytest.approx(0.7)
    model.train()
    for part in model.modules():
        part.train(isinstance(part, type(model)))  # all but the model itself: no chance in it
    alone = model(points, weights).logits
    assert torch.allclose(alone.log_softmax(-1), own.log_softmax(-1), atol=1e-5)
    assert direct_of(build_model(PRESETS["pointnet"].for_data(2, 3, 2))) is None


def sizes(count: int, seed: int) -> tuple[list[Any], Any]:
    """Clouds on a line, of three sizes: told by one moment."""
    generator, labels = np.random.default_rng(seed), np.arange(count) % 3
    return [generator.uniform(0, 1 + x, (12, 2)) for x in labels], labels


def test_what_moments_tell_is_told_though_nothing_was_learned() -> None:
    clouds, labels = sizes(60, 0)
    others, truth = sizes(60, 1)
    with_it = small(steps=1, validation_fraction=0.3, options={**SMALL, "model.direct": True})
    without = small(steps=1, validation_fraction=0.3, options={**SMALL, "model.direct": False})
    assert with_it.fit(clouds, labels).score(others, truth) > 0.9
    assert without.fit(clouds, labels).score(others, truth) < 0.7
    direct = direct_of(with_it.model_)
    assert direct is not None
    assert direct.share() > 0.5
    assert direct_of(without.model_) is None
    # What no clouds can tell is not told: of no clouds held out, the network answers alone.
    alone = small(steps=1, validation_fraction=0.0, options={**SMALL, "model.direct": True})
    direct = direct_of(alone.fit(clouds, labels).model_)
    assert direct is not None
    assert direct.share() == 0.0


CONFIG = DDEQConfig(
    dim=8, heads=2, hidden=8, bilinear_dim=4, particles=2, self_blocks=0, encoder="moments",
    placed=True, pooled=8, scales=0, max_steps=10, damping=0.5, direct=True,
)  # fmt: skip


def three(seed: int = 0) -> tuple[CloudDataset, CloudDataset, CloudDataset]:
    names = ("small", "middling", "large")
    made = [sizes(count, seed + i) for i, count in enumerate((30, 15, 60))]
    train_set, validation_set, test_set = (
        CloudDataset(
            PackedClouds.from_clouds(
                [
                    Cloud(
                        torch.from_numpy(c).float(), torch.full((len(c),), 1 / len(c)), int(label)
                    )
                    for c, label in zip(clouds, labels, strict=True)
                ]
            ),
            names,
        )
        for clouds, labels in made
    )
    return train_set, validation_set, test_set


def trained(out: Path, model: DDEQConfig = CONFIG, learn_from: str = "train") -> Any:
    data = DataConfig("arrays", normalise="none", learn_from=learn_from)
    plan = TrainConfig(epochs=1, batch_size=16, ema=0.0)
    return train(model, data, plan, sets=three(), out=out, quiet=True)


def test_a_run_keeps_the_share_and_a_network_that_knows_nothing_of_it(
    tmp_path: Path, no_pictures: None
) -> None:
    run = trained(tmp_path / "with")
    alone = trained(tmp_path / "alone", replace(CONFIG, direct=False))
    result, without = run.result(), alone.result()
    assert result["direct_share"] > 0.5
    assert "direct_share" not in without
    assert result["test_accuracy"] > 0.9 > without["test_accuracy"]
    # What is kept is what was measured, of the validation clouds too.
    said = evaluate(run.path, sets=three(), split="validation")
    assert said["accuracy"] == pytest.approx(result["validation_accuracy"])
    assert said["loss"] == pytest.approx(result["validation_loss"], rel=1e-4)
    assert result["validation_loss"] < without["validation_loss"]
    # The network is that of a training without, to the bit; the regression counts as numbers.
    kept, other = run.model().state_dict(), alone.model().state_dict()
    assert all(torch.equal(kept[name], other[name]) for name in other)
    more = kept["direct.slope"].numel() + kept["direct.offset"].numel()
    assert result["parameters"] == without["parameters"] + more
    # Done twice it is done once.
    train_set, validation_set, _ = three()
    again = RunFolder(run.path)
    share = take_opinion(
        build_task(run.config()), again, train_set, validation_set, Ranks(torch.device("cpu"))
    )
    assert share == pytest.approx(result["direct_share"])
    assert all(torch.equal(tensor, kept[n]) for n, tensor in again.model().state_dict().items())


def test_where_nothing_was_held_out_the_network_answers_alone(
    tmp_path: Path, no_pictures: None
) -> None:
    run = trained(tmp_path / "all", learn_from="train+validation")
    assert run.result()["direct_share"] == 0.0


def test_a_training_from_other_weights_begins_without_what_these_knew(
    tmp_path: Path, no_pictures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = trained(tmp_path / "source")
    begun: list[float] = []
    monkeypatch.setattr(
        loop,
        "take_statistics",
        lambda task, kept, model, *_: begun.append(direct_of(model).share()),
    )
    data = DataConfig("arrays", normalise="none")
    plan = TrainConfig(epochs=1, batch_size=16, ema=0.0, init=str(source.path))
    run = train(CONFIG, data, plan, sets=three(5), out=tmp_path / "next", quiet=True)
    assert begun == [0.0]
    assert run.result()["direct_share"] > 0.5


def test_clouds_that_are_drawn_more_often_count_more() -> None:
    clouds, labels = sizes(60, 0)
    points = torch.from_numpy(np.stack(clouds)).float()
    weights = torch.full(points.shape[:2], 1 / points.shape[1])
    direct = Direct(2, True, 3)
    direct.fit(points, weights, torch.from_numpy(labels))
    plain = direct(points, weights).softmax(-1).mean(0)
    odds = torch.where(torch.from_numpy(labels) == 1, 50.0, 1.0)
    direct.fit(points, weights, torch.from_numpy(labels), odds)
    assert direct(points, weights).softmax(-1).mean(0)[1] > plain[1] + 0.02


def test_without_a_description_there_is_none() -> None:
    model = build_model(replace(CONFIG, description=False, point_dim=2, classes=3))
    assert direct_of(model) is None
