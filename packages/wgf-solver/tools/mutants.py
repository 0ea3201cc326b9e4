"""Take decisions of the code away, one at a time, and see whether a test notices.

    hatch run mutants            all of them, some minutes
    hatch run mutants probe      those whose name holds "probe"

Each mutant replaces one piece of one file by another, in a copy of its package, and runs the tests
that should fail; these must pass without it, or nothing is said. What survives is printed, and the
exit status is the number of mutants that survive or say nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutant:
    """One decision taken away.

    Attributes:
        name: in words.
        package: such as ``wgf-solver``.
        file: below the package's sources.
        old: the piece of code, which occurs there once.
        new: what stands there instead.
        tests: the files of tests that should fail, ``file`` or ``file:part of a test's name``.
    """

    name: str
    package: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def module(self) -> str:
        """The package's name in Python."""
        return self.package.replace("-", "_")


def read(path: Path) -> list[Mutant]:
    """The mutants of a list: blocks of ``name``, ``file tests``, ``- old`` and ``+ new``.

    The file is one of wgf-solver, or ``package:file``.
    """
    mutants = []
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if not lines:
            continue
        name, where, *code = lines
        place, *tests = where.split()
        package, _, file = place.rpartition(":")
        old = "\n".join(line[2:] for line in code if line.startswith("- "))
        new = "\n".join(line[2:] for line in code if line.startswith("+ "))
        mutants.append(Mutant(name, package or "wgf-solver", file, old, new, tuple(tests)))
    return mutants


@dataclass
class Bench:
    """Copies of packages in which mutants are tried.

    Attributes:
        folder: where the copies are.
        sound: whether tests pass without a mutant, for those that were asked.
    """

    folder: Path
    sound: dict[tuple[str, tuple[str, ...]], bool] = field(default_factory=dict)

    def verdict(self, mutant: Mutant) -> str:
        """``killed``, ``SURVIVES``, or ``UNSOUND`` where the tests fail without the mutant."""
        copy = self.folder / mutant.module
        if not copy.exists():
            shutil.copytree(PACKAGES / mutant.package / "src" / mutant.module, copy)
        file = copy / mutant.file
        whole = file.read_text(encoding="utf-8")
        if whole.count(mutant.old) != 1:
            raise SystemExit(
                f"{mutant.name}: expected one {mutant.old!r} in {mutant.file}, found "
                f"{whole.count(mutant.old)}; bring tools/mutants.txt up to date"
            )
        asked = (mutant.package, mutant.tests)
        if asked not in self.sound:
            self.sound[asked] = self._pass(mutant)
        if not self.sound[asked]:
            return "UNSOUND "
        file.write_text(whole.replace(mutant.old, mutant.new), encoding="utf-8")
        try:
            return "SURVIVES" if self._pass(mutant) else "killed  "
        finally:
            file.write_text(whole, encoding="utf-8")

    def _pass(self, mutant: Mutant) -> bool:
        """Whether the mutant's tests pass on the copies as they are."""
        files = [word.partition(":")[0] for word in mutant.tests]
        tests = [str(PACKAGES / mutant.package / "tests" / f"test_{name}.py") for name in files]
        chosen = [word.partition(":")[2] for word in mutant.tests]
        if all(chosen):  # those whose names hold one of these
            tests += ["-k", " or ".join(chosen)]
        path = os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])
        try:
            run = subprocess.run(
                [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
                cwd=PACKAGES.parent,
                env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
                capture_output=True,
                timeout=600,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False  # a solve that never ends is noticed as well
        return run.returncode == 0


def main(words: list[str]) -> int:
    """Try the mutants whose names hold all words; how many were not killed."""
    listed = read(Path(__file__).with_suffix(".txt"))
    mutants = [m for m in listed if all(word in m.name for word in words)]
    alive = 0
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        for mutant in mutants:
            verdict = bench.verdict(mutant)
            alive += verdict != "killed  "
            print(f"{verdict}  {mutant.name}", flush=True)
    print(f"{alive} of {len(mutants)} not killed")
    return alive


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
