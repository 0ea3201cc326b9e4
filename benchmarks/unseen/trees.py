"""Peer (b): scikit-learn on a description of each cloud by count, moments and quantiles."""

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks.unseen.clouds import Array, Clouds, Labels

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Predictions:
    """The test part's classes.

    Attributes:
        trees: by extra trees.
        svc: by a support vector machine.
    """

    trees: Labels
    svc: Labels


def fit(clouds: Clouds, train: Labels, test: Labels, seed: int) -> Predictions:
    """Fit both on the training part, the machine's numbers by cross-validation within it."""
    features, labels = describe(clouds), clouds.labels
    trees = ExtraTreesClassifier(500, random_state=seed).fit(features[train], labels[train])
    grid = {
        "svc__C": [1.0, 10.0, 100.0, 1000.0],
        # Times one over the number of features, which is scikit-learn's own choice.
        "svc__gamma": [share / features.shape[1] for share in (0.03, 0.1, 0.3, 1.0)],
    }
    search = GridSearchCV(make_pipeline(StandardScaler(), SVC()), grid, cv=3)
    search.fit(features[train], labels[train])
    return Predictions(trees.predict(features[test]), search.predict(features[test]))


def describe(clouds: Clouds) -> Array:
    """One row (C, F) a cloud: its count, moments, extents and quantiles."""
    return np.stack(
        [
            row(points, None if clouds.weights is None else clouds.weights[index])
            for index, points in enumerate(clouds.points)
        ]
    )


def row(points: Array, weights: Array | None) -> Array:
    """The description of one cloud."""
    share = np.full(len(points), 1.0 / len(points)) if weights is None else weights
    mean = share @ points
    centred = points - mean
    covariance = (centred * share[:, None]).T @ centred
    deviation = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    standard = centred / deviation
    radius = np.linalg.norm(centred, axis=1)
    low, high = points.min(0), points.max(0)
    parts = [
        [len(points), np.trace(covariance), share @ radius, radius.max()],
        mean,
        covariance[np.triu_indices(len(covariance))],
        deviation,
        share @ standard**3,
        share @ standard**4,
        low,
        high,
        high - low,
        quantiles(points, share).ravel(),
        quantiles(radius[:, None], share).ravel(),
    ]
    return np.concatenate([np.asarray(part, dtype=np.float64) for part in parts])


def quantiles(columns: Array, share: Array) -> Array:
    """Weighted quantiles of every column."""
    order = np.argsort(columns, axis=0, kind="stable")
    taken = np.cumsum(share[order], axis=0) - 0.5 * share[order]
    ordered = np.take_along_axis(columns, order, axis=0)
    return np.stack(
        [
            np.interp(SHARES, taken[:, column], ordered[:, column])
            for column in range(columns.shape[1])
        ],
        axis=1,
    )
