"""The encoder of points: laws, features beside coordinates, thinning, and what it is fitted to."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ddeq_models import DDEQ, PRESETS, DDEQConfig
from ddeq_models.models.encoder import PointEncoder


def clouds(count: int = 5, n: int = 9, d: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(count, n, d, generator=generator).double()
    weights = torch.rand(count, n, generator=generator).double() + 0.1
    weights[0, 4:] = 0
    points[0, 4:] = math.nan
    return points, weights / weights.sum(-1, keepdim=True), torch.arange(count) % 2


def encoder(d: int = 2, **settings: object) -> PointEncoder:
    torch.manual_seed(0)
    made = PointEncoder(d, 0, 16, pooled=24, **settings).double()
    made.fit(*clouds(d=d))
    return made.eval()


def test_laws():
    points, weights, _ = clouds()
    module = encoder()
    rows, masses, places, summary = module(points, weights)
    assert rows.shape == (5, 9, 16)
    assert torch.equal(places, points) or places.isnan().any()
    assert summary.shape == (5, 16)
    assert torch.equal(masses, weights)
    order = torch.randperm(9)
    again, _, _, same = module(points[:, order], weights[:, order])
    inside = weights[:, order] > 0
    torch.testing.assert_close(again[inside], rows[:, order][inside])
    torch.testing.assert_close(same, summary)
    for i in range(5):  # a batch is its clouds
        real = weights[i] > 0
        alone, _, _, told = module(points[i : i + 1, real], weights[i : i + 1, real])
        torch.testing.assert_close(alone[0], rows[i, real])
        torch.testing.assert_close(told[0], summary[i])
    assert module(points[:, :0], weights[:, :0]).summary.isfinite().all()


TOKENS = {"tokens": (5, 3), "widths": (8, 12, 16), "neighbours": 4}


def test_tokens_are_places_of_the_cloud_and_share_its_mass():
    points, weights, _ = clouds()
    rows, masses, places, summary = encoder(**TOKENS)(points, weights)
    assert rows.shape == (5, 3, 16)
    torch.testing.assert_close(masses.sum(-1), torch.ones(5).double())
    for i in range(5):
        real = points[i][weights[i] > 0]
        apart = torch.cdist(places[i][masses[i] > 0], real).amin(-1)
        torch.testing.assert_close(apart, torch.zeros_like(apart), atol=1e-7, rtol=0)
    assert summary.isfinite().all()


def test_a_token_knows_what_lies_about_it():
    points, weights, _ = clouds()
    few, many = (
        encoder(description=False, **{**TOKENS, "neighbours": count}) for count in (1, 6)
    )  # one: itself
    many.load_state_dict(few.state_dict())
    one, other = few(points, weights), many(points, weights)
    assert torch.equal(one.places, other.places)
    assert not torch.allclose(one.rows, other.rows)


def test_the_residual_maps_are_where_the_configuration_says():
    stages = {"tokens": (4, 2), "widths": (8, 8, 8)}
    (first, second) = encoder(**stages, residual_maps=(1, 3)).stages
    for stage in (first, second):
        assert (len(stage.before), len(stage.after)) == (1, 3)
    model = DDEQ(replace(PRESETS["ddeq"], **stages, residual_maps=(2, 0)))
    for stage in model.cell.points.stages:
        assert (len(stage.before), len(stage.after)) == (2, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": (4,)}, "widths must hold one more than tokens"),
        ({"widths": (4,)}, "widths must hold one more than tokens"),
        ({"tokens": (4,), "widths": (4, 4), "encoder": "attention"}, "tokens need the encoder"),
        (
            {"tokens": (4,), "widths": (4, 4), "encoder": "attention-moments"},
            "tokens need the encoder moments, not attention-moments",
        ),
        ({"tokens": (0,), "widths": (4, 4)}, "tokens must be at least 1"),
        ({"residual_maps": (-1, 2)}, "residual_maps must be at least 0"),
    ],
)
def test_tokens_that_do_not_go_together(change, message):
    with pytest.raises(ValueError, match=message):
        replace(PRESETS["ddeq"], **change)


def test_only_points_that_know_their_local_moments_have_scales():
    """`attention` is the paper's: what was saved with it has the default of `scales`."""
    bare = DDEQ(DDEQConfig(point_dim=3, encoder="attention", scales=2)).cell
    assert bare.local is None
    config = DDEQConfig(point_dim=3, coordinates=2, encoder="attention-moments", scales=2)
    cell = DDEQ(config).cell
    assert (cell.local.dim, cell.local.scales) == (2, 2)
    width = bare.lift[0].in_features + cell.local.out_dim
    assert cell.lift[0].in_features == cell.embed[0].in_features == width
    assert DDEQ(replace(config, scales=0)).cell.local is None


def test_self_attention_is_among_points_that_know_their_local_moments():
    torch.manual_seed(0)
    config = DDEQConfig(point_dim=3, coordinates=2, encoder="attention-moments", scales=2, dim=8)
    cell = DDEQ(replace(config, hidden=8, heads=2)).cell.double()
    points, weights, _ = clouds(d=3)
    points = torch.where((weights > 0)[..., None], points, 0)
    rows = cell.encode(points, weights).rows
    columns = torch.cat([points, cell.local(points[..., :2], weights)], -1)
    by_hand = cell.encoder[0](cell.lift(columns), weights)
    real = weights > 0
    torch.testing.assert_close(rows[real], by_hand[real])


def test_without_the_description_it_is_a_function_of_the_measure():
    points, weights, _ = clouds()
    module = encoder(description=False)
    split = torch.cat([weights[1:2, :1] / 2, weights[1:2, :1] / 2, weights[1:2, 1:]], 1)
    double = torch.cat([points[1:2, :1], points[1:2]], 1)
    torch.testing.assert_close(
        module(double, split).summary,
        module(points[1:2], weights[1:2]).summary,
        rtol=1e-6,
        atol=1e-6,
    )


@pytest.mark.parametrize("value", [0.0, 0.3, 1234.5])
def test_a_column_that_is_the_same_everywhere_tells_nothing(value):
    points, weights, labels = (part.float() if part.is_floating_point() else part
                               for part in clouds(40, 12, 3))  # fmt: skip
    points = torch.where((weights > 0)[..., None], points, 0)
    points[..., 2] = value
    torch.manual_seed(0)
    module = PointEncoder(3, 0, 16, pooled=24)
    module.fit(points, weights, labels)
    assert module.unit[2] == module.reach[2] == 1
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    module.eval()
    torch.testing.assert_close(
        module(points[:, order], weights[:, order]).summary,
        module(points, weights).summary,
        rtol=0, atol=1e-4,
    )  # fmt: skip


def test_points_in_one_place_have_no_size_of_their_own():
    module = encoder(description=False).float()
    generator = torch.Generator().manual_seed(0)
    place = torch.tensor([-102.4514, -90.1582])
    alone = module(place.expand(1, 1, 2), torch.ones(1, 1)).summary
    for n in range(2, 50):  # of some of them the sums do not cancel
        weights = torch.rand(1, n, generator=generator) + 0.01
        several = module(place.expand(1, n, 2), weights / weights.sum()).summary
        torch.testing.assert_close(several, alone, rtol=0, atol=1e-4)


def test_a_set_in_another_unit_and_place_is_encoded_alike():
    points, weights, labels = clouds()
    torch.manual_seed(0)
    other = PointEncoder(2, 0, 16, pooled=24).double()
    moved = 40 * points + torch.tensor([3.0, -8.0])
    other.fit(moved, weights, labels)
    torch.testing.assert_close(
        other.eval()(moved, weights).summary, encoder()(points, weights).summary
    )


def test_the_frame_of_the_set_is_hidden_in_training_alone():
    points, weights, _ = clouds()
    module = encoder(hiding=0.5, dropout=0.0, description=False)
    module.train()
    torch.manual_seed(1)
    first = module(points, weights).summary
    assert not torch.allclose(first, module(points, weights).summary)
    module.eval()
    assert torch.equal(module(points, weights).summary, module(points, weights).summary)


def test_features_have_no_geometry():
    points, weights, labels = clouds(d=3)
    torch.manual_seed(0)
    module = PointEncoder(3, 2, 16, pooled=24, description=False).double()
    module.fit(points, weights, labels)
    module.eval()
    assert module.local is not None
    assert module.local.dim == 2
    before = module._views(torch.cat([points, torch.ones_like(points[..., :1])], -1), weights)
    shifted = points.clone()
    shifted[..., 2] += torch.randn(9).double()
    after = module._views(torch.cat([shifted, torch.ones_like(points[..., :1])], -1), weights)
    assert not torch.allclose(before[..., 2], after[..., 2])
    torch.testing.assert_close(before[..., 3:], after[..., 3:])


def test_large_clouds_are_thinned_the_same_way_in_any_order():
    points, weights, _ = clouds(n=40)
    module = encoder(rows=12)
    rows, masses, _, summary = module(points, weights)
    assert rows.shape == (5, 12, 16)
    torch.testing.assert_close(masses.sum(-1), torch.ones(5).double())
    order = torch.randperm(40)
    torch.testing.assert_close(module(points[:, order], weights[:, order]).summary, summary)
    more = torch.cat([points, torch.full((5, 3, 2), math.nan).double()], 1)
    padded = torch.cat([weights, torch.zeros(5, 3).double()], 1)
    torch.testing.assert_close(module(more, padded).summary, summary)
    # Nor does rounding choose: it would exchange two of those that are next to each other at most.
    noise = 1e-9 * torch.randn(5, 40, 2, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(module(points + noise, weights).summary, summary, rtol=0, atol=1e-6)
    line, mass = torch.arange(40).double()[None, :, None].expand(1, 40, 2), weights[:1] * 0 + 1
    mass[:, 24:] = 0
    assert module.seen(line, mass)[0][0, :, 0].tolist() == list(range(1, 24, 2))
    mass[:, 7:] = 0
    assert module.seen(line, mass)[1][0].tolist() == [1 / 7] * 7 + [0] * 5
    module.train()
    assert not torch.equal(module(points, weights)[0], module(points, weights)[0])
    # The description is that of all points.
    whole = encoder()
    whole.load_state_dict(module.state_dict())
    assert torch.equal(module._described(points, weights), whole._described(points, weights))
    summaries = [each.eval()(points, weights).summary for each in (module, whole)]
    assert not torch.allclose(*summaries)


@pytest.mark.parametrize(
    "change", [{}, {"description": False, "scales": 0}, {"rows": 6}, TOKENS, {"rows": 6, **TOKENS}]
)
def test_the_classifier_on_it(change):
    config = replace(PRESETS["ddeq"], dim=16, heads=2, hidden=16, pooled=24, classes=2, **change)
    assert isinstance(config, DDEQConfig)
    torch.manual_seed(0)
    model = DDEQ(config).double()
    points, weights, labels = clouds()
    model.fit(points, weights, labels)
    model.eval()
    logits = model(points, weights).logits
    order = torch.randperm(9)
    torch.testing.assert_close(
        model(points[:, order], weights[:, order]).logits, logits, rtol=1e-4, atol=1e-4
    )
    state = model.state_dict()
    torch.manual_seed(1)
    again = DDEQ(config).double()
    again.load_state_dict(state)  # units and quantiles are part of it
    assert torch.equal(again.eval()(points, weights).logits, logits)


def test_damping_makes_a_stronger_contraction():
    torch.manual_seed(0)
    points, weights, labels = clouds()
    steps = []
    for damping in (1.0, 0.2):
        torch.manual_seed(0)
        model = DDEQ(replace(PRESETS["ddeq"], dim=16, heads=2, hidden=16, damping=damping)).double()
        model.fit(points, weights, labels)
        solution = model.eval()(points, weights).solution
        assert solution is not None
        steps.append(float(solution.steps.double().mean()))
    assert steps[1] < steps[0]
