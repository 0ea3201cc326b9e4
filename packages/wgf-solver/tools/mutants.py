"""Take decisions of the solver away, one at a time, and see whether a test notices.

    hatch run mutants            all of them, some minutes
    hatch run mutants probe      those whose name holds "probe"

Each mutant replaces one piece of one file by another, in a copy of the package, and runs the tests
that should fail. What survives is printed, and the exit status is their number.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutant:
    """One decision taken away.

    Attributes:
        name: in words.
        file: below ``src/wgf_solver``.
        old: the piece of code, which occurs there once.
        new: what stands there instead.
        tests: the files of tests that should fail, ``file`` or ``file:part of a test's name``.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ("decisions",)


def read(path: Path) -> list[Mutant]:
    """The mutants of a list: blocks of ``name``, ``file``, ``tests``, ``- old`` and ``+ new``."""
    mutants = []
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if not lines:
            continue
        name, where, *code = lines
        file, *tests = where.split()
        old = "\n".join(line[2:] for line in code if line.startswith("- "))
        new = "\n".join(line[2:] for line in code if line.startswith("+ "))
        mutants.append(Mutant(name, file, old, new, tuple(tests)))
    return mutants


def survives(mutant: Mutant, folder: Path) -> bool:
    """Whether the tests of a mutant pass with it."""
    file = folder / "wgf_solver" / mutant.file
    whole = file.read_text(encoding="utf-8")
    if whole.count(mutant.old) != 1:
        raise SystemExit(
            f"{mutant.name}: expected one {mutant.old!r} in {mutant.file}, found "
            f"{whole.count(mutant.old)}; bring tools/mutants.txt up to date"
        )
    file.write_text(whole.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        files = [word.partition(":")[0] for word in mutant.tests]
        tests = [str(PACKAGE / "tests" / f"test_{name}.py") for name in files]
        chosen = [word.partition(":")[2] for word in mutant.tests]
        if all(chosen):  # those whose names hold one of these
            tests += ["-k", " or ".join(chosen)]
        path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
            cwd=PACKAGE.parents[1],
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            timeout=600,
            check=False,
        )
        return run.returncode == 0
    except subprocess.TimeoutExpired:
        return False  # a solve that never ends is noticed as well
    finally:
        file.write_text(whole, encoding="utf-8")


def main(words: list[str]) -> int:
    """Run the mutants whose names hold all words; the number of survivors."""
    mutants = [
        m for m in read(Path(__file__).with_suffix(".txt")) if all(w in m.name for w in words)
    ]
    survivors = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(PACKAGE / "src" / "wgf_solver", folder / "wgf_solver")
        for mutant in mutants:
            alive = survives(mutant, folder)
            survivors += alive
            print(f"{'SURVIVES' if alive else 'killed  '}  {mutant.name}", flush=True)
    print(f"{survivors} of {len(mutants)} survive")
    return survivors


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
