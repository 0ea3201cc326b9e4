"""What holds for every module: devices, precision, compilation, resetting, printing."""

import copy
import dataclasses
import inspect
import pickle
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

import set_attention as sa
from set_attention import measures, ragged
from set_attention.local import grouping, neighbours


class Cell(nn.Module):
    """All modules in one map of two measures."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.bilinear = sa.Bilinear(8, 3, interacting=True)
        self.own = sa.TransformerBlock(8, 2, 12, dropout=dropout)
        self.cross = sa.CrossBlock(8, 2, 12, context_dim=3, norm="post", dropout=dropout)
        self.induced = sa.ISAB(8, 2, 3, norm="pre", normalisation="set", dropout=dropout)
        self.near = sa.VectorAttention(8, 2, 3, chunk=3)
        self.deep = sa.DeepSetsBlock(8, 12, pool="max", dropout=dropout)
        self.latent = sa.LatentEncoder(8, 2, 12, 2, depth=0, dropout=dropout)
        self.seeds = sa.PMA(8, 2, 2, dropout=dropout)
        self.fourier = sa.FourierFeatures(1, 4)
        self.pool = sa.AttentionPool(8, 2)

    def forward(
        self, x: Tensor, y: Tensor, w: Tensor | None = None, v: Tensor | None = None
    ) -> Tensor:
        # Of the coordinates themselves, as they came: high frequencies amplify rounding.
        start = x
        x = sa.clear_padding(x, w) + self.fourier(x[..., :1], w)[..., 1:]
        x = self.own(self.bilinear(x, self.bilinear.context(y, v), w), w)
        x = self.cross(x, self.cross.context(y, v), w)
        x = self.deep(self.induced(x, w), w)
        x = x + self.near(x, start[..., :2], weights=w)
        pooled = self.pool(x, w) + sa.mean_pool(x, w) + sa.max_pool(x, w)
        return pooled + self.seeds(x, w).mean(-2) + self.latent(x, w).mean(-2)


class Recorder(TorchDispatchMode):
    """Notes the operators that run, and the devices of what they return."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: set[str] = set()
        self.devices: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.operators.add(func.overloadpacket.__name__)
        self.devices |= {t.device.type for t in tree_iter(out) if isinstance(t, Tensor)}
        return out


def test_no_tensor_leaves_the_device() -> None:
    cell = Cell(dropout=0.2).to("meta")
    # Large enough that sub-batches would be made where the host may look at weights.
    x, y = torch.randn(64, 80, 8, device="meta"), torch.randn(64, 6, 3, device="meta")
    w, v = torch.rand(64, 80, device="meta"), torch.rand(64, 6, device="meta")
    with Recorder() as recorder:
        for weights in ((), (w, v)):
            cell(x, y, *weights).sum().backward()
            with sa.held_dropout(cell):
                cell(x, y, *weights).sum().backward()
    assert recorder.devices == {"meta"}


def test_full_sets_pay_for_no_masks() -> None:
    cell = Cell().eval()
    masking = {"where", "gt", "log", "any", "all", "masked_fill", "isneginf", "isinf", "eq"}
    x, y = torch.randn(4, 5, 8), torch.randn(4, 6, 3)
    with torch.no_grad(), Recorder() as full:
        cell(x, y)
    with torch.no_grad(), Recorder() as weighted:
        cell(x, y, torch.rand(4, 5), torch.rand(4, 6))
    assert not full.operators & masking
    assert weighted.operators & masking


def test_large_full_sets_are_not_copied(normal) -> None:
    """However they are weighted; and with a single padded row they are."""
    x, weights = normal(64, 80, 8), torch.rand(64, 80, dtype=torch.float64) + 0.1
    assert sa.clear_padding(x, weights) is x
    logs = sa.log_weights(weights)
    with Recorder() as recorder:
        sa.attend(x, x, x, logs)
    assert "where" not in recorder.operators
    padded = weights.clone()
    padded[3, 4] = 0
    spoilt = x.clone()
    spoilt[3, 4] = torch.nan
    assert (sa.clear_padding(spoilt, padded)[3, 4] == 0).all()
    assert sa.attend(x, spoilt, spoilt, sa.log_weights(padded)).isfinite().all()


def test_no_value_of_a_small_batch_is_read_by_the_host(monkeypatch) -> None:
    """Nor of any on a GPU: large ones are on the meta device above, where no value can be read.

    On the CPU one is, the least weight, which may be negative.
    """
    for module in (measures, ragged, grouping, neighbours):
        monkeypatch.setattr(module, "host_may_look", lambda tensor: False)
    with Recorder() as recorder:
        Cell(dropout=0.2)(
            torch.randn(4, 5, 8), torch.randn(4, 6, 3), torch.rand(4, 5), torch.rand(4, 6)
        ).sum().backward()
    assert not recorder.operators & {"_local_scalar_dense", "nonzero", "masked_select", "index"}


@pytest.mark.parametrize("cached", [False, True])
def test_autocast(normal, ragged, cached) -> None:
    torch.manual_seed(0)
    cell = Cell()
    x, y = normal(4, 5, 8).float(), normal(4, 5, 3).float()
    padding = (ragged == 0).unsqueeze(-1)
    weights = ragged.float()
    expected = cell(x, y, weights, weights)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=cached):
        out = cell(
            x.masked_fill(padding, torch.nan), y.masked_fill(padding, 1e30), weights, weights
        )
        full = cell(x, y)
    torch.testing.assert_close(out.float(), expected, atol=0.2, rtol=0.1)
    torch.testing.assert_close(full.float(), cell(x, y), atol=0.2, rtol=0.1)
    (out.sum() + full.sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in cell.parameters())


def test_half_precision_parameters(normal, ragged) -> None:
    torch.manual_seed(0)
    cell = Cell()
    x, y, weights = normal(4, 5, 8).float(), normal(4, 5, 3).float(), ragged.float()
    expected = cell(x, y, weights, weights)
    out = cell.bfloat16()(x.bfloat16(), y.bfloat16(), weights, weights)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), expected, atol=0.2, rtol=0.1)


def test_copies_and_pickles_are_the_same_function(normal, ragged) -> None:
    cell = Cell(dropout=0.3).double().eval()
    x, y = normal(4, 5, 8), normal(4, 5, 3)
    expected = cell(x, y, ragged, ragged)
    for other in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert torch.equal(other(x, y, ragged, ragged), expected)
    with sa.held_dropout(cell.train()):
        held = cell(x, y, ragged, ragged)
        assert torch.equal(copy.deepcopy(cell)(x, y, ragged, ragged), held)


def contexts(normal, ragged: Tensor) -> list:
    x = normal(4, 5, 8)
    return [
        sa.SetAttention(8, 2).double().context(x, ragged),
        sa.Bilinear(8, 8, interacting=True).double().context(x, ragged),
        sa.VectorAttention(8, 2).double().context(x, x[..., :2], ragged),
    ]


def test_contexts_print_their_shapes_and_are_copied(normal, ragged) -> None:
    printed = [repr(context) for context in contexts(normal, ragged)]
    assert printed == [
        "Context(keys=(4, 2, 5, 4), values=(4, 2, 5, 4), log_weights=(4, 1, 5), torch.float64)",
        "BilinearContext(matrix=(4, 8, 8), mean_matrix=(4, 8, 8), torch.float64)",
        "VectorContext(keys=(4, 5, 8), values=(4, 5, 8), points=(4, 5, 2), log_weights=(4, 5), "
        "torch.float64)",
    ]
    full = sa.SetAttention(8, 2).context(torch.ones(5, 8))
    assert "log_weights=None" in repr(full)
    for context in contexts(normal, ragged):
        detached = context.detach()
        for other in (
            context.contiguous(),
            copy.deepcopy(detached),
            pickle.loads(pickle.dumps(detached)),
            context.to("cpu", torch.float64),
        ):
            assert type(other) is type(context)
            for name, tensor in vars(context).items():
                assert torch.equal(getattr(other, name), tensor)
        assert all(tensor.is_contiguous() for tensor in vars(context.contiguous()).values())
        assert context.contiguous().to("meta").contiguous() is not None


def test_what_is_not_a_context_is_named(normal, ragged) -> None:
    x = normal(4, 5, 8).float()
    other = sa.Bilinear(8, 8).context(x)
    for module in (sa.CrossBlock(8, 2, 12), sa.MAB(8, 2), sa.Bilinear(8, 8)):
        with pytest.raises(TypeError, match=r"but got a tensor of shape \(4, 5, 8\); make it"):
            module(x, x)
    for module in (sa.SetAttention(8, 2), sa.CrossBlock(8, 2, 12)):
        with pytest.raises(TypeError, match="expected a Context, but got BilinearContext"):
            module(x, other)
    with pytest.raises(TypeError, match="expected a VectorContext, but got BilinearContext"):
        sa.VectorAttention(8, 2)(x, x[..., :2], other)
    with pytest.raises(TypeError, match=r"weights \(4, 5\) of x .* shape \(4, 5, 8\); to attend"):
        sa.SetAttention(8, 2)(x, x)
    with pytest.raises(TypeError, match=r"shape \(4, 5\) beside weights; to attend"):
        sa.VectorAttention(8, 2)(x, x[..., :2], ragged.float(), ragged.float())


def test_compiles_to_one_graph(normal, ragged) -> None:
    cell = Cell().double()
    compiled = torch.compile(cell, fullgraph=True, backend="eager")
    x, y = normal(4, 5, 8).requires_grad_(), normal(4, 5, 3)
    results = [f(x, y, ragged, ragged) for f in (cell, compiled)]
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*[torch.autograd.grad(r.sum(), x) for r in results])
    torch.compiler.reset()


def test_double_backward_with_the_mathematical_kernel(normal, ragged) -> None:
    cell = Cell().double()
    x, y = normal(4, 5, 8).requires_grad_(), normal(4, 5, 3).requires_grad_()
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        for weights in ((), (ragged, ragged)):
            assert torch.autograd.gradgradcheck(
                lambda x, y, w=weights: cell(x, y, *w).square().sum(), [x, y], fast_mode=True
            )


def test_reset_parameters_draws_anew() -> None:
    modules = [
        sa.SetAttention(8, 2),
        sa.SetAttention(8, 2, 3),
        sa.FeedForward(8, 12),
        sa.TransformerBlock(8, 2, 12),
        sa.CrossBlock(8, 2, 12),
        sa.Bilinear(8, 3),
        sa.Bilinear(8, 3, interacting=True),
        sa.AttentionPool(8, 2),
        sa.MAB(8, 2, norm="pre", normalisation="set"),
        sa.SAB(8, 2),
        sa.ISAB(8, 2, 3),
        sa.PMA(8, 2),
        sa.LatentEncoder(8, 2, 12, 2),
        sa.VectorAttention(8, 2),
        sa.SetNorm(8),
        sa.EquivariantLinear(8),
        sa.DeepSetsBlock(8, 12),
        sa.LocalPool(8, 2, 4, 3),
        sa.LocalPool(8, 2, 4, 3, norm="layer"),
    ]
    for module in modules:
        torch.manual_seed(3)
        module.reset_parameters()
        before = {k: p.clone() for k, p in module.state_dict().items()}
        with torch.no_grad():
            for p in module.parameters():
                p.fill_(torch.nan)
        torch.manual_seed(3)
        module.reset_parameters()
        for name, parameter in module.state_dict().items():
            assert torch.equal(parameter, before[name]), name


def test_repr_says_how_it_was_built() -> None:
    printed = repr(Cell(dropout=0.5))
    for part in (
        "Bilinear(dim=8, context_dim=3, out_dim=8, interacting=True)",
        "dim=8, heads=2\n",
        "dim=8, heads=2, context_dim=3\n",
        "norm=pre",
        "norm=post",
        "activation=gelu",
        "RowDropout(p=0.5)",
        "seeds=1",
        "inducing=3",
        "SetNorm(dim=8, epsilon=1e-05)",
        "pool=max",
        "latents=2",
        "seeds=2",
        "FourierFeatures(dim=1, octaves=4, wavelength=8.0)",
    ):
        assert part in printed


def test_the_examples_of_the_readme_run() -> None:
    readme = Path(__file__).parents[1] / "README.md"
    blocks = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)
    assert len(blocks) == 2
    for code in blocks:
        assert 10 <= len(code.splitlines()) <= 30
        exec(code, {"__name__": "readme"})


def test_every_public_name_says_what_it_is() -> None:
    """Each module, its constructor's arguments, the shapes of what it is called with."""
    for name in sa.__all__:
        part = getattr(sa, name)
        documented = inspect.getdoc(part) or ""
        assert len(documented) > 60, name
        calls = [part]
        if isinstance(part, type):
            if dataclasses.is_dataclass(part):
                for field in dataclasses.fields(part):
                    assert re.search(rf"\b{field.name}: .*\(\.\.\.,", documented), (name, field)
                continue
            assert "forward" in vars(part) or issubclass(part, (sa.CrossBlock, sa.TransformerBlock))
            given = inspect.signature(part).parameters if "__init__" in vars(part) else ()
            for argument in given:
                assert f"{argument}: " in documented, (name, argument)
            calls = [part.forward, *[f for n, f in vars(part).items() if n in ("context",)]]
        for call in calls:
            text = inspect.getdoc(call) or ""
            for argument, given in inspect.signature(call).parameters.items():
                if "Tensor" in str(given.annotation):
                    assert f"{argument}: " in text, (name, call, argument)
            assert "(..." in text or name == "held_dropout", (name, call)


def test_every_module_with_parameters_resets_them() -> None:
    for part in vars(sa).values():
        if isinstance(part, type) and issubclass(part, nn.Module):
            plain = (sa.MeanPool, sa.MaxPool, sa.RowDropout, sa.FourierFeatures)
            has_none = part in (*plain, sa.LocalMoments)
            assert hasattr(part, "reset_parameters") != has_none, part


def test_the_table_of_the_readme_is_complete() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    assert [name for name in sa.__all__ if f"`{name}" not in readme] == []
