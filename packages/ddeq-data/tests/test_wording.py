"""Sentences that are true however the package is used, and one of a thing in the singular."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import ddeq_data
from ddeq_data import (
    CloudDataset,
    DataError,
    MNISTPointCloud,
    ModelNet40,
    PackedClouds,
    PointCloudFolder,
    SizeBuckets,
    collate,
)
from ddeq_data._internal.text import counted
from ddeq_data.datasets import list_folder

SOURCE = Path(ddeq_data.__file__).parent
OPTION = re.compile(r"\b(suffixes|complete|columns|features|download|sampling|release)=(?!\{)")


def test_one_is_counted_in_the_singular():
    assert counted(1, "file") == "1 file"
    assert [counted(n, "class", "classes") for n in (0, 1, 2)] == [
        "0 classes",
        "1 class",
        "2 classes",
    ]
    assert counted(1234, "file") == "1,234 files"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "1.npy", np.ones((4, 2)))
    return tmp_path


def test_a_listing_says_what_it_holds(folder):
    assert list_folder(folder).summary() == "1 file of 1 class"
    (folder / "b").mkdir()
    for name in ("b/1.npy", "b/2.npy"):
        np.save(folder / name, np.ones((4, 2)))
    assert list_folder(folder).summary() == "3 files of 2 classes"


def test_one_cloud_of_one_class(folder):
    data = PointCloudFolder(folder, "train", cache=None)
    assert "clouds: 1 in 1 class\n" in repr(data)
    assert repr(collate([data[0]])).startswith("PointBatch(1 cloud, padded to 4 points of ")
    one = PackedClouds(torch.ones(1, 2), None, torch.tensor([0, 1]), torch.tensor([0]))
    assert repr(one).startswith("PackedClouds(1 cloud, 1 point of dimension 2, ")
    sampler = SizeBuckets(data.sizes, 4, shuffle=False, seed=0)
    assert repr(sampler).startswith("SizeBuckets(1 cloud in 1 batch of 4, ")
    with pytest.raises(DataError, match=r"found none among 1 file; a part is held out"):
        PointCloudFolder(folder, "test", cache=None)
    labelled = PackedClouds(torch.ones(1, 2), None, torch.tensor([0, 1]), torch.tensor([1]))
    with pytest.raises(ValueError, match=r"in 0\.\.0, one of 1 class, got 1\.\.1"):
        CloudDataset(labelled, ["a"])
    with pytest.raises(DataError, match="found 1 folder; give the folder of this data set"):
        ModelNet40(meshes(folder / "ModelNet40"))


def meshes(root):
    (root / "airplane/train").mkdir(parents=True)
    (root / "airplane/train/1.off").touch()
    return root


def test_what_only_python_can_do_is_said_to_be_so(folder):
    (folder / "a" / "1.stl").touch()
    with pytest.raises(DataError, match=r"move it away, or, from Python, say with suffixes= which"):
        PointCloudFolder(folder)
    for name in ("1.stl", "1.npy"):
        (folder / "a" / name).unlink()
    (folder / "a" / "deep").mkdir()
    with pytest.raises(DataError, match=r"found another folder; move it away\.$"):
        PointCloudFolder(folder)  # `suffixes` would not help


def test_missing_shapes_may_be_missing_from_python(folder, monkeypatch):
    monkeypatch.setattr(ModelNet40, "counts", {"airplane": (2, 0)})
    with pytest.raises(DataError, match=r"again, or, from Python, take what is .* complete=False"):
        ModelNet40(meshes(folder / "ModelNet40"))


def test_the_command_that_fetches_is_named(tmp_path):
    for kind in (MNISTPointCloud, ModelNet40):
        for root in (tmp_path, tmp_path / "no"):
            with pytest.raises(
                DataError, match=r"`ddeq datasets get`.*download=True|download=.*`dd"
            ):
                kind(root)


def options(source: str) -> list[str]:
    """The texts of a module that name an argument, without what makes them true of the command."""
    tree = ast.parse(source)
    inner = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    wrong = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) or id(node) in inner:
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and "\n" not in node.value
        ):
            text = node.value
        else:
            continue
        if OPTION.search(text) and not re.search("from Python|--|`ddeq ", text):
            wrong.append(text)
    return wrong


def test_no_message_names_an_option_that_the_command_lacks():
    assert options('x = f"pass {y} complete=False"') == ["pass {} complete=False"]
    assert options('x = "columns= (--columns)"') == []
    for path in SOURCE.rglob("*.py"):
        assert options(path.read_text(encoding="utf-8")) == [], path
