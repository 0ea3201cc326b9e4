"""The paper's models: sizes, layers, initial values and recipes are those of its published code."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ddeq_models import PRESETS, RECIPES, RunConfig
from ddeq_models.models.base import build_model
from ddeq_models.models.paper import PaperCell, PaperClassifier, PaperClassifierConfig, PaperConfig
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
        product = torch.einsum("bnp,phd,bd->bnh", h, cell.bilinear.weight, x.mean(1))
        met = cell.bilinear_norm(product + cell.bilinear.bias).relu()
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


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="dim must be a multiple of heads, got 128 and 3"):
        PaperClassifierConfig(heads=3)
