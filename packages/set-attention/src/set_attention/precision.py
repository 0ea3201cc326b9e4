"""Where autocast is on, and how it is kept away from what loses too much by it."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

# Asked once: the compiler of PyTorch 2.6 and before follows no such question, and a context of
# autocast on another kind of device raises there, also one that would switch it off.
_WITH_AUTOCAST = frozenset(
    kind
    for kind in ("cpu", "cuda", "hpu", "mps", "mtia", "xla", "xpu")
    if torch.amp.is_autocast_available(kind)
)


def is_autocast_on(x: Tensor) -> bool:
    """Whether autocast would choose the precision of what is computed from x."""
    kind = x.device.type
    return kind in _WITH_AUTOCAST and torch.is_autocast_enabled(kind)


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """A context in which autocast leaves alone what is computed from x.

    None where autocast is off as it is: an exported program would keep a region for it.

    Args:
        x: Any tensor (...) on the device in question.

    Returns:
        The context.
    """
    return torch.autocast(x.device.type, enabled=False) if is_autocast_on(x) else nullcontext()
