"""What a completion is judged by: the missing part, or the whole cloud as in the paper."""

from dataclasses import replace
from typing import Any

import ot
import pytest
import torch

from ddeq_data import PointBatch
from ddeq_models.config import DataConfig, RunConfig
from ddeq_models.models.completer import Completed, CompleterConfig
from ddeq_models.tasks.completion import Completion, CompletionConfig
from ddeq_models.tasks.distances import chamfer_l1, energy_distance, f_score, kernel_entropy
from ddeq_models.tasks.parts import Incomplete, whole_clouds


def clouds(batch: int = 4, n: int = 12) -> PointBatch:
    """The last cloud is a single point: nothing can be taken from it."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(batch, n, 2, generator=generator, dtype=torch.float64)
    weights = torch.full((batch, n), 1 / n, dtype=torch.float64)
    weights[-1], weights[-1, 0] = 0, 1
    return PointBatch(points, weights, torch.zeros(batch).long())


def task_of(**settings: Any) -> Completion:
    config = CompletionConfig(**settings)
    return Completion(RunConfig("", ("a",), DataConfig(), CompleterConfig(), task=config))


@pytest.fixture
def cut() -> Incomplete:
    return task_of().prepare(clouds(), torch.Generator().manual_seed(0))


def added(count: int = 3) -> Completed:
    points = torch.randn(4, count, 2, dtype=torch.float64)
    return Completed(points, torch.full((4, count), 1 / count, dtype=torch.float64))


def test_the_truth_is_the_cloud_that_was_cut(cut: Incomplete) -> None:
    batch, whole = clouds(), whole_clouds(added(), cut)
    same = energy_distance(whole.y, whole.v, batch.points, batch.weights)
    torch.testing.assert_close(same, torch.zeros(4).double(), atol=1e-12, rtol=0)


def test_every_point_of_a_completed_cloud_weighs_the_same(cut: Incomplete) -> None:
    torch.manual_seed(0)
    answer = added()
    whole = whole_clouds(answer, cut)
    for i in range(4):
        there = whole.w[i] > 0
        n = int((cut.weights[i] > 0).sum())
        assert int(there.sum()) == n + 3
        torch.testing.assert_close(whole.w[i][there], torch.full((n + 3,), 1 / (n + 3)).double())
    # What is missing, completed in full, makes the cloud again.
    perfect = whole_clouds(Completed(cut.missing, cut.missing_weights), cut)
    distance = energy_distance(*perfect)
    torch.testing.assert_close(distance, torch.zeros(4).double(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("whole", [False, True])
def test_the_loss_is_that_of_the_part_or_of_the_whole(whole: bool, cut: Incomplete) -> None:
    torch.manual_seed(0)
    task, answer = task_of(whole=whole, entropy=0.0), added()
    answer.points.requires_grad_()
    clouds = whole_clouds(answer, cut)
    part = (answer.points, answer.weights, cut.missing[:3], cut.missing_weights[:3])
    expected = energy_distance(*(clouds if whole else (*(t[:3] for t in part[:2]), *part[2:])))
    loss = task.loss(answer, cut)
    torch.testing.assert_close(loss, expected[:3].sum() / 4)  # the single point counts 0
    loss.backward()
    assert answer.points.grad is not None
    assert (answer.points.grad[3] == 0).all()
    assert (answer.points.grad[:3] != 0).all()


def test_figures_of_both_conventions_are_those_of_their_clouds(cut: Incomplete) -> None:
    torch.manual_seed(0)
    task, answer = task_of(threshold=0.5), added()
    records = task.records(answer, cut, thorough=True)
    figures = task.figures({name: x.double().numpy() for name, x in records.items()})
    whole = whole_clouds(answer, cut)
    for name, distance in (("energy_distance", energy_distance), ("chamfer_l1", chamfer_l1)):
        expected = float(distance(*whole)[:3].mean())
        assert figures[f"whole_{name}"] == pytest.approx(expected)
        assert figures[f"whole_{name}"] < figures[name]  # most of the cloud is given
    assert figures["whole_f_score"] == pytest.approx(float(f_score(*whole, 0.5)[:3].mean()))
    x, w, y, v = (t[0].numpy() for t in whole)
    w2 = ot.emd2(w[w > 0] / w.sum(), v[v > 0] / v.sum(), ot.dist(x[w > 0], y[v > 0])) ** 0.5
    assert float(records["whole_wasserstein"][0]) == pytest.approx(w2)
    assert set(figures) >= set(task.card().titles)
    first, second = task.told(figures).splitlines()
    assert f"energy_distance {figures['energy_distance']:.4g}, " in first
    assert "whole" not in first
    assert second.startswith(
        f"whole clouds: energy_distance {figures['whole_energy_distance']:.4g}"
    )
    assert not any(name.startswith("whole") for name in task.records(answer, cut))


def test_an_entropy_without_the_points_themselves() -> None:
    torch.manual_seed(0)
    x, w = torch.randn(1, 5, 2, dtype=torch.float64), torch.rand(1, 5, dtype=torch.float64)
    w = w / w.sum()
    expected = 0.0
    for i in range(5):
        others = torch.arange(5) != i
        gaps = (x[0, others] - x[0, i]).square().sum(-1)
        kernel = (-gaps / 2).exp() / (2 * torch.pi)
        expected -= float(w[0, i] * (w[0, others] / w[0, others].sum() @ kernel).log())
    assert float(kernel_entropy(x, w, 1.0, itself=False)) == pytest.approx(expected)
    padded = torch.cat([x, torch.full((1, 2, 2), torch.nan).double()], 1).requires_grad_()
    masses = torch.cat([w, torch.zeros(1, 2)], 1)
    entropy = kernel_entropy(padded, masses, 1.0, itself=False)
    assert float(entropy.detach()) == pytest.approx(expected)
    entropy.sum().backward()
    assert padded.grad is not None
    assert padded.grad.isfinite().all()
    assert (padded.grad[0, :5] != 0).all()
    alone = kernel_entropy(x[:, :1], torch.ones(1, 1).double(), 1.0, itself=False)
    assert float(alone) == 0  # it has no others


def test_a_configuration_without_the_new_keys_means_what_it_did(cut: Incomplete) -> None:
    config = CompletionConfig()
    assert (config.together, config.whole, config.itself) == (False, False, True)
    torch.manual_seed(0)
    answer, weighty = added(), {"entropy": 1.0, "bandwidth": 1.0}
    others = task_of(**weighty, itself=False).loss(answer, cut)
    assert float(others - task_of(**weighty).loss(answer, cut)) < 0  # the other entropy is larger
    assert replace(config, together=True).crop() != config.crop()
