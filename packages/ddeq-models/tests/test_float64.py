"""No number in double precision is made on the device: Apple's GPUs (``--device mps``) have none.

There is no such device here. Within `Device` the name ``mps`` is known: what `Tensor.to` puts
there, what is made there, and whatever is computed from these, says that it is there, and raises
as Apple's GPUs do where it is in float64. `Tensor.cpu` brings it back.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ddeq_data import PointBatch
from ddeq_models import DataConfig, DDEQConfig, TrainConfig, predict, train
from ddeq_models.cli import main
from ddeq_models.data import moved, open_split, view
from ddeq_models.measuring.diagnose import diagnose
from ddeq_models.models.base import build_model
from ddeq_models.models.completer import CompleterConfig, DDEQCompleter
from ddeq_models.tasks.completion import CompletionConfig
from ddeq_models.tasks.distances import sinkhorn, wasserstein
from ddeq_models.using.complete import complete
from wgf_solver import Measure, Wasserstein

MPS = torch.device("mps")
CPU = torch.device("cpu")
# What ends on the processor whatever it is given.
_BACK = {Tensor.cpu, Tensor.numpy, Tensor.tolist, Tensor.item}
# What reads the name of a device, and makes nothing there.
_NAMES = {torch.device, torch._C._nn._parse_to}  # type: ignore[attr-defined]
_DEVICE = Tensor.device.__get__  # type: ignore[attr-defined]
_SET_DATA = Tensor.data.__set__  # type: ignore[attr-defined]  # so does a module move its weights


class Device(TorchFunctionMode):
    """Makes believe that there is a device without float64; see the module's documentation."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = [*_flat(args, kwargs or {})]
        if func in _NAMES:
            return func(*args, **(kwargs or {}))
        if func == _DEVICE:
            return MPS if self.holds(args[0]) else CPU
        there = any(_names_mps(value) for value in given)
        args = tuple(CPU if _names_mps(value) else value for value in args)
        kwargs = {k: CPU if _names_mps(value) else value for k, value in (kwargs or {}).items()}
        result = func(*args, **kwargs)
        back = func is Tensor.to and not there and any(_names_cpu(value) for value in given)
        if func == _SET_DATA and self.holds(args[1]):
            self._put(args[0], func)
        if func in _BACK or back:
            return result.view_as(result) if isinstance(result, Tensor) else result
        if func is Tensor.to and len(args) > 1 and isinstance(args[1], Tensor):
            there = self.holds(args[1])  # it goes where the other one is
        else:
            there = there or any(map(self.holds, given))
        if there:
            if any(result is value for value in given) and func is Tensor.to:
                result = result.view_as(result)  # what it was made of stays where it is
            for tensor in _flat((result,), {}):
                if isinstance(tensor, Tensor):
                    self._put(tensor, func)
        return result

    @staticmethod
    def holds(tensor: Any) -> bool:
        return isinstance(tensor, Tensor) and getattr(tensor, "_on_device", False)

    def _put(self, tensor: Tensor, func: Any) -> None:
        if tensor.dtype == torch.float64:
            raise TypeError(f"{getattr(func, '__name__', func)}: this device has no float64")
        self.seen += 1
        tensor._on_device = True  # type: ignore[attr-defined]


def _names_mps(value: Any) -> bool:
    return (isinstance(value, torch.device) and value.type == "mps") or (
        isinstance(value, str) and value == "mps"
    )


def _names_cpu(value: Any) -> bool:
    return isinstance(value, torch.device | str) and str(value) == "cpu"


def _flat(args: Any, kwargs: Mapping[str, Any]) -> Iterator[Any]:
    for value in [*args, *kwargs.values()]:
        if isinstance(value, list | tuple):
            yield from _flat(value, {})
        else:
            yield value


@pytest.fixture(autouse=True)
def copies_stay_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    copy = nn.Parameter.__deepcopy__

    def copied(parameter: Any, memo: Any) -> Any:
        made = copy(parameter, memo)  # type: ignore[no-untyped-call]
        made._on_device = Device.holds(parameter)
        return made

    monkeypatch.setattr(nn.Parameter, "__deepcopy__", copied)


@pytest.mark.parametrize(
    "make",
    [
        lambda z: z.double(),
        lambda z: z.sum(-1).to(torch.float64),
        lambda z: torch.ones(3, dtype=torch.float64, device=z.device),
        lambda z: z.new_zeros(3, dtype=torch.float64),
        lambda z: (z.cpu().double() * 2).to(z.device),
        lambda z: nn.Linear(2, 2).to(z.device).weight.detach().double(),
    ],
)
def test_the_device_of_these_tests_has_no_float64(make: Callable[[Tensor], Tensor]) -> None:
    with Device():
        z = torch.ones(3, 2).to(MPS)
        with pytest.raises(TypeError, match="has no float64"):
            make(z)


def test_and_the_processor_has() -> None:
    with Device():
        z = torch.ones(3, 2).to(MPS)
        twice = 2 * z.cpu().double() + torch.ones(2, dtype=torch.float64)
        assert not Device.holds(twice)
        assert Device.holds(twice.to(z))
        assert Device.holds(z + twice.float())


def _fine(tiny_config: DDEQConfig) -> DDEQConfig:
    return replace(tiny_config, encoder="moments", pooled=8, readout="max-mean")


@pytest.mark.parametrize("velocity", ["residual", "frozen", "transport"])
def test_a_classifier_is_trained_tested_and_looked_at(
    tmp_path: Path, tiny_config: DDEQConfig, mnist: Path, velocity: Any
) -> None:
    data = DataConfig("mnist", root=str(mnist), rotate=10.0, jitter=0.1, normalise="set")
    model = replace(_fine(tiny_config), velocity=velocity, integrator="euler", max_steps=3)
    plan = TrainConfig(epochs=1, batch_size=16, ema=0.5)
    with Device() as device:
        run = train(model, data, plan, out=tmp_path / "run", device="mps", quiet=True).path
        assert (run / "flow.png").is_file()  # pictures that fail are left out
        before = device.seen
        assert len(diagnose(run, clouds=2, device="mps")["clouds"]) == 2
        assert device.seen > before + 1000
        for words in (["evaluate", run], ["report", run, "--out", tmp_path / "page.html"]):
            assert main([*map(str, words), "--device", "mps"]) == 0
        assert (tmp_path / "page.html").read_text().count("<circle") > 0
        np.save(tmp_path / "cloud.npy", np.random.default_rng(0).normal(size=(9, 2)) + 1e6)
        assert predict(run, [tmp_path / "cloud.npy"], device="mps")[0].label


def test_distances_by_exact_or_entropic_plans() -> None:
    with Device() as device:
        x = torch.randn(2, 6, 2).to(MPS).requires_grad_()
        w = torch.full((2, 6), 1 / 6).to(MPS)
        distance = sinkhorn(x, w, x.detach() + 1, w, 0.5)
        assert device.holds(distance)
        (gradient,) = torch.autograd.grad(distance.sum(), x)
        assert gradient.abs().sum() > 0
        assert device.holds(wasserstein(x, w, x, w))
        assert device.holds(Wasserstein()(Measure(x), Measure(x + 1)))


def test_a_completer_is_trained_and_completes(tmp_path: Path) -> None:
    model = CompleterConfig(dim=8, heads=2, hidden=8, bilinear_dim=4, max_steps=3)
    plan = TrainConfig(epochs=1, batch_size=512)
    task = CompletionConfig(protocol="uniform")
    points = np.random.default_rng(0).normal(size=(20, 2)) + 1e6  # of which float32 holds little
    np.save(tmp_path / "cloud.npy", points)
    data = DataConfig("digits", points=12)
    with Device():
        run = train(model, data, plan, task=task, out=tmp_path / "run", device="mps", quiet=True)
        assert (run.path / "completions.png").is_file()
        (done,) = complete(run.path, [tmp_path / "cloud.npy"], tmp_path / "out", device="mps")
        assert diagnose(run.path, clouds=1, device="mps")["clouds"]
    assert np.array_equal(np.load(done.out)["points"][:20], points)


def test_a_trajectory_and_its_times(tiny_config: DDEQConfig) -> None:
    with Device() as device:
        model = build_model(tiny_config).to(MPS)
        points = torch.randn(2, 5, 2).to(MPS)
        weights = torch.full((2, 5), 0.2).to(MPS)
        solution = model(points, weights, trajectory=True).solution
        assert device.holds(solution.trajectory)
        assert solution.times.dtype == torch.float64
        assert not device.holds(solution.times)
        assert len(solution.times) == len(solution.trajectory)


def test_a_batch_in_float64_is_rounded_before_it_is_moved() -> None:
    batch = PointBatch(
        torch.randn(2, 5, 2, dtype=torch.float64) + 1e6,
        torch.full((2, 5), 0.2, dtype=torch.float64),
        torch.zeros(2, dtype=torch.int64),
    )
    seen = view(DataConfig(normalise="z-score"))
    with Device() as device:
        there = moved(batch, MPS, seen)
        assert device.holds(there.points)
    expected = batch.map(seen)
    assert torch.equal(there.points, expected.points)
    digits = open_split(DataConfig(), "test").__getitems__([0, 1])
    with Device() as device:
        assert device.holds(moved(digits, MPS, seen).weights)


@pytest.mark.parametrize("ratio", [0.275, 0.1, 0.7, 1.0, 1 / 3, 2.5])
def test_the_number_of_added_points_is_that_of_double_precision(ratio: float) -> None:
    """0.275 * 40 is 11, and not 12 for being 11.000000001, or 10 for being 10.9999995."""
    model = DDEQCompleter(CompleterConfig(dim=8, heads=2, hidden=8, bilinear_dim=4, ratio=ratio))
    counts = torch.arange(1, 300)
    weights = (torch.arange(300) < counts[:, None]) / counts[:, None]
    with Device():
        added = (model.free(weights.to(MPS)) > 0).sum(-1)
    share = Fraction(ratio).limit_denominator(1000)
    assert added.tolist() == [max(1, -(-share * n // 1)) for n in counts.tolist()]
