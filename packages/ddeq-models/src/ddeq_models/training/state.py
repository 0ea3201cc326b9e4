"""All that changes in the course of a training, and its way to a file and back.

The order of the clouds is a function of (seed, epoch), chance of (seed, step), the learning rate of
the step, the solver's settings of the epoch: so the step says it all, and there are no states of
generators to save. With the weights, the optimiser's moments, the average, what was recorded
since the last line of ``metrics.jsonl`` and the length of that file, a training goes on from a
checkpoint as if it had not been stopped, to the bit.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ddeq_models._internal.files import write_atomically
from ddeq_models.config import TrainConfig
from ddeq_models.errors import UserError
from ddeq_models.tasks.tally import Figures, Tally
from ddeq_models.training.optimiser import Average, build_optimiser


class State:
    """The state of a training.

    Args:
        model: The model that is trained, on its device.
        plan: The training.

    Attributes:
        optimiser: Of the model.
        average: What is validated and saved.
        step: Steps done.
        epochs: Epochs of the training; 0 before it is decided.
        tally: What was recorded since the last line of the metrics.
        kept: Validation figures of the weights that are in the run folder, and
        kept_epoch: the epoch they are of; 0 before the first.
        called: What answers in training: the model, or what `torch.compile` made of it.
        best: The best validation figures, and
        best_epoch: their epoch; 0 before the first.
    """

    def __init__(self, model: nn.Module, plan: TrainConfig) -> None:
        self.model = self.called = model
        self.optimiser = build_optimiser(model, plan)
        self.average = Average(model, plan.ema)
        self.step = 0
        self.epochs = 0
        self.tally = Tally()
        self.kept: Figures = {}
        self.kept_epoch = 0
        self.best: Figures = {}
        self.best_epoch = 0
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before a resume included."""
        return round(time.perf_counter() - self._start, 3)

    def save(
        self, path: Path, tally: Tally, metrics_size: int, identity: Mapping[str, str]
    ) -> None:
        """Write the state.

        Args:
            path: The file.
            tally: What all processes recorded since the last line of the metrics.
            metrics_size: Bytes of the metrics' file that belong to this state.
            identity: What the training is a training of, by name.
        """
        groups = {
            "model": self.model.state_dict(),
            "average": {} if self.average.model is self.model else self.average.model.state_dict(),
            "tally": tally.tensors(),
            "optimiser": {
                f"{number}.{name}": value
                for number, values in self.optimiser.state_dict()["state"].items()
                for name, value in values.items()
            },
        }
        tensors = {
            f"{group}/{name}": tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for group, named in groups.items()
            for name, tensor in named.items()
        }
        numbers: dict[str, Any] = {
            "step": self.step,
            "epochs": self.epochs,
            "seconds": self.seconds,
            "metrics_size": metrics_size,
            "kept": dict(self.kept),
            "kept_epoch": self.kept_epoch,
            "best": dict(self.best),
            "best_epoch": self.best_epoch,
            "identity": dict(identity),
        }
        numbers["digest"] = _digest(numbers, tensors)
        write_atomically(path, save(tensors, {"state": json.dumps(numbers)}))

    def load(self, path: Path, identity: Mapping[str, str], *, first: bool = True) -> int:
        """Take the state from a file.

        Args:
            path: The file.
            identity: What the training is a training of; the file must be of the same.
            first: Whether this is the process that keeps what was recorded.

        Returns:
            Bytes of the metrics' file that belong to this state.

        Raises:
            UserError: The file is damaged, of another model, or of a training of something else.
        """
        numbers, tensors = _whole(path)
        _check_identity(path, numbers["identity"], identity)
        try:
            self._take(tensors, first)
        # What it says of itself agrees with it, but who makes a checksum anew can say anything.
        except (RuntimeError, LookupError, TypeError, ValueError) as error:
            raise _damaged(path, str(error)) from error
        self.step = self.average.updates = int(numbers["step"])
        self.epochs = int(numbers["epochs"])
        self.kept, self.kept_epoch = numbers["kept"], int(numbers["kept_epoch"])
        self.best, self.best_epoch = numbers["best"], int(numbers["best_epoch"])
        self._start = time.perf_counter() - float(numbers["seconds"])
        return int(numbers["metrics_size"])

    def _take(self, tensors: Mapping[str, Tensor], first: bool) -> None:
        """Take weights, average, moments and records from tensors, by their names."""
        groups: dict[str, dict[str, Tensor]] = {
            "model": {}, "average": {}, "tally": {}, "optimiser": {}
        }  # fmt: skip
        for name, tensor in tensors.items():
            group, _, inner = name.partition("/")
            groups[group][inner] = tensor
        self.model.load_state_dict(groups["model"])
        if self.average.model is not self.model:
            self.average.model.load_state_dict(groups["average"])
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in groups["optimiser"].items():
            number, _, inner = name.partition(".")
            moments.setdefault(int(number), {})[inner] = tensor
        parameters: list[Tensor] = [
            p for group in self.optimiser.param_groups for p in group["params"]
        ]
        for index, named in moments.items():
            # AdamW's, each as large as what it is of; PyTorch would find out in the first step.
            if set(named) != {"step", "exp_avg", "exp_avg_sq"} or any(
                named[name].shape != parameters[index].shape for name in ("exp_avg", "exp_avg_sq")
            ):
                raise ValueError(f"the moments of parameter {index} are not its own")
            if named["step"].numel() != 1:
                raise ValueError(f"the step of parameter {index} is no number")
        settings = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": settings})
        if groups["tally"] and first:
            device = next(self.model.parameters()).device
            if len({len(x) for x in groups["tally"].values()}) != 1:
                raise ValueError("its records are not of equally many clouds")
            self.tally.add({name: x.to(device) for name, x in groups["tally"].items()})


def _whole(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    # The numbers and tensors of a checkpoint, as they were written. Without some of them a training
    # would go on to other weights and say nothing: so nothing but the whole is taken.
    try:
        with safe_open(path, framework="pt") as file:
            numbers = json.loads(file.metadata()["state"])  # NaN is a figure, too
            names = list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
        if not isinstance(numbers, dict) or "digest" not in numbers:
            raise ValueError("no checksum: of an older version, perhaps")
        if numbers.pop("digest") != _digest(numbers, tensors):
            raise ValueError("another checksum than when it was written")
        _check_numbers(numbers)
    except (
        SafetensorError,
        OSError,
        RuntimeError,
        LookupError,
        TypeError,
        ValueError,
        RecursionError,
    ) as error:
        raise _damaged(path, str(error)) from error
    return numbers, tensors


def _check_numbers(numbers: Mapping[str, Any]) -> None:
    # Whoever makes a checksum anew must at least have written what it is a checksum of.
    for name in ("step", "epochs", "metrics_size", "kept_epoch", "best_epoch"):
        if type(numbers[name]) is not int or not 0 <= numbers[name] < 2**53:
            raise ValueError(f"{name} is no whole number")
    if type(numbers["seconds"]) is not float or not 0 <= numbers["seconds"] < math.inf:
        raise ValueError("seconds is no number")
    for name in ("kept", "best"):
        values = numbers[name]
        if not isinstance(values, dict) or any(
            type(v) not in (int, float) for v in values.values()
        ):
            raise ValueError(f"{name} is not an object of numbers")
        if numbers[f"{name}_epoch"] and not values:
            raise ValueError(f"{name} is empty")
    if not isinstance(numbers["identity"], dict):
        raise ValueError("identity is no object")


def _digest(numbers: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = blake2b(json.dumps(numbers, sort_keys=True).encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_identity(path: Path, written: Mapping[str, str], now: Mapping[str, str]) -> None:
    other = [name for name in now if written.get(name) != now[name]]
    if other:
        what = " and ".join(other)
        raise UserError(
            f"{path} is of a training with other {what}, changed since then; restore the {what} as "
            "it was, or train anew with another --out"
        )


def _damaged(path: Path, why: str) -> UserError:
    reason = (why.splitlines() or ["unknown"])[0].rstrip(":.")
    return UserError(
        f"{path} is damaged or of another model ({reason}); train again with another --out"
    )
