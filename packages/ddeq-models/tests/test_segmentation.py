"""Segmentation: its figures, its models, and labels from anywhere."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from small_targets import PLAN, SEGMENTER, moons, plain

from ddeq_data import PointBatch
from ddeq_models import (
    DataConfig,
    DDEQSegmenter,
    DDEQSegmenterConfig,
    Output,
    PointLabels,
    RunConfig,
    SegmentationConfig,
    UserError,
    evaluate,
    predict,
    train,
)
from ddeq_models.cli import main
from ddeq_models.data import normaliser, view
from ddeq_models.models.base import build_model
from ddeq_models.models.baselines import PointNetSegmenterConfig
from ddeq_models.tasks.base import build_task
from ddeq_models.tasks.segmentation import Segmentation
from ddeq_models.tasks.tally import Tally
from ddeq_models.using.answers import point_labels
from ddeq_models.using.clouds import read_clouds

metrics = pytest.importorskip("sklearn.metrics")


def task_of(labels: int = 3) -> Segmentation:
    names = tuple("abcdef"[:labels])
    data = DataConfig("moons", target="points")
    made = build_task(RunConfig("x", names, data, SEGMENTER, task=SegmentationConfig()))
    assert isinstance(made, Segmentation)
    return made


def drawn(seed: int = 0) -> tuple[PointBatch, torch.Tensor]:
    """Four clouds of up to 6 points with labels among 0, 1, and logits of 3 labels."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(4, 6, generator=generator)
    weights[1, 4:] = 0
    weights[3, 1:] = 0
    weights = weights / weights.sum(1, keepdim=True)
    labels = torch.where(weights > 0, torch.randint(2, (4, 6), generator=generator), -1)
    points = torch.where(weights[..., None] > 0, torch.rand(4, 6, 2, generator=generator), 0)
    logits = torch.randn(4, 6, 3, generator=generator)
    return PointBatch(points, weights, torch.zeros(4).long(), labels), logits


def test_figures_are_those_of_scikit_learn() -> None:
    batch, logits = drawn()
    task, tally = task_of(), Tally()
    for some in ([0, 2], [1], [3]):  # batched as looped
        part = PointBatch(
            batch.points[some],
            batch.weights[some],
            batch.labels[some],
            batch.targets[some],  # type: ignore[index]
        )
        inputs = task.prepare(part, torch.Generator())
        tally.add(task.records(Output(logits[some]), inputs))
    figures = task.figures(tally.columns())
    said, inside = logits.argmax(-1).numpy(), batch.mask.numpy()
    labels = batch.targets.numpy()  # type: ignore[union-attr]
    true, found = labels[inside], said[inside]
    assert figures["miou"] == pytest.approx(metrics.jaccard_score(true, found, average="macro"))
    each = [
        metrics.jaccard_score(labels[i][inside[i]], said[i][inside[i]], average="macro")
        for i in range(4)
    ]
    assert figures["cloud_miou"] == pytest.approx(np.mean(each))
    assert figures["accuracy"] == pytest.approx((true == found).mean())
    ious = task.result(tally.columns())["ious"]
    expected = metrics.jaccard_score(true, found, average=None, labels=[0, 1, 2])
    assert_allclose(list(ious.values()), expected)
    # A label that is nowhere does not count.
    other = task_of(5)
    more = Tally()
    more.add(other.records(Output(logits), other.prepare(batch, torch.Generator())))
    assert other.figures(more.columns())["miou"] == pytest.approx(figures["miou"])
    assert other.result(more.columns())["ious"]["e"] is None
    assert np.isnan(task.figures({})["miou"])


def test_the_loss_is_one_of_measures() -> None:
    batch, logits = drawn()
    task = task_of()
    inputs = task.prepare(batch, torch.Generator())
    loss = task.loss(Output(logits), inputs)
    spoilt = torch.where(batch.mask[..., None], logits, 1e30)
    assert torch.equal(task.loss(Output(spoilt), inputs), loss)
    # A point of weight w is two of weight w / 2.
    twice = PointBatch(
        batch.points.repeat(1, 2, 1), batch.weights.repeat(1, 2) / 2, batch.labels,
        batch.targets.repeat(1, 2),  # type: ignore[union-attr]
    )  # fmt: skip
    again = task.loss(Output(logits.repeat(1, 2, 1)), task.prepare(twice, torch.Generator()))
    assert_allclose(again, loss, rtol=1e-6)
    with_penalty = Output(logits, penalty=torch.ones(4))
    assert_allclose(task.loss(with_penalty, inputs), loss + 1)


def test_what_a_model_is_told_before_the_training() -> None:
    batch, _ = drawn()
    shares = task_of().known(batch)
    assert_allclose(shares.sum(1), 1, rtol=1e-6)
    one = (batch.weights * (batch.targets == 1)).sum(1)
    assert_allclose(shares[:, 1], one, rtol=1e-6)


@pytest.mark.parametrize(
    "config",
    [SEGMENTER, replace(SEGMENTER, encoder="attention"), PointNetSegmenterConfig(transforms=False)],
)
def test_models_are_equivariant_and_do_not_see_padding(config: Any) -> None:
    torch.manual_seed(0)
    model = build_model(config).eval()
    points, weights = torch.rand(3, 5, 2), torch.rand(3, 5)
    weights = weights / weights.sum(1, keepdim=True)
    with torch.no_grad():
        said = model(points, weights).logits
        assert said.shape == (3, 5, 2)
        order = torch.randperm(5)
        moved = model(points[:, order], weights[:, order]).logits
        assert_allclose(moved, said[:, order], atol=1e-5)
        padded = torch.cat([points, torch.full((3, 2, 2), torch.nan)], 1)
        mass = torch.cat([weights, torch.zeros(3, 2)], 1)
        assert_allclose(model(padded, mass).logits[:, :5], said, atol=1e-5)
        spoilt = points.clone()
        spoilt[1] = 1e18
        assert torch.equal(model(spoilt, weights).logits[[0, 2]], said[[0, 2]])


def test_labels_are_read_from_the_equilibrium() -> None:
    """A point's logits change with the other points of its cloud, by way of the particles alone."""
    torch.manual_seed(0)
    model = build_model(replace(SEGMENTER, scales=0)).eval()
    assert isinstance(model, DDEQSegmenter)
    points, weights = torch.rand(1, 5, 2), torch.full((1, 5), 0.2)
    context = model.encode(points, weights)
    seen: list[torch.Tensor] = []
    model.reader.attention.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    output = model(points, weights)
    assert_allclose(seen[0].detach(), context.rows.detach(), atol=1e-6)  # type: ignore[union-attr]
    output.logits[0, 0].sum().backward()
    assert model.marks is not None
    assert model.marks.grad is not None
    assert float(model.marks.grad.abs().sum()) > 0
    with pytest.raises(ValueError, match="rows must be 0, since every point is given a label"):
        DDEQSegmenterConfig(rows=8)
    with pytest.raises(ValueError, match="tokens must be left out, since every point"):
        DDEQSegmenterConfig(encoder="moments", tokens=(4,), widths=(8, 8))


def test_gradients_are_those_of_the_solved_problem() -> None:
    torch.manual_seed(0)
    config = replace(SEGMENTER, rtol=1e-11, max_steps=200, adjoint="implicit", adjoint_rtol=1e-10)
    model = build_model(config).double().eval()
    points, weights = torch.rand(2, 4, 2).double(), torch.full((2, 4), 0.25).double()
    probe = torch.randn(2, 4, 2).double()

    def value() -> torch.Tensor:
        return (probe * model(points, weights).logits).sum()

    value().backward()
    for name, parameter in model.named_parameters():
        if not name.startswith(("marks", "reader", "cell.output")) or parameter.ndim < 2:
            continue
        direction = torch.randn_like(parameter)
        assert parameter.grad is not None
        told = float((parameter.grad * direction).sum())
        with torch.no_grad():
            ends = []
            for step in (1e-5, -1e-5):
                parameter.add_(step * direction)
                ends.append(float(value()))
                parameter.sub_(step * direction)
        assert told == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-7), name


def test_clouds_in_memory(tmp_path: Path) -> None:
    sets = moons()
    names = np.array(["first", "second"])
    words = [[(points, names[labels]) for points, labels in plain(one)] for one in sets]
    run = train(SEGMENTER, words, PLAN, out=tmp_path / "run", quiet=True)
    config, result = run.config(), run.result()
    assert config.classes == ("first", "second")
    assert (config.data.target, config.task.kind) == ("points", "segmentation")
    assert set(result["ious"]) == {"first", "second"}
    assert (run.path / "parts.png").exists()
    again = evaluate(run.path, sets=sets)
    assert again["miou"] == pytest.approx(result["test_miou"], abs=1e-6)
    clouds = [points for points, _ in plain(sets[2])]
    said = predict(run.path, clouds)
    assert all(isinstance(one, PointLabels) for one in said)
    assert [len(one.labels) for one in said] == [len(points) for points in clouds]
    assert_array_equal(said[0].labels, predict(run.path, clouds[0][::-1])[0].labels[::-1])
    assert sum(said[0].shares().values()) == pytest.approx(1)
    right = np.concatenate([one.labels for one in said]) == np.concatenate(
        [labels for _, labels in plain(sets[2])]
    )
    assert right.mean() == pytest.approx(result["test_accuracy"])


def test_points_that_a_run_does_not_see_have_the_label_of_the_nearest(tmp_path: Path) -> None:
    data = DataConfig("arrays", normalise="set", points=4)
    sets = moons(4)
    plan = replace(PLAN, epochs=1)
    run = train(SEGMENTER, data, plan, sets=sets, out=tmp_path / "run", quiet=True)
    cloud = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1], [0.01, 0.02], [0.98, 0.99]])
    labels = predict(run.path, cloud)[0].labels
    assert labels.shape == (6,)
    assert_array_equal(labels[4:], labels[[0, 3]])
    for few in (cloud[:4], cloud[:3]):  # all are seen, in an order of their own
        seen = view(run.config().data)(
            torch.from_numpy(few)[None], torch.full((1, len(few)), 1 / len(few)).double()
        )
        said = run.model()(*seen).logits.argmax(-1)[0][seen[1][0] > 0]
        places = normaliser(run.config().data)(torch.from_numpy(few), torch.ones(len(few)))[0]
        nearest = torch.cdist(places, seen[0][0][seen[1][0] > 0]).argmin(1)
        assert_array_equal(predict(run.path, few)[0].labels, said[nearest])


def test_a_file_of_the_training_is_read_without_its_labels(tmp_path: Path) -> None:
    data = DataConfig("folder", target="points", label="2", features=("3",))
    config = RunConfig("x", ("a", "b"), data, SEGMENTER.for_data(3, 2, 2))
    table = np.arange(20.0).reshape(5, 4)
    np.save(tmp_path / "a.npy", table)
    np.savetxt(tmp_path / "b.txt", table)
    for name in ("a.npy", "b.txt"):
        (known,) = read_clouds([tmp_path / name], config)
        assert_array_equal(known.cloud.points, table[:, [0, 1, 3]])
    with pytest.raises(UserError, match="expected points of dimension 3, found 4 columns"):
        read_clouds([tmp_path / "a.npy"], replace(config, data=replace(data, target="class")))


def test_the_nearest_is_so_in_space_and_not_in_features() -> None:
    class Sides(torch.nn.Module):
        def forward(self, points: torch.Tensor, weights: torch.Tensor) -> Output:
            right = (points[..., 0] > 0.5).float()
            return Output(torch.stack([1 - right, right], -1), None)

    data = DataConfig("arrays", normalise="none", points=2, features=("2",), target="points")
    model = SEGMENTER.for_data(3, 2, 2)
    config = RunConfig("x", ("left", "right"), data, model, task=SegmentationConfig())
    cloud = np.array([[0.0, 0, 0], [1, 0, 100], [0.1, 0, 100], [0.9, 0, 0]])
    known = read_clouds([cloud], config)
    (said,) = point_labels(Sides(), config, known, ["a"], 1, torch.device("cpu"))
    assert_array_equal(said.labels, [0, 1, 0, 1])


def test_labels_line_up_with_the_rows_that_were_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(SEGMENTER, moons(4), replace(PLAN, epochs=1), out=tmp_path / "run", quiet=True)
    cloud = moons(1)[2][0].points.double().numpy()
    weights = np.ones(len(cloud))
    weights[[0, 3]] = 0
    kept = weights > 0
    (whole,) = predict(run.path, cloud[kept])
    np.savez(tmp_path / "a.npz", points=cloud, weights=weights)
    text = "\n".join(
        f"{x:.17g} {y:.17g} 0" if there else "nan nan nan"
        for (x, y), there in zip(cloud, kept, strict=True)
    )
    (tmp_path / "a.pcd").write_text(
        "FIELDS x y z\nSIZE 8 8 8\nTYPE F F F\nCOUNT 1 1 1\n"
        f"WIDTH {len(cloud)}\nHEIGHT 1\nPOINTS {len(cloud)}\nDATA ascii\n{text}\n"
    )
    for given in ((cloud, weights), tmp_path / "a.npz", tmp_path / "a.pcd"):
        (said,) = predict(run.path, given)
        assert_array_equal(said.labels[kept], whole.labels)
        assert_array_equal(said.labels[~kept], [-1, -1])
        assert said.shares() == whole.shares()
    assert main(["predict", str(run.path), str(tmp_path / "a.pcd")]) == 0
    assert f"{kept.sum()} points, 2 rows of no weight or place" in capsys.readouterr().out
    assert main(["predict", str(run.path), str(tmp_path / "a.npz"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == said.labels.tolist()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: (x[0], x[1][:-1]), "a segmentation needs a label for each point, and item 0"),
        (lambda x: (x[0], x[1] - 5), "labels of the points of item 0 of train must be at least 0"),
        (lambda x: (x[0], x[1] + 0.5), "must be whole numbers or words"),
    ],
)
def test_labels_that_are_none(spoil: Any, message: str, tmp_path: Path) -> None:
    sets = [plain(one) for one in moons(3)]
    sets[0][0] = spoil(sets[0][0])
    with pytest.raises(UserError, match=message):
        train(SEGMENTER, sets, PLAN, out=tmp_path / "run", quiet=True)


def test_what_is_known_must_be_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="segmentation needs a label of each point"):
        train(SEGMENTER, DataConfig("blobs"), PLAN, out=tmp_path / "run")
    same = [[(points, 0 * labels) for points, labels in plain(one)] for one in moons(3)]
    with pytest.raises(UserError, match="all points to train on have one label, 0"):
        train(SEGMENTER, same, PLAN, out=tmp_path / "run")
    with pytest.raises(UserError, match="several are for a regression or a segmentation"):
        train(
            replace(SEGMENTER, classes=2), [plain(one) for one in moons(3)], PLAN,
            task=build_task(RunConfig("x", ("0",), DataConfig(), _classifier())).config.task,
            out=tmp_path / "run",
        )  # fmt: skip


def _classifier() -> Any:
    from ddeq_models import DDEQConfig

    return DDEQConfig()
