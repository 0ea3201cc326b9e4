"""The paper's models: sizes, layers, initial values and recipes are those of its published code."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ddeq_models import PRESETS, RECIPES, RunConfig
from ddeq_models.models.base import build_model
from ddeq_models.models.paper import (
    Coupling,
    PaperCell,
    PaperClassifier,
    PaperClassifierConfig,
    PaperCompleter,
    PaperCompleterConfig,
    PaperConfig,
)
from ddeq_models.report.attention import particle_attention
from ddeq_models.tasks.distances import neighbour
from set_attention import FeedForward, RowDropout, held_dropout
from wgf_solver import Status

TINY: dict[str, Any] = {"dim": 8, "heads": 2, "hidden": 12, "bilinear_dim": 4}


def clouds(batch: int = 3, n: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(batch, n, 2, generator=generator, dtype=torch.float64)
    return points, torch.full((batch, n), 1 / n, dtype=torch.float64)


@pytest.mark.parametrize(
    ("data", "preset", "shape", "parameters"),
    [
        ("mnist", "ddeq-paper", (2, 10), 773_114),
        ("modelnet40", "ddeq-paper", (3, 40), 1_173_544),
        ("mnist", "ddeq-paper-completer", (2, 10), 1_185_008),
    ],
)
def test_there_are_as_many_parameters_as_published(
    data: str, preset: str, shape: tuple[int, int], parameters: int
) -> None:
    model = build_model(RECIPES[data, preset].model.for_data(*shape))
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_the_cell_is_that_of_the_paper_built_from_torch() -> None:
    """On clouds without padding, whose points weigh the same, there is nothing that differs."""
    torch.manual_seed(0)
    cell = PaperCell(PaperConfig(**TINY, cross_blocks=2)).double().eval()
    points, weights = clouds()
    z = torch.randn(3, 5, 8, dtype=torch.float64)

    def block(module: Any, x: Tensor, y: Tensor) -> Tensor:
        theirs = nn.MultiheadAttention(8, 2, batch_first=True).double()
        ours = module.attention.query_key_value
        theirs.load_state_dict(
            {
                "in_proj_weight": ours.weight,
                "in_proj_bias": ours.bias,
                "out_proj.weight": module.attention.output.weight,
                "out_proj.bias": module.offset,
            }
        )
        h = module.norm(x + theirs(x, y, y)[0])
        return feed(module.map, h)

    def feed(module: Any, h: Tensor) -> Tensor:
        inner = module.inner
        out: Tensor = module.norm(h + inner.outer(inner.inner(h).relu()))
        return out

    with torch.no_grad():
        for module in cell.modules():
            if hasattr(module, "offset"):
                nn.init.normal_(module.offset)
        x = cell.embed(points)
        h = cell.reduce(z)
        matrix = (cell.bilinear.weight * x.mean(1)[:, None, None]).sum(-1)
        met = cell.bilinear_norm(h @ matrix + cell.bilinear.bias).relu()
        h = cell.particle_norm(cell.expand(cell.sum_norm(h + met)) + z)
        y = block(cell.encoder, cell.lift(x), cell.lift(x))
        h = block(cell.self_block, h, h)
        for module in cell.cross_blocks:
            h = block(module, h, y)
        expected = feed(cell.output, h)
        found = cell(z, None, cell.encode(points, weights))
    torch.testing.assert_close(found, expected)


def test_initial_values_are_those_of_the_published_code() -> None:
    torch.manual_seed(0)
    cell = PaperCell(PaperConfig(bilinear_dim=32))
    bilinear = cell.bilinear
    assert float(bilinear.weight.detach().std()) == pytest.approx(1, abs=0.02)
    assert 0.7 < float(bilinear.bias.detach().std()) < 1.3
    projection = cell.encoder.attention.query_key_value.weight
    assert float(projection.detach().abs().max()) == pytest.approx(
        (6 / 512) ** 0.5, rel=1e-3
    )  # Xavier
    for layer in (cell.output.inner.outer, cell.encoder.attention.output):
        assert float(layer.weight.detach().abs().max()) == pytest.approx(
            layer.in_features**-0.5, rel=1e-2
        )  # PyTorch's own
    assert (cell.encoder.offset == 0).all()


def test_dropout_is_of_hidden_features_alone_and_held_in_a_solve() -> None:
    cell = PaperCell(PaperConfig(**TINY, cross_blocks=3))
    inner = [module for module in cell.modules() if isinstance(module, FeedForward)]
    assert len(inner) == 6  # of the input, of the particles, of three that attend; and the output's
    assert all(one.dropout.p == 0.1 and one.activation == "relu" for one in inner)
    dropouts = [module for module in cell.modules() if isinstance(module, RowDropout | nn.Dropout)]
    assert dropouts == [one.dropout for one in inner]
    points, weights = (t.float() for t in clouds())
    z = torch.randn(3, 4, 8)
    context = cell.encode(points, weights)
    with held_dropout(cell):
        assert torch.equal(cell(z, None, context), cell(z, None, context))


def test_particles_start_by_chance_in_training_and_never_in_evaluation() -> None:
    torch.manual_seed(0)
    config = PaperClassifierConfig(**TINY, velocity="through", integrator="euler", max_steps=1)
    model = PaperClassifier(replace(config, dropout=0.0)).double()
    with torch.no_grad():
        starts = [model(*clouds(), trajectory=True).solution.trajectory[0] for _ in range(2)]
        assert not torch.equal(starts[0], starts[1])
        assert not torch.equal(starts[0][0], starts[0][1])  # of each cloud its own
        model.eval()
        starts = [model(*clouds(), trajectory=True).solution.trajectory[0] for _ in range(2)]
        assert torch.equal(starts[0], starts[1])
        assert torch.equal(starts[0][0], starts[0][1])


def test_what_the_particles_look_at_can_be_drawn() -> None:
    torch.manual_seed(0)
    model = PaperClassifier(PaperClassifierConfig(**TINY, cross_blocks=2, max_steps=3)).double()
    points, weights = clouds()
    context = model.eval().encode(points, weights)
    with torch.no_grad():
        particles = model.equilibrium(context).measure.points
    seen = particle_attention(model, context, particles)
    torch.testing.assert_close(seen.sum(-1), torch.ones(3, 10).double())
    assert torch.equal(model.seen(points, weights)[0], points)


def test_the_flow_of_the_preset_does_not_settle() -> None:
    paper = PRESETS["ddeq-paper"]
    assert (paper.particles, paper.dim, paper.step, paper.max_steps) == (10, 128, 5.0, 200)
    torch.manual_seed(0)
    model = PaperClassifier(replace(paper, max_steps=12)).eval()
    with torch.no_grad():
        solution = model(*(t.float() for t in clouds(1))).solution
    assert solution.status.tolist() == [Status.MAX_STEPS]  # a constant step of 5 cannot


@pytest.mark.parametrize(
    ("data", "preset", "switch"),
    [
        ("mnist", "ddeq-paper", None),
        ("fashion-mnist", "ddeq-paper", None),
        ("modelnet40", "ddeq-paper", 16),
        ("mnist", "ddeq-paper-completer", 5),
    ],
)
def test_the_switch_is_in_the_epoch_of_the_published_code(
    data: str, preset: str, switch: int | None
) -> None:
    recipe = RECIPES[data, preset]
    run = RunConfig(preset, (), recipe.data, recipe.model, recipe.train, task=recipe.task)

    def at(epoch: int) -> tuple[float, int]:
        model: Any = run.model_at(epoch)
        return model.step, model.max_steps

    last = recipe.train.epochs if switch is None else switch - 1
    assert {at(epoch) for epoch in range(1, last + 1)} == {(5.0, 200)}
    assert switch is None or at(switch) == at(recipe.train.epochs) == (1.0, 1000)


def test_vertices_of_solids_are_z_scored_first() -> None:
    assert RECIPES["modelnet40", "ddeq-paper"].data.sampling == "z-scored-vertices"
    assert RECIPES["modelnet10", "ddeq-paper"].data.normalise == "z-score"


def test_a_completion_is_learnt_on_whole_clouds_cut_as_published() -> None:
    for data in ("mnist", "digits"):
        task: Any = RECIPES[data, "ddeq-paper-completer"].task
        assert (task.together, task.whole, task.bandwidth, task.itself) == (True, True, 1.0, False)


def completer(**settings: Any) -> PaperCompleter:
    """One that settles, at its only equilibrium: a contraction, by the labelled residual."""
    torch.manual_seed(0)
    config = PaperCompleterConfig(**TINY, rtol=1e-11, max_steps=300, **settings)
    model = PaperCompleter(config).double().eval()
    nn.init.constant_(model.cell.output.norm.weight, 0.3)
    return model


def test_visible_points_stay_and_the_free_ones_are_at_rest() -> None:
    model, (points, weights) = completer(), clouds()
    points[0, 4:] = torch.nan
    weights[0] = torch.tensor([0.25, 0.25, 0.25, 0.25, 0, 0])
    with torch.no_grad():
        answer = model(points, weights, 4)
        particles, visible = answer.solution.measure.points, weights > 0
        assert torch.equal(particles[:, :6][visible], model.embedding(points)[visible])
        assert answer.solution.converged.all()
        masses = answer.solution.measure.weights
        torch.testing.assert_close(masses[:, 6:].sum(-1), torch.full((3,), 0.275 / 1.275).double())
        image = model.cell(particles, None, model.cell.encode(points, weights), masses)
        torch.testing.assert_close(image[:, 6:], particles[:, 6:])
        torch.testing.assert_close(answer.points, particles[:, 6:, :2])
    assert answer.points.shape == (3, 4, 2)
    assert (model(*clouds(n=80)).weights > 0).sum(-1).tolist() == [22] * 3


def test_free_particles_without_marks_end_in_one_point() -> None:
    """The theorem of collapse: an equilibrium of particles that are alike is a single place."""
    points, weights = clouds()
    with torch.no_grad():
        answer = completer()(points, weights, 6)
    assert (neighbour(answer.points, answer.weights) < 1e-9).all()
    assert (neighbour(points, weights) > 0.1).all()


def test_free_particles_start_by_chance_in_training_where_the_visible_ones_are() -> None:
    model, (points, weights) = completer(velocity="residual"), clouds(n=400)
    points = points * torch.tensor([0.1, 5.0]).double() + 7

    def starts() -> Tensor:
        with torch.no_grad():
            path = model(points, weights, 500, trajectory=True).solution.trajectory
        return model.embedding.inverse(path[0][:, 400:])

    model.config = replace(model.config, max_steps=1)
    assert torch.equal(starts(), starts())
    model.train()
    drawn = starts()
    assert not torch.equal(drawn, starts())
    torch.testing.assert_close(drawn.mean(1), points.mean(1), rtol=0, atol=0.8)
    torch.testing.assert_close(drawn.std(1), points.std(1), rtol=0.15, atol=0)


def test_the_embedding_is_inverted_and_its_scale_acts_on_nothing() -> None:
    torch.manual_seed(0)
    embedding, points = Coupling(3, 10).double(), torch.randn(2, 5, 3).double()
    particles = embedding(points)
    assert torch.equal(embedding.inverse(particles), points)
    assert (particles[..., 3:5] == 0).all()
    torch.testing.assert_close(particles[..., 5:], embedding.shift(particles[..., :5]))
    particles.square().sum().backward()
    assert all((p.grad == 0).all() for p in embedding.scale.parameters())
    assert all((p.grad != 0).any() for p in embedding.shift.parameters())


@pytest.mark.parametrize("name", ["embedding.shift.2.bias", "cell.self_block.offset"])
def test_the_exact_gradient_is_that_of_the_resolved_problem(name: str) -> None:
    """Also through the visible particles, to where they are embedded."""
    model = completer(adjoint="implicit", adjoint_rtol=1e-12, adjoint_steps=200)
    parameter = model.get_parameter(name)
    points, weights = clouds()
    direction = torch.randn(parameter.shape, dtype=torch.float64)

    def loss() -> Tensor:
        return model(points, weights, 3).points.square().sum()

    loss().backward()
    assert parameter.grad is not None
    ours, values = float((parameter.grad * direction).sum()), []
    with torch.no_grad():
        for sign in (1, -1):
            parameter += sign * 1e-5 * direction
            values.append(float(loss()))
            parameter -= sign * 1e-5 * direction
    assert ours == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)
    assert abs(ours) > 1e-6


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="dim must be a multiple of heads, got 128 and 3"):
        PaperClassifierConfig(heads=3)
    with pytest.raises(ValueError, match="an even dim, 6 or more; got dim=4"):
        PaperCompleterConfig(point_dim=3, dim=4, heads=2)
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        completer()(*clouds(), 0)
