"""Sub-batches of sets of like sizes: the same result, and only where they pay."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import set_attention as sa
from set_attention import ragged

SIZES = [3, 40, 0, 37, 12, 40, 1, 20]


@pytest.fixture
def always(monkeypatch) -> None:
    """Split however little it spares."""
    monkeypatch.setattr(ragged, "_WORTH", 1)


def batch(sizes: list[int], n: int, width: int = 8) -> tuple[Tensor, Tensor]:
    """Sets of these sizes, weighted, their points anywhere among n rows, NaN in the others."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(len(sizes), n, width, dtype=torch.float64, generator=generator)
    places = torch.rand(len(sizes), n, generator=generator).argsort(-1)
    points = places < torch.tensor(sizes).unsqueeze(-1)
    weights = torch.rand(len(sizes), n, dtype=torch.float64, generator=generator) + 0.1
    return x.masked_fill(~points.unsqueeze(-1), torch.nan), weights.masked_fill(~points, 0)


class Widths(nn.Module):
    """A function that notes the shapes it is called with."""

    def __init__(self, function: Callable[[Tensor, Tensor | None], Tensor]) -> None:
        super().__init__()
        self.function, self.seen = function, []

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        self.seen.append(tuple(x.shape[:-1]))
        return self.function(x, weights)


@pytest.mark.parametrize(
    ("build", "rows"),
    [
        (lambda: sa.SetAttention(8, 2), True),
        (lambda: sa.SetAttention(8, 2, 8), True),
        (lambda: sa.SAB(8, 2), True),
        (lambda: sa.TransformerBlock(8, 2, 12, normalisation="set"), True),
        (lambda: sa.ISAB(8, 2, 3), True),
        (lambda: sa.DeepSetsBlock(8, 12), True),
        (lambda: sa.PMA(8, 2, 2), False),
        (lambda: sa.AttentionPool(8, 2), False),
    ],
)
@pytest.mark.parametrize("leading", [(8,), (2, 4)])
def test_the_result_is_that_of_the_whole_batch(monkeypatch, build, rows, leading) -> None:
    torch.manual_seed(0)
    module = build().double()

    def function(x: Tensor, weights: Tensor | None) -> Tensor:
        attention = isinstance(module, sa.SetAttention)
        return module(x, weights=weights) if attention else module(x, weights)

    x, weights = (part.unflatten(0, leading).requires_grad_() for part in batch(SIZES, 45))
    monkeypatch.setattr(ragged, "_WORTH", 10**9)
    expected = function(x, weights)
    monkeypatch.setattr(ragged, "_WORTH", 1)
    spy = Widths(function)
    out = sa.by_size(spy, x, weights, rows=rows)
    assert len(spy.seen) > 3
    torch.testing.assert_close(out, expected, rtol=1e-11, atol=1e-11)
    cotangent = torch.randn_like(out)
    tracked = [x, weights, *module.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad(out, tracked, cotangent),
        torch.autograd.grad(expected, tracked, cotangent),
        rtol=1e-10,
        atol=1e-10,
    )


def test_modules_split_by_themselves_where_it_pays(monkeypatch) -> None:
    sizes = torch.linspace(34, 351, 64).long().tolist()
    x, weights = batch(sizes, 351, 32)
    clean = sa.clear_padding(x, weights)
    for module in (sa.SetAttention(32, 2), sa.SAB(32, 2), sa.ISAB(32, 2, 3)):
        inner = "_attend_self" if isinstance(module, sa.SetAttention) else "_map"
        module, spy = module.double(), Widths(getattr(module, inner))
        monkeypatch.setattr(module, inner, spy.forward)

        def shapes(x: Tensor, w: Tensor, module: nn.Module = module, spy: Widths = spy) -> list:
            spy.seen.clear()
            out = module(x, weights=w)
            assert out.shape == x.shape
            return list(spy.seen)

        split = shapes(x, weights)
        assert sum(b for b, _ in split) == 64
        assert sum(b * n for b, n in split) < 0.7 * 64 * 351
        with sa.held_dropout(module):  # There is no dropout whose mask could be held.
            assert len(shapes(x, weights)) == len(split)
        # Not so few, not where all are full, not a set by itself.
        assert shapes(x[-3:, :300], weights[-3:, :300]) == [(3, 300)]
        assert shapes(clean, weights.clamp(min=0.1)) == [(64, 351)]
        assert shapes(x[-1], weights[-1]) == [(351,)]


def test_a_held_mask_fits_the_whole_batch_alone(always) -> None:
    x, weights = batch(SIZES, 45)
    block = sa.SAB(8, 2, dropout=0.4).double().train()
    with sa.held_dropout(block):
        first = block(x, weights)
        torch.testing.assert_close(block(x, weights), first, rtol=0, atol=0)
    assert block(x, weights).isfinite().all()  # Masks of their own in each sub-batch.


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # PyTorch 2.4 of its vmap
def test_traced_and_transformed_code_is_given_the_whole_batch(monkeypatch) -> None:
    x, weights = batch(SIZES, 45)
    x = sa.clear_padding(x, weights)
    block = sa.SAB(8, 2).double()
    expected = block(x, weights)
    monkeypatch.setattr(ragged, "_WORTH", 1)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        mapped = torch.vmap(block)(x.unflatten(0, (2, 4)), weights.unflatten(0, (2, 4)))
    torch.testing.assert_close(mapped.flatten(0, 1), expected)
    compiled = torch.compile(
        lambda x, w: sa.by_size(block, x, w), fullgraph=True, backend="eager", dynamic=False
    )
    torch.testing.assert_close(compiled(x, weights), expected)
    torch.compiler.reset()


def test_second_derivatives(always) -> None:
    x, weights = batch([5, 2, 0], 6, 4)
    block = sa.SAB(4, 2, activation="gelu").double()
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert torch.autograd.gradgradcheck(
            lambda x: sa.by_size(block, x, weights).square().sum(),
            [sa.clear_padding(x, weights).requires_grad_()],
            fast_mode=True,
        )


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(0, 400), min_size=1, max_size=70),
    more=st.integers(0, 100),
    width=st.sampled_from([2, 32, 512]),
)
def test_sub_batches_hold_all_sets_and_spare_rows(sizes: list[int], more: int, width: int) -> None:
    sizes, n = sorted(sizes, reverse=True), max(sizes) + more
    parts = ragged._cut(sizes, n, width)
    if not parts:
        return
    assert [i for part, _ in parts for i in range(part.start, part.stop)] == list(range(len(sizes)))
    kept = 0
    for part, most in parts:
        assert sizes[part.start] <= most
        kept += (part.stop - part.start) * most
    assert kept < 7 / 8 * len(sizes) * n


def test_full_batches_and_single_sets_are_given_as_they_are(always) -> None:
    x, weights = batch(SIZES, 45)
    for points, masses in ((sa.clear_padding(x, weights), None), (x[1], weights[1])):
        spy = Widths(sa.mean_pool)
        out = sa.by_size(spy, points, masses, rows=False)
        assert torch.equal(out, sa.mean_pool(points, masses))
        assert spy.seen == [points.shape[:-1]]


def test_errors_say_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"expected weights of shape \(2, 3\)"):
        sa.by_size(sa.mean_pool, torch.ones(2, 3, 4), torch.ones(2, 4), rows=False)
    with pytest.raises(ValueError, match=r"8\), but got \(2, 3, 4\)"):
        sa.SAB(8, 2)(torch.ones(2, 3, 4), torch.ones(2, 3))
