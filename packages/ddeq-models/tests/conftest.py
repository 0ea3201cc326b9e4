"""A model small enough to be trained in a test, one such run, and MNIST-like files."""

import gzip
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ddeq_models import RECIPES, DDEQConfig
from ddeq_models.cli import main

# Modules that several test files share lie beside them; pytest by itself does not look there.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_config() -> DDEQConfig:
    return DDEQConfig(
        particles=3, dim=16, heads=2, hidden=16, bilinear_dim=4, rtol=1e-2, max_steps=20
    )


def _shrink(patch: pytest.MonkeyPatch, config: DDEQConfig) -> None:
    for key, recipe in RECIPES.items():
        model = config if key[1] == "ddeq" else recipe.model
        short = replace(recipe.train, epochs=1)
        patch.setitem(RECIPES, key, replace(recipe, model=model, train=short))


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tiny_config: DDEQConfig, tmp_path: Path) -> Path:
    """`ddeq train` trains a tiny model for one epoch, in an empty folder, which is returned."""
    _shrink(monkeypatch, tiny_config)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_config: DDEQConfig) -> Path:
    """A run folder as `ddeq train` leaves it; not to be written to."""
    path = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        _shrink(patch, tiny_config)
        # By the recipe of 32 one cloud is on the verge of having no equilibrium, where the rounding
        # of a batch decides.
        words = ["--epochs", "2", "--batch-size", "64"]
        assert main(["train", "--out", str(path), *words]) == 0
    return path


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs leave no pictures, which take longer than the training of a tiny model."""
    monkeypatch.setattr("ddeq_models.training.run.draw_if_possible", lambda *_: None)


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must end in one sentence, and return the sentence."""

    def run(*arguments: object, code: int = 2) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == code
        out, err = capsys.readouterr()
        assert out == ""
        # What a training says of its clouds, its length and its epochs is no error.
        said = ("epoch ", "clouds: ")
        lines = [line for line in err.splitlines() if not line.startswith(said)]
        sentences = [line for line in lines if "; about " not in line]
        assert len(sentences) == 1, err
        assert sentences[0].startswith("ddeq: ")
        return sentences[0].removeprefix("ddeq: ")

    return run


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """A folder with the four IDX files of MNIST, of 48 and 20 images."""
    root = tmp_path / "mnist"
    root.mkdir()
    rng = np.random.default_rng(0)
    for part, count in (("train", 48), ("t10k", 20)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = np.zeros((count, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[8 : 10 + label, 8:12] = rng.integers(1, 256, (2 + label, 4))
        (root / f"{part}-images-idx3-ubyte.gz").write_bytes(
            gzip.compress(struct.pack(">HBB3I", 0, 8, 3, count, 28, 28) + images.tobytes())
        )
        (root / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">HBBI", 0, 8, 1, count) + labels.tobytes()
        )
    return root


@pytest.fixture(scope="module")
def one_validation() -> Iterator[None]:
    """At the end: of an epoch of one step every other one would take as long as the step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ddeq_models.training.loop.VALIDATIONS", 1)
        yield
