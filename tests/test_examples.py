"""The examples run, and what they say is right."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from wgf_solver import MMD, Gaussian, Measure

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_compose_a_model() -> None:
    example = runpy.run_path(str(EXAMPLES / "compose_a_model.py"))
    assert example["main"]() > 0.9


def _check_padding(model: torch.nn.Module) -> None:
    """NaN in padding reaches neither the result nor a gradient."""
    points, weights = torch.randn(3, 20, 2), torch.full((3, 20), 1 / 20)
    weights[0, 12:] = 0
    points[0, 12:] = torch.nan
    out = model(points, weights)
    getattr(out, "logits", out).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


def test_padding_of_a_model_of_ones_own_may_hold_anything() -> None:
    readme = (EXAMPLES.parent / "README.md").read_text()
    (block,) = [
        code for code in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "TinyDDEQ" in code
    ]
    space: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), space)
    _check_padding(space["model"])
    _check_padding(runpy.run_path(str(EXAMPLES / "compose_a_model.py"))["TinyDDEQ"]())


def test_fractal() -> None:
    example = runpy.run_path(str(EXAMPLES / "fractal.py"))
    _, losses = example["main"](steps=20)
    assert losses[-1] < 0.3 * losses[0]
    # The gradient that it learns by, against central differences of the re-solved problem.
    target = example["fractal"](example["GUESS"], 4)
    direction = torch.linspace(-1, 1, 18, dtype=torch.float64).reshape(3, 6)

    def loss(maps: torch.Tensor, start: Measure) -> tuple[torch.Tensor, Measure]:
        solution = example["invariant_measure"](maps, start, rtol=1e-10)
        return MMD(Gaussian(1.0))(solution.measure, target), solution.measure.detach()

    start = torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    maps = example["TRUTH"].clone().requires_grad_()
    value, root = loss(maps, Measure(start))
    (gradient,) = torch.autograd.grad(value, maps)
    with torch.no_grad():
        up, down = (loss(maps + h * direction, root)[0] for h in (1e-5, -1e-5))
    assert float((gradient * direction).sum()) == pytest.approx(float(up - down) / 2e-5, rel=1e-5)


def test_quantisation() -> None:
    example = runpy.run_path(str(EXAMPLES / "quantisation.py"))
    _, solution = example["main"](count=2000, atoms=50)
    assert solution.converged
    # Half the squared MMD; independent draws would need ten times the atoms for that.
    assert solution.discrepancy < 0.1 * solution.energies[0]


def test_mean_field() -> None:
    example = runpy.run_path(str(EXAMPLES / "mean_field.py"))
    _, slope = example["main"](cost=1.0, count=100)
    marks = example["homes"](100)

    def solved(cost: float) -> Measure:
        return example["nash"](torch.tensor(cost, dtype=torch.float64), marks).measure

    up, down = (float(example["crowding"](solved(c))) for c in (1.0 + 1e-5, 1.0 - 1e-5))
    assert slope == pytest.approx((up - down) / 2e-5, rel=1e-6)
    # Each agent's place is a strict minimum of its cost: the responses are best ones.
    places, width = solved(1.0).points, 0.35
    apart = places[:, None] - places
    near = torch.exp(-apart.square().sum(-1) / (2 * width**2))[..., None, None] / len(places)
    eye = torch.eye(2, dtype=torch.float64)
    outer = apart[..., :, None] * apart[..., None, :] / width**2
    curvature = 2 * eye + (near * (outer - eye)).sum(1) / width**2
    assert (torch.linalg.eigvalsh(curvature) > 0).all()


def test_barycentre() -> None:
    example = runpy.run_path(str(EXAMPLES / "barycentre.py"))
    grid, solution = example["main"](side=3, atoms=60, steps=30)
    assert solution.measure.points.shape == (3, 3, 60, 2)
    # At a corner one share is 1 and the shape is found; midway a compromise, whose mean is exact.
    means = torch.stack([shape.mean() for shape in example["shapes"](60)])
    torch.testing.assert_close(solution.measure.mean(), grid @ means, rtol=0, atol=1e-3)
    assert solution.discrepancy[0, 0] < 0.1 * solution.discrepancy[1, 1]
    assert (solution.discrepancy < 0.1 * solution.energies[0]).any()


@pytest.mark.parametrize("name", ["fractal", "quantisation", "mean_field", "barycentre"])
def test_pictures(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    example = runpy.run_path(str(EXAMPLES / f"{name}.py"))
    out = tmp_path / f"{name}.png"
    if name == "fractal":
        monkeypatch.setitem(example["draw"].__globals__, "fractal", _shallow(example["fractal"]))
        example["draw"](example["TRUTH"], [1.0, 0.1], out)
    elif name == "quantisation":
        example["draw"](*example["main"](count=500, atoms=10), out)
    elif name == "barycentre":
        example["draw"](*example["main"](side=2, atoms=20, steps=2), out)
    else:
        homes = example["homes"](20)
        monkeypatch.setitem(example["draw"].__globals__, "homes", lambda _=0: homes)
        example["draw"](out)
    assert out.stat().st_size > 5_000


def _shallow(fractal: Callable[[torch.Tensor, int], Measure]) -> Callable[..., Measure]:
    return lambda maps, depth: fractal(maps, min(depth, 5))


def test_attention_gallery() -> None:
    example = runpy.run_path(str(EXAMPLES / "attention_gallery.py"))
    accuracies = example["main"]()
    assert accuracies["Set Transformer, clusters"] > 0.8  # Of three classes.
    assert accuracies["Perceiver, rings"] > 0.9
    assert accuracies["PointNet++, strokes"] > 0.8
    assert accuracies["DGCNN, strokes"] > 0.9
    assert accuracies["DDEQ, digits 0 and 1"] > 0.85


def test_the_edge_convolution_of_the_gallery_is_that_of_pytorch_geometric() -> None:
    geometric = pytest.importorskip("torch_geometric.nn")
    layer = runpy.run_path(str(EXAMPLES / "attention_gallery.py"))["EdgeConv"](3, 5, 4).eval()
    x = torch.randn(1, 20, 3, generator=torch.Generator().manual_seed(0))
    near = torch.cdist(x[0], x[0]).topk(4, largest=False).indices
    edges = torch.stack([near.flatten(), torch.arange(20).repeat_interleave(4)])

    def perceptron(pairs: torch.Tensor) -> torch.Tensor:
        return layer.norm(layer.linear(pairs)).relu()

    theirs = geometric.EdgeConv(perceptron, aggr="max")(x[0], edges)
    torch.testing.assert_close(layer(x, torch.ones(1, 20))[0], theirs)


def test_kuramoto() -> None:
    example = runpy.run_path(str(EXAMPLES / "kuramoto.py"))
    # Right values by hand, from r = I₁(Kr/D)/I₀(Kr/D).
    right = torch.tensor([0.413389, 0.589708, 0.724159, 0.831462], dtype=torch.float64)
    true, slopes = example["exact"](torch.tensor([2.2, 2.5, 3.0, 4.0], dtype=torch.float64))
    torch.testing.assert_close(true, right, atol=1e-6, rtol=0)
    errors = []
    for atoms in (25, 100, 400):
        _, slope, error = example["main"](atoms)
        errors.append(float(error.max()))
    assert errors[2] < 3e-4
    assert errors[0] > 4 * errors[1] > 16 * errors[2]  # n⁻¹ at least
    torch.testing.assert_close(slope, slopes, rtol=2e-3, atol=0)  # of 400 atoms
    incoherent = example["rest"](torch.tensor([1.0, 1.8], dtype=torch.float64)).measure
    assert example["order"](incoherent).abs().max() < 1e-3  # below the onset


def test_double_well() -> None:
    example = runpy.run_path(str(EXAMPLES / "double_well.py"))
    means, radius = example["main"]()
    right = torch.tensor([0, 0, 0.447106, 0.637324, 0.787550, 0.851479], dtype=torch.float64)
    torch.testing.assert_close(means, right, atol=2e-6, rtol=0)
    assert pytest.approx(2.188440, abs=1e-6) == example["CRITICAL"]
    assert (radius[:2] < 1).all()
    assert (radius[2:] > 1).all()
    # At β_c the middle is neutral: ρ = β Var = 1.
    beta = torch.tensor(example["CRITICAL"], dtype=torch.float64)
    middle = example["rest"](beta, 400, mean=0.0).measure
    assert float(beta * middle.spread() ** 2) == pytest.approx(1, abs=1e-3)
    # From samples, the error falls with the step.
    coarse, fine = (example["sampled"](3.0, 200, dt) - 0.637324 for dt in (0.1, 0.05))
    assert abs(fine) < 0.5 * abs(coarse) < 0.05
    assert abs(2 * fine - coarse) < 0.01  # of first order, and gone by extrapolation


def test_quicksort() -> None:
    example = runpy.run_path(str(EXAMPLES / "quicksort.py"))
    errors = []
    for atoms in (16, 64):
        mean, variance = example["main"](atoms)
        assert abs(mean) < 1e-9
        errors.append(0.420264 - variance)
    assert 0 < errors[1] < 0.3 * errors[0]
    assert errors[1] < 0.01
    rates = example["rates"](32, 64)
    assert max(rates) <= (2 / 3) ** 0.5 + 1e-6  # the bound of the theorem
    assert len(rates) > 5


def test_ldpc() -> None:
    example = runpy.run_path(str(EXAMPLES / "ldpc.py"))
    assert example["main"]() == pytest.approx(0.429440, abs=1e-6)
    assert example["messages"](0.40) < 0.01  # decoded, but for a few short cycles
    noise = torch.tensor(0.47, dtype=torch.float64)
    expected = float(example["evolution"](noise).measure.points)
    assert example["messages"](0.47) == pytest.approx(expected, abs=0.02)


def test_mean_field_game() -> None:
    example = runpy.run_path(str(EXAMPLES / "mean_field_game.py"))
    error, slope = example["main"]()
    assert error < 1e-10
    marks = example["starts"](50)
    up, down = (float(example["exact"](0.8 + h, marks).mean(0)[-1]) for h in (1e-6, -1e-6))
    assert slope == pytest.approx((up - down) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("name", ["ldpc", "mean_field_game"])
def test_pictures_of_known_answers(name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    out = tmp_path / f"{name}.png"
    runpy.run_path(str(EXAMPLES / f"{name}.py"))["draw"](out)
    assert out.stat().st_size > 5_000


def test_every_example_is_tested() -> None:
    # Those that others import are in the other file.
    mine = Path(__file__).read_text() + (Path(__file__).parent / "test_extending.py").read_text()
    for path in EXAMPLES.glob("*.py"):
        assert path.stem in mine, f"{path.name} has no test"
