"""Choices measure by measure: what is looked at on the CPU changes the time and not the result."""

from itertools import product

import pytest
import torch

from wgf_solver.norms import clear_measures, where_measure


@pytest.mark.parametrize("chosen", list(product([False, True], repeat=4)))
@pytest.mark.parametrize("look", [True, False])
def test_each_measure_is_taken_whole_from_one_side(chosen, look, monkeypatch):
    monkeypatch.setattr("wgf_solver.norms.may_look", lambda tensor: look)
    mask = torch.tensor(chosen).view(2, 2)
    rows, others = torch.randn(2, 2, 3, 5), torch.full((2, 2, 3, 5), torch.nan)
    mixed = where_measure(mask, rows, others)
    assert torch.equal(mixed[mask], rows[mask])
    assert mixed[~mask].isnan().all()
    assert others.isnan().all()  # neither side was written to
    assert not rows.isnan().any()


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 2)])
@pytest.mark.parametrize("look", [True, False])
def test_what_is_cleared_is_0_and_nothing_else_is(shape, look, monkeypatch):
    monkeypatch.setattr("wgf_solver.norms.may_look", lambda tensor: look)
    chosen = torch.zeros(shape, dtype=torch.bool)
    chosen[tuple(-1 for _ in shape)] = True
    memory = torch.randn(*shape, 6, 4)
    before = memory.clone()
    clear_measures(memory.narrow(-2, 0, 5), chosen)
    expected = torch.zeros(6, 4)
    expected[5] = before[chosen][0, 5]
    assert torch.equal(memory[chosen][0], expected)
    assert torch.equal(memory[~chosen], before[~chosen])
