import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import torch

from ddeq_data import CloudDataset, PackedClouds
from ddeq_models.cli import main
from ddeq_models.config import DataConfig
from ddeq_models.data import DATA_SETS, open_split
from ddeq_models.data.entries import entry
from ddeq_models.recipes import recipe_for
from ddeq_models.report.pictures.clouds import draw_clouds


def pixels(png: bytes) -> Any:
    return matplotlib.image.imread(io.BytesIO(png))[..., :3]


def dataset(classes: int, dim: int = 2, points: int = 50) -> CloudDataset:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(3 * classes * points, dim, generator=generator)
    offsets = torch.arange(3 * classes + 1) * points
    clouds = PackedClouds(rows, None, offsets, torch.arange(3 * classes) % classes)
    return CloudDataset(clouds, [f"class_{i}" for i in range(classes)])


def test_every_data_set_that_can_be_trained_on_is_listed() -> None:
    for name, one in DATA_SETS.items():
        assert entry(name) is one
        assert one.name == name
        assert one.text
        assert one.download is None or one.find is not None


def test_the_list_says_what_is_there(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "ModelNet40" / "bed").mkdir(parents=True)
    (tmp_path / "modelnet40_test.txt").touch()
    assert main(["datasets", "--root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines()[:9]}
    assert lines["digits"].split()[1:3] == ["1,797", "2"]
    assert lines["modelnet40"].endswith(
        f"meshes in {tmp_path / 'ModelNet40'}; resampled in {tmp_path}"
    )
    assert lines["mnist"].endswith(" -")
    assert f"  ddeq datasets get mnist --root {tmp_path}\n" in out
    assert "get modelnet40" not in out
    assert main(["datasets", "--root", str(tmp_path / "no")]) == 0


def test_a_folder_of_files_is_counted(tmp_path: Path, capsys: Any) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "x.npy", np.eye(3))
    main(["datasets", "--root", str(tmp_path)])
    assert "2 files of 2 classes" in capsys.readouterr().out


def test_classes_without_meshes_are_no_modelnet(tmp_path: Path, capsys: Any) -> None:
    """The folder of a class of ModelNet may hold anything: pcd files, say."""
    for name in ("chair", "monitor"):
        (tmp_path / name / "train").mkdir(parents=True)
        np.save(tmp_path / name / "train" / "x.npy", np.eye(3))

    def lines() -> dict[str, str]:
        assert main(["datasets", "--root", str(tmp_path)]) == 0
        return {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[:9]}

    for name in ("modelnet10", "modelnet40"):
        assert lines()[name].endswith(" -")
    assert lines()["folder"].endswith("2 files of 2 classes")
    (tmp_path / "chair" / "train" / "x.off").touch()
    assert lines()["modelnet10"].endswith(f"meshes in {tmp_path}")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_clouds_are_drawn_as_a_training_sees_them(
    name: str, mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Points of digits weigh alike, those of clothes as their pixels."""
    drawn: list[CloudDataset] = []

    def watched(clouds: CloudDataset, *_: Any) -> bytes:
        drawn.append(clouds)
        return b""

    monkeypatch.setattr("ddeq_models.cli.commands.datasets.draw_clouds", watched)
    out = ["--out", str(tmp_path / "page.png"), "--root", str(mnist)]
    assert main(["datasets", "show", name, *out]) == 0
    recipe = replace(recipe_for(name, "ddeq").data, root=str(mnist))
    expected = open_split(recipe, "train")
    assert len(drawn[0]) == len(expected)
    for i in range(len(expected)):
        assert torch.equal(drawn[0][i].points, expected[i].points)
        assert torch.equal(drawn[0][i].weights, expected[i].weights)
        assert (drawn[0][i].weights.unique().numel() == 1) == (name == "mnist")


@pytest.mark.parametrize("name", ["digits", "shapes-3d"])
def test_a_page_is_drawn(name: str, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "page.png"
    assert main(["datasets", "show", name, "--split", "validation", "--out", str(out)]) == 0
    assert capsys.readouterr().out.endswith(f"picture: {out}\n")
    image = pixels(out.read_bytes())
    ink = (image < 0.95).any(-1)
    assert 0.02 < ink.mean() < 0.4
    # Every row has clouds, from the left to the right.
    for band in np.array_split(ink[70:], open_split(DataConfig(name), "test").dim + 1):
        assert all(part.any() for part in np.array_split(band[:, 200:], 8, axis=1))


@pytest.mark.parametrize(
    ("classes", "dim", "points"), [(1, 1, 3), (3, 3, 1), (20, 3, 5000), (2, 5, 4)]
)
def test_any_clouds_can_be_drawn(classes: int, dim: int, points: int) -> None:
    image = pixels(draw_clouds(dataset(classes, dim, points), "title", up="y"))
    assert (image < 0.9).any()


def test_empty_clouds_and_what_is_nearer() -> None:
    points = torch.tensor([[0.0, 0, 0], [0, 0, 1], [0.5, 0.5, 0.5]])
    offsets = torch.tensor([0, 0, 3])
    data = CloudDataset(PackedClouds(points, None, offsets, torch.tensor([0, 0])), ["a"])
    image = pixels(draw_clouds(data, ""))
    assert (image[..., 2] - image[..., 0] > 0.6).any()  # the blue of what is near


def test_what_is_wrong_is_said(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for command, said in [
        (["show", "mnit"], "there is no data set mnit; expected one of digits, mnist, fash"),
        (["show", "mnist"], "data: expected a folder with the files of MNIST, found nothing"),
        (["show", "modelnet10", "--release", "hdf5"], "modelnet10 has no release hdf5; it has me"),
        (["get", "digits"], "digits is always there; nothing is fetched"),
        (["get", "folder"], "folder is read from files of your own; nothing is fetched"),
        (
            ["show", "digits", "--out", "no/where.png"],
            "no: no such folder for the picture; make it first",
        ),
    ]:
        assert main(["datasets", *command]) != 0
        assert said in capsys.readouterr().err


def test_the_release_that_is_there_is_shown(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "modelnet40_normal_resampled").mkdir()
    modelnet = entry("modelnet40")
    assert modelnet.release(tmp_path) == "resampled"
    assert main(["datasets", "show", "modelnet40", "--root", str(tmp_path)]) != 0
    assert "modelnet40_train.txt: expected a file" in capsys.readouterr().err
    (tmp_path / "ModelNet40").mkdir()
    assert modelnet.release(tmp_path) == "meshes"
    assert entry("digits").release(tmp_path) == "meshes"


def test_get_says_what_it_needs(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    assert main(["datasets", "get", "mnist", "--root", str(tmp_path)]) == 2
    assert "pip install 'ddeq-data[download]'" in capsys.readouterr().err
    monkeypatch.setattr("ddeq_data.MNISTPointCloud.resources", ())
    assert main(["datasets", "get", "mnist", "--root", str(tmp_path)]) == 0


@pytest.mark.parametrize("action", [[], ["show"], ["get"]])
def test_help(action: list[str], capsys: Any) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["datasets", *action, "--help"])
    out = capsys.readouterr().out
    assert out.startswith(" ".join(["usage: ddeq datasets", *action]))
    assert "--root DIR" in out


def test_unknown_options_are_named(capsys: Any) -> None:
    assert main(["datasets", "show", "digits", "--rot", "x"]) == 2
    assert "unknown option --rot of ddeq datasets; did you mean --root?" in capsys.readouterr().err
