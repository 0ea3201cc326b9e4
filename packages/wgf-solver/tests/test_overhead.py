"""What a step costs beyond the map, counted: operations of torch, which no other process moves."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from wgf_solver import Anderson, Euler, Measure, equilibrium


class Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count, self.within_map = 0, False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += not self.within_map
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("integrator", "most"), [(Anderson(), 141), (Euler(), 51)], ids=repr)
def test_a_step_of_a_small_solve_makes_few_operations(integrator, most):
    start, counts = Measure(torch.randn(1, 10, 2)), []
    for steps in (40, 80):
        counter = Counter()

        def f(mu: Measure, counter=counter) -> Measure:
            counter.within_map = True
            image = mu.with_points(mu.points + 1 + 0.5 * (3 * mu.points).sin())
            counter.within_map = False
            return image

        with torch.no_grad(), counter:
            solution = equilibrium(
                f, start, integrator=integrator, max_steps=steps, on_failure="ignore"
            )
        assert solution.steps == steps  # there is no fixed point
        counts.append(counter.count)
    assert (counts[1] - counts[0]) / 40 <= most
