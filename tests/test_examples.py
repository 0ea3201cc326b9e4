"""The examples run, and what they say is right."""

import runpy
from pathlib import Path

import pytest
import torch

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_compose_a_model() -> None:
    example = runpy.run_path(str(EXAMPLES / "compose_a_model.py"))
    assert example["main"]() > 0.9


def test_invariant_measure() -> None:
    example = runpy.run_path(str(EXAMPLES / "invariant_measure.py"))
    energy, slope = example["main"]()
    shift, h = torch.tensor([1.0, 0.5], dtype=torch.float64), 1e-4
    values = [
        float(example["solve"](shift * (1 + e)).measure.points.square().sum(-1).mean())
        for e in (h, -h)
    ]
    assert slope == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-5)
    # In the limit of many atoms E|z|^2 = E|z|^2 / 4 + |shift|^2 / 4; six atoms spread less.
    assert 0.5 * 1.25 / 3 < energy < 1.25 / 3


def test_every_example_is_tested() -> None:
    mine = Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert path.name in mine, f"{path.name} has no test"
