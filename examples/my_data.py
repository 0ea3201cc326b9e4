"""A data set of one's own: ``ddeq --import my_data.py train --data rings``."""

import torch

from ddeq_data import CloudDataset, PackedClouds
from ddeq_models import DataConfig, DataSet, register_data


def rings(config: DataConfig, split: str) -> CloudDataset:
    """Noisy circles of two sizes; a split is the same whenever it is opened."""
    count, points = {"train": 200, "validation": 60, "test": 60}[split], 40
    generator = torch.Generator().manual_seed(["train", "validation", "test"].index(split))
    labels = torch.arange(count) % 2
    angles = 6.2832 * torch.rand(count, points, generator=generator)
    radii = 1 + 0.3 * labels[:, None] + 0.1 * torch.randn(count, points, generator=generator)
    places = torch.stack([radii * angles.cos(), radii * angles.sin()], -1)
    clouds = PackedClouds(places.flatten(0, 1), None, torch.arange(count + 1) * points, labels)
    return CloudDataset(clouds, ["small", "large"])


register_data(DataSet("rings", "circles of two sizes", rings, dim=2))
