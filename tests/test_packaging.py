"""The environment and the members' metadata agree with the pyproject files.

Hatch does not reinstall an editable member when only its version, its scripts or its floor on a
sibling changes, so a stale environment is told here: ``hatch env prune`` makes a new one.
"""

import subprocess
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
MEMBERS: dict[str, dict[str, Any]] = {
    str(canonicalize_name(table["name"])): table
    for path in sorted(ROOT.glob("packages/*/pyproject.toml"))
    for table in [tomllib.loads(path.read_text())["project"]]
}
LAYERS = {
    "wgf-solver": {"torch"},
    "set-attention": {"torch", "einops"},
    "ddeq-data": {"torch", "numpy"},
    "ddeq-models": {"wgf-solver", "set-attention", "ddeq-data"},
}


@pytest.mark.parametrize("name", MEMBERS)
def test_installed_metadata_is_current(name: str) -> None:
    dist = distribution(name)
    assert dist.version == MEMBERS[name]["version"], "stale environment: run `hatch env prune`"
    scripts = {e.name: e.value for e in dist.entry_points if e.group == "console_scripts"}
    assert scripts == MEMBERS[name].get("scripts", {}), "stale environment: run `hatch env prune`"


@pytest.mark.parametrize("name", MEMBERS)
def test_floors_on_siblings_hold(name: str) -> None:
    for text in MEMBERS[name]["dependencies"]:
        requirement = Requirement(text)
        sibling = canonicalize_name(requirement.name)
        if sibling in MEMBERS:
            assert requirement.specifier.contains(MEMBERS[sibling]["version"]), text


@pytest.mark.parametrize("name", LAYERS)
def test_dependencies_run_downward(name: str) -> None:
    needed = {str(canonicalize_name(Requirement(d).name)) for d in MEMBERS[name]["dependencies"]}
    if name == "ddeq-models":
        assert LAYERS[name] <= needed
    else:
        assert needed == LAYERS[name]


@pytest.mark.parametrize("name", MEMBERS)
def test_every_member_is_a_whole_package(name: str) -> None:
    folder = ROOT / "packages" / name
    for part in ("README.md", "CHANGELOG.md", "LICENSE", "tests"):
        assert (folder / part).exists(), f"{name} lacks {part}"
    assert (folder / "src" / name.replace("-", "_") / "py.typed").is_file()
    assert f"## {MEMBERS[name]['version']}" in (folder / "CHANGELOG.md").read_text()
    assert MEMBERS[name]["license"].startswith("MIT")


def test_the_wheel_holds_the_trained_models() -> None:
    """Hatchling takes every file below the package that git does not ignore."""
    build = tomllib.loads((ROOT / "packages/ddeq-models/pyproject.toml").read_text())["tool"]
    assert build["hatch"]["build"]["targets"]["wheel"] == {"packages": ["src/ddeq_models"]}
    weights = ROOT / "packages/ddeq-models/src/ddeq_models/models/weights"
    files = sorted(path for path in weights.glob("*/*") if path.is_file())
    assert {path.name for path in files} == {
        "README.md",
        "calibration.safetensors",
        "config.json",
        "model.safetensors",
        "result.json",
    }
    assert {path.parent.name for path in files} == {
        "fashion-classifier",
        "mnist-classifier",
        "mnist-completer",
    }
    if (ROOT / ".git").exists():
        ignored = subprocess.run(
            ["git", "check-ignore", "--no-index", *map(str, files)], cwd=ROOT, capture_output=True
        )
        assert ignored.returncode == 1, ignored.stdout.decode()  # 1: none is
