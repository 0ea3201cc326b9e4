"""A Set Transformer, a Perceiver, a PointNet++, a DGCNN and a small DDEQ from the blocks.

Each is some twenty or thirty lines, and each learns a task in a few seconds: how many clusters a
cloud has; whether it is a ring, where mean and spread tell nothing; whether it is one curve or many
short strokes, where only what lies about a point tells; and whether a digit is a zero or a one.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

import set_attention as sa
from ddeq_data import Digits, ZScore, collate
from wgf_solver import Measure, Phantom, equilibrium


class SetTransformer(nn.Module):
    """Lee et al. (2019): ISAB, ISAB, PMA, a linear head."""

    def __init__(self, classes: int, dim: int = 32) -> None:
        super().__init__()
        self.lift = nn.Linear(2, dim)
        self.encoder = nn.ModuleList(sa.ISAB(dim, heads=4, inducing=8) for _ in range(2))
        self.pool = sa.PMA(dim, heads=4)
        self.head = nn.Linear(dim, classes)

    def forward(self, points: Tensor, weights: Tensor) -> Tensor:
        """Logits (B, classes) of clouds (B, n, 2) with weights (B, n), 0 for padding."""
        x = self.lift(sa.clear_padding(points, weights))
        for block in self.encoder:
            x = block(x, weights)
        logits: Tensor = self.head(self.pool(x, weights).squeeze(-2))
        return logits


class Perceiver(nn.Module):
    """Jaegle et al. (2021): latent rows read the cloud twice; their mean is the answer."""

    def __init__(self, classes: int, dim: int = 32) -> None:
        super().__init__()
        self.fourier = sa.FourierFeatures(2, octaves=4)
        self.lift = nn.Linear(self.fourier.out_dim, dim)
        self.encoder = sa.LatentEncoder(dim, heads=4, hidden=64, latents=8, readings=2)
        self.head = nn.Linear(dim, classes)

    def forward(self, points: Tensor, weights: Tensor) -> Tensor:
        """Logits (B, classes) of clouds (B, n, 2) with weights (B, n), 0 for padding."""
        latents = self.encoder(self.lift(self.fourier(points, weights)), weights)
        logits: Tensor = self.head(sa.mean_pool(latents))
        return logits


class PointNet2(nn.Module):
    """Qi et al. (2017), "PointNet++" (SSG): PointNets on groups, on groups of groups, on all."""

    def __init__(self, classes: int, dim: int = 32) -> None:
        super().__init__()
        self.groups, self.radii = (16, 4), (0.8, 1.6)
        widths = (2, dim, dim), (2 + dim, dim, 2 * dim), (2 + 2 * dim, 2 * dim, 4 * dim)
        self.maps = nn.ModuleList(
            nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(w)) for w in widths
        )
        self.norms = nn.ModuleList(
            nn.ModuleList(sa.MeasureBatchNorm(b) for b in w[1:]) for w in widths
        )
        self.head = nn.Linear(4 * dim, classes)

    def net(self, stage: int, rows: Tensor, weights: Tensor) -> Tensor:
        """A perceptron of rows (B, n, c) of weights (B, n)."""
        for linear, norm in zip(self.maps[stage], self.norms[stage], strict=True):
            rows = norm(linear(rows), weights).relu()
        return rows

    def forward(self, points: Tensor, weights: Tensor) -> Tensor:
        """Logits (B, classes) of clouds (B, n, 2) with weights (B, n), 0 for padding."""
        x, points, weights = sa.merge_points(points[..., :0], points, weights)
        for stage, (groups, radius) in enumerate(zip(self.groups, self.radii, strict=True)):
            near = sa.group_points(points, weights, groups=groups, neighbours=12, radius=radius)
            rows = torch.cat([near.offsets, near.neighbours(x)], -1)  # (B, m, k, c)
            rows = self.net(stage, rows.flatten(1, 2), near.shares().flatten(1))
            x = sa.max_pool(rows.unflatten(1, near.index.shape[1:]), near.weights)
            points, weights = near.places, near.masses
        rows = self.net(2, torch.cat([points, x], -1), weights)
        logits: Tensor = self.head(sa.max_pool(rows, weights))
        return logits


class EdgeConv(nn.Module):
    """Wang et al. (2019), "DGCNN": x_i becomes max_j ReLU(N(W (x_i, x_j - x_i))), j near x_i."""

    def __init__(self, dim: int, out_dim: int, neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.linear = nn.Linear(2 * dim, out_dim, bias=False)
        self.norm = sa.MeasureBatchNorm(out_dim)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """From (B, n, dim) with weights (B, n) to (B, n, out_dim); near are like features."""
        index, near = sa.nearest_points(x, x, weights, count=self.neighbours)
        beside = sa.take_points(x, index)  # (B, n, k, dim)
        middle = x.unsqueeze(2).expand_as(beside)
        rows = self.linear(torch.cat([middle, beside - middle], -1)).flatten(1, 2)
        pairs = near * weights.unsqueeze(-1)  # of each point and each of its neighbours
        rows = self.norm(rows, pairs.flatten(1)).relu().unflatten(1, index.shape[1:])
        return sa.clear_padding(sa.max_pool(rows, pairs), weights)


class DGCNN(nn.Module):
    """Wang et al. (2019): layers of EdgeConv, all of them side by side, the maximum."""

    def __init__(self, classes: int, dim: int = 16, neighbours: int = 8) -> None:
        super().__init__()
        widths = (2, dim, dim, 2 * dim)
        self.layers = nn.ModuleList(EdgeConv(a, b, neighbours) for a, b in pairwise(widths))
        self.all = nn.Linear(sum(widths[1:]), 4 * dim)
        self.head = nn.Linear(4 * dim, classes)

    def forward(self, points: Tensor, weights: Tensor) -> Tensor:
        """Logits (B, classes) of clouds (B, n, 2) with weights (B, n), 0 for padding."""
        x, _, weights = sa.merge_points(points, points, weights)
        found = [x := layer(x, weights) for layer in self.layers]
        logits: Tensor = self.head(sa.max_pool(self.all(torch.cat(found, -1)), weights))
        return logits


class TinyDDEQ(nn.Module):
    """Particles that see each other and the cloud, at the fixed point of one cell."""

    def __init__(self, classes: int, dim: int = 32, particles: int = 6) -> None:
        super().__init__()
        self.marks = nn.Parameter(torch.randn(particles, dim))
        self.lift = nn.Linear(2, dim)
        self.encoder = sa.TransformerBlock(dim, heads=4, hidden=64, norm="post")
        self.mix = sa.Bilinear(dim, dim)
        self.interact = sa.TransformerBlock(dim, heads=4, hidden=64, norm="post")
        self.look = sa.CrossBlock(dim, heads=4, hidden=64, norm="post")
        self.head = nn.Linear(dim, classes)

    def forward(self, points: Tensor, weights: Tensor) -> Tensor:
        """Logits (B, classes) of clouds (B, n, 2) with weights (B, n), 0 for padding."""
        x = self.encoder(self.lift(sa.clear_padding(points, weights)), weights)
        mixed, seen = self.mix.context(x, weights), self.look.context(x, weights)  # Once.

        def cell(mu: Measure) -> Measure:
            z = mu.points / 2 + self.mix(self.marks, mixed) + self.marks
            return mu.with_points(self.look(self.interact(z), seen))

        start = self.marks.detach().expand(len(points), *self.marks.shape)
        solution = equilibrium(cell, Measure(start), adjoint=Phantom(), rtol=1e-3)
        logits: Tensor = self.head(sa.mean_pool(solution.measure.points))
        return logits


def clusters(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Clouds of 20 to 40 points about 1, 2 or 3 centres, z-scored; the label is that number - 1."""
    labels = torch.randint(3, (count,), generator=generator)
    angle = torch.rand(count, 1, generator=generator) + torch.arange(3) / 3
    centres = torch.stack([(6.283 * angle).cos(), (6.283 * angle).sin()], -1)
    owner = (torch.rand(count, 40, generator=generator) * (labels + 1).unsqueeze(-1)).long()
    points = centres.gather(1, owner.unsqueeze(-1).expand(-1, -1, 2))
    points = points + 0.15 * torch.randn(count, 40, 2, generator=generator)
    return (*ZScore()(points, _some(count, 40, generator)), labels)


def rings(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Clouds of 20 to 40 points, normal (0) or on a noisy ring (1), z-scored."""
    labels = torch.randint(2, (count,), generator=generator)
    points = torch.randn(count, 40, 2, generator=generator)
    noise = 0.2 * torch.randn(count, 40, 2, generator=generator)
    ring = points / points.norm(dim=-1, keepdim=True) + noise
    points = torch.where(labels.bool()[:, None, None], ring, points)
    return (*ZScore()(points, _some(count, 40, generator)), labels)


def strokes(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Clouds of 60 to 120 points in short strokes that lie along circles (0) or across (1)."""
    labels = torch.randint(2, (count,), generator=generator)
    angle = 6.283 * torch.rand(count, 15, generator=generator)
    radius = 1 + torch.rand(count, 15, generator=generator)
    outward = torch.stack([angle.cos(), angle.sin()], -1)  # (count, 15, 2)
    along = torch.stack([-angle.sin(), angle.cos()], -1)
    way = torch.where(labels.bool()[:, None, None], outward, along)
    steps = torch.linspace(-0.2, 0.2, 8)[:, None]
    points = (radius[..., None] * outward).unsqueeze(2) + steps * way.unsqueeze(2)
    return (*ZScore()(points.flatten(1, 2), _some(count, 120, generator)), labels)


def digits(split: str) -> tuple[Tensor, Tensor, Tensor]:
    """The embedded digits that are zero or one."""
    batch = collate([cloud for cloud in Digits(split) if cloud.label < 2]).map(ZScore())
    return batch.points, batch.weights, batch.labels


def _some(count: int, n: int, generator: torch.Generator) -> Tensor:
    """Uniform weights of sets of n / 2 to n points."""
    sizes = torch.randint(n // 2, n + 1, (count, 1), generator=generator)
    return (torch.arange(n) < sizes) / sizes


def train(
    model: nn.Module,
    data: tuple[Tensor, Tensor, Tensor],
    unseen: tuple[Tensor, Tensor, Tensor],
    *,
    steps: int,
    rate: float = 2e-3,
) -> float:
    """Train on random batches of 64; returns the share of unseen clouds that is right."""
    generator = torch.Generator().manual_seed(1)
    optimiser = torch.optim.Adam(model.parameters(), rate)
    for _ in range(steps):
        chosen = torch.randint(len(data[0]), (64,), generator=generator)
        points, weights, labels = (part[chosen] for part in data)
        nn.functional.cross_entropy(model(points, weights), labels).backward()
        optimiser.step()
        optimiser.zero_grad()
    with torch.no_grad():
        return float((model(*unseen[:2]).argmax(-1) == unseen[2]).float().mean())


def main(seed: int = 0) -> dict[str, float]:
    """Build and train the five; returns the accuracy of each on clouds it has not seen."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    return {
        "Set Transformer, clusters": train(
            SetTransformer(3), clusters(2048, generator), clusters(512, generator), steps=200
        ),
        "Perceiver, rings": train(
            Perceiver(2), rings(2048, generator), rings(512, generator), steps=100
        ),
        "PointNet++, strokes": train(
            PointNet2(2), strokes(512, generator), strokes(256, generator), steps=60
        ),
        "DGCNN, strokes": train(
            DGCNN(2), strokes(512, generator), strokes(256, generator), steps=20
        ),
        "DDEQ, digits 0 and 1": train(TinyDDEQ(2), digits("train"), digits("test"), steps=60),
    }


if __name__ == "__main__":
    for name, accuracy in main().items():
        print(f"{name}: {accuracy:.1%} of unseen clouds")
