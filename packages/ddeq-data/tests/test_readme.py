import re
from pathlib import Path

import pytest
import torch

import ddeq_data

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_example_runs(capsys):
    example = EXAMPLES[0]
    assert 10 <= len(example.splitlines()) <= 20
    exec(compile(example, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert "split: train" in out
    assert "PointBatch(" in out


def test_the_data_set_of_the_second_example(mnist_root, monkeypatch):
    monkeypatch.chdir(mnist_root("data/MNIST/raw"))
    scope: dict[str, object] = {}
    exec(compile(EXAMPLES[1], "README.md", "exec"), scope)
    assert len(scope["train"]) == 220


def test_the_example_of_completion_runs():
    scope: dict[str, object] = {}
    exec(compile(EXAMPLES[2], "README.md", "exec"), scope)
    cut, again = scope["cut"], scope["again"]
    assert torch.equal(cut.missing.points, again.missing.points)
    assert torch.equal(cut.visible.mask ^ cut.missing.mask, scope["batch"].mask)


@pytest.mark.parametrize("name", sorted(set(ddeq_data.__all__) - {"transforms"}))
def test_every_public_name_is_in_the_table(name):
    rows = "\n".join(line for line in README.splitlines() if line.startswith("| `"))
    assert re.search(rf"`{name}\b", rows)
