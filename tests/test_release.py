"""`hatch run release PACKAGE`: what it finds wrong; building and installing are tried by hand."""

import importlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(Path(__file__).parents[1]))
    checks = importlib.import_module("tools.release.checks")
    release = importlib.import_module("tools.release.__main__")

PACKAGE = "set-attention"
TAGS = ["set-attention-v0.5.0", "set-attention-v0.10.0", "ddeq-data-v9.0.0"]


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("0.10.1", None),
        ("1.0.0", None),
        ("0.10.0", "is released already: there is a tag set-attention-v0.10.0"),
        ("0.9.0", "is older than 0.10.0"),
        ("0.11", "not in the form MAJOR.MINOR.PATCH"),
        ("v0.11.0", "not in the form"),
        ("next", "is no version"),
    ],
)
def test_a_version_is_new_and_in_form(version: str, words: str | None) -> None:
    faults = checks.version_faults(version, TAGS, PACKAGE)
    assert len(faults) == (words is not None)
    assert words is None or words in faults[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# C\n\n## 1.2.0\n\n- new\n\n## 1.1.0\n\n- old\n", None),
        ("# C\n\n## Unreleased\n\n## [1.2.0] - 2026-11-29\n\n### Added\n\n- new\n", None),
        ("# C\n\n## Unreleased\n\n- newer\n\n## 1.2.0\n\n- new\n", "lines under Unreleased"),
        ("# C\n\n## 1.1.0\n\n- old\n", "expected ## 1.2.0 as its first version, found 1.1.0"),
        ("# C\n\n## 1.2.0\n\n## 1.1.0\n\n- old\n", "says nothing of 1.2.0"),
        ("# C\n", "found none"),
    ],
)
def test_a_changelog_says_what_is_new(text: str, words: str | None) -> None:
    faults = checks.changelog_faults(text, "1.2.0")
    assert len(faults) == (words is not None)
    assert words is None or words in faults[0]


def test_archives_are_whole(tmp_path: Path) -> None:
    sources = sorted((checks.ROOT / "packages" / PACKAGE / "src").rglob("*"))
    files = [p.relative_to(checks.ROOT / "packages" / PACKAGE) for p in sources if p.is_file()]
    names = [path.as_posix() for path in files if "__pycache__" not in path.parts]
    metadata = "\n".join(
        ["Name: set-attention", "Author: a", "License-Expression: MIT", "Project-URL: a, b",
         "Requires-Python: >=3.11", "Summary: s", "", "[whole](https://x) [part](#p)"]
    )  # fmt: skip

    def faults(dropped: str = "", *, extra: str = "", text: str = metadata) -> list[str]:
        wheel, sdist = tmp_path / "a.whl", tmp_path / "a.tar.gz"
        held = {name.removeprefix("src/"): "" for name in names}
        info = "set_attention-1.dist-info"
        held |= {f"{info}/METADATA": text, f"{info}/licenses/LICENSE": ""}
        with zipfile.ZipFile(wheel, "w") as file:
            for name, content in held.items():
                if name != dropped:
                    file.writestr(name, content)
            if extra:
                file.writestr(extra, "")
        with tarfile.open(sdist, "w:gz") as archive:
            own = ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "tests/test_laws.py")
            for name in (*own, *names):
                if name != dropped:
                    archive.addfile(tarfile.TarInfo(f"set_attention-1/{name}"), io.BytesIO())
        return checks.archive_faults(PACKAGE, wheel, sdist)

    assert faults() == []
    assert "the wheel lacks set_attention/py.typed" in faults("set_attention/py.typed")
    assert faults("set_attention-1.dist-info/licenses/LICENSE") == ["the wheel lacks its licence"]
    assert faults("set_attention/laws.py") == ["the wheel lacks src/set_attention/laws.py"]
    assert faults("src/set_attention/laws.py") == ["the sdist lacks src/set_attention/laws.py"]
    assert faults("tests/test_laws.py") == ["the sdist lacks the tests"]
    assert faults(extra="tests/a.py") == ["the wheel holds tests/a.py, which is not the package's"]
    assert faults(text=metadata.replace("Author: a\n", "")) == ["the metadata lack Author"]
    (link,) = faults(text=metadata.replace("#p", "../docs"))
    assert "holds in the repository alone" in link


def test_siblings_are_installed_from_the_workspace() -> None:
    assert release._siblings("ddeq-models") == list(release.PACKAGES)
    assert release._siblings("ddeq-data") == ["ddeq-data"]
