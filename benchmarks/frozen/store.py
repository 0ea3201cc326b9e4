"""What lies under ``results/``, and how it is read and written.

    results/TASK/NAME/command.txt     words of ``ddeq train`` that the configuration came from
                      config.json     the configuration, frozen: all that decides a run but its seed
                      trials.jsonl    what was tried on validation clouds before, one line a trial
                      seed-0.json     the ``result.json`` of each seed, whose test was one

A configuration is frozen before its first test and never changed afterwards: `freeze` refuses to
where a seed is there, and `record` refuses a second result of a seed. So a better configuration is
another NAME, and how many there were is plain to see.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import records
from ddeq_models.config import RunConfig

RESULTS = Path(__file__).parents[2] / "results"


@dataclass(frozen=True)
class Entry:
    """One competitor of one task.

    Attributes:
        folder: Its folder, ``results/TASK/NAME``.
    """

    folder: Path

    @property
    def name(self) -> str:
        """The competitor's name."""
        return self.folder.name

    @property
    def task(self) -> str:
        """The name of the task's folder."""
        return self.folder.parent.name

    def words(self) -> list[str]:
        """Those of ``ddeq train`` that the configuration came from."""
        return (self.folder / "command.txt").read_text(encoding="utf-8").split()

    def config(self) -> RunConfig:
        """The frozen configuration; its data have no folder and its seed is 0.

        Raises:
            SystemExit: It is not frozen yet.
        """
        path = self.folder / "config.json"
        if not path.exists():
            raise SystemExit(
                f"{self.task}/{self.name} is not frozen; choose on validation with "
                "'hatch run results try', then 'hatch run results freeze'"
            )
        return RunConfig.from_dict(_read(path))

    def results(self) -> dict[int, dict[str, Any]]:
        """What each seed gave, in the order of the seeds."""
        found = {
            int(path.stem.removeprefix("seed-")): _read(path)
            for path in self.folder.glob("seed-*.json")
        }
        return dict(sorted(found.items()))

    def trials(self) -> list[dict[str, Any]]:
        """What was tried on validation clouds."""
        return records.read(self.folder / "trials.jsonl")

    def freeze(self, config: RunConfig, words: list[str]) -> None:
        """Fix the configuration.

        Raises:
            SystemExit: A test set has been opened for another one.
        """
        frozen = replace(
            config,
            data=replace(config.data, root=None),
            train=replace(config.train, seed=0),
            version="",
        ).to_dict()
        frozen = json.loads(json.dumps(frozen))  # JSON knows no tuples
        if self.results() and _read(self.folder / "config.json") != frozen:
            raise SystemExit(
                f"the test set was opened for {self.task}/{self.name}; give the new configuration "
                "another name"
            )
        _write(self.folder / "config.json", frozen)
        (self.folder / "command.txt").write_text(" ".join(words) + "\n", encoding="utf-8")

    def record(self, seed: int, result: Mapping[str, Any]) -> None:
        """Keep a result for good.

        Raises:
            SystemExit: There is one of this seed.
        """
        path = self.folder / f"seed-{seed}.json"
        if path.exists():
            raise SystemExit(f"{path} exists: a test set is opened once")
        _write(path, result)

    def tried(self, trial: Mapping[str, Any]) -> None:
        """Add a trial to the record of them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        records.append(self.folder / "trials.jsonl", trial)


def entry(name: str, results: Path = RESULTS) -> Entry:
    """The entry TASK/NAME.

    Raises:
        SystemExit: It is no such name.
    """
    task, slash, own = name.partition("/")
    if not slash or not task or not own or {".", ".."} & {task, own} or "/" in own:
        raise SystemExit(f"expected TASK/NAME, got {name!r}")
    return Entry(results / task / own)


def entries(task: str, results: Path = RESULTS) -> list[Entry]:
    """The frozen entries of a task, by name, ours before the others."""
    found = [Entry(path.parent) for path in (results / task).glob("*/config.json")]
    return sorted(found, key=lambda one: (not one.name.startswith("ddeq"), one.name))


def tasks(results: Path = RESULTS) -> list[str]:
    """The names of the tasks."""
    return sorted({path.parent.parent.name for path in results.glob("*/*/config.json")})


def _read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def _write(path: Path, values: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
