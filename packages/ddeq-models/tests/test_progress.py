import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
from contextlib import suppress
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
    for words in ("epoch 1/2", "epoch 2/2", "acc 75.0%", "validation acc 75.0%"):
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


def _lines(
    columns: int, task: Classification, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """What a terminal of so many columns is given, line by line."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("ddeq_models.training.progress.REFRESH", 0.0)
    figures = task.figures(tally.columns())
    reader, writer = pty.openpty()
    fcntl.ioctl(
        writer, termios.TIOCSWINSZ, struct.pack("HHHH", 30 if columns else 0, columns, 0, 0)
    )
    with os.fdopen(writer, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with Progress(task, epochs=60, steps=240) as progress:
            for step in range(8):
                progress.step(1 + step // 4, tally)
                if step == 3:
                    progress.epoch(1, figures, figures)
    content = b""
    with suppress(OSError):  # the end, where nobody is left who writes
        while part := os.read(reader, 1 << 16):
            content += part
    os.close(reader)
    return [line.rstrip() for line in re.split(r"[\r\n]+", content.decode()) if line.strip()]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (0, "loss 2.250 acc 75.0% | validation acc 75.0%"),
        (60, "loss 2.250 acc 75.0% failed 1"),
        (80, "loss 2.250 acc 75.0% | validation acc 75.0%"),
        (100, "loss 2.250 acc 75.0% steps 7.0 failed 1 | validation acc 75.0%"),
        (
            140,
            "loss 2.250 acc 75.0% steps 7.0 residual 2e-04 failed 1 | validation acc 75.0%",
        ),
    ],
)
def test_a_line_fits_its_terminal_and_has_a_bar(
    monkeypatch: pytest.MonkeyPatch, task: Classification, tally: Tally, columns: int, said: str
) -> None:
    last = _lines(columns, task, tally, monkeypatch)[-1]
    assert len(last) < (columns or 80)
    found = re.fullmatch(r"epoch 2/60: (.{8,}) [\d:?]+, (.*)", last)
    assert found is not None, last
    assert found[2] == said


def test_a_long_epoch_is_not_silent_where_there_is_no_bar(
    capsys: Any, monkeypatch: pytest.MonkeyPatch, task: Classification, tally: Tally
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    figures = task.figures(tally.columns())
    with Progress(task, epochs=2, steps=1100, done=100) as progress:
        for _ in range(60):
            now += 5.0
            progress.step(1, tally)
        progress.epoch(1, figures, figures)
        progress.step(2, tally)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[1] for line in lines] == [f"{m * 60} s" for m in range(1, 6)] + [
        "300 s"
    ]
    assert lines[0].startswith("epoch 1/2  60 s  step 112 of 1,100, 82 min left  loss 2.250 acc 75")
    assert lines[-1].endswith("| validation acc 75.0%")
