"""A linear-quadratic mean-field game, beside its Riccati equations. The solver alone.

Each agent steers ``x_{t+1} = x_t + u_t`` from its own start, and pays

    Σ_t ½ u_t² + ½ q (x_t − s m_t)²        over t = 0, ..., T−1, and ½ q (x_T − s m_T)² at the end

for its distance to ``s`` times the mean ``m`` of all. An atom is a path ``(x_1, ..., x_T)``, its
mark the start; ``F(μ)`` answers the mean of ``μ`` with each agent's best path, a linear system. A
fixed point is a Nash equilibrium. By hand (Huang, Caines and Malhamé 2007): about the mean the
agents follow the Riccati equation of weight ``q``, ``P_t = q + P_{t+1}/(1 + P_{t+1})``, and the
mean itself that of weight ``q (1 − s)``.

    python examples/mean_field_game.py --out mean_field_game.png
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from wgf_solver import Map, Measure, Solution, equilibrium

LENGTH, WEIGHT = 20, 0.05  # T and q


def best_response(share: Tensor) -> Map:
    """``F`` for ``s``."""
    eye = torch.eye(LENGTH, dtype=torch.float64)
    steps = eye - eye.roll(-1, 1).tril()  # (x_1 − x_0, ..., x_T − x_{T−1}) but for x_0
    first = eye[0]

    def f(mu: Measure) -> Measure:
        assert mu.marks is not None
        # (SᵀS + q I) x = Sᵀ e_1 x_0 + q s m
        right = mu.marks * first + WEIGHT * share * mu.mean()
        paths = torch.linalg.solve(steps.mT @ steps + WEIGHT * eye, right[..., None])[..., 0]
        return mu.with_points(paths)

    return f


def starts(count: int = 50) -> Tensor:
    """Where the agents begin, ``(n, 1)``: about 1."""
    generator = torch.Generator().manual_seed(0)
    return 1 + 0.5 * torch.randn(count, 1, generator=generator, dtype=torch.float64)


def nash(share: Tensor, marks: Tensor) -> Solution:
    """The equilibrium, from everybody staying."""
    mu0 = Measure(marks.expand(-1, LENGTH).clone(), marks=marks)
    return equilibrium(best_response(share), mu0, rtol=1e-12, max_steps=200)


def riccati(weight: float, start: Tensor) -> Tensor:
    """The path ``(..., T)`` from ``start (..., 1)`` that the Riccati equation of a weight gives."""
    gains, p = [], weight
    for _ in range(LENGTH):
        gains.append(1 / (1 + p))
        p = weight + p / (1 + p)
    return start * torch.tensor(gains[::-1], dtype=torch.float64).cumprod(0)


def exact(share: float, marks: Tensor) -> Tensor:
    """Every agent's path ``(n, T)`` by hand."""
    mean = marks.mean(0, keepdim=True)
    return riccati(WEIGHT * (1 - share), mean) + riccati(WEIGHT, marks - mean)


def main(share: float = 0.8, count: int = 50) -> tuple[float, float]:
    """The largest error of a path, and the derivative of the last mean by ``s``."""
    marks = starts(count)
    s = torch.tensor(share, dtype=torch.float64, requires_grad=True)
    measure = nash(s, marks).measure
    error = float((measure.points - exact(share, marks)).detach().abs().max())
    (slope,) = torch.autograd.grad(measure.mean()[-1], s)
    print(f"s = {share}: paths within {error:.1e} of the Riccati equations; d m_T/ds {slope:.6f}")
    return error, float(slope)


def draw(path: Path) -> None:
    """The paths of agents for two games, with the means by hand."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
    marks = starts(40)
    for axis, share in zip(axes, (0.0, 0.95), strict=True):
        measure = nash(torch.tensor(share, dtype=torch.float64), marks).measure
        paths = torch.cat([marks, measure.points], -1)
        axis.plot(paths.T, color="0.75", lw=0.7)
        axis.plot(paths.mean(0), color="#d5407a", lw=2.5, label="mean, by the solver")
        hand = torch.cat([marks, exact(share, marks)], -1).mean(0)
        axis.plot(hand, "k.", label="mean, by Riccati")
        axis.set(title=f"each seeks {share:g} of the mean", xlabel="time")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="write a picture there")
    out = parser.parse_args().out
    main()
    if out is not None:
        draw(out)
