"""When and how the state of a training gets into its run folder."""

import signal
import threading
import time
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Self

from ddeq_models._internal.files import owned_file
from ddeq_models.distributed import Ranks
from ddeq_models.errors import Interrupted, UserError
from ddeq_models.runs.folder import CHECKPOINT, RunFolder
from ddeq_models.runs.places import how_to_go_on
from ddeq_models.training.board import Board
from ddeq_models.training.state import State


@dataclass(frozen=True)
class Manner:
    """What of a training changes no result, but for the rounding of what is compiled.

    Attributes:
        quiet: Show no progress.
        checkpoint_every: Seconds between two checkpoints; a crash costs at most that much work.
        tensorboard: Whether the records also go to TensorBoard, into the run folder.
        compile: Whether `torch.compile` is asked for the forward and backward passes.
        workers: Processes that prepare the clouds ahead of time; 0: none but this one.
    """

    quiet: bool = False
    checkpoint_every: float = 30.0
    tensorboard: bool = False
    compile: bool = False
    workers: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.workers <= 1024:
            raise UserError(f"workers must be between 0 and 1024, got {self.workers}")
        if not self.checkpoint_every >= 0:
            raise UserError(
                "checkpoint_every must be a number of seconds of at least 0, got "
                f"{self.checkpoint_every:g}"
            )


class Stop:
    """Within it, the first Ctrl-C or SIGTERM sets `asked`; the second stops at once.

    Attributes:
        asked: Whether a signal came.
        code: Exit code that tells of it: 128 and the signal's number.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.asked = False
        self.code = 128 + signal.SIGINT
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            self._before = {number: signal.signal(number, self._ask) for number in self.SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked, self.code = True, 128 + number


class Saver:
    """Keeps the state in the run folder, and says when to stop.

    Args:
        run: The run, whose checkpoint, if there is one, is loaded into the state.
        ranks: The processes; the first one writes.
        state: The state.
        stop: Whether a signal came.
        manner: How often to save.
    """

    def __init__(
        self, run: RunFolder, ranks: Ranks, state: State, stop: Stop, manner: Manner
    ) -> None:
        self.run, self.ranks, self.state, self.stop = run, ranks, state, stop
        self.path, self.every = run.path / CHECKPOINT, manner.checkpoint_every
        size = 0
        if self.path.exists() or self.path.is_symlink():
            size = state.load(owned_file(run.path, CHECKPOINT), run.identity, first=ranks.rank == 0)
        if ranks.rank == 0:
            run.clear_leftovers(size)
        if manner.tensorboard and ranks.rank == 0:
            run.records.listeners.append(Board(run.path, state.step).add)
        self.saved = time.monotonic()

    def save(self) -> None:
        """Write a checkpoint, which replaces the one before."""
        tally = self.ranks.gather(self.state.tally)
        if self.ranks.rank == 0:
            self.state.save(self.path, tally, self.run.records.sync(), self.run.identity)
        self.saved = time.monotonic()

    def save_if_due(self) -> None:
        """After a step: save if it is time to; if a signal came, save and stop.

        Raises:
            Interrupted: A signal came.
        """
        due = self.ranks.rank == 0 and time.monotonic() - self.saved >= self.every
        due, stop = self.ranks.any(due, self.stop.asked)
        if due or stop:
            self.save()
        if stop:
            when = f"stopped after step {self.state.step}, which is saved"
            go_on = how_to_go_on(self.run.path, self.run.config().data.name)
            raise Interrupted(f"{when}; {go_on}", self.stop.code)
