"""A distributional deep equilibrium model from the blocks, in twenty lines.

Particles with learned marks flow to the fixed point of a cell that looks at a cloud; the model is
trained for a few steps to tell zeros from ones.
"""

import torch
from torch import Tensor, nn

from ddeq_data import Digits, ZScore, collate
from set_attention import CrossBlock, TransformerBlock, clear_padding, mean_pool
from wgf_solver import Measure, Phantom, equilibrium


class TinyDDEQ(nn.Module):
    """Embed the cloud once; solve ``μ* = F(μ*; x)``; read the mean of ``μ*``."""

    def __init__(self, particles: int = 6, dim: int = 32) -> None:
        super().__init__()
        self.marks = nn.Parameter(torch.randn(particles, dim))
        self.embed = nn.Linear(2, dim)
        self.encoder = TransformerBlock(dim, heads=4, hidden=64, norm="post")
        self.interact = TransformerBlock(dim, heads=4, hidden=64, norm="post")
        self.look = CrossBlock(dim, heads=4, hidden=64, norm="post")
        self.head = nn.Linear(dim, 2)

    def forward(self, points: Tensor, weights: Tensor) -> Tensor:
        """Logits ``(B, 2)`` of clouds ``(B, n, 2)`` with weights ``(B, n)``."""
        x = self.embed(clear_padding(points, weights))  # padding may hold anything
        x = self.look.context(self.encoder(x, weights), weights)

        def cell(mu: Measure) -> Measure:
            assert mu.marks is not None
            return mu.with_points(self.look(self.interact(mu.points / 2 + mu.marks), x))

        start = self.marks.detach().expand(len(points), *self.marks.shape)
        solution = equilibrium(cell, Measure(start, marks=self.marks), adjoint=Phantom(), rtol=1e-3)
        logits: Tensor = self.head(mean_pool(solution.measure.points))
        return logits


def main(steps: int = 40) -> float:
    """Train on the zeros and ones of the embedded digits; returns the share that is right."""
    torch.manual_seed(0)
    digits = Digits("train")
    batch = collate([cloud for cloud in digits if cloud.label < 2][:128]).map(ZScore())
    model = TinyDDEQ()
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(steps):
        logits = model(batch.points, batch.weights)
        nn.functional.cross_entropy(logits, batch.labels).backward()
        optimiser.step()
        optimiser.zero_grad()
    return float((logits.argmax(-1) == batch.labels).float().mean())


if __name__ == "__main__":
    print(f"accuracy on the training clouds: {main():.1%}")
