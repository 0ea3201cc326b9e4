import json
import os
import platform
import subprocess
import sys

import pytest

from ddeq_models.training.memory import keep_freed_memory

# Page faults of writing to blocks of 64 MB that were had and freed before.
_FAULTS = """
import json, resource, torch
import ddeq_models.training  # in a process as large as that of a training
from ddeq_models.training.memory import keep_freed_memory
done = {call}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use():
    for _ in range(4):
        torch.empty(2**24).fill_(1)
use()
before = faults()
use()
print(json.dumps([done, faults() - before]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not that of glibc")
def test_freed_memory_is_used_again_without_page_faults():
    def measured(call: str) -> tuple[bool, int]:
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
        keep.pop("LD_PRELOAD", None)
        program = [sys.executable, "-c", _FAULTS.format(call=call)]
        out = subprocess.run(program, env=keep, capture_output=True, check=True)
        done, faults = json.loads(out.stdout)
        return done, faults

    done, faults = measured("keep_freed_memory()")
    assert done
    assert faults < 1000
    given_back = measured("False")[1]
    assert given_back > 10 * max(faults, 100)


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    assert not keep_freed_memory()


def test_other_allocators_are_left_alone(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    for name in [n for n in os.environ if n.startswith("MALLOC_")]:
        monkeypatch.delenv(name)
    assert not keep_freed_memory()
