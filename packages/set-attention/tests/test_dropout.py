import copy
import pickle

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import set_attention as sa


def test_one_mask_for_all_rows_of_a_set() -> None:
    torch.manual_seed(0)
    dropout = sa.RowDropout(0.3)
    out = dropout(torch.ones(50, 7, 40))
    assert (out == out[:, :1]).all()
    assert out.unique().tolist() == [0.0, pytest.approx(1 / 0.7)]
    assert 0.27 < (out[:, 0] == 0).float().mean() < 0.33
    assert len(out[:, 0].unique(dim=0)) == 50
    assert not torch.equal(out, dropout(torch.ones(50, 7, 40)))
    assert dropout(torch.ones(7, 40)).shape == (7, 40)


def test_identity_in_evaluation_and_at_zero() -> None:
    x = torch.randn(3, 4, 5)
    dropout = sa.RowDropout(0.9).eval()
    assert dropout(x) is x
    with sa.held_dropout(dropout):
        assert dropout(x) is x
    assert sa.RowDropout(0.0)(x) is x
    assert (sa.RowDropout(1.0)(x) == 0).all()


def test_held_masks_are_drawn_once() -> None:
    block = sa.TransformerBlock(8, 2, 16, dropout=0.5)
    x = torch.randn(3, 4, 8)
    assert not torch.equal(block(x), block(x))
    with sa.held_dropout(block):
        first = block(x)
        assert torch.equal(first, block(x))
        # Other rows see the same map, and there may be more of them.
        assert block(torch.randn(3, 9, 8)).shape == (3, 9, 8)
        block.eval()
        assert not torch.equal(first, block(x))
        block.train()
        assert torch.equal(first, block(x))
    assert not torch.equal(first, block(x))
    with sa.held_dropout(block):
        assert not torch.equal(first, block(x))


def test_the_parts_of_a_block_have_masks_of_their_own() -> None:
    block = sa.TransformerBlock(64, 2, 64, dropout=0.5)
    with sa.held_dropout(block):
        block(torch.randn(3, 4, 64))
        masks = [m._mask for m in block.modules() if isinstance(m, sa.RowDropout)]
    assert len(masks) == 3
    assert not any(torch.equal(a, b) for a, b in zip(masks, masks[1:] + masks[:1], strict=True))


def test_the_outermost_hold_decides() -> None:
    model = torch.nn.Sequential(sa.RowDropout(0.5), sa.RowDropout(0.5))
    x = torch.ones(1, 1, 200)
    with sa.held_dropout(model):
        first = model(x)
        with sa.held_dropout(model[0]):
            assert torch.equal(first, model(x))
        assert torch.equal(first, model(x))
    with sa.held_dropout(model[0]):
        first, second = model(x), model(x)
        assert not torch.equal(first, second)
        assert torch.equal(model[0](x), model[0](x))


def test_an_exception_releases_the_masks() -> None:
    dropout = sa.RowDropout(0.5)
    x = torch.ones(1, 1, 200)

    def fail() -> None:
        with sa.held_dropout(dropout):
            dropout(x)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert dropout._mask is None
    assert not torch.equal(dropout(x), dropout(x))


def test_a_held_mask_refuses_other_sets() -> None:
    dropout = sa.RowDropout(0.5)
    with sa.held_dropout(dropout):
        dropout(torch.ones(3, 4, 5))
        for shape in ((2, 4, 5), (3, 4, 6), (4, 5)):
            with pytest.raises(RuntimeError, match=r"leading shape \(3,\) and width 5, for which"):
                dropout(torch.ones(shape))


def test_a_mask_drawn_without_gradients_serves_the_backward_pass() -> None:
    dropout = sa.RowDropout(0.5)
    x = torch.ones(2, 3, 8)
    for mode in (torch.no_grad, torch.inference_mode):
        with sa.held_dropout(dropout):
            with mode():
                solved = dropout(x).clone()
            tracked = x.clone().requires_grad_()
            dropout(tracked).sum().backward()
            assert torch.equal(tracked.grad, solved)


def test_a_held_mask_follows_the_dtype() -> None:
    dropout = sa.RowDropout(0.5)
    with sa.held_dropout(dropout):
        single = dropout(torch.ones(2, 3, 8))
        assert dropout(torch.ones(2, 3, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16
        assert torch.equal(dropout(torch.ones(2, 3, 8, dtype=torch.float64)), single.double())


def test_a_copy_holds_the_mask_until_the_block_is_left() -> None:
    dropout, x = sa.RowDropout(0.5), torch.ones(1, 1, 200)
    with sa.held_dropout(dropout):
        first = dropout(x)
        copied, read = copy.deepcopy(dropout), pickle.loads(pickle.dumps(dropout))
        assert torch.equal(copied(x), first)
        assert not torch.equal(read(x), read(x))  # in another process nobody would release it
        with sa.held_dropout(copied):
            assert torch.equal(copied(x), first)
    for each in (dropout, copied, read):
        assert not torch.equal(each(x), each(x))
        each(torch.ones(3, 1, 200))
        with sa.held_dropout(each):
            assert torch.equal(each(x[..., :20]), each(x[..., :20]))


def gradient(*, inside: bool, reentrant: bool | None) -> Tensor:
    """Of three held applications and one that is not, with checkpointing or without (None)."""
    torch.manual_seed(0)
    block = sa.TransformerBlock(8, 2, 16, dropout=0.5).double()
    x = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    with sa.held_dropout(block):
        y = x
        for _ in range(3):
            y = block(y) if reentrant is None else checkpoint(block, y, use_reentrant=reentrant)
        if inside:
            y.square().mean().backward()
    if not inside:
        (y.square().mean() + checkpoint(block, x, use_reentrant=False).mean()).backward()
    return x.grad


@pytest.mark.parametrize("reentrant", [True, False])
def test_what_is_computed_again_after_the_block_does_not_meet_other_masks(reentrant) -> None:
    expected = gradient(inside=True, reentrant=None)
    torch.testing.assert_close(gradient(inside=True, reentrant=reentrant), expected)
    with pytest.raises(RuntimeError, match=r"within held_dropout, .* before the block is left"):
        gradient(inside=False, reentrant=reentrant)


def test_a_dropout_that_was_never_held_is_computed_again_as_ever() -> None:
    torch.manual_seed(0)
    dropout, x = sa.RowDropout(0.5), torch.ones(1, 2, 50, requires_grad=True)
    out = checkpoint(lambda x: dropout(x).square(), x, use_reentrant=False)
    out.sum().backward()
    assert torch.equal(x.grad, 2 * out)


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_probabilities_are_checked(p: float) -> None:
    with pytest.raises(ValueError, match=f"between 0 and 1, but got p={p}"):
        sa.RowDropout(p)
