"""The memory of a gradient does not depend on the steps (hatch run bench adjoint-memory)."""

from pathlib import Path

import pytest

from wgf_solver import Adjoint, Implicit, Phantom, Unrolled

ROOT = Path(__file__).parents[1]


@pytest.fixture
def peak_of(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.solver.adjoint_memory import peak_of

    return peak_of


@pytest.mark.parametrize("adjoint", [Implicit(), Phantom(2)], ids=repr)
def test_peak_memory_of_ten_steps_is_that_of_a_hundred(peak_of, adjoint: Adjoint) -> None:
    few, many = (peak_of(adjoint, steps, batch=4, particles=6, dim=16) for steps in (10, 100))
    assert 0 < few <= many < 1.05 * few


def test_unrolled_steps_do_take_memory(peak_of) -> None:
    few, many = (peak_of(Unrolled(k), k, batch=4, particles=6, dim=16) for k in (10, 50))
    assert many > 3 * few
