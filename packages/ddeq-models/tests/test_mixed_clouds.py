"""Clouds that are made of two: their labels, their loss, and which tasks have them."""

import pytest
import torch
from small_targets import REGRESSOR

from ddeq_data import Digits
from ddeq_models import (
    DataConfig,
    DDEQConfig,
    RegressionConfig,
    RunConfig,
    TrainConfig,
    UserError,
)
from ddeq_models.distributed import Ranks
from ddeq_models.models.base import Output
from ddeq_models.tasks.base import build_task
from ddeq_models.tasks.classification import Classification, Labelled, Mixed
from ddeq_models.training.feeding import Feed


def task(cut_mix: float, smoothing: float = 0.0) -> Classification:
    train = TrainConfig(batch_size=8, label_smoothing=smoothing)
    data = DataConfig("digits", normalise="unit-sphere", cut_mix=cut_mix)
    return Classification(RunConfig("", tuple("0123456789"), data, DDEQConfig(classes=10), train))


def test_the_label_is_that_of_the_larger_part() -> None:
    points = torch.randn(200, 30, 2, generator=torch.Generator().manual_seed(0))
    points = torch.cat([points[..., :1], torch.arange(200.0)[:, None, None].expand(200, 30, 1)], -1)
    inputs = Labelled(points, torch.full((200, 30), 1 / 30), torch.arange(200) % 10)
    mixed = task(0.9).mixed(inputs, torch.Generator().manual_seed(1))
    for i in range(200):
        mass = {j: float(mixed.weights[i][mixed.points[i, :, 1] == j].sum()) for j in range(200)}
        shares = {j % 10: mass[j] for j in (i, (i + 1) % 200)}
        assert float(mixed.shares[i]) == pytest.approx(shares[int(mixed.labels[i])], abs=1e-5)
        assert float(mixed.shares[i]) >= 0.5
        assert {int(mixed.labels[i]), int(mixed.others[i])} == set(shares)
    assert 0.05 < float((mixed.shares == 1).float().mean()) < 0.2


def test_the_loss_is_that_of_both_classes_in_their_shares() -> None:
    logits = torch.tensor([[1.0, 2.0, -1.0], [0.5, 0.0, 0.0]], dtype=torch.float64)
    labels, others = torch.tensor([0, 1]), torch.tensor([2, 1])
    shares = torch.tensor([0.75, 1.0], dtype=torch.float64)
    mixed = Mixed(torch.zeros(2, 1, 2), torch.ones(2, 1), labels, others, shares)
    target = torch.tensor([[0.75, 0, 0.25], [0, 1, 0]], dtype=torch.float64)
    for smoothing in (0.0, 0.3):
        wanted = (1 - smoothing) * target + smoothing / 3
        expected = -(wanted * logits.log_softmax(-1)).sum(-1).mean()
        loss = task(0.5, smoothing).loss(Output(logits), mixed)
        torch.testing.assert_close(loss, expected)
    recorded = task(0.5).records(Output(logits), mixed)
    assert recorded["label"].tolist() == [0, 1]


def test_a_feed_mixes_and_goes_on_where_it_was() -> None:
    clouds = Digits("validation")
    steps = {
        odds: list(Feed(task(odds), clouds, Ranks(torch.device("cpu"))).epoch(1))
        for odds in (0.0, 1.0)
    }
    plain, mixed = steps[0.0], steps[1.0]
    assert isinstance(plain[3].inputs, Labelled)
    share = torch.cat([step.inputs.shares for step in mixed])
    assert 0.7 < float(share.mean()) < 0.8  # the larger of two parts of the unit interval
    (again,) = [next(iter(Feed(task(1.0), clouds, Ranks(torch.device("cpu"))).epoch(1, 3)))]
    for a, b in zip(again.inputs, mixed[3].inputs, strict=True):
        assert torch.equal(a, b)


def test_a_task_without_classes_refuses_before_the_training() -> None:
    classifier = task(0.5)
    clouds = {"train": Digits("validation")}
    classifier.check(clouds)
    data = DataConfig("blobs", target="numbers", cut_mix=0.5)
    regression = RegressionConfig(centre=(0.0,), unit=(1.0,))
    regressor = build_task(RunConfig("", ("a",), data, REGRESSOR, task=regression))
    with pytest.raises(UserError, match="two classes, of which the task regression has none"):
        regressor.check(clouds)
