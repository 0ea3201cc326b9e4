"""`torch.compile` around a solve and `torch.export` of one, against eager."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from wgf_solver import MMD, Anderson, Descent, Energy, Euler, Measure, Status, equilibrium

CHOICES = [
    {},
    {"velocity": Descent(MMD(Energy())), "integrator": Euler(0.3)},
]


class Model(nn.Module):
    def __init__(self, **choice) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.choice = {"max_steps": 8, "on_failure": "ignore"} | choice

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        def f(mu: Measure) -> Measure:
            return mu.with_points(0.5 * torch.tanh(self.linear(mu.points)) + mu.marks)

        start = Measure(torch.zeros_like(x), marks=x)
        solution = equilibrium(f, start, **self.choice)
        return solution.measure.points, solution.status, solution.steps


@pytest.mark.parametrize("choice", CHOICES, ids=["residual", "descent"])
def test_a_compiled_model_solves_as_it_does_eagerly(choice):
    torch._dynamo.reset()
    model, x = Model(**choice), torch.randn(3, 4, 2)
    results = []
    for run in (model, torch.compile(model, backend="eager")):
        model.zero_grad()
        points, status, steps = run(x)
        points.square().sum().backward()
        results.append([points.detach(), status, steps, model.linear.weight.grad.clone()])
    for mine, theirs in zip(*results, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(
    "choice",
    [{"integrator": Anderson(memory=3), "max_steps": 5}, CHOICES[1] | {"max_steps": 3}],
    ids=["residual", "descent"],
)
def test_an_exported_model_solves_as_it_does_eagerly_and_is_one_graph(choice):
    torch._dynamo.reset()
    model, x = Model(**choice), torch.randn(3, 4, 2)
    with torch.no_grad():
        exported = torch.export.export(model, (x,), strict=False).module()
        compiled = torch.compile(exported, backend="eager", fullgraph=True)
        for points in (x, torch.randn(3, 4, 2)):
            expected = model(points)
            for run in (exported, compiled):
                for mine, theirs in zip(run(points), expected, strict=True):
                    torch.testing.assert_close(mine, theirs)


def test_a_solve_that_looks_at_values_is_none_and_its_map_may_be():
    torch._dynamo.reset()
    model, x = Model(), torch.randn(3, 4, 2)
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(model, backend="eager", fullgraph=True)(x)
    expected = model(x)
    model.linear = torch.compile(model.linear, backend="eager", fullgraph=True)
    for mine, theirs in zip(model(x), expected, strict=True):
        assert torch.equal(mine, theirs)


def test_an_exported_root_that_nobody_probed_is_not_called_converged():
    class Saddle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("two", torch.tensor([[-1.0], [1.0]]))

        def forward(self, x: Tensor) -> Tensor:
            return equilibrium(
                lambda mu: Measure(self.two + 0 * mu.points.mean()), Measure(x),
                velocity=Descent(MMD(Energy())), integrator=Euler(0.1), max_steps=2,
                on_failure="ignore",
            ).status  # fmt: skip

    with torch.no_grad():
        exported = torch.export.export(Saddle(), (torch.zeros(2, 1),), strict=False).module()
        assert exported(torch.zeros(2, 1)) == Status.STATIONARY


def test_what_cannot_be_exported_says_so():
    model = Model(velocity=Descent(MMD(Energy()), "through"), integrator=Euler(0.3))
    with torch.no_grad(), pytest.raises(RuntimeError, match="use target='frozen'"):
        torch.export.export(model, (torch.randn(3, 4, 2),), strict=False)


def test_the_package_is_imported_without_the_compiler():
    """Which takes longer to import than all the rest, and few need."""
    program = "import sys, wgf_solver; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
