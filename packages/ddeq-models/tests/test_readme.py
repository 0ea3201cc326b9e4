import re
from pathlib import Path

import pytest

import ddeq_models

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, example = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert 10 <= len([line for line in example.splitlines() if line]) <= 20
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    accuracies, prediction, same = capsys.readouterr().out.splitlines()
    assert all(0 <= float(accuracy) <= 1 for accuracy in accuracies.split())
    assert re.match(r"\d \{'0': \d\.\d+", prediction)
    assert same == f"cloud 0 {prediction[0]}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first-run", "one.npz"]


def test_five_lines_from_arrays_to_a_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, _ = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in lines.splitlines() if line]) == 5
    monkeypatch.chdir(tmp_path)
    exec(compile(lines, "README.md", "exec"), {})
    assert float(capsys.readouterr().out) >= 0.8
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ddeq_models.__all__)
def test_every_public_name_is_in_the_table(name: str) -> None:
    rows = "\n".join(line for line in README.splitlines() if line.startswith("| `"))
    assert re.search(rf"`{name}\b", rows)


def test_the_files_of_a_run_are_those_of_the_table(finished: Path) -> None:
    for path in finished.iterdir():
        assert f"`{path.name}`" in README
