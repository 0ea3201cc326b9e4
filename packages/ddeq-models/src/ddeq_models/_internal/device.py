"""Which device a command works on."""

import torch

from ddeq_models.errors import UserError


def has_float64(device: torch.device) -> bool:
    """Whether there are numbers in double precision on a device: Apple's GPUs have none."""
    return device.type != "mps"


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name.

    Args:
        name: ``auto`` (a CUDA device where there is one, else the processor) or a name that
            PyTorch knows, such as ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        UserError: PyTorch does not know the device, or this machine does not have it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"the device {name!r} cannot be used on this machine; take --device auto or cpu"
        ) from error
    if device.type == "meta":
        raise UserError("the device 'meta' holds no values; take --device auto or cpu")
    return device
