import re
from pathlib import Path

import pytest

import ddeq_data

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


def test_the_example_runs(capsys):
    example, _ = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert 10 <= len(example.splitlines()) <= 20
    exec(compile(example, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert "split: train" in out
    assert "PointBatch(" in out


def test_the_data_set_of_the_second_example(mnist_root, monkeypatch):
    _, example = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    monkeypatch.chdir(mnist_root("data/MNIST/raw"))
    scope: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), scope)
    assert len(scope["train"]) == 220


@pytest.mark.parametrize("name", sorted(set(ddeq_data.__all__) - {"transforms"}))
def test_every_public_name_is_in_the_table(name):
    rows = "\n".join(line for line in README.splitlines() if line.startswith("| `"))
    assert re.search(rf"`{name}\b", rows)
