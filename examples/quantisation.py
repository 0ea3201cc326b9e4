"""A coreset: 100,000 points by 100, by a gradient flow of the energy distance. The solver alone.

Start at a random subsample, as one would without a solver, and follow the Wasserstein gradient
flow of ``½ MMD²(μ, ν)`` to the cloud ``ν`` until it rests. The pull of all points on all atoms is
an exact sum over pairs in chunks; the cloud's own share of the MMD is computed once. The kernel is
that of the energy distance, rounded off below a quarter of the distance between atoms: with a
corner there its pull would not fade near the target, and nothing would come to rest.
`Quantisation(100)` is this in one word; here it is written out for its way to be seen.

    python examples/quantisation.py --out quantisation.png
"""

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor

from wgf_solver import (
    MMD,
    DistanceTo,
    Measure,
    Multiquadric,
    Solution,
    gradient_flow,
)


def galaxy(count: int) -> Tensor:
    """A bulge and two spiral arms, ``(n, 2)``."""
    generator = torch.Generator().manual_seed(1)
    radius = torch.rand(count, generator=generator).sqrt() * 2.2
    arm = math.pi * torch.randint(2, (count,), generator=generator)
    angle = 2.2 * torch.log1p(1.5 * radius) + arm
    noise = torch.randn(count, 2, generator=generator)
    arms = radius[:, None] * torch.stack([angle.cos(), angle.sin()], -1) + 0.13 * noise
    bulge = torch.rand(count, 1, generator=generator) < 0.25
    return torch.where(bulge, 0.28 * noise, arms)


def coreset(cloud: Tensor, atoms: int = 100, steps: int = 500) -> Solution:
    """``atoms`` equal atoms near to the cloud; the flow starts at a random subsample."""
    pick = torch.randperm(len(cloud), generator=torch.Generator().manual_seed(0))[:atoms]
    whole = Measure(cloud)
    kernel = Multiquadric(0.25 * whole.spread().item() / math.sqrt(atoms))
    return gradient_flow(
        DistanceTo(MMD(kernel), whole),
        Measure(cloud[pick]),
        max_steps=steps,
        trajectory=True,
    )


def main(count: int = 100_000, atoms: int = 100, steps: int = 500) -> tuple[Tensor, Solution]:
    """Print the MMD of the random subsample and that of the coreset."""
    cloud = galaxy(count)
    solution = coreset(cloud, atoms, steps)
    print(solution.message())
    assert solution.energies is not None
    before, after = ((2 * e).sqrt().item() for e in (solution.energies[0], solution.discrepancy))
    print(f"MMD to {count:,} points: {before:.4f} of {atoms} random ones, {after:.4f} at the end")
    # The MMD of a random subsample falls like n^(-1/2).
    print(f"as good as a random subsample of about {atoms * (before / after) ** 2:,.0f} points")
    return cloud, solution


def draw(cloud: Tensor, solution: Solution, path: Path) -> None:
    """The subsample and the coreset on the cloud's density, and the energy on the way."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import PowerNorm

    assert solution.trajectory is not None
    assert solution.energies is not None
    figure, axes = plt.subplots(1, 3, figsize=(12.6, 4), width_ratios=[1, 1, 0.85],
                                layout="constrained")  # fmt: skip
    pictures = [
        (solution.trajectory[0], (2 * solution.energies[0]).sqrt(), "random subsample"),
        (solution.measure.points, (2 * solution.discrepancy).sqrt(), "coreset by the flow"),
    ]
    for axis, (points, distance, title) in zip(axes, pictures, strict=False):
        box = [[-2.6, 2.6], [-2.1, 2.1]]
        axis.hist2d(*cloud.T.numpy(), bins=130, range=box, cmap="Blues", norm=PowerNorm(0.5))
        axis.plot(*points.T.numpy(), "o", color="#d5407a", mec="white", mew=0.5, ms=4.5)
        axis.set(title=f"{title}: MMD {distance:.4f}", aspect="equal", xticks=[], yticks=[])
    axes[2].semilogy((2 * solution.energies).sqrt().numpy(), color="#d5407a", label="the flow")
    axes[2].axhline(
        (2 * solution.energies[0]).sqrt().item(), color="0.5", ls=":", label="where it began"
    )
    axes[2].set(xlabel="step", title=f"MMD of {len(points)} atoms to {len(cloud):,} points")
    axes[2].legend(frameon=False)
    axes[2].spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="write a picture there")
    out = parser.parse_args().out
    found = main()
    if out is not None:
        draw(*found, out)
