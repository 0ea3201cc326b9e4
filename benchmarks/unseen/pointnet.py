"""Peer (a): the PointNet that a competent user would write, trained for a given processor time."""

import copy
import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.unseen.clouds import Clouds, Labels

BATCH = 32
JITTER = 0.01  # of the set's scale
FRAMES = ("set", "centred", "unit")
TRIAL = 0.15  # the share of the time that each frame is tried for


@dataclass(frozen=True)
class Trained:
    """A net with its best weights, and what it reached on validation."""

    net: nn.Module
    accuracy: float
    loss: float

    def better_than(self, other: "Trained") -> bool:
        """By accuracy, then by loss."""
        return (self.accuracy, -self.loss) > (other.accuracy, -other.loss)


class PointNet(nn.Module):
    """A shared perceptron, pooled by maximum and mean, and a head."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        widths, layers = (features, 64, 128, 256), []
        for here, there in pairwise(widths):
            layers += [nn.Linear(here, there), nn.BatchNorm1d(there), nn.ReLU()]
        self.shared = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(2 * widths[-1], 128),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(128, classes),
        )

    def forward(self, points: Tensor, mask: Tensor) -> Tensor:
        """Scores (B, classes) of padded clouds (B, N, features)."""
        rows = self.shared(points[mask])  # the batch norm sees real rows only
        padded = rows.new_zeros(*mask.shape, rows.shape[-1])
        padded[mask] = rows  # at least 0 after the ReLU: the padding is no maximum
        mean = padded.sum(1) / mask.sum(1, keepdim=True)
        scores: Tensor = self.head(torch.cat([padded.amax(1), mean], dim=1))
        return scores


def fit(
    clouds: Clouds, train: Labels, validation: Labels, test: Labels, seconds: float, seed: int
) -> Labels:
    """Train within ``seconds`` of this process' time on one thread; the test part's classes.

    One of three frames is chosen by short trials on validation: the set's centre and scale, each
    cloud's centre and the set's scale, or each cloud's centre and scale.
    """
    start, threads = time.process_time(), torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    labels = torch.from_numpy(clouds.labels)
    frames = [tensors(clouds, train, frame) for frame in FRAMES]
    trials = [
        trained(rows, labels, train, validation, start + TRIAL * (number + 1) * seconds)
        for number, rows in enumerate(frames)
    ]
    chosen, best = 0, trials[0]
    for number, trial in enumerate(trials):
        if trial.better_than(best):
            chosen, best = number, trial
    last = trained(frames[chosen], labels, train, validation, start + seconds)
    best = last if last.better_than(best) else best
    predictions = scores(best.net, frames[chosen], test).argmax(1).numpy()
    torch.set_num_threads(threads)
    return predictions


def tensors(clouds: Clouds, train: Labels, frame: str) -> list[Tensor]:
    """Coordinates in a frame that the training part gives; the weights' logarithms beside them."""
    points = [cloud - cloud.mean(0) * (frame != "set") for cloud in clouds.points]
    if frame == "unit":
        points = [cloud / max(np.sqrt((cloud**2).mean()), 1e-9) for cloud in points]
    seen = np.concatenate([points[index] for index in train])
    centre, scale = seen.mean(0), seen.std(0).mean()
    rows = [(cloud - centre) / scale for cloud in points]
    if clouds.weights is not None:
        logs = [np.log(weight * len(weight))[:, None] for weight in clouds.weights]
        spread = np.concatenate([logs[index] for index in train]).std()
        rows = [
            np.concatenate([row, log / spread], axis=1) for row, log in zip(rows, logs, strict=True)
        ]
    return [torch.tensor(row, dtype=torch.float32) for row in rows]


def trained(
    rows: list[Tensor], labels: Tensor, train: Labels, validation: Labels, until: float
) -> Trained:
    """Train until the process' clock says ``until``; the weights that were best on validation."""
    net = PointNet(rows[0].shape[1], int(labels.max()) + 1)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-2)
    start = time.process_time()
    best = Trained(net, -1.0, np.inf)
    while time.process_time() < until or best.accuracy < 0:
        net.train()
        for chosen in torch.tensor(train)[torch.randperm(len(train))].split(BATCH):
            done = (time.process_time() - start) / max(until - start, 1e-9)
            if len(chosen) < 2 or done > 1:
                break  # one cloud has no batch statistics
            optimiser.param_groups[0]["lr"] = 1e-3 * 0.5 * (1 + np.cos(np.pi * done))
            points, mask = padded([rows[index] for index in chosen])
            points = points + JITTER * torch.randn_like(points)
            loss = cross_entropy(net(points, mask), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        logits, truth = scores(net, rows, validation), labels[validation]
        here = (logits.argmax(1) == truth).float().mean().item()
        now = Trained(net, here, cross_entropy(logits, truth).item())
        if now.better_than(best):
            best = Trained(copy.deepcopy(net), now.accuracy, now.loss)
    return best


@torch.no_grad()
def scores(net: nn.Module, rows: list[Tensor], chosen: Labels) -> Tensor:
    """The scores of some clouds, in evaluation mode."""
    net.eval()
    parts = [padded([rows[index] for index in part]) for part in torch.tensor(chosen).split(BATCH)]
    return torch.cat([net(points, mask) for points, mask in parts])


def padded(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """A batch (B, N, features) with zeros behind each cloud, and the mask of real rows."""
    counts = torch.tensor([len(row) for row in rows])
    points = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return points, torch.arange(points.shape[1]) < counts[:, None]
