"""A fractal, and its maps learned back from a picture of it. The solver alone.

The invariant measure of an iterated function system is the equilibrium of
``F(μ) = ⅓ (A_1 # μ) + ⅓ (A_2 # μ) + ⅓ (A_3 # μ)``, which returns three times as many atoms as it is
given: no labelled fixed-point iteration applies. The flow of ``½ MMD²(μ, F(μ))`` finds the best 12
atoms, and the implicit function theorem says how they move with the maps. Adam does the rest.

    python examples/fractal.py --out fractal.png
"""

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor

from wgf_solver import MMD, Anderson, Descent, Gaussian, Map, Measure, Solution, equilibrium

KERNEL = Gaussian(0.3) + Gaussian(1.0)


def similarities(scales: list[float], degrees: list[float], shifts: list[list[float]]) -> Tensor:
    """Maps ``x ↦ A x + b`` of the plane as rows ``(A_11, A_12, A_21, A_22, b_1, b_2)``."""
    rows = []
    for scale, angle, shift in zip(scales, map(math.radians, degrees), shifts, strict=True):
        c, s = scale * math.cos(angle), scale * math.sin(angle)
        rows.append([c, -s, s, c, *shift])
    return torch.tensor(rows, dtype=torch.float64)


TRUTH = similarities([0.62, 0.5, 0.42], [25, -20, 60], [[-0.35, 0.45], [0.75, 0.1], [-0.5, -0.7]])
GUESS = similarities([0.5, 0.5, 0.5], [0, 0, 0], [[-0.2, 0.6], [0.5, -0.2], [-0.6, -0.4]])


def system(maps: Tensor) -> Map:
    """``F`` of the maps ``(k, 6)``: each moves a copy of ``μ`` that has ``1/k`` of its mass."""

    def f(mu: Measure) -> Measure:
        copies = [mu.points @ row[:4].reshape(2, 2).T + row[4:] for row in maps]
        return Measure(torch.cat(copies, -2), torch.cat([mu.weights] * len(maps), -1))

    return f


def invariant_measure(maps: Tensor, start: Measure, rtol: float = 3e-3) -> Solution:
    """The equilibrium with as many atoms as ``start``."""
    return equilibrium(
        system(maps),
        start,
        velocity=Descent(MMD(KERNEL), "frozen"),
        integrator=Anderson(step=0.3),
        rtol=rtol,
        max_steps=1000,
    )


def learn(target: Measure, atoms: int = 12, steps: int = 150) -> tuple[Tensor, list[float]]:
    """Maps whose invariant measure is the target, and the loss at each step."""
    maps = GUESS.clone().requires_grad_()
    optimiser = torch.optim.Adam([maps], lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    start = torch.randn(atoms, 2, dtype=maps.dtype, generator=torch.Generator().manual_seed(0))
    mu, losses = Measure(start), []
    for _ in range(steps):
        solution = invariant_measure(maps, mu)
        # Twice more through the maps: nine times the atoms, nearer to the fractal.
        f = system(maps)
        loss = MMD(Gaussian(0.1) + KERNEL)(f(f(solution.measure)), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        mu = solution.measure.detach()  # the next equilibrium is near
    return maps.detach(), losses


def fractal(maps: Tensor, depth: int) -> Measure:
    """``F`` applied ``depth`` times to a point: ``3^depth`` atoms of the fractal itself."""
    mu = Measure(torch.zeros(1, 2, dtype=maps.dtype))
    for _ in range(depth):
        mu = system(maps)(mu)
    return mu


def main(steps: int = 150) -> tuple[Tensor, list[float]]:
    """Learn the maps from 729 atoms of the true fractal."""
    maps, losses = learn(fractal(TRUTH, 6), steps=steps)
    print(f"½ MMD² to the target: {losses[0]:.1e} at first, {losses[-1]:.1e} after {steps} steps")
    print(f"largest error of a coefficient: {float((maps - TRUTH).abs().max()):.1e}")
    return maps, losses


def draw(maps: Tensor, losses: list[float], path: Path) -> None:
    """The target, the guess and what was learned, as densities; and the loss."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import LogNorm

    figure, axes = plt.subplots(1, 4, figsize=(12.6, 3.4), width_ratios=[1, 1, 1, 0.85])
    box = [[-1.35, 1.55], [-1.6, 1.3]]
    titles = ["target", "first guess", f"learned in {len(losses)} steps"]
    for axis, rows, title in zip(axes, (TRUTH, GUESS, maps), titles, strict=False):
        points = fractal(rows, 12).points
        shares = torch.histogramdd(points, 260, range=[x for side in box for x in side]).hist.T
        picture = (shares / shares.sum()).where(shares > 0, torch.nan)
        axis.imshow(picture.numpy(), origin="lower", extent=box[0] + box[1], cmap="magma",
                    norm=LogNorm(2e-6, 1e-3))  # fmt: skip
        axis.set_title(title)
        axis.set_facecolor("black")
        axis.set(xticks=[], yticks=[])
    atoms = invariant_measure(maps, Measure(fractal(maps, 3).points[::2][:12])).measure.points
    axes[2].plot(
        *atoms.T,
        "o",
        color="white",
        mec="black",
        ms=4.5,
        label=f"{len(atoms)} atoms at equilibrium",
    )
    axes[2].legend(loc="lower right", fontsize=7, labelcolor="white", facecolor="black")
    axes[3].semilogy(losses, color="#b5367a")
    axes[3].set(xlabel="step of Adam", title="½ MMD² to the target")
    axes[3].spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="write a picture there")
    out = parser.parse_args().out
    learned = main()
    if out is not None:
        draw(*learned, out)
