from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from torch import Tensor

from ddeq_models import DataConfig, DDEQConfig, Output, RunConfig, Tally
from ddeq_models.tasks.classification import Classification, Labelled
from ddeq_models.tasks.tally import confusion_matrix, to_json
from wgf_solver import AdjointReport, LinearStatus, Measure, Solution, Status


def solution(
    clouds: int,
    *,
    residual: Tensor | None = None,
    status: Tensor | None = None,
    adjoint: AdjointReport | None = None,
) -> Solution:
    points = torch.arange(clouds * 6, dtype=torch.float32).reshape(clouds, 3, 2)
    return Solution(
        measure=Measure(points),
        residual=torch.full((clouds,), 1e-4) if residual is None else residual,
        discrepancy=torch.zeros(clouds),
        steps=torch.arange(clouds) + 1,
        status=torch.full((clouds,), int(Status.CONVERGED)) if status is None else status,
        adjoint=adjoint,
    )


class Counted:
    """Answers of a classifier, and the figures of them."""

    def __init__(self, classes: int) -> None:
        names = tuple(map(str, range(classes)))
        self.task = Classification(RunConfig("", names, DataConfig(), DDEQConfig(classes=classes)))
        self.tally = Tally()

    def add(self, logits: Tensor, labels: Tensor, found: Solution | None) -> None:
        inputs = Labelled(torch.zeros(len(labels), 1, 2), torch.ones(len(labels), 1), labels)
        self.tally.add(self.task.records(Output(logits, found), inputs))

    def figures(self) -> dict[str, float]:
        return dict(self.task.figures(self.tally.columns()))

    def confusion(self) -> Any:
        return self.task.confusion(self.tally.columns())


def part(whole: Solution, rows: slice) -> Solution:
    return Solution(
        measure=Measure(whole.measure.points[rows]),
        residual=whole.residual[rows],
        discrepancy=whole.discrepancy[rows],
        steps=whole.steps[rows],
        status=whole.status[rows],
    )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_against_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = np.array(pairs).T
    logits = torch.randn(len(pairs), 5, generator=torch.Generator().manual_seed(len(pairs)))
    logits[range(len(pairs)), predicted] = 5.0 + logits.max()
    tally = Counted(5)
    tally.add(logits, torch.tensor(labels), solution(len(pairs)))
    ours = tally.figures()

    names = list(range(5))
    expected = sklearn_metrics.confusion_matrix(labels, predicted, labels=names)
    np.testing.assert_array_equal(tally.confusion(), expected)
    np.testing.assert_array_equal(confusion_matrix(labels, predicted, 5), expected)
    assert ours["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted))
    recalls = sklearn_metrics.recall_score(
        labels, predicted, labels=np.unique(labels), average="macro", zero_division=0
    )
    assert ours["mean_class_accuracy"] == pytest.approx(recalls)
    loss = sklearn_metrics.log_loss(labels, logits.double().softmax(-1), labels=names)
    assert ours["loss"] == pytest.approx(loss, rel=1e-4)


def test_a_figure_does_not_depend_on_how_clouds_were_batched() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(11, 4, generator=generator)
    labels = torch.randint(0, 4, (11,), generator=generator)
    every = solution(11)
    at_once, in_parts = Counted(4), Counted(4)
    at_once.add(logits, labels, every)
    for rows in (slice(0, 8), slice(8, 10), slice(10, 11)):
        in_parts.add(logits[rows], labels[rows], part(every, rows))
    assert len(in_parts.tally) == len(at_once.tally) == 11
    first, second = at_once.figures(), in_parts.figures()
    assert first == pytest.approx(second, rel=1e-6, nan_ok=True)
    right = (logits.argmax(-1) == labels).double()
    assert first["accuracy"] == pytest.approx(float(right.mean()))
    of_batches = [float(right[rows].mean()) for rows in (slice(0, 8), slice(8, 10), slice(10, 11))]
    assert first["accuracy"] != pytest.approx(np.mean(of_batches))


def test_solver_figures() -> None:
    status = torch.tensor([Status.CONVERGED, Status.MAX_STEPS, Status.NONFINITE, Status.EMPTY])
    residual = torch.tensor([1e-4, 3e-2, torch.nan, 0.0])
    tally = Counted(2)
    tally.add(
        torch.zeros(4, 2),
        torch.zeros(4, dtype=torch.int64),
        solution(4, status=status, residual=residual),
    )
    metrics = tally.figures()
    assert metrics["solver_failures"] == 2  # an empty measure has nothing to solve
    assert metrics["solver_steps_mean"] == 2.5
    assert metrics["solver_steps_max"] == 4
    assert metrics["residual_mean"] == pytest.approx((1e-4 + 3e-2) / 3)
    assert metrics["residual_max"] == pytest.approx(3e-2)
    expected = solution(4).measure.spread(relative=True).mean()
    assert metrics["spread"] == pytest.approx(float(expected))
    assert metrics["adjoint_failures"] == 0
    assert to_json(metrics)["adjoint_steps_mean"] is None


def test_adjoint_figures() -> None:
    report = AdjointReport(
        "implicit",
        residual=torch.tensor([1e-5, 0.7]),
        steps=torch.tensor([3, 9]),
        status=torch.tensor([LinearStatus.CONVERGED, LinearStatus.MAX_STEPS]),
    )
    tally = Counted(2)
    tally.add(torch.zeros(2, 2), torch.zeros(2, dtype=torch.int64), solution(2, adjoint=report))
    assert tally.figures()["adjoint_steps_mean"] == 6
    assert tally.figures()["adjoint_failures"] == 1


def test_losses_that_are_not_finite_are_seen() -> None:
    tally = Counted(2)
    tally.add(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), solution(1))
    assert tally.tally.finite()
    tally.add(torch.full((1, 2), torch.nan), torch.zeros(1, dtype=torch.int64), solution(1))
    assert not tally.tally.finite()


def test_nothing_recorded() -> None:
    figures = to_json(Counted(3).figures())
    assert figures == {"clouds": 0, "loss": None, "accuracy": None, "mean_class_accuracy": None}
    assert Counted(3).confusion().shape == (3, 3)
    assert Tally().finite()
    assert len(Tally()) == 0


def test_a_model_without_a_solver_has_no_figures_of_one() -> None:
    tally = Counted(2)
    tally.add(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), None)
    assert set(tally.figures()) == {"clouds", "loss", "accuracy", "mean_class_accuracy"}
    assert tally.figures()["accuracy"] == 1.0


def test_low_precision_logits_do_not_round_the_counts() -> None:
    tally = Counted(2)
    long = replace(solution(1), steps=torch.tensor([1001]))
    tally.add(torch.zeros(1, 2, dtype=torch.bfloat16), torch.tensor([1]), long)
    assert tally.figures()["solver_steps_mean"] == 1001
