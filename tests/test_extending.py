"""Models, tasks and data sets from files outside the package, as docs/extending.md shows them."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
LENGTHS = {"my_model": 33, "my_task": 65, "my_data": 22}
# Commands one after the other in a new process, which knows nothing but what it is told to import.
PROGRAM = """
import contextlib, io, json, sys
from ddeq_models.cli import main
for words in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


def ddeq(*commands: str, place: Path) -> list[tuple[int, str, str]]:
    """Exit code and what was said, of each command."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        cwd=place, input=json.dumps([command.split() for command in commands]),
        capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return [tuple(json.loads(line)) for line in ran.stdout.splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three files, and a cloud."""
    folder = tmp_path_factory.mktemp("user")
    for module in LENGTHS:
        shutil.copy(EXAMPLES / f"{module}.py", folder)
    np.save(folder / "cloud.npy", np.random.default_rng(0).normal(size=(30, 2)))
    return folder


@pytest.fixture(scope="module")
def said(place: Path) -> list[str]:
    """What the commands print that follow each other."""
    done = ddeq(
        "--import my_model.py --import my_data.py train --data rings --preset means --epochs 40 "
        "--set model.width=48 --out rings",
        "--import my_task.py train --task radius --epochs 1 --out radius",
        "evaluate rings",
        "predict rings cloud.npy",
        "models",
        "datasets",
        "datasets show rings",
        "models save rings saved",
        "models show saved",
        "evaluate radius",
        "models save radius kept",
        "models show kept",
        "report rings radius --out page.html",
        "train --help",
        "embed rings cloud.npy --out features.csv",
        "calibrate rings",
        "export rings --out rings.pt2",
        "train --data rings --init rings --freeze body --epochs 1 --out again",
        place=place,
    )
    assert [code for code, _, _ in done] == [0] * len(done), done
    return [out for _, out, _ in done]


def test_the_files_are_as_long_as_they_are_said_to_be() -> None:
    for module, length in LENGTHS.items():
        assert len((EXAMPLES / f"{module}.py").read_text().splitlines()) <= length


def test_the_page_shows_the_files() -> None:
    page = (EXAMPLES.parent / "docs/extending.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) == len(LENGTHS)
    assert all(block.count("\n") <= 33 for block in blocks)  # the task's file holds a model, too
    files = [(EXAMPLES / f"{module}.py").read_text() for module in LENGTHS]
    assert all(any(block in file for file in files) for block in blocks)


def test_every_command_knows_a_model_and_data_of_ones_own(place: Path, said: list[str]) -> None:
    config = json.loads((place / "rings/config.json").read_text())
    assert config["model"]["width"] == 48
    assert config["plugins"] == ["my_data", "my_model"]
    assert json.loads((place / "rings/result.json").read_text())["test_accuracy"] > 0.6
    assert "accuracy" in said[2]
    assert said[3].startswith("cloud.npy: ")
    assert "\nmeans  " in said[4]
    assert "\nrings  " in said[5]
    assert "ddeq --import my_data --import my_model train --data rings" in said[8]
    assert "circles of two sizes" in said[8]
    assert "rings" in (place / "page.html").read_text()


def test_what_begins_with_trained_weights_knows_a_model_of_ones_own(
    place: Path, said: list[str]
) -> None:
    assert "1 clouds, 48 features each" in said[14]
    assert "of 60 validation clouds" in said[15]
    assert "rings.pt2; " in said[16]
    config = json.loads((place / "again/config.json").read_text())
    assert config["model"]["width"] == 48
    assert config["train"]["freeze"] == "body"


def test_every_command_knows_a_task_of_ones_own(place: Path, said: list[str]) -> None:
    assert "loss " in said[9]
    assert (place / "radius/training_curves.png").is_file()
    assert "| Loss |" in said[11]


def test_ours_remain_the_defaults(said: list[str]) -> None:
    """What is imported first is not for that reason the preset of a task."""
    told = " ".join(said[13].split()).replace("- ", "-")  # lines are cut at hyphens
    assert "[ddeq, completer, ddeq-regressor, ddeq-segmenter, radius-model]" in told


def test_without_the_import_one_sentence_names_the_module(place: Path, said: Any) -> None:
    (place / "broken.py").write_text("1 / 0")
    *lacking, broken, none, other = ddeq(
        "evaluate radius",
        "predict radius cloud.npy",
        "report radius --out x",
        "models save radius x",
        "train --resume radius",
        "diagnose radius",
        "--import broken.py models",
        "--import",
        "--import my_task.py predict radius cloud.npy",
        place=place,
    )
    for code, _, error in lacking:
        assert code == 2
        assert "give ddeq --import my_task ..." in error
        assert error.count("\n") == 1
    assert "--import broken.py: ZeroDivisionError" in broken[2]
    assert "--import: expected one argument" in none[2]
    assert "radius is a run of radius, which labels nothing" in other[2]
