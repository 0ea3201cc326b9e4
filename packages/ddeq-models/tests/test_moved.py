"""What has moved is found by its old name, with a warning that says where it is."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import ddeq_models
from ddeq_models._internal.moved import MODULES


@pytest.mark.parametrize("name", MODULES)
def test_an_old_module_gives_what_the_new_one_has(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, f"ddeq_models.{name}", raising=False)
    new = import_module(f"ddeq_models.{MODULES[name]}")
    with pytest.warns(DeprecationWarning, match=rf"ddeq_models\.{name} has moved.*; import ddeq"):
        old = import_module(f"ddeq_models.{name}")
    for public in [one for one in vars(new) if not one.startswith("_")]:
        assert getattr(old, public) is getattr(new, public)


def test_no_old_name_is_that_of_a_module_of_today() -> None:
    for name in MODULES:
        path = f"{ddeq_models.__path__[0]}/{name.replace('.', '/')}"
        assert not Path(f"{path}.py").exists()
        assert not Path(path).is_dir()


def test_help_needs_no_pytorch() -> None:
    program = "import sys; from ddeq_models.cli import main\ntry: main(['--help'])\n"
    program += "finally: assert not {'torch', 'numpy', 'matplotlib'} & set(sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("usage: ddeq")


def test_every_public_name_is_found_and_told_of() -> None:
    for name in ddeq_models.__all__:
        assert getattr(ddeq_models, name) is not None
        assert name in dir(ddeq_models)
    with pytest.raises(AttributeError, match="has no attribute 'DDEQS'"):
        _ = ddeq_models.DDEQS
