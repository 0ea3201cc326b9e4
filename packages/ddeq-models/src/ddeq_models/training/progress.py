"""What a training shows while it runs: a bar on a terminal, a line an epoch elsewhere."""

import shutil
import sys
import time
from types import TracebackType
from typing import Self

from torch import nn
from tqdm import tqdm

from ddeq_models.tasks.base import Task
from ddeq_models.tasks.tally import Figures, Tally

REFRESH = 0.5  # seconds between two looks at the figures: each look waits for the device


class Progress:
    """A progress bar over the steps of a training, on standard error.

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
        # Some terminals (in containers) say they have no columns, and tqdm then shows nothing.
        sized = shutil.get_terminal_size((0, 0)).columns > 0
        self.task = task
        self.epochs = epochs
        self.lines = not (quiet or terminal)
        self.bar = tqdm(
            total=steps,
            initial=done,
            disable=quiet or not terminal,
            dynamic_ncols=sized,
            ncols=None if sized else 100,
            bar_format="{desc}{bar} {remaining}{postfix}",
        )
        self.start = self.shown = time.monotonic()
        self.verdict = ""

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
        self.bar.update()
        if not self.bar.disable and time.monotonic() - self.shown >= REFRESH:
            self.bar.set_description(f"epoch {epoch}/{self.epochs}", refresh=False)
            self.bar.set_postfix_str(self._brief(self.task.figures(tally.columns())) + self.verdict)
            self.shown = time.monotonic()

    def epoch(self, epoch: int, trained: Figures, validated: Figures) -> None:
        """An epoch is done."""
        self.verdict = f" | validation {self.task.headline(validated)}"
        if self.lines:
            seconds = time.monotonic() - self.start
            words = self._brief(trained) + self.verdict
            print(
                f"epoch {epoch}/{self.epochs}  {seconds:.0f} s  {words}",
                file=sys.stderr,
                flush=True,
            )

    def _brief(self, figures: Figures) -> str:
        """The figures one watches during a training, short enough for a line of a terminal."""
        words = [f"loss {figures['loss']:.3f} {self.task.headline(figures)}"]
        if "solver_steps_mean" in figures:
            words.append(
                f"steps {figures['solver_steps_mean']:.1f} residual "
                f"{figures['residual_mean']:.0e} failed {figures['solver_failures']}"
            )
        if figures.get("adjoint_failures"):
            words.append(f"adjoint failed {figures['adjoint_failures']}")
        return " ".join(words)


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
