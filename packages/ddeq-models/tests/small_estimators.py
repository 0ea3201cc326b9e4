"""Estimators that are trained in a moment, and clouds to train them on."""

from typing import Any

import numpy as np

from ddeq_models import DDEQClassifier

SMALL = {
    "model.dim": 8,
    "model.heads": 2,
    "model.hidden": 8,
    "model.bilinear_dim": 4,
    "model.particles": 2,
    "model.pooled": 8,
    "model.scales": 0,
    "model.max_steps": 10,
    "train.ema": 0.0,
}


def small(kind: Any = DDEQClassifier, **parameters: Any) -> Any:
    """An estimator that is trained in a moment."""
    options = {**SMALL, **parameters.pop("options", {})}
    return kind(**{"steps": 2, "learning_rate": 1e-2, "options": options, **parameters})


def rings(count: int = 16, seed: int = 0) -> tuple[list[Any], Any]:
    """Ragged circles, small ones and large ones, and their names."""
    rng = np.random.default_rng(seed)
    labels = np.array(["small", "large"])[np.arange(count) % 2]
    clouds = []
    for label in labels:
        angles = rng.uniform(0, 2 * np.pi, rng.integers(6, 12))
        places = np.stack([np.cos(angles), np.sin(angles)], 1)
        clouds.append((2 if label == "large" else 1) * places + 0.05 * rng.normal(size=(1, 2)))
    return clouds, labels
