from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from ddeq_data import DDEQsCrop, Digits, ZScore, collate
from ddeq_models.errors import UserError
from ddeq_models.models.baselines import PCN, PCNConfig
from ddeq_models.tasks.distances import energy_distance


@pytest.fixture(scope="module")
def model() -> PCN:
    torch.manual_seed(0)
    return PCN(PCNConfig(coarse=3)).double()


def clouds(n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(3, n, 2, generator=generator, dtype=torch.float64)
    weights = torch.rand(3, n, generator=generator, dtype=torch.float64) + 0.1
    weights[0, (n + 1) // 2 :] = 0  # padding
    return points, weights / weights.sum(-1, keepdim=True)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 12), st.integers(0, 10**6))
def test_padding_order_mass_and_batch_do_not_matter(model: PCN, n: int, seed: int) -> None:
    points, weights = clouds(n, seed)
    expected = model(points, weights).points
    assert expected.shape == (3, 12, 2)
    assert expected.isfinite().all()
    garbage = torch.full((3, 4, 2), torch.nan, dtype=torch.float64)
    garbage[:, ::2] = 1e30
    padded = torch.cat([points, garbage], 1)
    close(model(padded, functional.pad(weights, (0, 4))).points, expected)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    close(model(points[:, order], weights[:, order]).points, expected)
    twice = torch.cat([points, points[:, :1]], 1)
    halves = torch.cat([weights[:, :1] / 2, weights[:, 1:], weights[:, :1] / 2], 1)
    close(model(twice, halves).points, expected)
    for i in range(3):
        close(model(points[i : i + 1], weights[i : i + 1]).points[0], expected[i])


def test_units_do_not_matter(model: PCN) -> None:
    points, weights = clouds(9, 0)
    unit = torch.tensor([7.0, 0.01], dtype=torch.float64)
    moved = model(100 + unit * points, weights).points
    torch.testing.assert_close(moved, 100 + unit * model(points, weights).points)


def test_padding_gets_no_gradient(model: PCN) -> None:
    points, weights = clouds(9, 0)
    points[0, 7] = torch.nan
    points = points.requires_grad_()
    model(points, weights).points.square().sum().backward()
    assert points.grad is not None
    assert points.grad.isfinite().all()
    assert (points.grad[weights == 0] == 0).all()
    assert (points.grad != 0).any()


def test_parameters_are_those_of_the_paper() -> None:
    def linear(*widths: int) -> int:
        return sum((a + 1) * b for a, b in pairwise(widths))

    config = PCNConfig(point_dim=3, coarse=1024, side=4)
    with torch.device("meta"):
        model = PCN(config)
    # Section 4 of the paper, layer by layer.
    assert sum(p.numel() for p in model.parameters()) == (
        linear(3, 128, 256)
        + linear(512, 512, 1024)
        + linear(1024, 1024, 1024, 3 * 1024)
        + linear(2 + 3 + 1024, 512, 512, 3)
    )


def test_the_grid_is_a_square_around_the_coarse_point() -> None:
    grid = PCN(PCNConfig(coarse=1, side=4, patch=0.05)).grid
    assert grid.shape == (16, 2)
    assert (grid.amin(0).tolist(), grid.amax(0).tolist()) == (
        pytest.approx([-0.05, -0.05]),
        pytest.approx([0.05, 0.05]),
    )
    close(grid.mean(0).double(), torch.zeros(2, dtype=torch.float64))
    assert PCN(PCNConfig(coarse=1, side=1)).grid.tolist() == [[0.0, 0.0]]


def test_a_few_digits_are_learnt_by_heart() -> None:
    digits = Digits("train")
    batch = collate([digits[i] for i in range(4)]).map(ZScore())
    cut = DDEQsCrop()(batch, torch.Generator().manual_seed(0))
    visible, missing = cut.visible, cut.missing
    torch.manual_seed(0)
    model = PCN(PCNConfig())
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)

    def distance() -> Tensor:
        answer = model(visible.points, visible.weights)
        return energy_distance(
            answer.points, answer.weights, missing.points, missing.weights
        ).mean()

    before = float(distance().detach())
    for _ in range(40):
        optimiser.zero_grad()
        loss = distance()
        loss.backward()
        optimiser.step()
    assert float(distance().detach()) < 0.25 * before


def test_another_number_of_points_is_refused(model: PCN) -> None:
    points, weights = clouds(5, 0)
    close(model(points, weights, 12).points, model(points, weights).points)
    with pytest.raises(UserError, match=r"answers with 12 points.*got count=5"):
        model(points, weights, 5)


@pytest.mark.parametrize("wrong", [{"coarse": 0}, {"side": 0}, {"patch": 0.0}])
def test_bad_sizes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must be (at least 1|above 0), got 0"):
        PCNConfig(**wrong)  # type: ignore[arg-type]
