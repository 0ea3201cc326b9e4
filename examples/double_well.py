"""Particles in a double well that pull each other together: when they choose a side. Solver alone.

The law of ``dx = −(V'(x) + x − m) dt + (2/β)^½ dW`` with ``V = x⁴/4 − x²/2`` and ``m`` the mean of
the law itself (Desai and Zwanzig 1978) is at rest where ``μ ∝ exp(−β (V + (x − m)²/2))``. Below
``β_c = (Γ(1/4) / 2Γ(3/4))² = 2.188440`` only ``m = 0`` is; above it, 0 no longer attracts
(`spectral_radius` says so) and two others do. Found in two ways:

* by density: ``F(μ)`` is the law above, by its n quantile means;
* from samples: ``F(μ)`` is the law after one Euler-Maruyama step of length ``dt``, each of n
  particles with each of k noises that are held fixed, projected on n atoms again.

    python examples/double_well.py --out double_well.png
"""

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor

from wgf_solver import Map, Measure, Quantiles, Solution, equilibrium, spectral_radius

CRITICAL = (math.gamma(0.25) / (2 * math.gamma(0.75))) ** 2
GRID = torch.linspace(-4, 4, 4001, dtype=torch.float64)


def by_density(beta: Tensor, atoms: int) -> Map:
    """``F`` for each ``β (...)``: the law at rest in the field of the present mean."""
    project, well = Quantiles(atoms), GRID**4 / 4 - GRID**2 / 2

    def f(mu: Measure) -> Measure:
        energy = well + 0.5 * (GRID - mu.mean()).square()  # (..., grid)
        energy = energy - energy.amin(-1, keepdim=True)
        points = GRID[:, None].expand(*beta.shape, -1, 1)
        return project(Measure(points, (-beta[..., None] * energy).exp()))

    return f


def by_steps(beta: float, atoms: int, dt: float, noises: int = 32) -> Map:
    """``F``: one step of the particles, with common noise, and n atoms again."""
    project = Quantiles(atoms)
    levels = (torch.arange(noises, dtype=torch.float64) + 0.5) / noises
    noise = math.sqrt(2) * torch.special.erfinv(2 * levels - 1)
    noise = noise / noise.square().mean().sqrt() * math.sqrt(2 * dt / beta)

    def f(mu: Measure) -> Measure:
        z = mu.points[..., 0]
        ahead = z - dt * (z**3 - z + z - mu.mean())
        return project(Measure((ahead[:, None] + noise).reshape(-1, 1)))

    return f


def start(atoms: int, mean: float = 1.0) -> Measure:
    """Atoms about a mean."""
    return Measure(torch.linspace(-1, 1, atoms, dtype=torch.float64)[:, None] + mean)


def rest(beta: Tensor, atoms: int = 100, mean: float = 1.0) -> Solution:
    """The law at rest for each ``β``, from particles about ``mean``."""
    mu0 = start(atoms, mean).expand(beta.shape)
    return equilibrium(by_density(beta, atoms), mu0, rtol=1e-10, max_steps=500)


def main(atoms: int = 100) -> tuple[Tensor, Tensor]:
    """The means for six ``β``, and how strongly 0 attracts (radius below 1) or does not."""
    beta = torch.tensor([1.5, 2.0, 2.5, 3.0, 4.0, 5.0], dtype=torch.float64)
    means = rest(beta, atoms).measure.mean()[..., 0]
    middle = rest(beta, atoms, mean=0.0).measure
    radius = spectral_radius(by_density(beta, atoms), middle)
    for b, m, rho in zip(beta, means, radius, strict=True):
        print(f"β = {b:.1f}: mean {m:.6f}; at 0 the radius is {rho:.4f}, it "
              f"{'attracts' if rho < 1 else 'does not attract'}")  # fmt: skip
    return means, radius


def sampled(beta: float, atoms: int, dt: float) -> float:
    """The mean at rest of the simulated particles."""
    solution = equilibrium(by_steps(beta, atoms, dt), start(atoms), rtol=1e-7, max_steps=400)
    return float(solution.measure.mean())


def draw(path: Path) -> None:
    """The pitchfork, the laws, and the simulation."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    beta = torch.linspace(1.5, 5, 50, dtype=torch.float64)
    for side in (1.0, -1.0):
        axes[0].plot(beta, rest(beta, mean=side).measure.mean()[..., 0], color="#3b6fb6", lw=2)
    axes[0].plot([CRITICAL, 5], [0, 0], ":", color="0.5", label="m = 0, which does not attract")
    axes[0].axvline(CRITICAL, color="0.85", zorder=0)
    places = (2.5, 3.0, 4.0, 5.0)
    axes[0].plot(places, [sampled(b, 200, 0.05) for b in places], "o", color="#d5407a",
                 label="by simulated steps")  # fmt: skip
    axes[0].set(xlabel="inverse temperature β", title="mean of the law at rest")
    axes[0].legend(frameon=False, loc="lower left")
    for b in (1.5, 2.5, 5.0):
        mu = rest(torch.tensor(b, dtype=torch.float64), 400).measure
        axes[1].hist(mu.points[:, 0].numpy(), bins=40, range=(-2, 2), histtype="step", density=True,
                     label=f"β = {b:g}")  # fmt: skip
    axes[1].set(xlabel="place x", title="laws at rest")
    axes[1].legend(frameon=False)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="write a picture there")
    out = parser.parse_args().out
    main()
    if out is not None:
        draw(out)
