import io
import sys
from typing import Any

import pytest
import torch

from ddeq_models import DataConfig, DDEQConfig, Output, RunConfig, Tally
from ddeq_models.tasks.classification import Classification, Labelled
from ddeq_models.training.progress import Progress
from wgf_solver import Measure, Solution, Status


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def task() -> Classification:
    return Classification(RunConfig("", ("a", "b"), DataConfig(), DDEQConfig(classes=2)))


@pytest.fixture
def tally(task: Classification) -> Tally:
    tally = Tally()
    ones = torch.ones(4)
    status = torch.tensor([Status.CONVERGED] * 3 + [Status.MAX_STEPS])
    logits = torch.tensor([[9.0, 0.0]] * 3 + [[0.0, 9.0]])
    solution = Solution(Measure(torch.ones(4, 2, 2)), ones * 2e-4, ones, 7 * ones.long(), status)
    inputs = Labelled(torch.ones(4, 1, 2), torch.ones(4, 1), torch.zeros(4, dtype=torch.int64))
    tally.add(task.records(Output(logits, solution), inputs))
    return tally


def test_a_bar_on_a_terminal(monkeypatch: Any, task: Classification, tally: Tally) -> None:
    figures = task.figures(tally.columns())
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr("ddeq_models.training.progress.REFRESH", 0.0)
    with Progress(task, epochs=2, steps=4) as progress:
        progress.step(1, tally)
        progress.epoch(1, figures, figures)
        progress.step(2, tally)
    shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
    for words in (
        "epoch 1/2", "epoch 2/2", "loss 2.2", "acc 75.0%", "steps 7.0", "residual 2e-04",
        "failed 1", "validation acc 75.0%",
    ):  # fmt: skip
        assert words in shown
    assert "\n" not in shown.rstrip("\n")  # a bar, and no lines


@pytest.mark.parametrize("quiet", [False, True])
def test_lines_elsewhere(capsys: Any, task: Classification, tally: Tally, quiet: bool) -> None:
    figures = task.figures(tally.columns())
    with Progress(task, epochs=2, steps=4, quiet=quiet) as progress:
        for epoch in (1, 2):
            progress.step(epoch, tally)
            progress.epoch(epoch, figures, figures)
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == (0 if quiet else 2)
    assert quiet or err.startswith("epoch 1/2  0 s  loss 2.2")
