"""set-attention beside bare kernels, torch.nn.MultiheadAttention and PyTorch Geometric.

What a user would pick instead, in the same process and on the same data: minima of interleaved
repetitions, forward and backward where nothing else is said, float32. Times of (64, n, 128) with 4
heads; ragged: 64 sets of 34 to 351 points. Bytes are counted, not timed. PyTorch Geometric's blocks
have a feed-forward map of one layer where ours has two: 5/6 of our arithmetic on as many rows; and
torch's multi-head attention, beside which SAB and ISAB stand too, has none.
"""

import argparse
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import set_attention as sa
from benchmarks.attention.timing import row, step, there_and_back, timed
from benchmarks.live_bytes import peak_bytes

HEADS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmark's own options."""
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--points", type=int, default=1024, help="largest number of points")
    parser.add_argument("--only", nargs="+", choices=list(COMPARISONS), default=list(COMPARISONS))
    parser.add_argument("--seconds", type=float, default=5.0, help="for each comparison, about")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """A row for each comparison: ours, the peer, their ratio, the target."""
    torch.manual_seed(0)
    rows = [row for name in options.only for row in COMPARISONS[name](options)]
    return {"batch": options.batch, "dim": options.dim, "rows": rows}


def table(figures: dict[str, Any]) -> str:
    """What was compared, and whether the target was met."""
    lines = [
        f"batch {figures['batch']}, width {figures['dim']}, {HEADS} heads",
        "",
        "| what | ours | peer | peer is | ratio | target | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for found in figures["rows"]:
        ours, peer = f"{found['ours']:.2f} {found['unit']}", f"{found['peer']:.2f} {found['unit']}"
        target = "" if found["target"] is None else f"{found['sense']} {found['target']:g}"
        met = {None: "", True: "met", False: "missed"}[found["met"]]
        lines.append(
            f"| {found['what']} | {ours} | {peer} | {found['name']} | {found['ratio']:.2f} | "
            f"{target} | {met} |"
        )
    return "\n".join(lines)


def free_function(options: argparse.Namespace) -> list[dict[str, Any]]:
    """``attend`` beside the bare kernel on the same queries, keys and values.

    Padded: half of the rows of half of the sets; the bare kernel is given them too, with a mask of
    -inf, and would answer NaN if they held one.
    """
    rows = []
    for n in sizes(options):
        shape = (options.batch, HEADS, n, options.dim // HEADS)
        qkv = [torch.randn(shape, requires_grad=True) for _ in range(3)]
        weights = torch.rand(options.batch, 1, n) + 0.1
        padded = weights.clone()
        padded[::2, :, n // 2 :] = 0
        for kind, w in (("", None), (", weighted", weights), (", padded", padded)):
            logs = None if w is None else sa.log_weights(w)
            mask = None if logs is None else logs.unsqueeze(-2)

            def ours(logs: Tensor | None = logs, qkv: list[Tensor] = qkv) -> Tensor:
                return sa.attend(*qkv, logs)

            def bare(mask: Tensor | None = mask, qkv: list[Tensor] = qkv) -> Tensor:
                return functional.scaled_dot_product_attention(*qkv, attn_mask=mask)

            functions = {"ours": there_and_back(ours, qkv), "peer": there_and_back(bare, qkv)}
            name = "scaled_dot_product_attention" + ("" if w is None else ", log-weights given")
            what = f"attend, n = {n}{kind}"
            rows.append(timed(what, name, functions, options.seconds, 1.15, at_most=True))
    return rows


def sizes(options: argparse.Namespace) -> list[int]:
    """Numbers of points up to the largest."""
    return [min(n, options.points) for n in (16, 64, 256, 1024)]


def overhead(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Multi-head attention beside its projections and the bare kernel, written out."""
    attention = sa.SetAttention(options.dim, HEADS)

    def bare(x: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = attention.query_key_value(x).unflatten(-1, (3, HEADS, -1)).unbind(-3)
        heads = functional.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask
        )
        out: Tensor = attention.output(heads.transpose(1, 2).flatten(-2))
        return out

    rows = []
    for n in sizes(options):
        x = torch.randn(options.batch, n, options.dim, requires_grad=True)
        weights = torch.rand(x.shape[:2]) + 0.1
        mask = weights.log()[:, None, None]
        for kind, w, m in (("", None, None), (", weighted", weights, mask)):
            functions = {
                "ours": step(lambda x, w=w: attention(x, weights=w), x, attention),
                "peer": step(lambda x, m=m: bare(x, m), x, attention),
            }
            what = f"SetAttention, n = {n}{kind}"
            name = "projections and bare kernel" + (", log-weights given" if kind else "")
            rows.append(timed(what, name, functions, options.seconds, 1.15, at_most=True))
    return rows


def blocks(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Whole blocks, on full batches without masks and on ragged ones with them."""
    # Here, since it takes seconds that no other benchmark needs.
    from torch_geometric.nn.aggr.utils import InducedSetAttentionBlock, SetAttentionBlock

    dim, n = options.dim, min(270, options.points)
    longest = min(351, options.points)
    counts = torch.linspace(34 * longest // 351, longest, options.batch).long()
    counts = counts[torch.randperm(options.batch)]
    mask = torch.arange(longest) < counts[:, None]
    weights = mask / counts[:, None]
    full = torch.randn(options.batch, n, dim, requires_grad=True)
    ragged = torch.randn(options.batch, longest, dim, requires_grad=True)
    attention, multihead = (
        sa.SetAttention(dim, HEADS),
        nn.MultiheadAttention(dim, HEADS, batch_first=True),
    )
    sab, isab = sa.SAB(dim, HEADS), sa.ISAB(dim, HEADS, 32)
    their_sab, their_isab = SetAttentionBlock(dim, HEADS), InducedSetAttentionBlock(dim, 32, HEADS)

    def theirs(x: Tensor, mask: Tensor | None) -> Tensor:
        padding = None if mask is None else ~mask
        out: Tensor = multihead(x, x, x, key_padding_mask=padding, need_weights=False)[0]
        return out

    torch_name, geometric = "torch.nn.MultiheadAttention", "torch_geometric"
    comparisons = (
        ("SetAttention", attention, torch_name, theirs, multihead),
        ("SAB", sab, f"{geometric} SetAttentionBlock", their_sab, their_sab),
        ("ISAB", isab, f"{geometric} InducedSetAttentionBlock", their_isab, their_isab),
        ("SAB", sab, torch_name, theirs, multihead),
        ("ISAB", isab, torch_name, theirs, multihead),
    )
    everything = torch.ones(full.shape[:2], dtype=torch.bool)
    rows = []
    for kind, x, w, m, target in (
        (f"full, n = {n}", full, None, None, 1.0),
        (f"full, n = {n}", full, None, everything, 1.0),
        (f"ragged, {int(counts.min())} to {longest}", ragged, weights, mask, 1.5),
    ):
        for what, module, name, peer, other in comparisons:
            if m is everything and peer is not theirs:
                continue
            functions = {
                "ours": step(lambda x, f=module, w=w: f(x, w), x, module),
                "peer": step(lambda x, f=peer, m=m: f(x, m), x, other),
            }
            masked = "" if m is None else ", masked"
            rows.append(timed(f"{what}, {kind}", name + masked, functions, options.seconds, target))
    return rows


def cached_context(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Ten particles look at a context; beside it the same with the context made anew, no gradients.

    Of a query with q rows and a context with m >> q rows of width d, projecting the keys and values
    is 2 m d² products and the query 2 m d q: their quotient is d / q, 12.8 here, whatever the code.
    """
    encode, look = sa.SAB(options.dim, HEADS), sa.SetAttention(options.dim, HEADS)
    y = torch.randn(options.batch, options.points, options.dim)
    weights = torch.rand(y.shape[:2]) + 0.1
    x = torch.randn(options.batch, 10, options.dim)
    rows = []
    with torch.no_grad():
        context = look.context(encode(y, weights), weights)
        copied = context.contiguous()
        torch.testing.assert_close(look(x, copied), look(x, context))
        what = f"cached context of {options.points} points, 10 queries"
        for kind, cached, name, again, target in (
            ("", context, "encoded (SAB) and projected anew", lambda: encode(y, weights), 20.0),
            ("", context, "projected anew", lambda: y, None),
            (", contiguous", copied, "projected anew", lambda: y, None),
        ):
            functions = {
                "ours": lambda cached=cached: look(x, cached),
                "peer": lambda again=again: look(x, look.context(again(), weights)),
            }
            rows.append(timed(what + kind, name, functions, options.seconds, target))
    return rows


def vector_attention(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Memory and time of one set, beside all pairs (n, n, d) of which k a row are then gathered."""
    n, dim, neighbours = options.points, 32, 16
    attention = sa.VectorAttention(dim, 3, neighbours)

    def dense(x: Tensor, points: Tensor) -> Tensor:
        keys, values = attention.key_value(x).chunk(2, -1)
        nearest = torch.cdist(points, points).topk(neighbours, largest=False).indices
        index = nearest.unsqueeze(-1).expand(*nearest.shape, dim)
        offset = attention.offset(points.unsqueeze(-2) - points.unsqueeze(-3))
        relation = (attention.query(x).unsqueeze(-2) - keys.unsqueeze(-3) + offset).gather(
            -2, index
        )
        value = (values.unsqueeze(-3) + offset).gather(-2, index)
        return (attention.score(relation).softmax(-2) * value).sum(-2)

    peaks = []
    for m in (n // 2, n):
        x, points = torch.randn(1, m, dim, requires_grad=True), torch.randn(1, m, 3)
        functions = {
            "ours": step(lambda x, points=points: attention(x, points), x, attention),
            "peer": step(lambda x, points=points: dense(x, points), x, attention),
        }
        peaks.append([peak_bytes(function) for function in functions.values()])
    torch.testing.assert_close(attention(x, points), dense(x, points), rtol=1e-3, atol=1e-3)
    what = f"VectorAttention, n = {n}, k = {neighbours}, d = {dim}"
    name = "all pairs (n, n, d), then k of each gathered"
    ours, peer = (peak / 2**20 for peak in peaks[1])
    growth = [after / before for before, after in zip(*peaks, strict=True)]
    return [
        row(f"{what}: peak memory", name, "MiB", ours, peer, n / neighbours / 8),
        row("its growth when n doubles", name, "x", *growth, 0.6, at_most=True),
        timed(what, name, functions, options.seconds, 1.0),
    ]


COMPARISONS: dict[str, Callable[[argparse.Namespace], list[dict[str, Any]]]] = {
    "attend": free_function,
    "overhead": overhead,
    "blocks": blocks,
    "context": cached_context,
    "vector": vector_attention,
}
