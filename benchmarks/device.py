"""Time and waiting of calls on a device that works on while the host goes ahead."""

import statistics
import time
import warnings
from collections.abc import Callable

import torch


def wait(device: torch.device) -> None:
    """Until all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median_seconds(function: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Of calls, each from an idle device to an idle device; one of warm-up before them."""
    function()
    seconds = []
    for _ in range(repeats):
        wait(device)
        start = time.perf_counter()
        function()
        wait(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def waits(function: Callable[[], object], device: torch.device) -> int | None:
    """How often a call has the host wait for the device; None of the processor, which is the host.

    Counted are PyTorch's warnings of synchronising operations, those of the backward pass included.
    """
    if device.type != "cuda":
        function()
        return None
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            function()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in caught)


def peak_megabytes(function: Callable[[], object], device: torch.device) -> float | None:
    """What a call takes beyond what was there before, at most; None of the processor."""
    if device.type != "cuda":
        return None
    wait(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    function()
    wait(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


def name_of(device: torch.device) -> str:
    """The card, or that it is the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "processor"
