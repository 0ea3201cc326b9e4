"""What has moved is found by its old name, with a warning that says where it is."""

import pickle
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

import ddeq_data
from ddeq_data._internal.moved import MODULES


def test_the_old_name_of_a_cropped_batch():
    with pytest.warns(DeprecationWarning, match="is called CroppedBatch now"):
        from ddeq_data import Completion
    assert Completion is ddeq_data.CroppedBatch
    with pytest.warns(DeprecationWarning, match=r"ddeq_data\.crops\.Completion is called"):
        assert ddeq_data.crops.Completion is ddeq_data.CroppedBatch
    assert "Completion" not in ddeq_data.__all__
    with pytest.raises(AttributeError, match="module 'ddeq_data' has no attribute 'Completions'"):
        _ = ddeq_data.Completions


@pytest.mark.parametrize("name", MODULES)
def test_an_old_module_gives_what_the_new_one_has(name, monkeypatch):
    monkeypatch.delitem(sys.modules, f"ddeq_data.{name}", raising=False)
    with pytest.warns(DeprecationWarning, match=rf"ddeq_data\.{name} has moved.*import ddeq_data"):
        old = import_module(f"ddeq_data.{name}")
    new = import_module(f"ddeq_data.{MODULES[name]}")
    for public in getattr(new, "__all__", ()):
        assert getattr(old, public) is getattr(new, public)


def test_no_old_name_is_that_of_a_module_of_today():
    for name in MODULES:
        path = f"{ddeq_data.__path__[0]}/{name.replace('.', '/')}"
        assert not Path(f"{path}.py").exists()
        assert not Path(path).is_dir()


def test_the_names_that_were_imported_before():
    """Those that ddeq-models 0.5 and the benchmarks took, in a process of its own."""
    program = """
import warnings
warnings.simplefilter("ignore")
from ddeq_data.batch import Cloud, PointBatch
from ddeq_data.cache import cached_clouds, read_clouds, write_clouds
from ddeq_data.completion import Completion, Crop, DDEQsCrop
from ddeq_data.counters import mix
from ddeq_data.datasets.listing import list_folder
from ddeq_data.datasets.modelnet import Release
from ddeq_data.datasets.modelnet_counts import MODELNET40
from ddeq_data.locks import Lock
from ddeq_data.precision import as_precise_as_needed
from ddeq_data.readers.cloud import read_cloud_file
from ddeq_data.readers.mesh import Mesh
from ddeq_data.sampling import Shape, SurfacePoints
from ddeq_data.surfaces import sample_surface, voxel_bounds
from ddeq_data.text import shown
from ddeq_data.transforms.base import Transform
import ddeq_data.readers.off
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_what_was_pickled_before_is_found():
    batch = ddeq_data.collate([ddeq_data.Cloud(torch.ones(2, 2), torch.full((2,), 0.5), 3)])
    now = pickle.dumps(batch, 0)
    before = now.replace(b"ddeq_data.measures.batch", b"ddeq_data.batch")
    assert before != now
    sys.modules.pop("ddeq_data.batch", None)
    with pytest.warns(DeprecationWarning, match=r"import ddeq_data\.measures\.batch"):
        found = pickle.loads(before)
    assert torch.equal(found.points, batch.points)
