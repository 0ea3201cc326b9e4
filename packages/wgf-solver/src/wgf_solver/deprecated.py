"""Names of wgf-solver 0.4 that 0.5 renames; they go with 0.6."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from torch import Tensor

from wgf_solver.evaluation import Evaluation
from wgf_solver.measure import Measure


def _pull(velocity: Tensor, scale: Tensor, rounding: Tensor | None = None) -> Evaluation:
    evaluation = Evaluation(velocity, scale)
    return evaluation if rounding is None else evaluation._replace(rounding=rounding)


def _slope(
    velocity: Tensor, scale: Tensor, energy: Tensor, rounding: Tensor | None = None
) -> Evaluation:
    return _pull(velocity, scale, rounding)._replace(discrepancy=energy)


_RENAMED: dict[str, tuple[Callable[..., Evaluation], str]] = {
    "Pull": (_pull, "Evaluation(velocity, scale, rounding)"),
    "Slope": (_slope, "Evaluation(velocity, scale, rounding, discrepancy=energy)"),
}


def renamed(name: str) -> Callable[..., Evaluation]:
    """What ``name`` stood for.

    Raises:
        AttributeError: there never was such a name.
    """
    if name not in _RENAMED:
        raise AttributeError(f"module 'wgf_solver' has no attribute {name!r}")
    function, instead = _RENAMED[name]
    warnings.warn(
        f"wgf_solver.{name} goes with wgf-solver 0.6; write {instead}",
        DeprecationWarning,
        stacklevel=3,
    )
    return function


class ValueAndPull:
    """The method of 0.4 that is ``towards(nu)(mu)``, or `pull` where that has the value, now."""

    def value_and_pull(self, mu: Measure, nu: Measure) -> tuple[Tensor, Evaluation]:
        """``D(μ, ν)``, without a gradient, and the pull. Deprecated."""
        both: Any = self
        with_value = hasattr(both, "towards")
        warnings.warn(
            "value_and_pull(mu, nu) goes with wgf-solver 0.6; write "
            f"{'towards(nu)(mu)' if with_value else 'pull(mu, nu)'}.discrepancy",
            DeprecationWarning,
            stacklevel=2,
        )
        pull: Evaluation = both.towards(nu)(mu) if with_value else both.pull(mu, nu)
        return pull.discrepancy, pull
