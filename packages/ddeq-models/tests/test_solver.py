"""From words to the solver's three choices."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from ddeq_models import DDEQ, DDEQConfig, UserError
from ddeq_models.models.solver import AdjointName, IntegratorName, VelocityName, build_solver
from wgf_solver import LBFGS, Anderson, BarzilaiBorwein, Euler, HeavyBall

CHOICES = [get_args(names) for names in (VelocityName, IntegratorName, AdjointName)]
KINDS = {
    "anderson": Anderson,
    "euler": Euler,
    "heavy-ball": HeavyBall,
    "barzilai-borwein": BarzilaiBorwein,
    "lbfgs": LBFGS,
}


@pytest.mark.parametrize("velocity", CHOICES[0])
@pytest.mark.filterwarnings("ignore::wgf_solver.AdjointWarning")
def test_every_solver_finds_something_and_every_weight_hears_of_it(
    tiny_config: DDEQConfig, velocity: Any
) -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(2, 9, 2, generator=generator)
    weights = torch.full((2, 9), 1 / 9)
    for integrator, adjoint in itertools.product(*CHOICES[1:]):
        config = replace(
            tiny_config, velocity=velocity, integrator=integrator, adjoint=adjoint, step=0.2,
            max_steps=4, adjoint_steps=3,
        )  # fmt: skip
        torch.manual_seed(0)
        model = DDEQ(config)
        assert isinstance(model.solver.integrator, KINDS[integrator])
        output = model(points, weights)
        output.logits.square().sum().backward()
        assert int(output.solution.steps.max()) <= 4
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, (integrator, adjoint, name)
            assert parameter.grad.isfinite().all(), (integrator, adjoint, name)


def test_ways_to_one_equilibrium(tiny_config: DDEQConfig) -> None:
    """Residual and transport have the same root where particles keep their order."""
    points = torch.randn(3, 9, 2, generator=torch.Generator().manual_seed(0)).double()
    weights = torch.full((3, 9), 1 / 9, dtype=torch.float64)
    logits = []
    for velocity, integrator in (
        ("residual", "anderson"), ("residual", "euler"), ("residual", "lbfgs"),
        ("residual", "barzilai-borwein"), ("transport", "euler"),
    ):  # fmt: skip
        torch.manual_seed(0)
        config = replace(
            tiny_config, velocity=velocity, integrator=integrator, rtol=1e-8, max_steps=300
        )
        with torch.no_grad():
            output = DDEQ(config).double()(points, weights)
        assert output.solution.converged.all(), (velocity, integrator)
        logits.append(output.logits)
    for other in logits[1:]:
        torch.testing.assert_close(other, logits[0], rtol=1e-5, atol=1e-5)


def test_transport_without_pot_has_a_remedy(
    tiny: Path,
    tiny_config: DDEQConfig,
    fails: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ddeq_models.models.solver.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'ddeq-models\[ot\]'"):
        build_solver(replace(tiny_config, velocity="transport"))
    words = ["train", "--solver", "transport", "--out", "run"]
    assert fails(*words) == "the velocity transport needs: pip install 'ddeq-models[ot]'"
    assert not (tiny / "run").exists()
