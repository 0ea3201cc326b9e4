"""Vector attention: its formula, its neighbours, its memory, and what holds of its mass law."""

import pytest
import torch
from torch import Tensor, nn

import set_attention as sa
from set_attention import laws
from set_attention.local import neighbours


def module(neighbours: int, **options: int) -> sa.VectorAttention:
    torch.manual_seed(0)
    attention = sa.VectorAttention(6, 2, neighbours, **options).double()
    for parameter in attention.parameters():
        nn.init.normal_(parameter, std=0.5)
    return attention


def explicit(
    m: sa.VectorAttention, x: Tensor, p: Tensor, y: Tensor, q: Tensor, w: Tensor
) -> Tensor:
    """The formula, query by query and feature by feature, for one set."""
    points = [j for j in range(len(y)) if w[j] > 0]
    rows = []
    for i in range(len(x)):
        near = sorted(points, key=lambda j: float((p[i] - q[j]).square().sum()))[: m.neighbours]
        keys, values = (m.key_value(y)).chunk(2, -1)
        offsets = [m.offset(p[i] - q[j]) for j in near]
        scores = [
            m.score.outer(torch.relu(m.score.inner(m.query(x[i]) - keys[j] + d)))
            for j, d in zip(near, offsets, strict=True)
        ]
        factors = [w[j] * s.exp() for j, s in zip(near, scores, strict=True)]
        total = sum(factors)
        terms = [
            f / total * (values[j] + d) for f, j, d in zip(factors, near, offsets, strict=True)
        ]
        rows.append(sum(terms, torch.zeros_like(x[i])))
    return torch.stack(rows)


@pytest.mark.parametrize("neighbours", [1, 3, 16])
@pytest.mark.parametrize("chunk", [2, 256])
def test_vector_attention_is_its_formula(normal, ragged, neighbours, chunk) -> None:
    attention = module(neighbours, chunk=chunk, context_dim=3)
    x, p, y, q = normal(4, 7, 6), normal(4, 7, 2), normal(4, 5, 3), normal(4, 5, 2)
    out = attention(x, p, attention.context(y, q, ragged))
    full = attention(x, p, attention.context(y, q))
    for i in range(4):
        expected = explicit(attention, x[i], p[i], y[i], q[i], ragged[i])
        torch.testing.assert_close(out[i], expected)
        expected = explicit(attention, x[i], p[i], y[i], q[i], torch.ones_like(ragged[i]))
        torch.testing.assert_close(full[i], expected)
    assert (out[3] == 0).all()


def test_the_point_transformer_of_pytorch_geometric_agrees(normal) -> None:
    convolution = pytest.importorskip("torch_geometric.nn").PointTransformerConv
    attention = module(3)
    theirs = convolution(
        6, 6, pos_nn=attention.offset, attn_nn=attention.score, add_self_loops=False
    ).double()
    with torch.no_grad():
        attention.query.bias.zero_()
        attention.key_value.bias.zero_()
        theirs.lin_dst.weight.copy_(attention.query.weight)
        theirs.lin_src.weight.copy_(attention.key_value.weight[:6])
        theirs.lin.weight.copy_(attention.key_value.weight[6:])
    x, p = normal(7, 6), normal(7, 2)
    near, _ = sa.nearest_points(p, p, count=3)
    edges = torch.stack([near.flatten(), torch.arange(7).repeat_interleave(3)])
    torch.testing.assert_close(attention(x, p), theirs(x, p, edges))


def test_a_set_to_itself(normal, ragged) -> None:
    attention = module(2)
    x, p = normal(4, 5, 6), normal(4, 5, 2)
    out = attention(x, p, weights=ragged)
    torch.testing.assert_close(out, attention(x, p, attention.context(x, p, ragged), ragged))
    for i in range(3):
        expected = explicit(attention, x[i], p[i], x[i], p[i], ragged[i])
        torch.testing.assert_close(out[i], expected * (ragged[i] > 0)[:, None])


@pytest.mark.parametrize("neighbours", [1, 4, 30])
def test_the_weights_sum_to_one_over_the_neighbours(normal, neighbours) -> None:
    """And not over the queries, which a softmax along the wrong axis would make them do."""
    attention = module(neighbours)
    with torch.no_grad():
        attention.key_value.weight[6:] = 0
        attention.key_value.bias[6:] = 1
        for parameter in attention.offset[-1].parameters():
            parameter.zero_()
    weights = torch.rand(3, 20, dtype=torch.float64)
    out = attention(normal(3, 20, 6), normal(3, 20, 2), weights=weights)
    torch.testing.assert_close(out, torch.ones_like(out), rtol=0, atol=1e-12)


def test_padding_is_never_a_neighbour() -> None:
    """Not even at the very place of the query, and not for want of others."""
    places = torch.zeros(1, 1, 2)
    points = torch.tensor([[[0.0, 0.0], [3.0, 0.0], [0.0, 0.0], [5.0, 0.0], [4.0, 0.0]]])
    weights = torch.tensor([[0.0, 1.0, 0.0, 1.0, 1.0]])
    assert set(sa.nearest_points(places, points, weights, count=2)[0].flatten().tolist()) == {1, 4}
    attention = sa.VectorAttention(4, 2, 5)
    y = torch.randn(5, 4)
    kept = [1, 3, 4]
    some = attention.context(y, points[0], weights[0])
    alone = attention.context(y[kept], points[0, kept])
    x = torch.randn(1, 4)
    torch.testing.assert_close(attention(x, places[0], some), attention(x, places[0], alone))


def test_neighbours_far_from_the_origin_are_right() -> None:
    points = 1000 + torch.rand(1, 60, 2, generator=torch.Generator().manual_seed(0))
    exact = (points.double().unsqueeze(-2) - points.double().unsqueeze(-3)).norm(dim=-1)
    expected = exact.topk(5, largest=False).indices.sort(-1).values
    index, _ = sa.nearest_points(points, points, count=5)
    assert torch.equal(index.sort(-1).values, expected)
    assert sa.nearest_points(points, points, count=100)[0].shape == (1, 60, 60)


def test_leading_shapes_broadcast_and_nothing_is_empty(normal, ragged) -> None:
    attention = module(3)
    x, p, y, q = normal(2, 1, 7, 6), normal(2, 1, 7, 2), normal(4, 5, 6), normal(4, 5, 2)
    out = attention(x, p, attention.context(y, q, ragged))
    assert out.shape == (2, 4, 7, 6)
    alone = attention(x[1, 0], p[1, 0], attention.context(y[2], q[2], ragged[2]))
    torch.testing.assert_close(out[1, 2], alone)
    nobody = attention.context(normal(0, 6), normal(0, 2))
    assert (attention(x, p, nobody) == 0).all()
    assert attention(x[..., :0, :], p[..., :0, :]).shape == (2, 1, 0, 6)
    double = attention.context(y, q, ragged)
    single = double.to(dtype=torch.float32)
    assert {t.dtype for t in (single.keys, single.points, single.log_weights)} == {torch.float32}
    assert not double.detach().keys.requires_grad
    assert attention.context(y, q).detach().log_weights is None


def test_mass_law_where_the_neighbours_have_room(normal) -> None:
    attention = module(7)
    x, p = normal(2, 6, 6), normal(2, 6, 2)

    def function(rows: Tensor, weights: Tensor | None) -> Tensor:
        return attention(rows[..., :6], rows[..., 6:], weights=weights)

    rows, parameters = torch.cat([x, p], -1), list(attention.parameters())
    laws.assert_mass_consistent(function, rows, parameters=parameters)
    # And no further, as the docstring says: with six places the copy pushes a neighbour out.
    attention.neighbours = 6
    with pytest.raises(AssertionError, match="mass: "):
        laws.assert_mass_consistent(function, rows, parameters=parameters)


def test_gradients(normal, ragged) -> None:
    attention = module(2, chunk=2)
    inputs = [normal(4, 3, 6), normal(4, 3, 2), normal(4, 5, 6), normal(4, 5, 2)]
    weights = ragged.clone()

    def function(x: Tensor, p: Tensor, y: Tensor, q: Tensor) -> Tensor:
        return attention(x, p, attention.context(y, q, weights))

    assert torch.autograd.gradcheck(function, [t.requires_grad_() for t in inputs])
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


class Largest(torch.overrides.TorchFunctionMode):
    """The number of entries of the largest tensor that was made."""

    def __init__(self) -> None:
        super().__init__()
        self.entries = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self.entries = max(self.entries, out.untyped_storage().size() // out.element_size())
        return out


def test_memory_is_that_of_the_neighbours(monkeypatch) -> None:
    n, k, chunk = 1000, 4, 50
    monkeypatch.setattr(neighbours, "_PAIRS", chunk * n)
    attention = sa.VectorAttention(16, 2, k, chunk=chunk)
    with torch.no_grad(), Largest() as largest:
        attention(torch.randn(1, n, 16), torch.randn(1, n, 2))
    # A block of distances, features of a chunk's neighbours, keys and values: no n² anywhere.
    assert largest.entries <= max(chunk * n, chunk * k * 16, n * 32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: sa.VectorAttention(6, 2, 0), "positive sizes, but got .* neighbours=0"),
        (lambda m: m(torch.ones(5, 7), torch.ones(5, 2)), r"6\), but got \(5, 7\)"),
        (lambda m: m(torch.ones(5, 6), torch.ones(5, 3)), r"2\), but got \(5, 3\)"),
        (lambda m: m(torch.ones(5, 6), torch.ones(4, 2)), r"points of shape \(5, 2\)"),
        (lambda m: m.context(torch.ones(5, 7), torch.ones(5, 2)), r"6\), but got \(5, 7\)"),
        (
            lambda m: m(torch.ones(5, 6), torch.ones(5, 2), weights=torch.ones(4)),
            r"weights of shape \(5,\)",
        ),
    ],
)
def test_errors_say_what_was_expected(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call(sa.VectorAttention(6, 2, 3))


def test_repr() -> None:
    assert "dim=6, point_dim=2, neighbours=3\n" in repr(sa.VectorAttention(6, 2, 3))
    assert "neighbours=16, context_dim=3\n" in repr(sa.VectorAttention(6, 2, context_dim=3))


def test_one_program_serves_sets_of_any_size(normal) -> None:
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    attention = module(3, chunk=4).float()
    compiled = torch.compile(attention, backend=backend, fullgraph=True, dynamic=True)
    for n in range(10, 40, 3):  # more sizes than the compiler would make programs for
        x, p, weights = torch.randn(2, n, 6), torch.randn(2, n, 2), torch.rand(2, n)
        torch.testing.assert_close(compiled(x, p, weights=weights), attention(x, p, weights))
    torch.compiler.reset()
    assert len(graphs) <= 2


def test_places_may_be_of_another_precision_than_the_features(normal) -> None:
    x, p = normal(2, 9, 6), normal(2, 9, 2)
    expected = module(3)(x, p)
    assert module(3).bfloat16()(x.bfloat16(), p.float()).dtype == torch.bfloat16
    torch.testing.assert_close(module(3)(x, p.float()), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        module(3).float()(x.float(), p), expected.float(), rtol=1e-4, atol=1e-4
    )
