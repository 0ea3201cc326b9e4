"""The invariant measure of an iterated function system, and its derivative. The solver alone.

``F(μ) = ½ (A_1 # μ) + ½ (A_2 # μ)`` returns twice as many atoms as it is given, so no labelled
fixed-point iteration applies. The flow of ``½ MMD²(μ, F(μ))`` finds the best ``n`` atoms, and the
implicit function theorem says how they move with the maps.
"""

import torch
from torch import Tensor

from wgf_solver import MMD, Anderson, Descent, Gaussian, Measure, Solution, equilibrium


def solve(shift: Tensor, atoms: int = 6) -> Solution:
    """The equilibrium of two contractions by one half, apart by ``shift (2,)``."""

    def f(mu: Measure) -> Measure:
        halves = torch.cat([mu.points / 2 - shift / 2, mu.points / 2 + shift / 2], dim=-2)
        return Measure(halves, torch.cat([mu.weights, mu.weights], dim=-1))

    start = torch.randn(atoms, 2, dtype=shift.dtype, generator=torch.Generator().manual_seed(0))
    return equilibrium(
        f,
        Measure(start),
        velocity=Descent(MMD(Gaussian(0.3) + Gaussian(1.0)), "frozen"),
        integrator=Anderson(step=0.3),
        rtol=1e-10,
        max_steps=2000,
    )


def main() -> tuple[float, float]:
    """The mean square of the equilibrium, and its derivative by the length of the shift."""
    shift = torch.tensor([1.0, 0.5], dtype=torch.float64, requires_grad=True)
    solution = solve(shift)
    print(solution.message())
    energy = solution.measure.points.square().sum(-1).mean()
    (gradient,) = torch.autograd.grad(energy, shift)
    print(f"E|z|^2 = {energy.item():.6f}, its gradient by the shift {gradient.tolist()}")
    return energy.item(), float(gradient @ shift.detach())


if __name__ == "__main__":
    main()
