"""`hatch run bench unseen`: its sets, its splits, its intervals; a round is in test_benchmarks."""

import argparse
import importlib
from pathlib import Path

import numpy as np
import pytest

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(Path(__file__).parents[1]))
    driver = importlib.import_module("benchmarks.unseen.driver")
    sets = importlib.import_module("benchmarks.unseen.sets")
    records = importlib.import_module("benchmarks.records")
    split = importlib.import_module("benchmarks.unseen.split").split
GENERATED, SETS = sets.GENERATED, sets.SETS


@pytest.mark.parametrize("name", [one.name for one in GENERATED])
def test_a_generated_set_is_what_it_should_be(name: str) -> None:
    clouds = SETS[name].make(0)
    assert 60 <= len(clouds.points) == len(clouds.labels) <= 2000
    assert set(clouds.labels) == set(range(len(clouds.classes)))
    assert all(np.isfinite(cloud).all() and cloud.ndim == 2 for cloud in clouds.points)
    if clouds.weights is not None:
        assert all(np.isclose(w.sum(), 1) and (w > 0).all() for w in clouds.weights)
    first, other = (split(clouds, seed) for seed in (0, 1))
    assert sorted(np.concatenate(first)) == list(range(len(clouds.labels)))
    assert set(first[2]) != set(other[2])
    for part in first:  # every class is in every part, in proportion
        counts = np.bincount(clouds.labels[part], minlength=len(clouds.classes))
        whole = np.bincount(clouds.labels)
        assert np.abs(counts / len(part) - whole / len(clouds.labels)).max() < 0.05


def test_a_set_whose_package_is_absent_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.unseen.packaged.find_spec", lambda name: None)
    assert driver.run(_options(["--sets", "vowels", "--seeds", "0"]))["records"] == []
    assert "vowels is left out: " in (said := capsys.readouterr().err)
    assert "pip install --no-deps aeon" in said


def test_the_interval_is_that_of_the_differences() -> None:
    gap, half = driver.interval({0: 0.9, 1: 0.8, 2: 1.0}, {0: 0.8, 1: 0.8, 2: 0.8, 3: 0.1})
    assert gap == pytest.approx(0.1)
    assert half == pytest.approx(4.302653 * 0.1 / 3**0.5)


def test_the_last_record_of_a_split_counts_and_means_are_over_sets() -> None:
    said = driver.table(
        {
            "records": [
                _record("size", 0, "ddeq", 0.1, 1000.0),  # of an older version
                _record("size", 0, "ddeq", 0.9, 10.0),
                _record("size", 1, "ddeq", 1.0, 20.0),
                _record("size", 0, "trees", 0.8, 1.0),
                _record("size", 1, "trees", 0.9, 1.0),
                _record("vowels", 0, "ddeq", 0.7, 30.0),
                _record("vowels", 0, "trees", 0.8, 1.0),
            ]
        }
    )
    assert "| size | 2 | 95.0 | 85.0 ± 0.0 | 15 |" in said
    assert "| vowels | 1 | 70.0 | 80.0 | 30 |" in said
    # Of the sets' means 0.95 and 0.7 beside 0.85 and 0.8; of two differences 12.706 / sqrt(2) s.
    half = 12.7062 * np.std([0.1, -0.1], ddof=1) / 2**0.5
    assert f"| mean, all | | 82.5 | 82.5 ± {100 * half:.1f} | |" in said
    assert "| mean, real | | 70.0 | 80.0 | |" in said


def test_the_table_is_of_what_was_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    for seed, competitor in ((0, "ddeq"), (1, "ddeq"), (0, "deep-sets")):
        one = _record("size", seed, competitor, 0.5, 1.0)
        records.append(file, {**one, "version": driver.__version__})
    parser = argparse.ArgumentParser()
    driver.add_arguments(parser)
    words = ["--sets", "size", "--seeds", "0", "--competitors", "ddeq", "--records", str(file)]
    (only,) = driver.run(parser.parse_args(words))["records"]
    assert (only["seed"], only["competitor"]) == (0, "ddeq")


def _record(name: str, seed: int, competitor: str, accuracy: float, seconds: float) -> dict:
    return {
        "set": name,
        "seed": seed,
        "competitor": competitor,
        "accuracy": accuracy,
        "seconds": seconds,
    }


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    driver.add_arguments(parser)
    return parser.parse_args(words)
