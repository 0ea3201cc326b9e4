"""The law of Quicksort's running time, a fixed point of a map that squares atoms. Solver alone.

The number of comparisons, centred and over ``n``, has a limit law (Rösler 1991), that of

    X = U X + (1 − U) X' + C(U),      C(u) = 1 + 2 u ln u + 2 (1 − u) ln(1 − u),

``U`` uniform, ``X'`` like ``X``, all independent. ``F`` takes every pair of n atoms and k values of
``U``, ``k n²`` atoms, to n quantile means. It contracts the Wasserstein-2 distance of laws of equal
mean by ``(2/3)^½`` (E[U² + (1 − U)²] = 2/3). Right: mean 0, variance ``7 − 2π²/3 = 0.420264``.

    python examples/quicksort.py --out quicksort.png
"""

import argparse
import math
from pathlib import Path

import torch

from wgf_solver import Euler, Integrator, Map, Measure, Quantiles, Solution, equilibrium

VARIANCE = 7 - 2 * math.pi**2 / 3


def split(atoms: int, levels: int) -> Map:
    """``F``; the mean of ``C`` over the levels is taken away, so that the law's mean stays 0."""
    u = ((torch.arange(levels, dtype=torch.float64) + 0.5) / levels)[:, None, None]
    toll = 1 + 2 * u * u.log() + 2 * (1 - u) * (1 - u).log()
    toll, project = toll - toll.mean(), Quantiles(atoms)

    def f(mu: Measure) -> Measure:
        x = mu.points[:, 0]
        return project(Measure((u * x[:, None] + (1 - u) * x + toll).reshape(-1, 1)))

    return f


def law(atoms: int = 64, levels: int = 128, integrator: Integrator | None = None) -> Solution:
    """The fixed point, from a point mass at 0."""
    start = Measure(torch.zeros(atoms, 1, dtype=torch.float64))
    return equilibrium(
        split(atoms, levels), start, rtol=1e-8, integrator=integrator, trajectory=True
    )


def rates(atoms: int = 64, levels: int = 128) -> list[float]:
    """By how much plain iteration shortens its Wasserstein-2 steps; sorted atoms are matched."""
    path = law(atoms, levels, Euler()).trajectory
    assert path is not None
    steps = path.diff(dim=0).square().mean((-2, -1)).sqrt()
    return (steps[1:] / steps[:-1]).tolist()


def main(atoms: int = 64) -> tuple[float, float]:
    """Mean and variance."""
    mu = law(atoms).measure
    mean, variance = float(mu.mean()), float(mu.spread() ** 2)
    print(f"{atoms} atoms: mean {mean:+.1e}, variance {variance:.6f} ({VARIANCE:.6f})")
    return mean, variance


def draw(path: Path) -> None:
    """The law, the rates, and the error of the variance."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(12, 3.3), layout="constrained")
    z = law(200, 32).measure.points[:, 0].numpy()
    axes[0].hist(z, bins=30, density=True, color="#3b6fb6")
    axes[0].set(title="Quicksort's limit law", xlabel="comparisons, centred, over n")
    axes[1].plot(rates(), "o-", color="#d5407a", label="plain iteration")
    axes[1].axhline((2 / 3) ** 0.5, ls="--", color="0.6", label="(2/3)^½, a bound")
    axes[1].set(title="W₂ contraction a step", xlabel="step", ylim=(0, 1))
    axes[1].legend(frameon=False)
    counts = [8, 16, 32, 64, 128]
    axes[2].loglog(counts, [abs(main(c)[1] - VARIANCE) for c in counts], "o-", color="#3b6fb6")
    axes[2].set(title="error of the variance", xlabel="atoms n")
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="write a picture there")
    out = parser.parse_args().out
    main()
    if out is not None:
        draw(out)
