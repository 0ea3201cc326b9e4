"""The benchmark of set-attention runs, and what it counts instead of timing is as it says."""

import importlib
from argparse import Namespace
from pathlib import Path

import pytest
import torch

pytest.importorskip("torch_geometric")


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))


def test_each_comparison_is_in_the_table() -> None:
    attention = importlib.import_module("benchmarks.attention.peers")
    every = list(attention.COMPARISONS)
    figures = attention.run(Namespace(batch=3, dim=8, points=128, seconds=0.0, only=every))
    rows = figures["rows"]
    assert len(rows) == 39
    assert all(row["ours"] > 0 and row["peer"] > 0 for row in rows)
    printed = attention.table(figures)
    assert printed.count("\n") == 3 + len(rows)
    for name in ("MultiheadAttention", "torch_geometric", "bare kernel", "peak memory"):
        assert name in printed
    peak, growth = (row for row in rows if row["unit"] != "ms")
    assert peak["met"]
    assert growth["met"]


def test_live_bytes_are_those_of_living_tensors() -> None:
    peak_bytes = importlib.import_module("benchmarks.live_bytes").peak_bytes
    x = torch.ones(1000)

    def function() -> None:
        y = x + 1  # 4,000 bytes
        y = y * 2  # and 4,000 more, until the first are dropped
        y = y.view(10, 100)[1:].mT
        z = y.sum()  # 4 more
        del y
        torch.zeros(1500) + z  # twice 6,000

    assert peak_bytes(function) == 12_004
    assert peak_bytes(lambda: x.view(10, 100)) == 0
