r"""The sums of `wgf_solver.kernels.pairwise` by KeOps, an optional extra: compiled loops.

KeOps (Charlier et al. 2021) writes a C++ or CUDA program for a formula, compiles it once (some
ten seconds for each formula, kept on disk) and never holds the pairs: O(n + m) memory, for kernels
on marks as well. It derives by itself, to any order, with a formula for each derivative. What must
be decided where points meet is decided here as everywhere: a coincident pair exerts no force.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wgf_solver.kernels.families import (
    Dirac,
    Energy,
    Gaussian,
    InverseMultiquadric,
    Laplacian,
    Multiquadric,
    RadialKernel,
    SquaredDistance,
    parts_of,
)
from wgf_solver.measure import Measure


def potential(mark: RadialKernel | None, kernel: RadialKernel, mu: Measure, nu: Measure) -> Tensor:
    """``Σ_j ω_j κ(m_i, m'_j) ψ(‖x_i − y_j‖)``, shape ``(..., n)``."""
    difference, weight = _pairs(mark, mu, nu)
    values = weight * _value(kernel, (difference**2).sum(-1))
    result: Tensor = values.sum(dim=mu.points.dim() - 1)
    return result[..., 0]


def force(mark: RadialKernel | None, kernel: RadialKernel, mu: Measure, nu: Measure) -> Tensor:
    """``Σ_j ω_j κ(m_i, m'_j) (ψ'/r) (x_i − y_j)``, shape ``(..., n, d)``."""
    difference, weight = _pairs(mark, mu, nu)
    strength = weight * _slope_ratio(kernel, (difference**2).sum(-1))
    result: Tensor = (strength * difference).sum(dim=mu.points.dim() - 1)
    return result


def require() -> Any:
    """The class of KeOps' symbolic tensors.

    Raises:
        ImportError: pykeops is not installed.
    """
    try:
        from pykeops.torch import LazyTensor
    except ImportError as error:
        raise ImportError(
            "MMD(kernel, keops=True) is summed by KeOps, which is not installed: "
            "pip install 'wgf-solver[keops]'"
        ) from error
    return LazyTensor


def has_formula(kernel: RadialKernel) -> bool:
    """Whether the kernel is one of this package's, or a sum of them."""
    return all(isinstance(part, _KNOWN) for _, part in parts_of(kernel))


_KNOWN = (
    Dirac, Energy, Gaussian, InverseMultiquadric, Laplacian, Multiquadric, SquaredDistance,
)  # fmt: skip


def _pairs(mark: RadialKernel | None, mu: Measure, nu: Measure) -> tuple[Any, Any]:
    """``x_i − y_j`` and ``ω_j κ(m_i, m'_j)``, symbolic."""
    lazy = require()

    def differences(rows: Tensor, columns: Tensor) -> Any:
        rows, columns = rows.contiguous(), columns.contiguous()
        return lazy(rows[..., :, None, :]) - lazy(columns[..., None, :, :])

    weight = lazy(nu.weights.contiguous()[..., None, :, None])
    if mark is not None:
        assert mu.marks is not None
        assert nu.marks is not None
        dtype = mu.points.dtype
        apart = differences(mu.marks.to(dtype), nu.marks.to(dtype))
        weight = weight * _value(mark, (apart**2).sum(-1))
    return differences(mu.points, nu.points), weight


def _value(kernel: RadialKernel, s: Any) -> Any:
    """``ψ(r)`` of ``s = r²``."""
    total = None
    for factor, part in parts_of(kernel):
        match part:
            case Gaussian(bandwidth):
                value = (s * (-0.5 / bandwidth**2)).exp()
            case Laplacian(bandwidth):
                value = (_power(s, 0.5) * (-1 / bandwidth)).exp()
            case InverseMultiquadric(c):
                value = (s + c**2).rsqrt()
            case Multiquadric(c):
                value = -s / (c + (s + c**2).sqrt())
            case Energy(power):
                value = -_power(s, power / 2)
            case SquaredDistance():
                value = -0.5 * s
            case _:  # Dirac
                value = (-s).ifelse(1.0, 0.0)
        total = factor * value if total is None else total + factor * value
    return total


def _slope_ratio(kernel: RadialKernel, s: Any) -> Any:
    """``ψ'(r)/r`` of ``s = r²``, 0 at 0 where it has no limit."""
    total = None
    for factor, part in parts_of(kernel):
        match part:
            case Gaussian(bandwidth):
                ratio = (-1 / bandwidth**2) * (s * (-0.5 / bandwidth**2)).exp()
            case Laplacian(bandwidth):
                fade = (_power(s, 0.5) * (-1 / bandwidth)).exp()
                ratio = (-1 / bandwidth) * fade * _power(s, -0.5)
            case InverseMultiquadric(c):
                ratio = -((s + c**2).rsqrt() ** 3)
            case Multiquadric(c):
                ratio = -(s + c**2).rsqrt()
            case Energy(power):
                ratio = -power * _power(s, power / 2 - 1)
            case SquaredDistance():
                ratio = 0.0 * s - 1.0
            case _:
                part.slope_ratio(torch.zeros(()))  # Dirac says that it has none
                raise AssertionError
        total = factor * ratio if total is None else total + factor * ratio
    return total


def _power(s: Any, exponent: float) -> Any:
    """``s^exponent``, 0 at 0, with derivatives that are finite there."""
    safe = (-s).ifelse(1.0, s)
    if exponent == 0.5:
        power = safe.sqrt()
    elif exponent == -0.5:
        power = safe.rsqrt()
    else:
        power = (safe.log() * exponent).exp()
    return (-s).ifelse(0.0, power)
