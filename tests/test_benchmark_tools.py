"""What benchmarks count and work with is as they say."""

import importlib
import signal
import time
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(Path(__file__).parents[1]))
    live_bytes, products, device, nursery = (
        importlib.import_module(f"benchmarks.{name}")
        for name in ("live_bytes", "products", "device", "nursery")
    )


def test_live_bytes_are_those_of_living_tensors() -> None:
    x = torch.ones(1000)

    def function() -> None:
        y = x + 1  # 4,000 bytes
        y = y * 2  # and 4,000 more, until the first are dropped
        y = y.view(10, 100)[1:].mT
        z = y.sum()  # 4 more
        del y
        torch.zeros(1500) + z  # twice 6,000

    assert live_bytes.peak_bytes(function) == 12_004
    assert live_bytes.peak_bytes(lambda: x.view(10, 100)) == 0


def test_products_are_counted_where_a_leaf_is_differentiated_within() -> None:
    """As a velocity through the map does; torch's own tracker of modules refuses it."""
    layer, z = nn.Linear(5, 7, bias=False), torch.ones(3, 5, requires_grad=True)

    def through() -> None:
        torch.autograd.grad(layer(z).sum(), z)

    forward = 2 * 3 * 5 * 7
    assert products.gflop(through) == pytest.approx(2e-9 * forward)
    assert products.gflop(lambda: layer(z.detach())) == pytest.approx(1e-9 * forward)


def test_waits_of_the_host_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the warnings that PyTorch gives in a mode that is reset afterwards."""
    modes: list[object] = []
    monkeypatch.setattr("torch.cuda.get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr("torch.cuda.set_sync_debug_mode", modes.append)

    def function() -> None:
        for text in ("called a synchronizing CUDA operation (Triggered)", "something else") * 2:
            warnings.warn(text, stacklevel=1)

    assert device.waits(function, torch.device("cuda")) == 2
    assert modes == ["warn", 0]
    assert device.waits(lambda: None, torch.device("cpu")) is None


def test_a_nursery_tells_how_a_child_ended() -> None:
    children = nursery.nursery()
    assert children.call("math:hypot", 3.0, 4.0) == (0, 5.0, "")
    assert children.call("math:sqrt", -1.0).error
    children.start("time:sleep", 60)
    assert children.running()
    children.kill()
    begin = time.perf_counter()
    assert children.wait() == (-signal.SIGKILL, None, "")
    assert time.perf_counter() - begin < 30
