import pytest
import torch

import set_attention as sa
from set_attention import measures


def test_mean_and_max(normal, ragged) -> None:
    x = normal(4, 5, 3)
    mean, largest = sa.mean_pool(x, ragged), sa.max_pool(x, ragged)
    for i in range(3):
        points = x[i][ragged[i] > 0]
        expected = (ragged[i][ragged[i] > 0].unsqueeze(-1) * points).sum(0)
        torch.testing.assert_close(mean[i], expected)
        assert torch.equal(largest[i], points.max(0).values)
    assert (mean[3] == 0).all()
    assert (largest[3] == 0).all()
    torch.testing.assert_close(sa.mean_pool(x), x.mean(-2))
    assert torch.equal(sa.max_pool(x), x.max(-2).values)
    assert torch.equal(sa.MeanPool()(x, ragged), mean)
    assert torch.equal(sa.MaxPool()(x, ragged), largest)


def test_points_that_attain_the_maximum_share_its_gradient() -> None:
    x = torch.tensor([[3.0], [1.0], [3.0], [3.0], [9.0]], requires_grad=True)
    sa.max_pool(x, torch.tensor([1.0, 1.0, 2.0, 3.0, 0.0])).sum().backward()
    third = 1 / 3
    torch.testing.assert_close(x.grad[:, 0], torch.tensor([third, 0.0, third, third, 0.0]))
    (whole,) = torch.autograd.grad(sa.max_pool(x[:4]).sum(), x)
    torch.testing.assert_close(whole, x.grad)


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # of its forward mode
def test_the_derivative_of_many_rows_is_that_of_few(normal, ragged, monkeypatch) -> None:
    x, g = normal(4, 5, 3).sign().requires_grad_(), normal(4, 3)  # of which many are equal
    weights = (None, ragged, torch.ones(4, 5).double())
    expected = [torch.autograd.grad(sa.max_pool(x, w), x, g)[0] for w in weights]
    monkeypatch.setattr("set_attention.pooling.WORTH_A_LOOK", 0)
    monkeypatch.setattr("set_attention.measures.WORTH_A_LOOK", 0)
    for w, gradient in zip(weights, expected, strict=True):
        assert torch.equal(torch.autograd.grad(sa.max_pool(x, w), x, g)[0], gradient)
    apart = normal(4, 5, 3).requires_grad_()
    options = {"check_forward_ad": True, "check_batched_grad": True}
    assert torch.autograd.gradcheck(lambda x: sa.max_pool(x, ragged), apart, **options)
    assert torch.autograd.gradgradcheck(sa.max_pool, apart)
    assert torch.equal(torch.vmap(sa.max_pool)(apart), sa.max_pool(apart))


def test_only_ratios_of_weights_matter(normal, ragged) -> None:
    x = normal(4, 5, 8)
    for pool in (sa.MeanPool(), sa.MaxPool(), sa.AttentionPool(8, 2).double()):
        torch.testing.assert_close(pool(x, 7 * ragged), pool(x, ragged))


@pytest.mark.parametrize("pool", [sa.mean_pool, sa.max_pool, sa.AttentionPool(3, 1).double()])
def test_no_rows_are_an_empty_set(normal, pool) -> None:
    weights = torch.ones(4, 0, dtype=torch.float64)
    for out in (pool(normal(4, 0, 3)), pool(normal(4, 0, 3), weights)):
        assert torch.equal(out, torch.zeros(4, 3, dtype=torch.float64))


def test_attention_pool_is_attention_of_its_seeds(normal, ragged) -> None:
    pool = sa.AttentionPool(8, 2, seeds=3).double()
    x = normal(4, 5, 8)
    out = pool(x, ragged)
    assert out.shape == (4, 24)
    for i in range(4):
        alone = pool.attention(pool.seeds, pool.attention.context(x[i], ragged[i]))
        torch.testing.assert_close(out[i], alone.flatten())
    assert (out[3] == 0).all()
    assert sa.AttentionPool(8, 2)(torch.ones(5, 8)).shape == (8,)


def test_mean_keeps_the_precision_of_its_input() -> None:
    x = torch.ones(2, 5, 3, dtype=torch.bfloat16)
    assert sa.mean_pool(x, torch.full((2, 5), 0.2)).dtype == torch.bfloat16


def test_mean_is_summed_in_float32() -> None:
    """100,000 points of weight 1e-5, which float16 cannot hold, nor their sum bfloat16."""
    x = 1 + torch.rand(1, 100_000, 2, generator=torch.Generator().manual_seed(0))
    weights = torch.full((1, 100_000), 1e-5)
    expected = x.mean(-2)
    for dtype, tolerance in ((torch.float16, 1e-3), (torch.bfloat16, 4e-3)):
        out = sa.mean_pool(x.to(dtype), weights)
        torch.testing.assert_close(out.float(), expected, rtol=tolerance, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        for w in (None, weights):
            out = sa.mean_pool(x, w)
            assert out.dtype == torch.float32
            torch.testing.assert_close(out, expected, rtol=1e-5, atol=0)


def test_errors_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match="at least one seed, but got seeds=0"):
        sa.AttentionPool(8, 2, seeds=0)
    for pool in (sa.mean_pool, sa.max_pool):
        with pytest.raises(ValueError, match=r"weights of shape \(2, 5\)"):
            pool(torch.ones(2, 5, 3), torch.ones(2, 4))


def test_many_rows_lose_no_digits() -> None:
    """A sum of 150,000 numbers one by one errs by 2e-4 of it in float32."""
    x = 100 + torch.rand(2, 150_001, 2, generator=torch.Generator().manual_seed(0))
    expected = x.double().mean(-2)
    mean = sa.mean_pool(x, torch.ones(2, 150_001))
    torch.testing.assert_close(mean.double(), expected, rtol=2e-6, atol=0)
    norm = sa.MeasureBatchNorm(2, momentum=1.0)
    norm(x, torch.ones(2, 150_001))
    torch.testing.assert_close(norm.running_mean.double(), expected.mean(0), rtol=2e-6, atol=0)
    whole = x.double().flatten(0, 1).var(0, correction=0)
    torch.testing.assert_close(norm.running_variance.double(), whole, rtol=1e-4, atol=0)


def test_blocks_of_rows_are_the_sum(normal, monkeypatch) -> None:
    share, x = normal(2, 23), normal(2, 23, 3)
    expected = measures.weighted_sum(share, x)
    monkeypatch.setattr(measures, "_MANY_ROWS", 7)
    monkeypatch.setattr(measures, "_BLOCK_OF_ROWS", 5)
    torch.testing.assert_close(measures.weighted_sum(share, x), expected)
    monkeypatch.setattr(measures, "_BLOCK_OF_ROWS", 23)
    torch.testing.assert_close(measures.weighted_sum(share[0], x[0]), expected[0])
