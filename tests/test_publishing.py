"""What a package index, a code host and a reader who wants to cite or report find."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(Path(__file__).parents[1]))
    address = importlib.import_module("tools.address")

ROOT, ADDRESS = address.ROOT, address.ADDRESS
EVERY = pytest.mark.parametrize("name", address.PACKAGES)


@EVERY
def test_the_addresses_of_a_package_are_the_projects(name: str) -> None:
    project = tomllib.loads((ROOT / "packages" / name / "pyproject.toml").read_text())["project"]
    urls = project["urls"]
    assert set(urls) == {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
    assert urls["Homepage"] == ADDRESS
    assert urls["Issues"] == f"{ADDRESS}/issues"
    assert urls["Source"] == address.address(ROOT / "packages" / name)
    assert urls["Changelog"] == address.address(ROOT / "packages" / name / "CHANGELOG.md")
    assert address.place(urls["Documentation"]).is_file()
    assert project["authors"]
    assert all(f"Programming Language :: Python :: 3.{n}" in project["classifiers"]
               for n in range(11, 15))  # fmt: skip


@EVERY
def test_the_readme_of_a_package_stands_alone(name: str) -> None:
    """A package index shows it without the repository: every link is a whole address."""
    text = (ROOT / "packages" / name / "README.md").read_text()
    found = re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", text)
    targets = [(sign, target) for sign, target in found if not target.startswith("#")]
    for sign, target in targets:
        assert target.startswith("https://"), target
        if target.startswith(ADDRESS):
            path = address.place(target.partition("#")[0])
            assert path is not None, target
            assert path.exists(), target
            assert ("/raw/" in target) == bool(sign), target  # a picture, not a page about it


def test_the_address_is_one() -> None:
    """No file of the project names another place of it."""
    seen = [*ROOT.glob("*.md"), ROOT / "CITATION.cff", *ROOT.glob(".github/**/*.yml")]
    seen += [
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("packages/*/*.md"),
        *ROOT.glob("tools/site/*.yml"),
    ]
    for path in seen:
        for found in re.findall(r"https://github\.com/[\w.-]+/ddeq\b", path.read_text()):
            assert found == ADDRESS, path


def test_it_can_be_cited() -> None:
    citation = pytest.importorskip("yaml").safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # what the format asks
    assert citation["repository-code"] == ADDRESS
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == [
        "Geuter", "Bonet", "Korba", "Alvarez-Melis",
    ]  # fmt: skip
    assert paper["url"] in (ROOT / "README.md").read_text()


def test_the_workflow_runs_the_gate_on_every_python_that_is_named() -> None:
    yaml = pytest.importorskip("yaml")
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert {"run": ".ci/run"} in jobs["gate"]["steps"]
    assert jobs["gate"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
    environments = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["envs"]
    assert environments["compat"]["matrix"] == [{"python": ["3.11", "3.12", "3.13", "3.14"]}]
    # The floors that are tried are those that are asked for.
    assert {"run": "hatch run floors:test"} in jobs["floors"]["steps"]
    floors = [
        text.removesuffix(".*").split("==") for text in environments["floors"]["dependencies"]
    ]
    asked = tomllib.loads((ROOT / "packages/ddeq-data/pyproject.toml").read_text())["project"]
    for package, version in floors:
        assert f"{package}>={version}" in asked["dependencies"]
    assert sorted(name for name, _ in floors) == ["numpy", "torch"]
    scripts = environments["default"]["scripts"]
    for hook in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]:
        assert hook["entry"].removeprefix("hatch run ") in scripts


@pytest.mark.parametrize("path", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")))
def test_templates_of_issues_are_forms(path: Path) -> None:
    form = pytest.importorskip("yaml").safe_load(path.read_text())
    if path.stem == "config":
        assert all({"name", "url", "about"} == set(link) for link in form["contact_links"])
        return
    assert {"name", "description", "body"} <= set(form)
    identities = [field["id"] for field in form["body"]]
    assert len(set(identities)) == len(identities) > 0
    assert all(field["attributes"]["label"] for field in form["body"])
