"""Where a low-density parity-check code begins to fail: density evolution. The solver alone.

In the (3, 6) code a message is erased with a probability that is a fixed point of

    x ↦ ε (1 − (1 − x)⁵)²

on an erasure channel of noise ``ε`` (Richardson and Urbanke 2008, section 3.12): 0 alone up to the
threshold ``ε* = 0.429440``, and above it another, which appears at a distance. Each ``ε`` is a
measure of the batch. In its message form ``F`` acts on the messages of a code that was drawn: a
message is erased if its bit is and both other checks of that bit have another erased message.

    python examples/ldpc.py --out ldpc.png
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from wgf_solver import Euler, Measure, Solution, equilibrium

THRESHOLD = 0.429440


def evolution(noise: Tensor) -> Solution:
    """The erasure probability at rest for each ``ε (...)``, from all that the channel erased."""
    eps = noise[..., None, None]

    def f(mu: Measure) -> Measure:
        return mu.with_points(eps * (1 - (1 - mu.points) ** 5) ** 2)

    # Near the threshold plain iteration passes a bottleneck; it never jumps over the fixed point.
    return equilibrium(
        f, Measure(eps.clone()), integrator=Euler(), rtol=1e-9, atol=1e-12,
        max_steps=20_000, check_every=50,
    )  # fmt: skip


def threshold(rounds: int = 5) -> float:
    """Where the fixed point leaves 0, by ever finer batches."""
    low, high = 0.40, 0.46
    for _ in range(rounds):
        noise = torch.linspace(low, high, 13, dtype=torch.float64)
        stuck = evolution(noise).measure.points[:, 0, 0] > 0.01
        first = int(stuck.nonzero()[0])
        low, high = float(noise[first - 1]), float(noise[first])
    return 0.5 * (low + high)


def messages(noise: float, bits: int = 4000) -> float:
    """The part of the messages that stay erased in a code with so many bits."""
    generator = torch.Generator().manual_seed(0)
    edge = torch.randperm(3 * bits, generator=generator)  # edges, in the order of the checks
    erased = torch.rand(bits, generator=generator, dtype=torch.float64) < noise
    channel = erased.double().repeat_interleave(3)

    def f(mu: Measure) -> Measure:
        to_check = mu.points[:, 0][edge].reshape(-1, 6)
        others = to_check.sum(-1, keepdim=True) - to_check > 0.5  # one more is erased
        to_bit = torch.empty_like(mu.points[:, 0])
        to_bit[edge] = others.double().flatten()
        to_bit = to_bit.reshape(-1, 3)
        all_others = to_bit.sum(-1, keepdim=True) - to_bit > 1.5
        return mu.with_points((channel * all_others.flatten())[:, None])

    solution = equilibrium(f, Measure(channel[:, None]), integrator=Euler(), rtol=1e-9)
    return float(solution.measure.points.mean())


def main() -> float:
    """The threshold."""
    found = threshold()
    print(f"threshold {found:.6f} ({THRESHOLD})")
    return found


def draw(path: Path) -> None:
    """The erasure probability by the noise, of the formula and of codes."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5.6, 3.4), layout="constrained")
    noise = torch.linspace(0.38, 0.5, 241, dtype=torch.float64)
    axis.plot(noise, evolution(noise).measure.points[:, 0, 0], color="#3b6fb6", lw=2,
              label="density evolution")  # fmt: skip
    places = [0.39, 0.41, 0.425, 0.435, 0.45, 0.47, 0.49]
    axis.plot(
        places, [messages(p) for p in places], "o", color="#d5407a", label="a code of 4,000 bits"
    )
    axis.axvline(THRESHOLD, color="0.7", ls="--", label=f"{THRESHOLD}")
    axis.set(xlabel="noise ε", title="messages that stay erased")
    axis.legend(frameon=False)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="write a picture there")
    out = parser.parse_args().out
    main()
    if out is not None:
        draw(out)
