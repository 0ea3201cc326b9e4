"""Every benchmark runs, in sizes that take seconds together, and prints what it should."""

import argparse
import importlib
import json
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddeq_data import read_off
from ddeq_models import PRESETS, __version__

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(Path(__file__).parents[1]))
    bench = importlib.import_module("benchmarks.__main__")

CHANGES = "train.epochs=1 train.steps=0 model.hiding=0"
# The smallest sizes in which each row of each table is there. A benchmark that is not named here
# fails. Words in braces are places: made-up files, or where something is to be written.
SIZES = {
    "training-step": "--batch-size 2 --steps 1 --warm-up 1 --late 2 --paper-evaluations 2 "
    "--product 64 --solids 2 --solid-points 24 --solid-steps 1",
    "scaling": "--points 24 48 --particles 2 4 --clouds 1 2 --at 24 2 --steps 1",
    "step-memory": "--budgets 2 4 --batch 2 --points 10",
    "gradients": "--unrolled 5 --rtol 0.1 --parameters 1",
    "adjoint-memory": "--steps 5 25 --batch 4 --particles 6 --dim 16",
    "solver-overhead": "--steps 3 --repeats 1 --context 4",
    "fractal": "--starts 1 --evaluations 4 --euler 4",
    "evaluations": "--most 5 --training 1",
    "kernels": "--atoms 4 --starts 2 --evaluations 3",
    "digits-seeds": "--seeds 0 --epochs 1 --data mnist --root {mnist}",
    "data": "--off {off} --mnist {mnist} --tables --folder {folder} --repeats 1",
    "data-kills": "--kills 10",
    "kills": "--kills 1 --further 2 --epochs 3 --data mnist --root {mnist} --no-pictures",
    "damage": "--clouds 15 --folders 1003 --seed 4 --records {out}/damage.jsonl",
    "large-measures": "--sizes 50 --repeats 1 --slices 4",
    "attention": "--batch 3 --dim 8 --points 128 --seconds 0",
    "completion": "--root {mnist} --steps 2 --batch 8 --clouds 12",
    "finetune": "--sizes 12 --seeds 0 --steps 1 --test 6 --records {out}/finetune.jsonl",
    "unlike": "--root {mnist} --clouds 4",
    "unseen": "--sets size --seeds 0 1 --epochs 1 --records {out}/records.jsonl",
    "unseen-trial": f"--sets size --seeds 10 11 --set {CHANGES} --records {{out}}/trials.jsonl",
    "tasks": "--seeds 0 --steps 2 --clouds 12 4 6 --records {out}/tasks.jsonl",
    "gpu": "--device cpu --batch-size 2 --batches 1 --sizes 50 --slices 4 --repeats 1 "
    "--solver-steps 2 --context 4 --backend eager --compiled pointnet",
}
NEEDS = {
    "data-kills": ("pooch",),
    "large-measures": ("geomloss", "ot"),
    "attention": ("torch_geometric",),
    "data": ("trimesh", "torch_geometric"),
    "damage": ("trimesh",),
    "evaluations": ("torchdeq",),
    "gpu": ("geomloss",),
    "unseen": ("sklearn", "scipy"),
    "unseen-trial": ("scipy",),
    "tasks": ("sklearn",),
}
FORKS = ("data-kills", "kills", "damage", "large-measures")


@pytest.mark.parametrize("name", bench.BENCHMARKS)
def test_a_small_run(
    name: str,
    places: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert name in SIZES, f"give {name} a size in which it takes a second or two"
    for package in NEEDS.get(name, ()):
        pytest.importorskip(package)
    if name in FORKS and not hasattr(os, "fork"):
        pytest.skip(f"{name} forks its processes, which this system does not")
    if name == "damage" and not sys.platform.startswith("linux"):
        pytest.skip("limits of memory are those of Linux")
    monkeypatch.setenv("DDEQ_FUZZ_SECONDS", "60")  # machines of tests are busy
    for module in bench.BENCHMARKS.values():  # what malloc keeps, other tests would not give back
        monkeypatch.setattr(module, "keep_freed_memory", lambda: None, raising=False)
    monkeypatch.setattr("ddeq_models.training.run.draw_if_possible", lambda *_: None)
    kept = places["out"] / f"{name}.json"
    words = [word.format(**places) for word in SIZES[name].split()]
    bench.main([name, *words, "--json", str(kept)])
    printed, figures = capsys.readouterr().out, json.loads(kept.read_text())
    assert figures["environment"]["torch"]
    assert "| --- |" in printed or name == "kills"
    CHECKS[name](figures, printed)


def rows(printed: str) -> int:
    """How many rows there are in the tables, the heads among them."""
    return sum(line.startswith("|") and "---" not in line for line in printed.splitlines())


def training_step(figures: dict[str, Any], printed: str) -> None:
    steps = figures["steps"]
    solids = figures["solids"]
    assert rows(printed) == 1 + len(steps) + 1 + len(solids) == 9 + 7
    for name, row in solids.items():
        assert all(row[n] > 0 for n in ("gflop", "step_seconds", "peak_bytes"))
        assert row["predicted_per_second"] > 0
        if name in ("ddeq", "as trained", "pointnet2", "dgcnn", "point-transformer"):
            assert 0 < row["selection_share"] < 1
    assert solids["as trained"]["gflop"] > 2 * solids["ddeq"]["gflop"]  # 32 clouds and not 2
    assert solids["pointnet"]["selection_share"] == 0
    assert all(row["gflop"] > 0 and row["step_seconds"] > 0 for row in steps.values())
    paper = steps["ddeq-paper: energy flow through F"]
    assert paper["evaluations"] == 2
    assert steps["ours: input encoded once, Anderson, 2 evaluations"]["evaluations"] == 2
    assert {"solver_share", "encode_seconds"} <= set(paper)
    assert "solve_seconds" not in steps["PointNet"]


def step_memory(figures: dict[str, Any], printed: str) -> None:
    peaks = figures["peak_bytes"]
    assert list(peaks) == ["phantom", "implicit"]
    for row in peaks.values():
        assert 0 < row["2"] <= row["4"] < 1.05 * row["2"]


def scaling(figures: dict[str, Any], printed: str) -> None:
    axes = {(row["model"], row["axis"]) for row in figures["rows"]}
    both = {(name, axis) for name in ("ddeq", "pointnet") for axis in ("points", "clouds")}
    assert axes == both | {("ddeq", "particles")}
    assert all(row["peak_bytes"] > 0 and row["step_seconds"] > 0 for row in figures["rows"])
    assert rows(printed) == 3 + 2 * 3 + 3 + 2 * 3
    bytes_of = {
        (row["model"], row["axis"], row["value"]): row["peak_bytes"] for row in figures["rows"]
    }
    assert bytes_of["pointnet", "points", 48] > bytes_of["pointnet", "points", 24]
    assert bytes_of["ddeq", "particles", 4] > bytes_of["ddeq", "particles", 2]


def gradients(figures: dict[str, Any], printed: str) -> None:
    assert rows(printed) == 1 + len(figures["problems"]) == 7
    names = {"implicit", "phantom_1", "phantom_50", "unrolled_5"}
    assert all(set(row["errors"]) == names for row in figures["problems"].values())


def adjoint_memory(figures: dict[str, Any], printed: str) -> None:
    peaks = figures["peak_bytes"]
    for name in ("Implicit()", "Phantom(1)"):
        assert 0 < peaks[name]["5"] <= peaks[name]["25"] < 1.05 * peaks[name]["5"]
    assert peaks["Unrolled(all steps)"]["25"] > 2.5 * peaks["Unrolled(all steps)"]["5"]


def solver_overhead(figures: dict[str, Any], printed: str) -> None:
    assert set(figures["rows"]) == {"Anderson()", "Anderson(memory=10)", "Euler(1)"}
    assert all(row["within_seconds"] > 0 for row in figures["rows"].values())
    counts = [row["operations"] for row in figures["rows"].values()]
    assert counts[0] > counts[2] > 10  # Anderson does more than Euler
    assert f"| {counts[0]:.1f} |" in printed


def fractal(figures: dict[str, Any], printed: str) -> None:
    systems = [row["system"] for row in figures["rows"]]
    assert {name: systems.count(name) for name in systems} == {
        "segment": 6, "sheared": 3, "Sierpinski": 3, "dragon": 3,
    }  # fmt: skip
    assert all(row["pulls"] > 0 for row in figures["rows"])


def kernels(figures: dict[str, Any], printed: str) -> None:
    assert rows(printed) == 1 + 4 * 5
    assert all(0 < steps <= 4 for row in figures["rows"] for steps in row["evaluations"])
    assert all(away >= 0 for row in figures["rows"] for away in row["away"])


def evaluations(figures: dict[str, Any], printed: str) -> None:
    maps = [row["map"] for row in figures["rows"] if row["solver"] != "Krylov"]
    assert len(set(maps)) == 3
    assert len(maps) == 3 * 2 * 7
    assert rows(printed) == 1 + 3 * 2


def digits_seeds(figures: dict[str, Any], printed: str) -> None:
    assert [run["adjoint"] for run in figures["runs"]] == ["phantom", "implicit"]
    assert all(run["start_distance"] >= 0 for run in figures["runs"])
    assert rows(printed) == 1 + 2 + 2


def data(figures: dict[str, Any], printed: str) -> None:
    (cube,) = figures["off"]
    assert cube["equal"] == cube["variants"]
    assert figures["mnist"]["clouds"] == TRAIN + TEST
    for padding in ("-1", "0"):
        assert figures["tables"][f"equal clouds padded with {padding}"] == TRAIN + TEST
    assert figures["folder"]["classes"] == 2


def data_kills(figures: dict[str, Any], printed: str) -> None:
    hit = [figures.get(stage, 0) for stage in ("download", "unpacking", "processing", "caching")]
    assert sum(hit) + figures.get("between", 0) == 10
    assert sum(hit) >= 5
    assert sum(count > 0 for count in hit) >= 2
    assert figures["checked"]


def kills(figures: dict[str, Any], printed: str) -> None:
    assert figures["kills"] == 1
    assert figures["same_weights"]
    assert figures["same_records"]
    assert "weights the same, bit for bit: True" in printed


def damage(figures: dict[str, Any], printed: str) -> None:
    for name in ("clouds", "folders"):
        assert figures[name]["wrong"] == []
        assert figures[name]["refused"] > 0
    folders = figures["folders"]  # of a round on record, which is not done again, and of another
    assert folders["used"] + folders["refused"] == 1003
    assert rows(printed) == 1 + 2


def large_measures(figures: dict[str, Any], printed: str) -> None:
    found = {row["method"]: row for row in figures["rows"]}
    assert len(found) == 8
    for name, row in found.items():
        if name == "exact-keops" and row["seconds"] is None:
            assert "KeOps" in row["why"]
            continue
        assert row["seconds"] > 0
    assert found["exact"]["error"] < 1e-5


def attention(figures: dict[str, Any], printed: str) -> None:
    table = figures["rows"]
    assert rows(printed) == 1 + len(table) == 40
    assert all(row["ours"] > 0 and row["peer"] > 0 for row in table)
    for name in ("MultiheadAttention", "torch_geometric", "bare kernel", "peak memory"):
        assert name in printed
    peak, growth = (row for row in table if row["unit"] != "ms")
    assert peak["met"]
    assert growth["met"]


def completion(figures: dict[str, Any], printed: str) -> None:
    assert rows(printed) == 1 + 2 + 3
    for row in (*figures["completed"].values(), *figures["references"].values()):
        assert np.isfinite(row["energy_distance"])
    drawn, normal = (figures["references"][n] for n in ("drawn from the truth", "standard normal"))
    assert 0 < drawn["energy_distance"] < normal["energy_distance"]
    assert figures["completed"]["DDEQ"]["solver_steps_mean"] > 0


def unseen(figures: dict[str, Any], printed: str) -> None:
    assert len(figures["records"]) == 8
    assert figures["records"][:4] == RECORDED  # what is there is not done again
    assert "| set | splits | ddeq | pointnet-60 | trees | svc | s |" in printed
    assert printed.count("\n| size | ") == 1
    assert "| mean, all | " in printed


def unseen_trial(figures: dict[str, Any], printed: str) -> None:
    tried, new = figures["records"]
    assert tried == TRIED  # what is there is not done again
    assert (new["seed"], new["changes"], new["version"]) == (11, CHANGES, __version__)
    assert f"| size | {__version__} | {CHANGES} | 2 | " in printed


def finetune(figures: dict[str, Any], printed: str) -> None:
    assert rows(printed) == 1 + len(bench.finetune.WAYS)
    assert {row["clouds"] for row in figures["runs"]} == {12}
    assert all(0 <= row["accuracy"] <= 1 for row in figures["runs"])


def unlike(figures: dict[str, Any], printed: str) -> None:
    (found,) = figures["runs"].values()
    made = len(bench.unlike.CHANGES) + len(bench.unlike.THINNED)
    assert rows(printed) == 1 + len(found) == 1 + 2 + made + 2
    assert found["twice as large"] == found["its own test clouds"]  # in the unit sphere, no size
    told = {kind for kind, row in found.items() if "right" in row}
    assert len(told) == 1 + made - len(bench.unlike.NOISE)


def gpu(figures: dict[str, Any], printed: str) -> None:
    assert figures["card"] == "processor"
    assert [row["step"] for row in figures["steps"]] == list(bench.gpu.MODELS)
    assert figures["steps"][-1]["compiled_seconds"] > 0, figures["steps"][-1]["why"]
    assert [row["method"] for row in figures["velocities"]] == list(bench.gpu.VELOCITIES)
    assert figures["velocities"][0]["error"] < 1e-5
    assert {row["waits"] for row in figures["solver"]} == {None}
    assert rows(printed) == 1 + 4 + 1 + 5 + 1 + 3


def tasks(figures: dict[str, Any], printed: str) -> None:
    records = figures["records"]
    assert len(records) == 4 * 3
    of_solids = {r["competitor"]: r["figures"] for r in records if r["set"] == "solids"}
    assert of_solids.keys() == {"ddeq-regressor", "trees", "deep-sets-regressor"}
    assert all(one.keys() == {"volume", "second moment"} for one in of_solids.values())
    assert rows(printed) == (1 + 5 + 1) + (1 + 2 + 1)
    assert "| jets, mass | " in printed


CHECKS: dict[str, Callable[[dict[str, Any], str], None]] = {
    name: globals()[name.replace("-", "_")] for name in SIZES
}

TRAIN, TEST = 72, 20
ROUND = {
    "kind": "folders", "seed": 4, "turns": 1000,
    "used": 900, "refused": 100, "slowest": 0.1, "wrong": [], "seconds": 1.0,
}  # fmt: skip
RECORDED = [
    {"set": "size", "seed": 1, "competitor": name, "accuracy": 0.5, "seconds": 1.0}
    for name in ("ddeq", "pointnet-60", "trees", "svc")
]

TRIED = {
    "set": "size", "seed": 10, "changes": CHANGES, "version": __version__,
    "accuracy": 0.5, "loss": 1.0, "seconds": 1.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Made-up files of each kind that a benchmark reads."""
    root = tmp_path_factory.mktemp("benchmarks")
    made = {name: root / name for name in ("mnist", "off", "folder", "out")}
    for place in made.values():
        place.mkdir()
    lines = [json.dumps(record) + "\n" for record in RECORDED]
    (made["out"] / "records.jsonl").write_text("".join(lines))
    (made["out"] / "trials.jsonl").write_text(json.dumps(TRIED) + "\n")
    (made["out"] / "damage.jsonl").write_text(json.dumps(ROUND) + "\n")
    chance = np.random.default_rng(0)
    for part, count in (("train", TRAIN), ("t10k", TEST)):
        images = chance.integers(1, 256, (count, 28, 28)) * (chance.random((count, 28, 28)) < 0.05)
        for kind, array in (("images-idx3", images), ("labels-idx1", np.arange(count) % 10)):
            head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (made["mnist"] / f"{part}-{kind}-ubyte").write_bytes(
                head + array.astype("u1").tobytes()
            )
    corners = [f"{x} {y} {z}" for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    faces = ["3 0 1 2", "3 1 2 3", "3 4 5 6", "3 5 6 7"]
    cube = made["off"] / "cube.off"
    cube.write_text("\n".join(["OFF", f"{len(corners)} {len(faces)} 0", *corners, *faces, ""]))
    assert len(read_off(cube).faces) == len(faces)
    for kind, scale in (("flat", 0.1), ("tall", 2.0)):
        for part, count in (("train", 70), ("test", 4)):
            folder = made["folder"] / kind / part
            folder.mkdir(parents=True)
            for i in range(count):
                points = chance.normal(size=(5, 3)) * [1, 1, scale]
                np.savez(folder / f"{i}.npz", points=points)
    return made


@pytest.mark.parametrize("frame", ["given", "visible"])
def test_a_frame_is_tried_with_the_model_that_is_for_it(frame: str) -> None:
    bench = importlib.import_module("benchmarks.training.completion")
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    options = parser.parse_args(["--root", "x", "--frame", frame])
    model = bench._steps("DDEQ", options).state.model.config
    expected = {"given": "completer-given", "visible": "completer"}[frame]
    assert (model.frame, model.encoder) == (frame, PRESETS[expected].encoder)


def test_without_a_gpu_the_benchmark_of_it_ends_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match="bench gpu measures a CUDA device"):
        bench.main(["gpu"])
