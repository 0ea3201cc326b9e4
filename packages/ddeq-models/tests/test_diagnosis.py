import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ddeq_data import collate
from ddeq_models import DDEQ, DataConfig, DDEQConfig, RunConfig, RunFolder
from ddeq_models.cli import main
from ddeq_models.data import open_split, view
from ddeq_models.measuring.diagnose import diagnose, ritz_values


def test_ritz_values_of_a_known_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(40, 40, generator=generator, dtype=torch.float64)
    values = torch.linspace(0.0, 0.5, 40, dtype=torch.float64)
    values[7], values[20] = -2.0, 1.5
    matrix = basis @ torch.diag(values) @ torch.linalg.inv(basis)
    start = torch.randn(40, generator=generator, dtype=torch.float64)
    found, errors = ritz_values(lambda u: matrix @ u, start, 25)
    np.testing.assert_allclose(found[:2], [-2.0, 1.5], atol=1e-6)
    assert (errors[:2] < 1e-5).all()
    whole, _ = ritz_values(lambda u: matrix @ u, start, 100)
    np.testing.assert_allclose(sorted(whole.real)[-3:], sorted(values)[-3:], atol=1e-6)


def test_an_invariant_space_ends_it() -> None:
    matrix = torch.diag(torch.tensor([3.0, 3.0, 1.0], dtype=torch.float64))
    found, errors = ritz_values(lambda u: matrix @ u, torch.ones(3, dtype=torch.float64), 3)
    np.testing.assert_allclose(found, [3.0, 1.0], atol=1e-12)
    assert errors.max() < 1e-10


def _written(path: Path, config: DDEQConfig) -> RunFolder:
    """A run folder whose model was not trained."""
    torch.manual_seed(1)
    run = RunFolder.create(path, RunConfig("x", tuple("0123456789"), DataConfig(), config))
    run.write_weights(DDEQ(config).state_dict())
    return run


def test_eigenvalues_are_those_of_the_dense_jacobian(
    tmp_path: Path, tiny_config: DDEQConfig
) -> None:
    run = _written(tmp_path / "run", replace(tiny_config, rtol=1e-5, max_steps=60))
    result = diagnose(run.path, clouds=2)
    model = run.model()
    assert isinstance(model, DDEQ)
    data = run.config().data
    dataset = open_split(data, "test")
    order = torch.argsort(dataset.sizes, stable=True)  # as they are measured
    for number, cloud in zip((0, len(dataset) // 2), result["clouds"], strict=True):
        batch = collate([dataset[int(order[number])]]).map(view(data))
        context = model.encode(batch.points, batch.weights)
        z = model.equilibrium(context).measure.points.detach()

        def cell(points: Any, context: Any = context) -> Any:
            return model.cell(points, model.marks, context)

        dense = torch.autograd.functional.jacobian(cell, z)
        size = z.numel()
        expected = np.linalg.eigvals(dense.reshape(size, size).double().detach().numpy())
        largest = sorted(np.abs(expected))[::-1][:5]
        found = [complex(*pair) for pair in cloud["eigenvalues"]]
        np.testing.assert_allclose(np.abs(found), largest, rtol=1e-3)
        assert cloud["eigenvalue_error"] < 1e-3
        assert cloud["converged"]
        assert cloud["adjoint_converged"]
        assert cloud["adjoint_residual"] < 1e-4
        assert 0 < cloud["cosine"] <= 1 + 1e-6
        assert cloud["angle"] == pytest.approx(np.degrees(np.arccos(cloud["cosine"])), abs=0.1)


def test_where_the_cell_barely_looks_at_the_particles_the_phantom_is_exact(
    tmp_path: Path, tiny_config: DDEQConfig
) -> None:
    run = _written(tmp_path / "run", replace(tiny_config, rtol=1e-5, max_steps=60))
    model = run.model()
    assert isinstance(model, DDEQ)
    cosines = [diagnose(run.path, clouds=1)["cosine"]]
    with torch.no_grad():
        model.cell.output_norm.weight.mul_(1e-3)  # J is a thousandth of what it was
    run.write_weights(model.state_dict())
    result = diagnose(run.path, clouds=1)
    assert abs(complex(*result["clouds"][0]["eigenvalues"][0])) < 1e-2
    assert cosines[0] < result["cosine"] == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("velocity", ["frozen", "through", "transport"])
def test_every_flow_can_be_looked_at(
    tmp_path: Path, tiny_config: DDEQConfig, velocity: Any
) -> None:
    config = replace(tiny_config, velocity=velocity, integrator="euler", step=0.5, max_steps=4)
    run = _written(tmp_path / "run", config)
    result = diagnose(run.path, clouds=1)
    assert not result["clouds"][0]["converged"]
    assert -1 <= result["cosine"] <= 1


def test_the_command(
    finished: Path, capsys: pytest.CaptureFixture[str], fails: Callable[..., str]
) -> None:
    assert main(["diagnose", str(finished), "--clouds", "2", "--split", "validation"]) == 0
    out = capsys.readouterr().out
    assert "digits, validation: the equilibria of 2 clouds" in out
    assert "between the phantom and the exact gradient of all these clouds: " in out
    assert main(["diagnose", str(finished), "--clouds", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert len(result["clouds"][0]["eigenvalues"]) == 5
    assert "clouds must be at least 1, got 0" in fails("diagnose", finished, "--clouds", "0")
    assert "there is no run folder nowhere" in fails("diagnose", "nowhere")
    assert "--split: invalid choice: 'all'" in fails("diagnose", finished, "--split", "all")


@pytest.mark.usefixtures("no_pictures")
def test_a_training_with_diagnosis(
    tiny: Path, mnist: Path, capsys: pytest.CaptureFixture[str], fails: Callable[..., str]
) -> None:
    words = ["train", "--data", "mnist", "--root", str(mnist), "--out", "run", "--quiet"]
    assert main([*words, "--diagnose"]) == 0
    out = capsys.readouterr().out
    assert out.index("run folder: run") < out.index("mnist, test: the equilibria of 8 clouds")
    words = ["train", "--preset", "deep-sets", "--diagnose", "--out", "other"]
    assert fails(*words) == "the model deep-sets solves nothing; leave --diagnose out"
    assert not (tiny / "other").exists()
