"""Results are frozen before they are measured, and the pages say what the files say."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.frozen import __main__ as command
from benchmarks.frozen import pages, pictures, running, store, tables

from ddeq_models.data import check_data
from ddeq_models.recipes import RECIPES

TINY = ["--data", "digits", "--preset", "deep-sets", "--epochs", "1", "--set", "model.dim=4"]


def test_each_table_in_the_pages_is_that_of_its_files() -> None:
    for page in pages.PAGES:
        text = page.read_text(encoding="utf-8")
        assert pages.filled(text) == text, f"{page.name}: run 'hatch run results'"


def test_each_task_with_results_has_its_table_in_the_results() -> None:
    named = [task for page in pages.RESULT_PAGES for task in pages.named(page.read_text("utf-8"))]
    assert sorted(named) == sorted(set(named))
    assert set(named) >= set(store.tasks())


def test_a_stale_table_is_noticed() -> None:
    stale = "<!-- results: nothing -->\n| 100 % |\n<!-- end -->"
    assert pages.filled(stale) == "<!-- results: nothing -->\nNot measured yet.\n<!-- end -->"


@pytest.mark.parametrize("one", [e for t in store.tasks() for e in store.entries(t)], ids=str)
def test_what_was_measured_is_what_was_frozen(one: store.Entry) -> None:
    config = one.config()
    assert one.words()
    for seed, result in one.results().items():
        assert result["seed"] == seed
        assert result["preset"] == config.preset


@pytest.mark.parametrize("name", sorted(d for d, preset in RECIPES if preset == "ddeq"))
def test_a_trial_on_any_data_is_one_of_clouds_in_memory(name: str) -> None:
    data = running.of_memory(RECIPES[name, "ddeq"].data)
    clouds: Any = SimpleNamespace(coordinates=2)
    check_data(data, clouds)
    assert data.root is None
    assert data.points == RECIPES[name, "ddeq"].data.points


def test_from_a_trial_to_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "keep_freed_memory", lambda: None)
    monkeypatch.setattr("ddeq_models.training.run.draw_if_possible", lambda *_: None)
    places = ["--results", str(tmp_path / "results"), "--runs", str(tmp_path / "runs")]
    one = store.entry("digits/deep-sets", tmp_path / "results")
    with pytest.raises(SystemExit, match="is not frozen"):
        command.main(["run", "digits/deep-sets", *places])
    command.main(["try", "digits/deep-sets", *places, "--", *TINY])
    # A trial of other words has a folder of its own, though none was finished when it began.
    other = running.trial_folder(one, [*TINY, "--seed", "1"], tmp_path / "runs")
    assert not other.exists()
    assert running.trial_folder(one, TINY, tmp_path / "runs").exists()
    (trial,) = one.trials()
    assert trial["words"] == TINY
    assert trial["validation_accuracy"] > 0
    assert not any(key.startswith("test") for key in trial)
    command.main(["freeze", "digits/deep-sets", *places, "--", *TINY])
    command.main(["run", "digits/deep-sets", "--seeds", "0", "1", *places])
    first = one.results()[0]
    assert first["test_clouds"] == 360
    # The trial saw the validation clouds where the run sees the test clouds.
    assert trial["validation_accuracy"] == first["validation_accuracy"]
    with pytest.raises(SystemExit, match="opened once"):
        one.record(0, first)
    with pytest.raises(SystemExit, match="another name"):
        command.main(["freeze", "digits/deep-sets", *places, "--", *TINY, "--epochs", "2"])
    command.main(["freeze", "digits/deep-sets", *places, "--", *TINY])  # the same: nothing changes
    text = tables.table("digits", tmp_path / "results")
    assert f"{first['parameters']:,} " in text
    assert text.count("`deep-sets`") == 1
    assert "| 2 | 1 |" in text  # seeds and trials


def test_means_and_spreads() -> None:
    assert tables.spread([0.5], ".1%") == "50.0%"
    assert tables.spread([0.4, 0.6], ".0%") == "50% ± 14%"
    assert tables.spread([None, None], ".0%") == "learnt from"


def test_names_stay_below_the_folder(tmp_path: Path) -> None:
    for name in ("digits", "../x", "a/..", "a/b/c", "/a", "a/"):
        with pytest.raises(SystemExit, match="expected TASK/NAME"):
            store.entry(name, tmp_path)


def test_a_picture_of_sizes(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    config = json.dumps({"preset": "deep-sets"})
    for name, size in (("ddeq-small", 100), ("ddeq-large", 200), ("other", 5)):
        folder = tmp_path / "toy-parameters" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(config)
        for seed, accuracy in ((0, 0.5), (1, 0.7)):
            result = {"parameters": size, "test_accuracy": accuracy}
            (folder / f"seed-{seed}.json").write_text(json.dumps(result))
    lines = pictures.points("toy-parameters", tmp_path)
    assert list(lines) == ["DDEQ"]
    assert [size for size, _, _ in lines["DDEQ"]] == [100, 200]
    assert lines["DDEQ"][0][1:] == pytest.approx((0.6, 0.1414), abs=1e-4)
    (drawn,) = pictures.draw(tmp_path, tmp_path)
    assert drawn.stat().st_size > 1000
