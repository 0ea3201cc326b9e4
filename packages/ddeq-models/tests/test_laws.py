"""Each model, end to end, is a function of the measures it is given, cloud by cloud.

Appended padding, the order of the points, a point split in two, and the other clouds of the batch
change no logit, no number and no completed point.
"""

import functools

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from ddeq_models.models.base import ModelConfig, build_model
from ddeq_models.models.baselines import (
    DeepSetsConfig,
    DeepSetsRegressorConfig,
    DGCNNConfig,
    PCNConfig,
    PointNet2Config,
    PointNetConfig,
    PointNetSegmenterConfig,
    PointTransformerConfig,
    SetTransformerConfig,
)
from ddeq_models.models.classifier import DDEQConfig
from ddeq_models.models.completer import CompleterConfig
from ddeq_models.models.paper import PaperClassifierConfig, PaperCompleterConfig
from ddeq_models.models.regressor import DDEQRegressorConfig
from ddeq_models.models.repeated import RepeatedConfig
from ddeq_models.models.segmenter import DDEQSegmenterConfig
from ddeq_models.registry import MODELS

SOLVER = ("rtol", "max_steps")
CELL = {"dim": 16, "heads": 2, "hidden": 16, "bilinear_dim": 4, "rtol": 1e-9, "max_steps": 300}
# The paper's flow, wherever it is by then.
FLOW = {"velocity": "through", "integrator": "euler", "step": 5.0, "max_steps": 12}

# Small enough for a test; every path through the code as in the presets.
SMALL: dict[str, ModelConfig] = {
    "ddeq": DDEQConfig(particles=4, octaves=2, interacting=True, **CELL),
    "ddeq, self-attention": DDEQConfig(particles=4, norm="pre", self_blocks=1, **CELL),
    "ddeq, attention among local moments": DDEQConfig(
        particles=4, encoder="attention-moments", scales=2, **CELL
    ),
    "ddeq, unmarked flow": DDEQConfig(particles=4, marked=False, **{**CELL, **FLOW}),
    "ddeq, tokens": DDEQConfig(
        particles=4,
        encoder="moments",
        description=False,
        tokens=(6, 3),
        widths=(8, 12, 16),
        neighbours=4,
        pooled=8,
        scales=2,
        **CELL,
    ),
    "ddeq, repeated": RepeatedConfig(
        particles=4, applications=2, **{k: v for k, v in CELL.items() if k not in SOLVER}
    ),
    "ddeq-paper": PaperClassifierConfig(particles=4, **{**CELL, **FLOW, "max_steps": 4}),
    "ddeq-paper-completer": PaperCompleterConfig(**{**CELL, **FLOW, "max_steps": 4}),
    "dgcnn": DGCNNConfig(neighbours=5, widths=(8, 16), joint=16, classes=4),
    "deep sets": DeepSetsConfig(dim=16, classes=4),
    "point transformer": PointTransformerConfig(widths=(8, 16, 16), neighbours=5, classes=4),
    "pointnet": PointNetConfig(classes=4),
    "pointnet++": PointNet2Config(
        groups=(6, 3), neighbours=(4, 3), radii=(0.7, 1.5), widths=(8, 8, 16), classes=4
    ),
    "pointnet without transforms": PointNetConfig(classes=4, transforms=False),
    "set transformer": SetTransformerConfig(dim=16, heads=2, inducing=3, classes=4),
    "completer": CompleterConfig(**CELL),
    "completer, given frame": CompleterConfig(frame="given", **CELL),
    "pcn": PCNConfig(coarse=2),
    "ddeq regressor": DDEQRegressorConfig(particles=4, outputs=3, direct=False, **CELL),
    "deep sets regressor": DeepSetsRegressorConfig(dim=16, outputs=3),
    "ddeq segmenter": DDEQSegmenterConfig(particles=4, classes=3, **CELL),
    "pointnet segmenter": PointNetSegmenterConfig(classes=3),
}
EVERY = pytest.mark.parametrize("name", SMALL)
COUNT = 8  # of completed points, where the cloud is not to decide it


@functools.cache
def model_of(name: str) -> nn.Module:
    """In double precision; running averages of normalisations are not 0 and 1."""
    torch.manual_seed(0)
    model = build_model(SMALL[name]).double()
    if any(True for _ in model.buffers()):
        for _ in range(3):
            model.train()(*clouds(4, 12))
    return model.eval()


def clouds(batch: int, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    points = 3 * torch.randn(batch, n, 2, generator=generator, dtype=torch.float64) + 5
    weights = torch.rand(batch, n, generator=generator, dtype=torch.float64) + 0.1
    weights[0, (n + 1) // 2 :] = 0  # padding
    return points, weights / weights.sum(-1, keepdim=True)


@torch.no_grad()
def answers(name: str, points: Tensor, weights: Tensor) -> Tensor:
    """Logits, numbers, or completed points, as many as are asked for; of points, their mean."""
    model, task = model_of(name), SMALL[name].task
    if task == "classification":
        logits: Tensor = model(points, weights).logits
        return logits
    if task == "regression":
        values: Tensor = model(points, weights).values
        return values
    if task == "segmentation":
        of_points = model(points, weights).logits.where((weights > 0).unsqueeze(-1), 0)
        return (weights.unsqueeze(-1) * of_points).sum(-2)
    completed: Tensor = model(points, weights, COUNT).points
    return completed


@torch.no_grad()
def solved(name: str, points: Tensor, weights: Tensor) -> bool:
    """Whether there is an answer to each cloud: a few maps of random weights have no fixed point.

    Flows that are followed for a fixed number of steps have one wherever they are.
    """
    model = model_of(name)
    more = (COUNT,) if SMALL[name].task == "completion" else ()
    solution = getattr(model(points, weights, *more), "solution", None)
    within = getattr(model.config, "max_steps", 0) == CELL["max_steps"]
    return solution is None or not within or not bool(solution.failed.any())


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-7)


def test_no_model_is_forgotten() -> None:
    assert {config.kind for config in SMALL.values()} == set(MODELS)


@EVERY
@settings(max_examples=4, deadline=None)
@given(st.integers(2, 20), st.integers(0, 10**6))
def test_padding_order_mass_and_batch_change_nothing(name: str, n: int, seed: int) -> None:
    points, weights = clouds(3, n, seed)
    expected = answers(name, points, weights)
    assert expected.isfinite().all()
    assert not torch.equal(expected[0], expected[1])

    padding = torch.full((3, 4, 2), torch.nan, dtype=torch.float64)
    padding[:, ::2] = 1e30
    padded = torch.cat([points, padding], 1), functional.pad(weights, (0, 4))
    order = torch.randperm(n + 4, generator=torch.Generator().manual_seed(seed))
    permuted = padded[0][:, order], padded[1][:, order]
    split = (
        torch.cat([points, points[:, :2], padding[:, 2:]], 1),
        torch.cat(
            [weights[:, :2] / 4, weights[:, 2:], 3 * weights[:, :2] / 4, weights.new_zeros(3, 2)], 1
        ),
    )
    # All in one batch: nine clouds where there were three.
    variants = [torch.cat(parts) for parts in zip(padded, permuted, split, strict=True)]
    assume(solved(name, points, weights) and solved(name, *variants))
    close(answers(name, *variants), torch.cat([expected] * 3))
    i = seed % 3
    close(answers(name, points[i : i + 1], weights[i : i + 1])[0], expected[i])


@EVERY
def test_a_bad_cloud_leaves_the_others_bit_identical(name: str) -> None:
    points, weights = clouds(3, 9)
    expected = answers(name, points, weights)
    points[1, 0] = torch.nan
    spoilt = answers(name, points, weights)
    assert torch.equal(spoilt[[0, 2]], expected[[0, 2]])
