"""Ours beside a peer: interleaved repetitions, their ratio, the target."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def timed(
    what: str,
    name: str,
    functions: dict[str, Callable[[], object]],
    seconds: float,
    target: float | None,
    *,
    at_most: bool = False,
) -> dict[str, Any]:
    """Minima in milliseconds of interleaved repetitions; three at least, after one of warm-up."""
    best = dict.fromkeys(functions, float("inf"))
    for function in functions.values():
        function()
    end, rounds = time.perf_counter() + seconds, 0
    while rounds < 3 or time.perf_counter() < end:
        rounds += 1
        for key, function in functions.items():
            start = time.perf_counter()
            function()
            best[key] = min(best[key], 1e3 * (time.perf_counter() - start))
    return row(what, name, "ms", best["ours"], best["peer"], target, at_most=at_most)


def row(
    what: str,
    name: str,
    unit: str,
    ours: float,
    peer: float,
    target: float | None,
    *,
    at_most: bool = False,
) -> dict[str, Any]:
    """How many times more the peer takes, at least; or how many times ours does, at most."""
    ratio = ours / peer if at_most else peer / ours
    met = None if target is None else ratio <= target if at_most else ratio >= target
    return {
        "what": what,
        "ours": ours,
        "peer": peer,
        "name": name,
        "unit": unit,
        "ratio": ratio,
        "target": target,
        "sense": "ours / peer ≤" if at_most else "peer / ours ≥",
        "met": met,
    }


def step(function: Callable[[Tensor], Tensor], x: Tensor, module: nn.Module) -> Callable[[], None]:
    """Forward and backward, to the points and to all parameters."""
    return there_and_back(lambda: function(x), [x, *module.parameters()])


def there_and_back(function: Callable[[], Tensor], tracked: list[Tensor]) -> Callable[[], None]:
    """Forward and backward, to the tensors that are tracked."""

    def run() -> None:
        out = function()
        torch.autograd.grad(out, tracked, torch.ones_like(out))

    return run
