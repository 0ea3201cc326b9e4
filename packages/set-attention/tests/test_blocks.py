import pytest
import torch
import torch.nn.functional as F
from torch import nn

import set_attention as sa


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_the_encoder_layer_of_torch_agrees(normal, norm, activation) -> None:
    torch.manual_seed(0)
    block = sa.TransformerBlock(8, 2, 12, norm=norm, activation=activation).double()
    layer = nn.TransformerEncoderLayer(
        8, 2, 12, 0.0, activation, batch_first=True, norm_first=norm == "pre"
    ).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter += torch.randn_like(parameter) / 8
        pairs = [
            (layer.self_attn.in_proj_weight, block.attention.query_key_value.weight),
            (layer.self_attn.in_proj_bias, block.attention.query_key_value.bias),
            (layer.self_attn.out_proj.weight, block.attention.output.weight),
            (layer.linear1, block.feed_forward.inner),
            (layer.linear2, block.feed_forward.outer),
            (layer.norm1, block.attention_norm),
            (layer.norm2, block.feed_forward_norm),
        ]
        for theirs, ours in pairs:
            if isinstance(ours, nn.Module):
                theirs.load_state_dict(ours.state_dict())
            else:
                theirs.copy_(ours)
    x = normal(3, 5, 8).requires_grad_()
    results = [block(x), layer(x)]
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)
    gradients = [torch.autograd.grad(r.square().sum(), x) for r in results]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_an_empty_context_leaves_the_residual(normal, ragged, norm) -> None:
    block = sa.CrossBlock(8, 2, 12, context_dim=3, norm=norm).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    x = normal(4, 6, 8)
    out = block(x, block.context(normal(4, 5, 3), ragged))
    alone = x[3]
    if norm == "pre":
        expected = alone + block.feed_forward(block.feed_forward_norm(alone))
    else:
        alone = block.attention_norm(alone)
        expected = block.feed_forward_norm(alone + block.feed_forward(alone))
    torch.testing.assert_close(out[3], expected)


def test_cross_block_formula(normal, ragged) -> None:
    block = sa.CrossBlock(8, 2, 12, context_dim=3).double()
    x, y = normal(4, 6, 8), normal(4, 5, 3)
    context = block.context(y, ragged)
    h = x + block.attention(block.attention_norm(x), context)
    expected = h + block.feed_forward(block.feed_forward_norm(h))
    torch.testing.assert_close(block(x, context), expected)


def test_feed_forward_formula(normal, ragged) -> None:
    x = normal(4, 5, 8)
    for activation, function in (("gelu", F.gelu), ("relu", F.relu)):
        module = sa.FeedForward(8, 12, activation=activation).double()
        expected = module.outer(function(module.inner(x)))
        torch.testing.assert_close(module(x), expected)
        torch.testing.assert_close(module(x, ragged), expected * (ragged > 0).unsqueeze(-1))


def test_empty_and_padded_rows_come_out_zero(normal, ragged) -> None:
    block = sa.TransformerBlock(8, 2, 12, norm="post").double()
    out = block(normal(4, 5, 8), ragged)
    assert (out[ragged == 0] == 0).all()
    assert (out[ragged > 0] != 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sa.TransformerBlock(8, 2, 12, norm="both"), '"pre" or "post", but got \'both\''),
        (lambda: sa.CrossBlock(8, 2, 12, norm="none"), '"pre" or "post"'),
        (lambda: sa.FeedForward(8, 12, activation="tanh"), '"gelu" or "relu", but got \'tanh\''),
        (lambda: sa.FeedForward(8, 0), "positive widths, but got dim=8 and hidden=0"),
        (lambda: sa.FeedForward(8, 4)(torch.ones(2, 7)), r"\(..., n, 8\), but got \(2, 7\)"),
        (lambda: sa.TransformerBlock(8, 2, 12)(torch.ones(2, 7)), r"8\), but got \(2, 7\)"),
    ],
)
def test_errors_say_what_was_expected(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
