import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ddeq_data import Digits
from ddeq_models import RunFolder, predict
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

    test, seen = Digits("test"), view(RunFolder(finished).config().data)
    batch = collate([test[i] for i in range(12)]).map(seen)
    expected = model(batch.points, batch.weights).logits.softmax(-1).tolist()
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
    assert [list(o) for o in objects] == [["file", "label", "probabilities"]] * 3
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
