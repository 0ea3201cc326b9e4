"""What becomes of freed memory."""

import ctypes
import os

# <malloc.h>: the parameters of mallopt.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_KEPT = 2**30


def keep_freed_memory() -> bool:
    """Let this process keep up to 1 GiB of freed memory for its next allocations.

    By default, glibc gives every large block back to the system when it is freed, and each page of
    the next one is asked for, zeroed and mapped again. The activations of a training step on
    the processor are such blocks: without this, half of the time of a step of PointNet goes into
    page faults. In return the process stays as large as it once was.

    An allocator that is chosen or tuned by the environment (``LD_PRELOAD``, ``MALLOC_...``,
    ``GLIBC_TUNABLES``) is left as it is, and so is any other than that of glibc.

    Returns:
        Whether it was done.
    """
    chosen = ("LD_PRELOAD", "GLIBC_TUNABLES")
    if any(name in chosen or name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  other libraries lack it
        mallopt = library.mallopt
    except (OSError, TypeError, AttributeError):
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _KEPT)) and bool(mallopt(_MMAP_MAX, 0))
