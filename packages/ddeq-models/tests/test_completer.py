from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from ddeq_data import Digits, collate, read_cloud
from ddeq_models.cli import main
from ddeq_models.config import DataConfig, RunConfig, TrainConfig, passes
from ddeq_models.data import view
from ddeq_models.models.completer import CompleterConfig, DDEQCompleter
from ddeq_models.recipes import RECIPES
from ddeq_models.registry import PRESETS
from ddeq_models.runs.folder import RunFolder
from ddeq_models.tasks.completion import Completion, CompletionConfig
from ddeq_models.tasks.distances import energy_distance, neighbour
from ddeq_models.using.complete import complete

TINY = CompleterConfig(dim=16, heads=2, hidden=16, bilinear_dim=4, rtol=1e-9, max_steps=300)
OURS = replace(TINY, encoder="moments", description=False, pooled=8, damping=0.5)
LOCAL = replace(TINY, encoder="attention-moments")
TOKENS = replace(OURS, tokens=(5,), widths=(8, 8), neighbours=3)


@pytest.fixture(
    scope="module",
    params=[TINY, LOCAL, OURS, TOKENS],
    ids=["attention", "attention-moments", "moments", "tokens"],
)
def model(request: pytest.FixtureRequest) -> DDEQCompleter:
    torch.manual_seed(0)
    model = DDEQCompleter(request.param).double()
    model.fit(*clouds(30, seed=1), None)
    return model.eval()


def clouds(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    points = 3 * torch.randn(3, n, 2, generator=generator, dtype=torch.float64) + 5
    weights = torch.rand(3, n, generator=generator, dtype=torch.float64) + 0.1
    weights[0, (n + 1) // 2 :] = 0
    return points, weights / weights.sum(-1, keepdim=True)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@settings(max_examples=6, deadline=None)
@given(n=st.integers(4, 20), seed=st.integers(0, 10**6))
def test_padding_order_and_batch_do_not_matter(model: DDEQCompleter, n: int, seed: int) -> None:
    with torch.no_grad():
        points, weights = clouds(n, seed)
        expected = model(points, weights)
        m = expected.points.shape[1]
        garbage = torch.full((3, 4, 2), torch.nan, dtype=torch.float64)
        garbage[:, ::2] = 1e30
        padded = model(torch.cat([points, garbage], 1), functional.pad(weights, (0, 4)))
        close(padded.points[:, :m], expected.points)
        close(padded.weights[:, :m], expected.weights)
        assert (padded.weights[:, m:] == 0).all()
        assert (padded.points[padded.weights == 0] == 0).all()

        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
        close(model(points[:, order], weights[:, order]).points, expected.points)
        for i in range(3):
            alone = model(points[i : i + 1], weights[i : i + 1])
            close(alone.points, expected.points[i : i + 1])


def test_a_doubled_weight_is_a_duplicated_point_at_a_given_count(model: DDEQCompleter) -> None:
    points, weights = clouds(9)
    twice = torch.cat([points, points[:, :2]], 1)
    halves = torch.cat([weights[:, :2] / 2, weights[:, 2:], weights[:, :2] / 2], 1)
    with torch.no_grad():
        close(model(twice, halves, 5).points, model(points, weights, 5).points)


def test_units_of_the_axes_do_not_matter(model: DDEQCompleter) -> None:
    points, weights = clouds(9)
    stretch, shift = torch.tensor([2.0, 0.01]).double(), torch.tensor([1e3, -7.0]).double()
    with torch.no_grad():
        expected = model(points, weights).points * stretch + shift
        moved = model(points * stretch + shift, weights)
    inside = (moved.weights > 0)[..., None]
    torch.testing.assert_close(moved.points, torch.where(inside, expected, 0), rtol=1e-6, atol=1e-5)


def test_padding_gets_no_gradient_and_does_not_spoil_that_of_points(model: DDEQCompleter) -> None:
    points, weights = clouds(9)
    points[0, 7], points[0, 8] = torch.nan, 1e30
    points = points.requires_grad_()
    model(points, weights).points.square().sum().backward()
    assert points.grad is not None
    assert points.grad.isfinite().all()
    assert (points.grad[weights == 0] == 0).all()
    assert (points.grad != 0).any()


def test_equilibria_and_points_keep_their_precision_under_autocast() -> None:
    torch.manual_seed(0)
    model = DDEQCompleter(replace(TINY, rtol=1e-2, max_steps=50))
    points, weights = (t.float() for t in clouds(20))
    with torch.autocast("cpu", torch.bfloat16):
        answer = model(points, weights)
    answer.points.square().sum().backward()
    assert answer.points.dtype == answer.solution.measure.points.dtype == torch.float32
    torch.testing.assert_close(answer.points, model(points, weights).points, rtol=0.1, atol=0.2)


def test_points_on_one_line_or_in_one_place_are_completed(model: DDEQCompleter) -> None:
    points = torch.zeros(2, 5, 2, dtype=torch.float64)
    points[0, :, 0] = torch.arange(5)
    with torch.no_grad():
        answer = model(points, torch.full((2, 5), 0.2, dtype=torch.float64))
    assert answer.points.isfinite().all()


def test_counts_are_those_of_the_paper_or_as_asked(model: DDEQCompleter) -> None:
    points = torch.randn(3, 80, 2, dtype=torch.float64)
    weights = torch.ones(3, 80, dtype=torch.float64)
    weights[1, 40:] = 0
    weights[2, 1:] = 0
    weights = weights / weights.sum(-1, keepdim=True)
    with torch.no_grad():
        counts = (model(points, weights).weights > 0).sum(-1)
        assert counts.tolist() == [22, 11, 1]  # 0.275 · 80 is 22 and not 22.000000000000004
        asked = model(points, weights, 7)
    assert (asked.weights == 1 / 7).all()
    with pytest.raises(ValueError, match="at least 1, got 0"):
        model(points, weights, 0)


def test_embedding_is_inverted_exactly_and_completed_points_differ(model: DDEQCompleter) -> None:
    points, weights = clouds(12)
    close(model.decode(model.encode(points)), points)
    with torch.no_grad():
        answer = model(points, weights, 12)
    assert (neighbour(answer.points, answer.weights) > 1e-3).all()
    assert answer.solution.converged.all()


@pytest.mark.parametrize("preset", ["completer", "completer-given", "pcn"])
def test_few_clouds_are_gone_through_for_many_steps(preset: str) -> None:
    train = RECIPES["folder", preset].train
    assert passes(train, 300).epochs * -(-300 // train.batch_size) >= 4000


@pytest.mark.parametrize("preset", ["completer", "completer-given", "pcn"])
def test_many_clouds_come_in_small_batches_and_few_in_large_ones(preset: str) -> None:
    many, few = RECIPES["mnist", preset].train, RECIPES["digits", preset].train
    assert (many.epochs, many.batch_size) == (5, 16)
    assert (few.epochs, few.steps, few.batch_size) == (40, 0, 64)
    rate = {"completer": 2e-3, "completer-given": 3e-3, "pcn": 1e-3}[preset]
    assert many.learning_rate == few.learning_rate == rate


def test_the_encoder_is_the_one_that_the_frame_wants() -> None:
    ours, given = PRESETS["completer"], PRESETS["completer-given"]
    assert (ours.encoder, ours.frame) == ("moments", "visible")
    assert (given.encoder, given.frame) == ("attention-moments", "given")
    for config in (ours, given):
        assert (config.damping, config.max_steps, config.training_max_steps) == (0.3, 50, 20)


def test_training_has_a_budget_of_its_own_that_is_never_the_larger() -> None:
    model = DDEQCompleter(replace(TINY, rtol=1e-12, max_steps=9, training_max_steps=4)).double()

    def taken(training: bool) -> int:
        solution = model.train(training)(*clouds(7)).solution
        return int(solution.steps.max())

    assert (taken(True), taken(False)) == (4, 9)
    model.configure(replace(model.config, max_steps=3))
    assert (taken(True), taken(False)) == (3, 3)
    model.configure(replace(model.config, training_max_steps=0))
    assert (taken(True), taken(False)) == (3, 3)


def test_exact_gradient_is_that_of_the_resolved_problem() -> None:
    torch.manual_seed(0)
    config = replace(TINY, adjoint="implicit", rtol=1e-12, adjoint_rtol=1e-12, adjoint_steps=400)
    model = DDEQCompleter(config).double()
    points, weights = clouds(7)
    parameter = model.cell.output_norm.bias
    direction = torch.randn(parameter.shape, dtype=torch.float64)

    def loss() -> Tensor:
        return model(points, weights, 3).points.square().sum()

    loss().backward()
    assert parameter.grad is not None
    ours = float((parameter.grad * direction).sum())
    values = []
    with torch.no_grad():
        for sign in (1, -1):
            parameter += sign * 1e-6 * direction
            values.append(float(loss()))
            parameter -= sign * 1e-6 * direction
    assert ours == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


def test_a_few_clouds_are_learnt_by_heart() -> None:
    torch.manual_seed(0)
    task = task_of(CompletionConfig())
    digits = Digits("train")
    batch = collate([digits[i] for i in range(6)]).map(view(DataConfig()))
    inputs = task.prepare(batch, torch.Generator().manual_seed(0))
    model = DDEQCompleter(CompleterConfig(dim=32, heads=2, hidden=64, bilinear_dim=8))
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(150):
        loss = task.loss(task.answer(model, inputs), inputs)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if float(loss.detach()) < 0.2:
            break
    # Normal points are 0.9 away, points at the mean of what is missing 0.5.
    assert float(loss.detach()) < 0.3


def task_of(config: CompletionConfig) -> Completion:
    return Completion(RunConfig("x", ("a",), DataConfig(), TINY, TrainConfig(), task=config))


@pytest.mark.parametrize("loss", ["energy", "chamfer-l1", "chamfer-l2", "sinkhorn"])
def test_records_are_per_cloud_and_leave_out_clouds_that_were_not_cut(
    loss: str, model: DDEQCompleter
) -> None:
    task = task_of(CompletionConfig(loss=loss))  # type: ignore[arg-type]
    digits = Digits("train")
    batch = collate([digits[i] for i in range(4)])
    single = batch.weights.clone()
    single[1], single[1, 0] = 0, 1  # one point: there is nothing to take away
    batch = replace(batch, weights=single).map(view(DataConfig())).to(dtype=torch.float64)
    inputs = task.prepare(batch, torch.Generator().manual_seed(0))
    answer = task.answer(model, inputs)
    records = task.records(answer, inputs, thorough=True)
    assert records["cut"].tolist() == [True, False, True, True]
    assert records["loss"].isfinite().all()
    assert records["loss"][1] == 0
    torch.testing.assert_close(task.loss(answer, inputs), records["loss"].mean())
    figures = task.figures({name: column.detach().numpy() for name, column in records.items()})
    assert figures["clouds"] == 4
    distance = energy_distance(
        answer.points, answer.weights, inputs.missing, inputs.missing_weights
    )
    assert figures["energy_distance"] == pytest.approx(float(distance[[0, 2, 3]].mean().detach()))
    assert all(np.isfinite(figures[n]) for n in ("f_score", "wasserstein", "neighbour_truth"))


@pytest.mark.parametrize("protocol", ["ddeqs", "half-space", "viewpoint", "uniform"])
def test_each_protocol_cuts(protocol: str) -> None:
    task = task_of(CompletionConfig(protocol=protocol))  # type: ignore[arg-type]
    digits = Digits("train")
    batch = collate([digits[i] for i in range(4)])
    inputs = task.prepare(batch, torch.Generator().manual_seed(0))
    assert (inputs.weights > 0).any(-1).all()
    assert (inputs.missing_weights > 0).any(-1).all()


def test_bad_configurations_are_refused() -> None:
    for config, message in (
        ({"heads": 3}, "multiple of heads"),
        ({"dim": 2, "heads": 1, "point_dim": 3}, "cannot be embedded"),
        ({"ratio": 0.0}, "ratio must be above 0"),
        ({"noise_dim": 0}, "noise_dim must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            CompleterConfig(**config)
    with pytest.raises(ValueError, match="bandwidth"):
        CompletionConfig(bandwidth=0.0)
    with pytest.raises(ValueError, match="blur above 0"):
        CompletionConfig(blur=0.0)
    with pytest.raises(ValueError, match="radius"):
        CompletionConfig(radius=-1.0)


@pytest.fixture(scope="module")
def completer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a tiny completer, as the command leaves it."""
    path = tmp_path_factory.mktemp("completer") / "run"
    arguments = ["train", "--task", "completion", "--epochs", "1", "--out", str(path), "--quiet"]
    for pair in ("dim=16", "heads=2", "hidden=16", "bilinear_dim=4", "rtol=0.01"):
        arguments += ["--set", f"model.{pair}"]
    assert main(arguments) == 0
    return path


def test_train_leaves_figures_and_pictures(completer: Path) -> None:
    result = RunFolder(completer).result()
    for name in ("energy_distance", "chamfer_l1", "chamfer_l2", "f_score", "wasserstein"):
        assert result[f"test_{name}"] > 0
    assert (completer / "completions.png").read_bytes().startswith(b"\x89PNG")
    assert (completer / "training_curves.png").is_file()


def test_complete_adds_points_to_files(
    completer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    small, large = rng.normal(5, 2, (40, 2)), rng.normal(0, 1, (8, 2))
    np.save(tmp_path / "small.npy", small)
    np.savetxt(tmp_path / "large.txt", large)
    out = tmp_path / "out"
    files = [str(tmp_path / "small.npy"), str(tmp_path / "large.txt")]
    assert main(["complete", str(completer), *files, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "small.npy: 40 points and 11 more" in said
    points, weights = read_cloud(out / "small.npz", dim=2)
    assert points.shape == (51, 2)
    assert weights is not None
    assert float(weights.sum()) == pytest.approx(1)
    np.testing.assert_allclose(points[:40], small, rtol=1e-6)
    visible = np.load(out / "small.npz")["visible"]
    assert visible.tolist() == [True] * 40 + [False] * 11
    assert (out / "large.png").read_bytes().startswith(b"\x89PNG")
    alone = complete(completer, [files[1]], tmp_path / "alone", batch_size=1)
    assert alone[0].completed == 3
    first, second = (np.load(p / "large.npz")["points"] for p in (out, tmp_path / "alone"))
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-5)
    assert main(["complete", str(completer), files[0], "--out", str(out), "--count", "4"]) == 0
    assert len(np.load(out / "small.npz")["points"]) == 44


def test_complete_errors(
    completer: Path, finished: Path, tmp_path: Path, fails: Callable[..., str]
) -> None:
    cloud = tmp_path / "a.npy"
    np.save(cloud, np.zeros((3, 2)))
    np.savez(tmp_path / "mine.npz", points=np.eye(4, 2))
    out = tmp_path / "out"
    assert "are required: --out" in fails("complete", completer, cloud)
    assert "run of classification, which completes nothing" in fails(
        "complete", finished, cloud, "--out", out
    )
    assert "count must be at least 1" in fails(
        "complete", completer, cloud, "--out", out, "--count", "0"
    )
    (tmp_path / "b").mkdir()
    np.save(tmp_path / "b" / "a.npy", np.zeros((3, 2)))
    assert "several files would be written" in fails(
        "complete", completer, cloud, tmp_path / "b" / "a.npy", "--out", out
    )
    assert "is one of the files to complete and would be replaced" in fails(
        "complete", completer, tmp_path / "mine.npz", "--out", tmp_path
    )
    assert np.load(tmp_path / "mine.npz")["points"].shape == (4, 2)
    assert "gone.npy" in fails("complete", completer, tmp_path / "gone.npy", "--out", out)
    assert "cannot make the folder" in fails("complete", completer, cloud, "--out", cloud)
    assert not out.exists()
    assert "which labels nothing" in fails("predict", completer, cloud)
