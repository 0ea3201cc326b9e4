"""Trainings: trials that see no test cloud, and the runs of a frozen configuration."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from benchmarks.frozen.store import Entry
from ddeq_models.cli.configure import assemble
from ddeq_models.cli.main import parse
from ddeq_models.config import ARRAYS, DataConfig, RunConfig
from ddeq_models.data import framed, open_split
from ddeq_models.runs.folder import RunFolder
from ddeq_models.training import train
from ddeq_models.training.memory import keep_freed_memory

RUNS = Path("runs") / "frozen"


def assembled(words: Sequence[str]) -> RunConfig:
    """The configuration that words of ``ddeq train`` ask for."""
    return assemble(parse(["train", *words]))


def attempt(entry: Entry, words: Sequence[str], *, root: str | None, runs: Path = RUNS) -> None:
    """One trial: train, and record what it reached on the validation clouds.

    The test set is not opened: the validation clouds stand in its place.

    Args:
        entry: Whose trial it is.
        words: Of ``ddeq train``.
        root: Folder of the data's files.
        runs: Where the run folders are; a trial that was stopped is gone on with.
    """
    keep_freed_memory()
    config = assembled(words)
    data = replace(config.data, root=root)
    train_set, validation_set = open_split(data, "train"), open_split(data, "validation")
    run = train(
        config.model,
        of_memory(framed(data, train_set)),
        config.train,
        sets=(train_set, validation_set, validation_set),
        task=config.task,
        preset=config.preset,
        out=trial_folder(entry, words, runs),
        resume=True,
    )
    result = run.result()
    seen = {k: v for k, v in result.items() if k.startswith("validation_")}
    kept = ("parameters", "seconds", "seed", "epoch", "versions")
    entry.tried({"words": list(words), **{name: result[name] for name in kept}, **seen})


def of_memory(data: DataConfig) -> DataConfig:
    """What holds of clouds once they are read: nothing of how they came out of their files."""
    return replace(
        data, name=ARRAYS, root=None, weighted=False, release="meshes", sampling="default"
    )


def trial_folder(entry: Entry, words: Sequence[str], runs: Path = RUNS) -> Path:
    """Where a trial of these words is: others may run beside it, and it is found when resumed."""
    digest = blake2b("\0".join(words).encode(), digest_size=6).hexdigest()
    return runs / entry.task / entry.name / f"trial-{digest}"


def run_seed(
    entry: Entry, seed: int, *, root: str | None, runs: Path = RUNS, **manner: Any
) -> RunFolder:
    """Train the frozen configuration from one seed, open the test set, and keep the result.

    Args:
        entry: What is trained.
        seed: Of everything random.
        root: Folder of the data's files.
        runs: Where the run folders are; a training that was stopped is gone on with.
        manner: Of the training, see `ddeq_models.training.train`.
    """
    keep_freed_memory()
    config = entry.config()
    run = train(
        config.model,
        replace(config.data, root=root),
        replace(config.train, seed=seed),
        task=config.task,
        preset=config.preset,
        out=runs / entry.task / entry.name / f"seed-{seed}",
        resume=True,
        **manner,
    )
    entry.record(seed, run.result())
    return run
