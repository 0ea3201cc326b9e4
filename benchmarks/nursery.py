"""Processes forked from one that has only imported: each begins at once.

Each has memory of its own, and may be killed. One nursery serves a whole run, one child at a time;
it ends with the process that asked for it.
"""

import atexit
import contextlib
import io
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.by_place import ROOT, load


class Ended(NamedTuple):
    """How a child ended.

    Attributes:
        code: 0, 1 where its function raised, or minus the signal that ended it.
        answer: What its function returned; None where it did not come to that.
        error: The last line of what it raised, or empty.
    """

    code: int
    answer: Any
    error: str


class Nursery:
    """The process that forks; see `nursery`."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "benchmarks.nursery"]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
        self._process = subprocess.Popen(command, cwd=ROOT, **pipes)
        self._child = 0

    def start(self, function: str, *arguments: Any, imports: Iterable[str] = ()) -> None:
        """Begin a call in a child.

        Args:
            function: Its module and name, ``package.module:name``, or its file and name.
            arguments: Its arguments, as JSON can say them.
            imports: Modules that the nursery imports first, so that no child has to.
        """
        threads = torch.get_num_threads()
        self._say({"f": function, "with": arguments, "imports": [*imports], "threads": threads})
        self._child = self._hear()

    def running(self) -> bool:
        """Whether the child has not ended."""
        return not select.select([self._process.stdout], [], [], 0)[0]

    def kill(self) -> None:
        """Kill the child, if it is still there.

        The nursery has not waited for it before `wait` is told: its number belongs to no other,
        unless it has ended, which the signal then does not find.
        """
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child, signal.SIGKILL)

    def wait(self) -> Ended:
        """Until the child has ended."""
        return Ended(*self._hear())

    def call(self, function: str, *arguments: Any, imports: Iterable[str] = ()) -> Ended:
        """See `start`; and wait for it."""
        self.start(function, *arguments, imports=imports)
        return self.wait()

    def close(self) -> None:
        """End the nursery."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _say(self, request: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@cache
def nursery() -> Nursery:
    """The nursery of this process."""
    begun = Nursery()
    atexit.register(begun.close)
    return begun


def script(file: str, *words: str) -> str:
    """What a script prints; to be called in a child."""
    sys.argv = [file, *words]
    printed = io.StringIO()
    sys.path.insert(0, str(Path(file).parent))
    with contextlib.redirect_stdout(printed):
        runpy.run_path(file, run_name="__main__")
    return printed.getvalue()


def _serve() -> None:
    """Fork a child for each request; say its number, and how it ended."""
    for line in sys.stdin:
        request = json.loads(line)
        for name in request["imports"]:
            with contextlib.suppress(ImportError):
                import_module(name)
        with tempfile.TemporaryFile("w+") as place:
            child = os.fork()
            if child == 0:
                _work(request, place)
            print(child, flush=True)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            place.seek(0)
            print(json.dumps([code, *json.loads(place.read() or '[null, ""]')]), flush=True)


def _work(request: dict[str, Any], place: Any) -> None:
    """What a child does, and never comes back from."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the pipe is the nursery's
    torch.set_num_threads(request["threads"])
    code = 0
    try:
        module, _, name = request["f"].partition(":")
        home = load(Path(module)) if module.endswith(".py") else import_module(module)
        outcome = [getattr(home, name)(*request["with"]), ""]
    except BaseException as error:  # the caller is told, whatever it is
        said = str(error).strip().splitlines() or [type(error).__name__]
        outcome, code = [None, said[-1]], 1
    json.dump(outcome, place)
    place.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve()
