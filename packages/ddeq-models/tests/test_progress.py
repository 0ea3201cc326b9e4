import io
import sys
from typing import Any

import pytest
import torch

from ddeq_models import Tally
from ddeq_models.progress import Progress
from wgf_solver import Measure, Solution, Status


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def tally() -> Tally:
    tally = Tally(2)
    ones = torch.ones(4)
    status = torch.tensor([Status.CONVERGED] * 3 + [Status.MAX_STEPS])
    logits = torch.tensor([[9.0, 0.0]] * 3 + [[0.0, 9.0]])
    solution = Solution(Measure(torch.ones(4, 2, 2)), ones * 2e-4, ones, 7 * ones.long(), status)
    tally.add(logits, torch.zeros(4, dtype=torch.int64), solution)
    return tally


def test_a_bar_on_a_terminal(monkeypatch: Any, tally: Tally) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr("ddeq_models.progress.REFRESH", 0.0)
    with Progress(epochs=2, steps=4) as progress:
        progress.step(1, tally)
        progress.epoch(1, tally.metrics(), tally.metrics())
        progress.step(2, tally)
    shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
    for words in (
        "epoch 1/2", "epoch 2/2", "loss 2.2", "acc 75.0%", "steps 7.0", "residual 2e-04",
        "failed 1", "validation 75.0%",
    ):  # fmt: skip
        assert words in shown
    assert "\n" not in shown.rstrip("\n")  # a bar, and no lines


@pytest.mark.parametrize("quiet", [False, True])
def test_lines_elsewhere(capsys: Any, tally: Tally, quiet: bool) -> None:
    with Progress(epochs=2, steps=4, quiet=quiet) as progress:
        for epoch in (1, 2):
            progress.step(epoch, tally)
            progress.epoch(epoch, tally.metrics(), tally.metrics())
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == (0 if quiet else 2)
    assert quiet or err.startswith("epoch 1/2  0 s  loss 2.2")
