"""Distances of clouds against scipy and POT, point by point, and the laws of measures."""

import math
import sys
from collections.abc import Callable

import numpy as np
import ot
import pytest
import torch
from geomloss import SamplesLoss
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.stats import gaussian_kde
from torch import Tensor
from torch.nn import functional

from ddeq_models.tasks.distances import (
    chamfer_l1,
    chamfer_l2,
    energy_distance,
    f_score,
    kernel_entropy,
    nearest,
    neighbour,
    sinkhorn,
    wasserstein,
)
from wgf_solver import Measure, Sinkhorn

Distance = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

PAIRS: dict[str, Distance] = {
    "chamfer_l1": chamfer_l1,
    "chamfer_l2": chamfer_l2,
    "energy_distance": energy_distance,
    "f_score": lambda *clouds: f_score(*clouds, threshold=0.4),
    "wasserstein": wasserstein,
    "sinkhorn": lambda *clouds: sinkhorn(*clouds, blur=0.3),
}
SINGLE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "neighbour": neighbour,
    "kernel_entropy": lambda x, w: kernel_entropy(x, w, 0.3),
}
EVERY_PAIR = pytest.mark.parametrize("name", PAIRS)


def clouds(n: int, seed: int, dim: int = 2, batch: int = 3) -> tuple[Tensor, Tensor]:
    """Points and weights in double precision; the first cloud has padding."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(batch, n, dim, generator=generator, dtype=torch.float64)
    weights = torch.rand(batch, n, generator=generator, dtype=torch.float64) + 0.1
    weights[0, (n + 1) // 2 :] = 0
    return points, weights / weights.sum(-1, keepdim=True)


def close(a: Tensor, b: Tensor, atol: float = 1e-9) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=atol)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 3), st.integers(0, 10**6))
def test_against_scipy_and_pot(n: int, m: int, dim: int, seed: int) -> None:
    (x, w), (y, v) = clouds(n, seed, dim), clouds(m, seed + 1, dim)
    got = {name: PAIRS[name](x, w, y, v) for name in PAIRS if name != "sinkhorn"}
    for i in range(3):
        a, p = x[i][w[i] > 0].numpy(), w[i][w[i] > 0].numpy()
        b, q = y[i][v[i] > 0].numpy(), v[i][v[i] > 0].numpy()
        there, back = cKDTree(b).query(a)[0], cKDTree(a).query(b)[0]
        gaps = {
            k: ot.dist(s, t, "euclidean") for k, s, t in (("ab", a, b), ("aa", a, a), ("bb", b, b))
        }
        precision, recall = p @ (there <= 0.4), q @ (back <= 0.4)
        expected = {
            "chamfer_l1": (p @ there + q @ back) / 2,
            "chamfer_l2": p @ there**2 + q @ back**2,
            "energy_distance": 2 * p @ gaps["ab"] @ q - p @ gaps["aa"] @ p - q @ gaps["bb"] @ q,
            "f_score": 2 * precision * recall / max(precision + recall, 1e-300),
            "wasserstein": math.sqrt(max(ot.emd2(p, q, gaps["ab"] ** 2), 0)),
        }
        for name, value in expected.items():
            assert float(got[name][i]) == pytest.approx(value, abs=1e-7), name


def test_one_cloud_against_scipy() -> None:
    x, w = clouds(9, 0)
    for i in range(3):
        a, p = x[i][w[i] > 0].numpy(), w[i][w[i] > 0].numpy()
        second = cKDTree(a).query(a, k=2)[0][:, 1]
        assert float(neighbour(x, w)[i]) == pytest.approx(p @ second)
        # scipy's bandwidth is that of whitened data: white data make it the length h itself.
        white = (a - a.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(a.T, aweights=p)).T)
        density = gaussian_kde(white.T, bw_method=0.3, weights=p)(white.T)
        rows = torch.from_numpy(white)[None]
        entropy = kernel_entropy(rows, torch.from_numpy(p)[None], 0.3)
        assert float(entropy) == pytest.approx(-(p @ np.log(density)))


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 9), st.integers(0, 10**6))
@EVERY_PAIR
def test_padding_order_and_batch_do_not_matter(name: str, n: int, seed: int) -> None:
    distance, (x, w), (y, v) = PAIRS[name], clouds(n, seed), clouds(7, seed + 1)
    expected = distance(x, w, y, v)
    garbage = torch.full((3, 4, 2), torch.nan, dtype=torch.float64)
    garbage[:, ::2] = 1e30
    padded = torch.cat([x, garbage], 1), functional.pad(w, (0, 4))
    close(distance(*padded, y, v), expected)
    close(distance(y, v, *padded), distance(y, v, x, w))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    close(distance(x[:, order], w[:, order], y, v), expected)
    for i in range(3):
        close(distance(x[i : i + 1], w[i : i + 1], y[i : i + 1], v[i : i + 1])[0], expected[i])


@EVERY_PAIR
def test_a_doubled_weight_is_a_duplicated_point(name: str) -> None:
    distance, (x, w), (y, v) = PAIRS[name], clouds(6, 0), clouds(7, 1)
    twice = torch.cat([x, x[:, :2]], 1)
    halves = torch.cat([w[:, :2] / 2, w[:, 2:], w[:, :2] / 2], 1)
    close(distance(twice, halves, y, v), distance(x, w, y, v), atol=1e-7)


@pytest.mark.parametrize("name", SINGLE)
def test_figures_of_one_cloud_see_no_padding(name: str) -> None:
    figure, (x, w) = SINGLE[name], clouds(6, 0)
    garbage = torch.full((3, 2, 2), torch.nan, dtype=torch.float64)
    close(figure(torch.cat([x, garbage], 1), functional.pad(w, (0, 2))), figure(x, w))


@EVERY_PAIR
def test_equal_clouds(name: str) -> None:
    x, w = clouds(8, 0)
    expected = torch.full((3,), 1.0 if name == "f_score" else 0.0, dtype=torch.float64)
    # The potentials of a loss settle to a hundredth of 0.3² only.
    close(PAIRS[name](x, w, x, w), expected, atol=1e-3 if name == "sinkhorn" else 1e-7)


def test_sinkhorn_is_near_the_limit_of_its_iteration() -> None:
    (x, w), (y, v) = clouds(9, 0), clouds(7, 1)
    x = x.requires_grad_()
    theirs = SamplesLoss("sinkhorn", p=2, blur=0.3, scaling=0.99, backend="tensorized")
    limit = Sinkhorn(0.3, tolerance=1e-10, max_steps=10_000)
    ours = sinkhorn(x, w, y, v, blur=0.3)
    torch.testing.assert_close(ours, 2 * theirs(w, x, v, y), rtol=0, atol=1e-2)
    expected = 2 * limit(Measure(x, w), Measure(y, v))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-3)
    one, other = (torch.autograd.grad(z.sum(), x)[0] for z in (ours, expected))
    torch.testing.assert_close(one, other, rtol=0, atol=2e-2)


@pytest.mark.parametrize("name", ["chamfer_l1", "chamfer_l2", "energy_distance"])
def test_gradients(name: str) -> None:
    (x, w), (y, v) = clouds(5, 0), clouds(4, 1)
    x[0, (5 + 1) // 2 :] = torch.nan  # in padding
    x = x.requires_grad_()
    (gradient,) = torch.autograd.grad(PAIRS[name](x, w, y, v).sum(), x)
    assert (gradient[w == 0] == 0).all()
    start, step = torch.where((w > 0)[..., None], x.detach(), 0), 1e-6
    for place in ((0, 0, 0), (1, 3, 1), (2, 4, 0)):
        moved = torch.zeros_like(start)
        moved[place] = step
        ahead, behind = (PAIRS[name](start + s * moved, w, y, v).sum() for s in (1, -1))
        assert float(gradient[place]) == pytest.approx(float(ahead - behind) / (2 * step), abs=1e-7)


@pytest.mark.parametrize("name", ["chamfer_l1", "chamfer_l2", "energy_distance"])
def test_gradient_where_clouds_coincide_is_zero_and_no_nan(name: str) -> None:
    x, w = clouds(5, 0)
    moving = x.clone().requires_grad_()
    PAIRS[name](moving, w, x, w).sum().backward()
    assert moving.grad is not None
    close(moving.grad, torch.zeros_like(x))


def test_gradient_of_the_entropy_pushes_points_apart() -> None:
    x = torch.tensor([[[0.0, 0.0], [0.1, 0.0], [3.0, torch.nan]]], dtype=torch.float64)
    x, w = x.requires_grad_(), torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64)
    kernel_entropy(x, w, 0.1).sum().backward()
    assert x.grad is not None
    assert x.grad[0, 0, 0] < 0 < x.grad[0, 1, 0]
    assert (x.grad[0, 2] == 0).all()


def test_far_from_the_origin_in_single_precision() -> None:
    """`torch.cdist`'s matrix path is off by a factor there."""
    x, w = (t.float() for t in clouds(40, 0))
    y, v = (t.float() for t in clouds(40, 1))
    for name in ("chamfer_l1", "energy_distance"):
        here = PAIRS[name](x, w, y, v)
        there = PAIRS[name](x + 1024, w, y + 1024, v)
        torch.testing.assert_close(there, here, rtol=2e-3, atol=2e-4)


def test_a_cloud_without_points() -> None:
    (x, w), (y, v) = clouds(5, 0), clouds(4, 1)
    expected = chamfer_l1(x, w, y, v)
    v[1] = 0
    assert nearest(x, y, v)[1].isinf().all()
    answer = chamfer_l1(x, w, y, v)
    assert answer[1].isinf()
    assert torch.equal(answer[[0, 2]], expected[[0, 2]])
    assert neighbour(y, v)[1] == 0


def test_a_single_point_has_no_neighbour() -> None:
    x, w = torch.zeros(1, 3, 2), torch.tensor([[1.0, 0.0, 0.0]])
    assert neighbour(x, w).tolist() == [0.0]


def test_without_pot_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ot", None)
    x, w = clouds(3, 0)
    with pytest.raises(ImportError, match="pip install"):
        wasserstein(x, w, x, w)
