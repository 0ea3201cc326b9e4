"""The records of a run for TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddeq_models.errors import UserError


def check_board() -> None:
    """See that TensorBoard is there.

    Raises:
        UserError: It is not.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise UserError("--tensorboard needs: pip install 'ddeq-models[tensorboard]'") from error


class Board:
    """Writes records as they come; look at them with ``tensorboard --logdir RUN``.

    Args:
        path: The run folder.
        step: The step that the run goes on from: later ones that are there already are hidden.
    """

    def __init__(self, path: Path, step: int) -> None:
        check_board()
        from torch.utils.tensorboard import SummaryWriter

        if (path / "tensorboard").is_symlink():
            raise UserError(
                f"{path / 'tensorboard'} is a link, which a run does not write to; remove it"
            )
        # A resumed run replays the steps after its checkpoint.
        self.writer: Any = SummaryWriter(
            str(path / "tensorboard"), purge_step=step + 1 if step else None
        )

    def add(self, record: Mapping[str, Any]) -> None:
        """Write the numbers of a record, those of each split under its name."""
        for name, value in record.items():
            if isinstance(value, int | float) and name not in ("epoch", "step"):
                self.writer.add_scalar(f"{record['split']}/{name}", value, record["step"])
        self.writer.flush()
