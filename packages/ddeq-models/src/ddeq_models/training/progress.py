"""What a training shows while it runs: a bar on a terminal, lines elsewhere."""

import os
import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from torch import nn
from tqdm import tqdm

from ddeq_models.tasks.base import Task
from ddeq_models.tasks.tally import Figures, Tally
from ddeq_models.training.forecast import duration

REFRESH = 0.5  # seconds between two looks at the figures: each look waits for the device
LINE_EVERY = 60.0  # seconds without a word, where there is no bar
BAR = 8  # characters that a bar has at least: what does not fit beside it is left out
NARROW = 80  # columns of a terminal that does not say how many it has


class Progress:
    """A progress bar over the steps of a training, on standard error.

    The bar is as wide as the terminal. Where not all figures fit, those that matter least are left
    out, and none is cut. Where standard error is no terminal there is a line an epoch, and a line a
    minute within a long one.

    Args:
        task: What the figures are figures of.
        epochs: Number of epochs.
        steps: Number of steps in all of them.
        quiet: Show nothing.
        done: Steps done before, of a training that is resumed.
    """

    def __init__(
        self, task: Task, epochs: int, steps: int, quiet: bool = False, done: int = 0
    ) -> None:
        terminal = sys.stderr.isatty()
        self.task = task
        self.epochs, self.steps = epochs, steps
        self.done = self.before = done
        self.lines = not (quiet or terminal)
        self.bar = tqdm(
            total=steps,
            initial=done,
            disable=quiet or not terminal,
            ncols=_columns(),
            nrows=24,  # with none, as some terminals say, it would show nothing
            bar_format="{desc}{bar} {remaining}{postfix}",
        )
        self.start = self.shown = time.monotonic()
        self.validated = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.bar.close()

    def step(self, epoch: int, tally: Tally) -> None:
        """A step is done; `tally` holds the clouds since the last record."""
        self.done += 1
        self.bar.update()
        waited = time.monotonic() - self.shown
        if not self.bar.disable and waited >= REFRESH:
            self._draw(epoch, self.task.figures(tally.columns()))
            self.shown = time.monotonic()
        elif self.lines and waited >= LINE_EVERY:
            words = _words(self.task, self.task.figures(tally.columns()))
            seconds = time.monotonic() - self.start
            left = seconds / (self.done - self.before) * (self.steps - self.done)
            self._say(
                f"epoch {epoch}/{self.epochs}  {seconds:.0f} s  step {self.done:,} of "
                f"{self.steps:,}, {duration(left)} left  {' '.join(words)}"
            )

    def epoch(self, epoch: int, trained: Figures, validated: Figures) -> None:
        """An epoch is done."""
        self.validated = f"| validation {self.task.headline(validated)}"
        if self.lines:
            seconds = time.monotonic() - self.start
            words = [*_words(self.task, trained), self.validated]
            self._say(f"epoch {epoch}/{self.epochs}  {seconds:.0f} s  {' '.join(words)}")

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)
        self.shown = time.monotonic()

    def _draw(self, epoch: int, figures: Figures) -> None:
        """The bar with as many figures as fit beside it."""
        self.bar.ncols = _columns()
        self.bar.set_description(f"epoch {epoch}/{self.epochs}", refresh=False)
        remaining = len(tqdm.format_interval(1)) + 3  # of hours, and a blank ahead
        room = self.bar.ncols - len(self.bar.desc) - BAR - remaining - len(", ")
        words = _words(self.task, figures)
        if self.validated:
            words[self.validated] = 1
        chosen: set[str] = set()
        for word in sorted(words, key=words.__getitem__):
            if sum(len(one) + 1 for one in (*chosen, word)) - 1 <= room:
                chosen.add(word)
        self.bar.set_postfix_str(" ".join(word for word in words if word in chosen))


def _words(task: Task, figures: Figures) -> dict[str, int]:
    """The figures one watches during a training, in the order in which they are said.

    With each its rank where not all of them fit: how good it is goes first, then the loss, then
    how the solver does; 1 is that of the validation.
    """
    words = {f"loss {figures['loss']:.3f}": 2, task.headline(figures): 0}
    if "solver_steps_mean" in figures:
        words |= {
            f"steps {figures['solver_steps_mean']:.1f}": 4,
            f"residual {figures['residual_mean']:.0e}": 5,
            f"failed {figures['solver_failures']}": 3,
        }
    if figures.get("adjoint_failures"):
        words[f"adjoint failed {figures['adjoint_failures']}"] = 3
    return words


def _columns() -> int:
    """Columns that a line may have; some terminals, in containers, say that they have none."""
    text = os.environ.get("COLUMNS", "")
    told = int(text) if text.isascii() and text.isdigit() else 0
    if not told:
        with suppress(OSError, ValueError):
            told = os.get_terminal_size(sys.stderr.fileno()).columns
    return (told or NARROW) - 1  # a full line would be wrapped by some


class Pace:
    """Wall-clock seconds of a training step, and of its forward solve, since the last look.

    A model that solves adds the seconds of each forward solve up in an attribute `solver_seconds`.
    On a GPU a solve is over when its last look at the device was, which is some steps early.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._start, self._solved = time.perf_counter(), self._solver_seconds()

    def look(self, steps: int) -> dict[str, float]:
        """Means over the steps since the last look.

        Args:
            steps: How many there were.

        Returns:
            ``step_seconds``, and, of a model that solves, ``solver_seconds``.
        """
        now, solved = time.perf_counter(), self._solver_seconds()
        means = {"step_seconds": round((now - self._start) / steps, 6)}
        if solved is not None and self._solved is not None:
            means["solver_seconds"] = round((solved - self._solved) / steps, 6)
        self._start, self._solved = now, solved
        return means

    def _solver_seconds(self) -> float | None:
        seconds: float | None = getattr(self.model, "solver_seconds", None)
        return seconds
