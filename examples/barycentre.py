"""Wasserstein barycentres of four shapes, a grid of them in one flow. The solver alone.

The barycentre of ``ν_1 … ν_4`` with shares ``λ`` minimises ``Σ_k λ_k ½ SW₂²(μ, ν_k)``, the sliced
Wasserstein distance. (Of an MMD it would be the mixture ``Σ_k λ_k ν_k``: shapes fade and do not
move.) Each of the 25 measures of the batch has shares of its own; the shapes at the corners are
what the flow finds where one share is 1.

    python examples/barycentre.py --out barycentre.png
"""

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor

from wgf_solver import (
    DistanceTo,
    Euler,
    Measure,
    SlicedWasserstein,
    Solution,
    gradient_flow,
)


def shapes(count: int) -> list[Measure]:
    """A ring, a star, a cross and a heart in the square ``[−1, 1]²``, evenly filled."""
    generator = torch.Generator().manual_seed(0)
    square = 2 * torch.rand(40 * count, 2, generator=generator) - 1
    x, y = square.unbind(-1)
    radius, angle = square.norm(dim=-1), torch.atan2(y, x)
    u, v = 1.25 * x, 1.25 * y + 0.15
    inside = [
        (radius > 0.72) & (radius < 1),
        radius < 0.62 + 0.38 * (5 * (angle - math.pi / 2)).cos(),
        torch.minimum(x.abs(), y.abs()) < 0.2,
        (u**2 + v**2 - 1) ** 3 < u**2 * v**3,
    ]
    return [Measure(square[where][:count]) for where in inside]


def shares(side: int) -> Tensor:
    """Bilinear shares of the four corners on a grid, ``(side, side, 4)``."""
    t = torch.linspace(0, 1, side)
    right, down = t.expand(side, side), t[:, None].expand(side, side)
    corners = [(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down]
    return torch.stack(corners, -1)


def barycentres(targets: list[Measure], grid: Tensor, atoms: int, steps: int) -> Solution:
    """One measure for each row of shares ``(..., 4)``, all in one flow."""
    distance = SlicedWasserstein(slices=32)
    functional = sum(
        grid[..., k] * DistanceTo(distance, target) for k, target in enumerate(targets)
    )
    generator = torch.Generator().manual_seed(1)
    start = 0.3 * torch.randn(atoms, 2, generator=generator)
    return gradient_flow(
        functional,
        Measure(start).expand(grid.shape[:-1]),
        integrator=Euler(1.5),
        max_steps=steps,
        on_failure="ignore",  # followed until nothing is seen to move
    )


def main(side: int = 5, atoms: int = 600, steps: int = 50) -> tuple[Tensor, Solution]:
    """Print the energies at the corners, which are shapes, and at the centre, which is none."""
    grid = shares(side)
    solution = barycentres(shapes(atoms), grid, atoms, steps)
    energy = solution.discrepancy
    print(f"Σ λ ½ SW²: {energy[0, 0]:.1e} at a corner, {energy[side // 2, side // 2]:.1e} midway")
    return grid, solution


def draw(grid: Tensor, solution: Solution, path: Path) -> None:
    """The grid of barycentres, coloured by their shares."""
    import matplotlib.pyplot as plt

    side = len(grid)
    corners = [[0.84, 0.25, 0.48], [0.95, 0.62, 0.1], [0.15, 0.55, 0.75], [0.3, 0.2, 0.6]]
    figure, axes = plt.subplots(side, side, figsize=(6.4, 6.4), layout="constrained")
    for row in range(side):
        for column in range(side):
            axis, points = axes[row][column], solution.measure.points[row, column]
            shade = (grid[row, column] @ torch.tensor(corners)).tolist()
            axis.scatter(*points.T.numpy(), s=5, color=shade, linewidths=0)
            axis.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal")
            axis.axis("off")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="write a picture there")
    out = parser.parse_args().out
    found = main()
    if out is not None:
        draw(*found, out)
