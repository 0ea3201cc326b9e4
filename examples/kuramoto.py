"""Noisy Kuramoto oscillators: where they begin to march together, and how strongly. Solver alone.

Phases with noise ``D`` and coupling ``K`` rest in a law with density ``∝ exp((K/D) r cos θ)``,
where ``r = ∫ cos θ dμ`` is the order of that law itself. Such laws are the fixed points of

    F(μ) = the n quantile means of ∝ exp((K/D) r(μ) cos θ) on (−π, π),

and ``r`` solves ``r = I₁(Kr/D)/I₀(Kr/D)``: 0 alone up to ``K = 2D``, then a branch that attracts.
The implicit gradient of the fixed point is ``dr/dK``, beside the formula.

    python examples/kuramoto.py --out kuramoto.png
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from wgf_solver import Measure, Quantiles, Solution, equilibrium

GRID = torch.linspace(-torch.pi, torch.pi, 4001, dtype=torch.float64)[:-1] + torch.pi / 4000


def order(mu: Measure) -> Tensor:
    """``r = ∫ cos θ dμ``."""
    return (mu.weights * mu.points[..., 0].cos()).sum(-1)


def rest(coupling: Tensor, atoms: int = 200) -> Solution:
    """The law at rest for each ``K/D (...)``, from phases that almost agree."""
    start = torch.linspace(-0.5, 0.5, atoms, dtype=torch.float64)[:, None]
    project = Quantiles(atoms)

    def f(mu: Measure) -> Measure:
        field = (coupling * order(mu))[..., None] * (GRID.cos() - 1)
        points = GRID[:, None].expand(*coupling.shape, -1, 1)
        return project(Measure(points, field.exp()))

    mu0 = Measure(start.expand(*coupling.shape, atoms, 1))
    return equilibrium(f, mu0, rtol=1e-10, max_steps=500)


def exact(coupling: Tensor) -> tuple[Tensor, Tensor]:
    """``r`` by Newton's method, and ``dr/dK = A' r / (1 − K A')`` with ``A = I₁/I₀``."""
    r = torch.where(coupling > 2, 0.9, 0.0).to(coupling)
    for _ in range(100):
        x = coupling * r
        ratio = torch.special.i1(x) / torch.special.i0(x)
        slope = torch.where(x > 0, 1 - ratio / torch.where(x > 0, x, 1) - ratio.square(), 0.5)
        r = r - (r - ratio) / (1 - coupling * slope)
    return r, slope * r / (1 - coupling * slope)


def main(atoms: int = 200) -> tuple[Tensor, Tensor, Tensor]:
    """``r`` and ``dr/dK`` at four couplings by the solver, and the error of ``r``."""
    coupling = torch.tensor([2.2, 2.5, 3.0, 4.0], dtype=torch.float64, requires_grad=True)
    r = order(rest(coupling, atoms).measure)
    (slope,) = torch.autograd.grad(r.sum(), coupling)
    true, true_slope = exact(coupling.detach())
    for k, mine, theirs, by, formula in zip(coupling, r, true, slope, true_slope, strict=True):
        print(f"K/D = {k:.1f}: r {mine:.6f} ({theirs:.6f}), dr/dK {by:.5f} ({formula:.5f})")
    return r.detach(), slope, (r.detach() - true).abs()


def draw(path: Path) -> None:
    """The bifurcation with tangents, laws at rest, and the error by the number of atoms."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    coupling = torch.linspace(1.5, 4.5, 61, dtype=torch.float64)
    axes[0].plot(coupling, exact(coupling)[0], color="0.6", lw=4, label="I₁(Kr/D)/I₀(Kr/D) = r")
    r, slope, _ = main()
    for k, value, by in zip((2.2, 2.5, 3.0, 4.0), r.tolist(), slope.tolist(), strict=True):
        ends = (k - 0.15, k + 0.15)
        axes[0].plot(ends, [value + by * (e - k) for e in ends], color="#d5407a", lw=2)
        axes[0].plot(k, value, "o", color="#d5407a")
    axes[0].set(xlabel="coupling K/D", title="order r, and dr/dK by the implicit gradient")
    axes[0].legend(frameon=False)
    counts = [10, 20, 40, 80, 160, 320]
    errors = [main(count)[2].max().item() for count in counts]
    axes[1].loglog(counts, errors, "o-", color="#3b6fb6", label="largest error of r")
    axes[1].loglog(
        counts, [errors[0] * (10 / c) ** 2 for c in counts], "--", color="0.6", label="n⁻²"
    )
    axes[1].set(xlabel="atoms n", title="the error falls with n")
    axes[1].legend(frameon=False)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="write a picture there")
    out = parser.parse_args().out
    main()
    if out is not None:
        draw(out)
