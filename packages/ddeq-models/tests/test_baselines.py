from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ddeq_data import Digits, ZScore, collate, farthest_points
from ddeq_models.models.base import ModelConfig, Output, build_model
from ddeq_models.models.baselines import (
    DeepSetsConfig,
    DGCNNConfig,
    PointNet2Config,
    PointNetConfig,
    PointTransformerConfig,
    SetTransformerConfig,
)
from ddeq_models.models.baselines.dgcnn import EdgeConv
from ddeq_models.models.baselines.layers import PointPerceptron
from ddeq_models.models.baselines.point_transformer import TransitionDown, sampled
from ddeq_models.recipes import RECIPES
from ddeq_models.registry import MODELS

# Small enough for a test; depth, and so every path through the code, as in the paper.
SMALL: dict[str, ModelConfig] = {
    "dgcnn": DGCNNConfig(neighbours=5, widths=(8, 16), joint=16, classes=4),
    "deep sets": DeepSetsConfig(dim=16, classes=4),
    "point transformer": PointTransformerConfig(widths=(8, 16, 16), neighbours=5, classes=4),
    "pointnet": PointNetConfig(classes=4),
    "pointnet++": PointNet2Config(
        groups=(6, 3), neighbours=(4, 3), radii=(0.7, 1.5), widths=(8, 8, 16), classes=4
    ),
    "pointnet without transforms": PointNetConfig(classes=4, transforms=False),
    "set transformer": SetTransformerConfig(dim=16, heads=2, inducing=3, classes=4),
}
EVERY = pytest.mark.parametrize("name", SMALL)


def model_of(name: str) -> nn.Module:
    """In double precision, its normalisations with running averages that are not 0 and 1."""
    torch.manual_seed(0)
    model = build_model(SMALL[name]).double()
    points, weights = clouds(4, 12)
    for _ in range(3):
        model.train()(points, weights)
    return model.eval()


def clouds(batch: int, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(batch, n, 2, generator=generator, dtype=torch.float64)
    weights = torch.rand(batch, n, generator=generator, dtype=torch.float64) + 0.1
    weights[0, n // 2 :] = 0  # padding
    return points, weights / weights.sum(-1, keepdim=True)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@EVERY
@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_batch_of_one_small_cloud_trains(name: str, n: int) -> None:
    torch.manual_seed(0)
    model = build_model(SMALL[name]).train()
    answer = model(torch.randn(1, n, 2), torch.full((1, n), 1 / n))
    loss = answer.logits.sum() + (0 if answer.penalty is None else answer.penalty.sum())
    loss.backward()
    assert answer.logits.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@EVERY
def test_padding_gets_no_gradient(name: str) -> None:
    model, (points, weights) = model_of(name), clouds(3, 9)
    points = points.requires_grad_()
    model.train()(points, weights).logits.square().sum().backward()
    assert points.grad is not None
    assert points.grad.isfinite().all()
    assert (points.grad[weights == 0] == 0).all()
    assert (points.grad != 0).any()


@EVERY
def test_empty_cloud_has_a_finite_answer_and_leaves_the_others_alone(name: str) -> None:
    model, (points, weights) = model_of(name), clouds(3, 9)
    expected = model(points, weights).logits
    gone = weights.clone()
    gone[1] = 0
    answer = model(points, gone).logits
    assert answer.isfinite().all()
    assert torch.equal(answer[[0, 2]], expected[[0, 2]])


def parameters(config: ModelConfig) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build_model(config).parameters())


def linear(*widths: int, bias: bool = True) -> int:
    return sum(a * b + bias * b for a, b in pairwise(widths))


def normalised(*widths: int) -> int:
    """Linear maps, each with a batch normalisation."""
    return linear(*widths) + 2 * sum(widths[1:])


def test_parameters_are_those_of_the_papers() -> None:
    # Qi et al. (2017), table 6: 3.5 million, and 0.8 for "PointNet (vanilla)".
    assert round(parameters(PointNetConfig(3, classes=40)) / 1e6, 1) == 3.5
    assert round(parameters(PointNetConfig(3, classes=40, transforms=False)) / 1e6, 1) == 0.8
    assert parameters(PointNetConfig(3, classes=40, width=8, transforms=False)) == (
        normalised(3, 8, 8, 8, 16, 128, 64, 32) + linear(32, 40)
    )
    # The other papers tell layers and no count: these are the layers they tell, counted by hand.
    assert parameters(DeepSetsConfig(3, classes=40)) == (
        linear(3, 256, 256, 256) + linear(3, 256, 256, 256, bias=False) + linear(256, 256, 40)
    )
    mab = linear(256, 256) + linear(256, 512) + linear(256, 256, bias=False)  # q, k and v, out
    mab += linear(256, 256, 256) + 4 * 256  # feed-forward map, two norms
    assert parameters(SetTransformerConfig(3, classes=40)) == (
        linear(3, 256)
        + 2 * (16 * 256 + 2 * mab)  # two induced blocks
        + (256 + linear(256, 256, 256) + mab)  # pooling: seed, perceptron, block
        + linear(256, 40)
    )
    assert parameters(PointNet2Config(3, classes=40)) == (
        normalised(3, 64, 64, 128)
        + normalised(3 + 128, 128, 128, 256)
        + normalised(3 + 256, 256, 512, 1024)
        + normalised(1024, 512, 256)
        + linear(256, 40)
    )
    edges = ((6, 64), (128, 64), (128, 128), (256, 256), (512, 1024), (2048, 512))
    assert parameters(DGCNNConfig(3, classes=40)) == (
        sum(linear(a, b, bias=False) + 2 * b for a, b in edges)
        + normalised(512, 256)
        + linear(256, 40)
    )
    widths = (32, 64, 128, 256, 512)
    blocks = sum(
        2 * normalised(w, w)  # before and after
        + 3 * linear(w, w)  # query, key, value
        + linear(3, w, w)  # offsets
        + linear(w, w, w)  # scores
        for w in widths
    )
    downs = sum(normalised(a, b) for a, b in pairwise(widths))
    assert parameters(PointTransformerConfig(3, classes=40)) == (
        normalised(3, 32, 32) + blocks + downs + normalised(512, 256, 128) + linear(128, 40)
    )


def test_an_edge_convolution_is_the_maximum_over_edges() -> None:
    torch.manual_seed(0)
    layer = EdgeConv(3, 4, neighbours=3).double().eval()
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    weights = torch.full((2, 6), 1 / 6, dtype=torch.float64)
    weights[1, 4:] = 0
    out = layer(x, weights)
    for b, n in ((0, 6), (1, 4)):
        near = torch.cdist(x[b, :n], x[b, :n]).topk(3, largest=False).indices
        for i in range(n):
            edges = torch.cat([x[b, i].expand(3, 3), x[b, near[i]] - x[b, i]], -1)
            expected = functional.leaky_relu(layer.linear(edges) / (1 + 1e-5) ** 0.5, 0.2)
            close(out[b, i], expected.amax(0))
    assert (out[1, 4:] == 0).all()


def test_groups_of_pointnet2_are_balls_in_the_unit_of_the_cloud() -> None:
    torch.manual_seed(0)
    radius, unit = 0.8, 7.0
    config = PointNet2Config(groups=(3,), neighbours=(9,), radii=(radius,), widths=(2, 4))
    model = build_model(config).double().eval()
    points, weights = (part[1:] for part in clouds(2, 9))
    seen: list[Tensor] = []
    model.stages[0].register_forward_pre_hook(lambda _, given: seen.extend(given))
    model(unit * points, weights)
    _, offsets, _, shares = seen
    extent = (points - (weights[..., None] * points).sum(1)).norm(dim=-1).max()
    middles = points[0, farthest_points(points, weights, 3)[0]]
    inside = (torch.cdist(middles, points[0]) <= radius * extent).sum(-1)
    assert 3 < inside.sum() < 27
    assert (shares[0] > 0).sum(-1).tolist() == inside.tolist()
    largest = (offsets.norm(dim=-1) * (shares > 0)).max() / unit
    assert 0 < largest <= radius * extent


def test_recipes_of_the_papers_on_solids_and_smaller_sizes_elsewhere() -> None:
    dgcnn, pointnet2 = RECIPES["modelnet40", "dgcnn"], RECIPES["modelnet10", "pointnet2"]
    assert (dgcnn.data.name, pointnet2.data.name) == ("modelnet40", "modelnet10")
    assert dgcnn.model == DGCNNConfig()
    assert pointnet2.model == PointNet2Config()
    assert (dgcnn.train.schedule, dgcnn.train.label_smoothing) == ("cosine", 0.2)
    assert (dgcnn.data.stretch, dgcnn.data.shift, dgcnn.data.scale) == (1 / 3, 0.2, 0)
    assert (pointnet2.train.schedule, pointnet2.train.decay_factor) == ("step", 0.7)
    assert (pointnet2.data.jitter, pointnet2.data.scale) == (0.01, 0.25)
    for name in ("mnist", "digits", "shapes-3d"):
        assert RECIPES[name, "pointnet2"].model.groups == (64, 16)
        assert RECIPES[name, "dgcnn"].model.neighbours == 10
        assert RECIPES[name, "dgcnn"].data == RECIPES[name, "pointnet"].data


@EVERY
def test_a_few_digits_are_learnt_by_heart(name: str) -> None:
    clouds = Digits("train")
    batch = collate([clouds[i] for i in range(12)]).map(ZScore())
    torch.manual_seed(0)
    changes: dict[str, Any] = {"classes": 10}
    if name == "point transformer":
        changes["widths"] = (16, 32)
    elif name in ("deep sets", "set transformer"):
        changes["dim"] = 48
    config = replace(SMALL[name], **changes, dropout=0.0)
    model = build_model(config).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        answer: Output = model(batch.points, batch.weights)
        loss = functional.cross_entropy(answer.logits, batch.labels)
        if answer.penalty is not None:
            loss = loss + answer.penalty.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if float(loss.detach()) < 0.05:
            break
    with torch.no_grad():
        right = model(batch.points, batch.weights).logits.argmax(-1) == batch.labels
    assert right.all()


def test_weights_saved_before_the_norm_was_set_attentions_are_read() -> None:
    torch.manual_seed(0)
    made = PointPerceptron(2, 3).double()
    made(torch.randn(4, 5, 2).double(), torch.full((4, 5), 0.2).double())
    new = {"weight": "gain", "running_mean": "mean", "running_variance": "variance"}
    saved = {}
    for name, tensor in made.state_dict().items():
        place, _, last = name.rpartition(".")
        saved[f"{place}.{new.get(last, last) if 'norms' in place else last}"] = tensor
    assert "norms.0.variance" in saved
    read = PointPerceptron(2, 3).double()
    read.load_state_dict(saved)
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), read.parameters(), strict=True))
    assert torch.equal(read.norms[0].running_mean, made.norms[0].running_mean)


def test_sampling_keeps_a_quarter_of_each_cloud_and_never_padding() -> None:
    points, weights = clouds(3, 21)
    kept, inside = sampled(points, weights, 4)
    assert inside.sum(-1).tolist() == [3, 6, 6]
    assert (weights.gather(1, kept)[inside] > 0).all()
    for row, there in zip(kept, inside, strict=True):
        assert len(set(row[there].tolist())) == int(there.sum())
    near = torch.tensor([[[0.0], [1e-30], [3e-30]]])  # whose squares are 0
    assert sampled(near, torch.full((1, 3), 1 / 3), 1)[1].sum() == 1


def test_a_point_that_is_kept_has_the_weight_of_those_nearest_to_it() -> None:
    down = TransitionDown(2, 3, 1, 2, 2).double().eval()
    points = torch.tensor([[[0.0], [1.0], [10.0], [11.5], [12.0], [torch.nan]]]).double()
    weights = torch.tensor([[0.1, 0.2, 0.1, 0.1, 0.5, 0.0]]).double()
    x = torch.randn(1, 6, 2).double()
    pooled, places, mass = down(x, points.nan_to_num(), weights)
    assert places.tolist() == [[[0.0], [12.0], [10.0]]]  # the mean is 8.4
    torch.testing.assert_close(mass, torch.tensor([[0.3, 0.6, 0.1]]).double())
    rows = down.rows(x, weights)[0]
    expected = torch.stack([rows[[0, 1]], rows[[3, 4]], rows[[2, 3]]]).amax(1)
    torch.testing.assert_close(pooled[0], expected)


def test_every_baseline_is_registered_under_its_kind() -> None:
    for kind, (config, _) in MODELS.items():
        assert config.kind == kind


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of heads"):
        SetTransformerConfig(dim=10, heads=4)
    with pytest.raises(ValueError, match="widths must not be empty"):
        PointTransformerConfig(widths=())
    with pytest.raises(ValueError, match="widths must not be empty; a DGCNN"):
        DGCNNConfig(widths=())
    with pytest.raises(ValueError, match="an entry for each stage, and widths one more, got 1, 2"):
        PointNet2Config(groups=(8,))
    with pytest.raises(ValueError, match="radii must be above 0, got 0"):
        PointNet2Config(radii=(0.2, 0.0))
