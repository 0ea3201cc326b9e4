"""A mean-field equilibrium, and how it answers to a parameter. The solver alone.

Each agent has a home ``m`` and chooses a place: near home, near the centre, away from crowds.
Against a crowd ``μ`` it pays ``½‖x − m‖² + ½ a ‖x‖² + c ∫ exp(−‖x − y‖²/2s²) dμ(y)``, and its best
response satisfies ``x = (m + (c/s²) ∫ (x − y) exp(−‖x − y‖²/2s²) dμ(y)) / (1 + a)``. Where all
respond to all, ``μ = F(μ)``: a Nash equilibrium. Homes are marks, so it is a distribution and not a
single point, and the implicit gradient says how it changes with ``c`` without solving again.

    python examples/mean_field.py --out mean_field.png
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from wgf_solver import Gaussian, Map, Measure, Solution, equilibrium
from wgf_solver.kernels.pairwise import force

WIDTH, CENTRE = 0.35, 1.0  # s and a


def homes(count: int = 400) -> Tensor:
    """Two dense towns and a sparse country, ``(n, 2)``."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, 2, dtype=torch.float64, generator=generator)
    towns = torch.tensor([[-1.6, 0.4], [1.5, -0.5], [0.0, 0.0]], dtype=noise.dtype)
    spreads = torch.tensor([0.35, 0.45, 1.6], dtype=noise.dtype)
    which = torch.arange(count) * 3 // count
    return towns[which] + spreads[which, None] * noise


def best_response(congestion: Tensor) -> Map:
    """``F``: where each agent would go if the crowd stayed."""

    def f(mu: Measure) -> Measure:
        assert mu.marks is not None
        crowd = force(Gaussian(WIDTH), mu.points, mu.points, mu.weights)
        return mu.with_points((mu.marks - congestion * crowd) / (1 + CENTRE))

    return f


def nash(congestion: Tensor, marks: Tensor) -> Solution:
    """The equilibrium from everybody at home."""
    start = Measure(marks, marks=marks)
    return equilibrium(best_response(congestion), start, rtol=1e-10, max_steps=1000)


def crowding(mu: Measure) -> Tensor:
    """``∬ exp(−‖x − y‖²/2s²) dμ dμ``: how near a random pair of agents is."""
    squared = (mu.points[:, None] - mu.points).square().sum(-1)
    return mu.weights @ torch.exp(-squared / (2 * WIDTH**2)) @ mu.weights


def main(cost: float = 1.0, count: int = 400) -> tuple[float, float]:
    """The crowding at equilibrium and its derivative by the price of a crowd."""
    congestion = torch.tensor(cost, dtype=torch.float64, requires_grad=True)
    solution = nash(congestion, homes(count))
    value = crowding(solution.measure)
    (slope,) = torch.autograd.grad(value, congestion)
    print(f"c = {cost:.2f}: crowding {value.item():.4f}, its derivative by c {slope.item():+.4f}")
    return value.item(), slope.item()


def draw(path: Path) -> None:
    """Who moves where, and the crowding by price with tangents from single solves."""
    import matplotlib.pyplot as plt
    from matplotlib.collections import LineCollection

    marks = homes()
    figure, axes = plt.subplots(1, 3, figsize=(12.6, 3.6), width_ratios=[1.25, 1.25, 1],
                                layout="constrained")  # fmt: skip
    for axis, cost in zip(axes, (0.0, 2.0), strict=False):
        places = nash(torch.tensor(cost, dtype=torch.float64), marks).measure.points
        squared = (places[:, None] - places).square().sum(-1)
        crowd = torch.exp(-squared / (2 * WIDTH**2)).mean(-1)
        axis.add_collection(
            LineCollection(torch.stack([marks, places], 1).numpy(), colors="0.8", linewidths=0.5)
        )
        axis.plot(*marks.T.numpy(), ".", ms=2.5, color="0.55")
        dots = axis.scatter(
            *places.T.numpy(), c=crowd.numpy(), s=12, cmap="plasma", vmin=0, vmax=0.3, zorder=3
        )
        axis.set(title=f"price of a crowd c = {cost:g}", aspect="equal", xticks=[], yticks=[])
        axis.set(xlim=(-2.3, 2.3), ylim=(-1.7, 1.6))
    figure.colorbar(dots, ax=axes[1], shrink=0.9, label="crowd at the place chosen")
    prices = torch.linspace(0, 2, 41, dtype=torch.float64)
    with torch.no_grad():
        curve = [crowding(nash(price, marks).measure).item() for price in prices]
    axes[2].plot(prices.numpy(), curve, color="0.3", label="solved anew for each price")
    for cost in (0.1, 0.5, 1.0, 1.6):
        value, slope = main(cost)
        ends, values = zip(*((cost + h, value + h * slope) for h in (-0.2, 0.2)), strict=True)
        label = "implicit gradient of one solve" if cost == 0.1 else None
        axes[2].plot(ends, values, color="#d5407a", lw=2.5, label=label)
        axes[2].plot(cost, value, "o", color="#d5407a")
    axes[2].set(xlabel="price of a crowd c", title="crowding at equilibrium")
    axes[2].legend(frameon=False)
    axes[2].spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="write a picture there")
    out = parser.parse_args().out
    main()
    if out is not None:
        draw(out)
