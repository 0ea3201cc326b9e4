import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ddeq_data import Digits
from ddeq_models import RunFolder, UserError, predict
from ddeq_models.cli import main

Fails = Callable[..., str]


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve test clouds of `digits` with their weights, each in a file."""
    folder, test = tmp_path_factory.mktemp("clouds"), Digits("test")
    for i in range(12):
        cloud = test[i]
        np.savez(folder / f"{i}.npz", points=cloud.points, weights=7.0 * cloud.weights)
    return [folder / f"{i}.npz" for i in range(12)]


def test_a_file_is_seen_as_the_cloud_of_the_data_set(finished: Path, clouds: list[Path]) -> None:
    model = RunFolder(finished).model()
    from ddeq_data import collate
    from ddeq_models.data import view
    from ddeq_models.runs.calibration import read_calibration

    test, seen = Digits("test"), view(RunFolder(finished).config().data)
    batch = collate([test[i] for i in range(12)]).map(seen)
    known = read_calibration(finished, 10)
    assert known is not None
    logits = model(batch.points, batch.weights).logits.double()
    expected = (logits / known.temperature).softmax(-1).tolist()
    for prediction, row in zip(predict(finished, clouds), expected, strict=True):
        assert list(prediction.probabilities.values()) == pytest.approx(row, abs=1e-5)
        assert prediction.label == str(np.argmax(row))
        assert sum(prediction.probabilities.values()) == pytest.approx(1)
        assert list(prediction.probabilities) == list("0123456789")


def test_a_prediction_does_not_depend_on_the_other_files(
    finished: Path, clouds: list[Path]
) -> None:
    together = predict(finished, clouds)
    for batch_size in (1, 5):
        for one, other in zip(
            together, predict(finished, clouds[::-1], batch_size=batch_size)[::-1], strict=True
        ):
            assert one.file == other.file
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_formats_and_weights(finished: Path, tmp_path: Path) -> None:
    points = np.array([[1.0, 2.0], [3.0, 5.0], [4.0, 4.0]])
    np.save(tmp_path / "a.npy", points)
    np.savetxt(tmp_path / "b.csv", points, delimiter=",")
    np.savetxt(tmp_path / "c.txt", points)
    np.savez(tmp_path / "d.npz", points)
    np.savez(tmp_path / "e.npz", points=points[[0, 1, 2, 2]], weights=[2.0, 2.0, 1.0, 1.0])
    np.savez(tmp_path / "f.npz", points=points, weights=[1.0, 1.0, 5.0])
    names = ("a.npy", "b.csv", "c.txt", "d.npz", "d2.ply", "e.npz", "f.npz")
    flat = np.column_stack([points, np.full(3, 7.0)])
    head = "ply\nformat ascii 1.0\nelement vertex 3\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz") + "end_header\n"
    rows = "\n".join(" ".join(map(str, row)) for row in flat.tolist())
    (tmp_path / "d2.ply").write_text(head + rows + "\n")
    first, *same, weighted = predict(finished, [tmp_path / name for name in names])
    for other in same:  # uniform weights, and mass that is split between equal points
        assert other.probabilities == pytest.approx(first.probabilities, abs=1e-5)
    assert weighted.probabilities != pytest.approx(first.probabilities, abs=1e-5)


def test_the_command_prints_labels_or_json(
    finished: Path, clouds: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(path) for path in clouds[:3]]
    expected = predict(finished, files)
    assert main(["predict", str(finished), *files]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for line, prediction in zip(lines, expected, strict=True):
        assert line.startswith(f"{prediction.file}: {prediction.label}   (")
        likely = max(prediction.probabilities.values())
        assert f"({prediction.label} {likely:.4f}" in line
    assert main(["predict", str(finished), "--json", *files]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = ["file", "label", "probabilities", "converged", "message", "unlike", "why"]
    assert [list(o) for o in objects] == [told] * 3
    assert {o["unlike"] for o in objects} <= {True, False}
    assert [o["file"] for o in objects] == files
    assert objects[0]["probabilities"] == pytest.approx(expected[0].probabilities)


def test_an_equilibrium_that_was_not_found_is_told(
    finished: Path, clouds: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["model"] |= {"rtol": 1e-9, "max_steps": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert main(["predict", str(tmp_path), str(clouds[0]), "--json"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert f"warning: {clouds[0]}: MAX_STEPS after 2 evaluations" in err


def test_bad_files(finished: Path, tmp_path: Path, fails: Fails) -> None:
    def file(name: str, points: object) -> Path:
        np.save(tmp_path / name, np.asarray(points, dtype=float))
        return tmp_path / name

    text = tmp_path / "words.csv"
    text.write_text("1,2\n3,three\n")
    weights = tmp_path / "weights.npz"
    np.savez(weights, points=np.zeros((2, 2)), weights=np.array([1.0, -1.0]))
    for path, words in (
        (tmp_path / "missing.npy", "expected a file, found nothing"),
        (tmp_path, "found a folder"),
        (
            file("solid.npy", [[1, 2, 3], [1, 2, 4]]),
            "expected points of dimension 2, found 3 columns",
        ),
        (file("empty.npy", np.zeros((0, 2))), "expected at least one point"),
        (file("nan.npy", [[1, 2], [np.nan, 1]]), "point 1 (counted from 0): expected finite"),
        (file("flat.npy", [1, 2]), "expected points of shape (n, d)"),
        (text, "line 2: expected a number, found 'three'"),
        (weights, "key 'weights', row 1"),
    ):
        sentence = fails("predict", finished, path)
        assert str(path) in sentence
        assert words in sentence


def test_one_bad_file_stops_all_and_all_bad_files_are_named(
    finished: Path, clouds: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = [str(tmp_path / name) for name in ("one.npy", "two.npy")]
    argv = ["predict", str(finished), str(clouds[0]), bad[0], str(clouds[1]), bad[1]]
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    first, *rest = err.splitlines()
    assert first == "ddeq: 2 of 4 files cannot be used, and nothing was done:"
    assert [line.split(":")[0].strip() for line in rest] == bad


def test_a_name_by_itself_is_one_file(finished: Path, clouds: list[Path]) -> None:
    """Its letters were taken for files."""
    (expected,) = predict(finished, clouds[:1])
    for one in (clouds[0], str(clouds[0])):
        assert predict(finished, one) == [expected]


def test_arrays_and_tensors_are_clouds(finished: Path, clouds: list[Path]) -> None:
    loaded = [np.load(path) for path in clouds]
    points, weights = [x["points"] for x in loaded], [x["weights"] for x in loaded]
    expected = [p.probabilities for p in predict(finished, clouds)]

    def same(given: Any, wanted: list[dict[str, float]], **names: Any) -> list[str]:
        found = predict(finished, given, **names)
        for one, other in zip(found, wanted, strict=True):
            assert one.probabilities == pytest.approx(other, abs=1e-5)
        return [one.file for one in found]

    pairs = list(zip(points, weights, strict=True))
    assert same(pairs, expected) == [f"cloud {i}" for i in range(12)]
    assert same(pairs[3], expected[3:4]) == ["cloud 0"]
    tensors = [(torch.tensor(p).requires_grad_(), 5 * torch.tensor(w)) for p, w in pairs]
    same(tensors, expected)
    mixed = [clouds[0], pairs[1], str(clouds[2])]
    assert same(mixed, expected[:3]) == [str(clouds[0]), "cloud 1", str(clouds[2])]
    # Without weights all points weigh the same, as in a file.
    np.save(clouds[0].with_suffix(".npy"), points[0])
    plain = [predict(finished, clouds[0].with_suffix(".npy"))[0].probabilities]
    assert same(points[0], plain) == ["cloud 0"]
    assert same([points[0].astype(np.float32)], plain) == ["cloud 0"]
    assert same(np.stack([points[0]] * 2), 2 * plain) == ["cloud 0", "cloud 1"]
    assert same((points[0], points[0]), 2 * plain) == ["cloud 0", "cloud 1"]
    padded = (np.concatenate([points[1], [[np.nan, 1e300]]]), np.append(weights[1], 0))
    same([padded], expected[1:2])  # points of weight 0 are padding, whatever they are


@pytest.mark.parametrize(
    ("cloud", "words"),
    [
        (np.zeros((3, 5)), "expected points of dimension 2, found 5 columns"),
        (np.zeros(3), "expected points (n, d), found shape (3,)"),
        (np.zeros((0, 2)), "expected at least one point"),
        (np.array([[0.0, np.nan]]), "that are finite"),
        (np.array([["a", "b"]]), "of numbers, got dtype"),
        (torch.zeros(2, 2, dtype=torch.complex64), "plain numbers"),
        ((np.zeros((2, 2)), np.array([1.0, -1.0])), "finite weights of at least 0"),
        ((np.zeros((2, 2)), np.zeros(2)), "not all 0"),
        ((np.zeros((2, 2)), np.ones(3)), "expected weights (2,), found shape (3,)"),
        (np.full((1, 2), 1e200), "beyond float32"),
        ([[0.0, 1.0]], "an array or tensor of points"),
        (3, "got int"),
    ],
)
def test_bad_arrays(finished: Path, cloud: Any, words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)) as error:
        predict(finished, [np.zeros((2, 2)), cloud])
    assert str(error.value).startswith("cloud 1: ")


def test_columns_are_of_files(finished: Path) -> None:
    with pytest.raises(UserError, match="columns and features are of files"):
        predict(finished, np.zeros((2, 2)), columns=("0", "1"))
