"""What a cheap model reaches on the same clouds: who sees it takes no low figure for good."""

import time
import warnings
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from ddeq_data import CloudDataset, Transform
from ddeq_models.models.description import describe

CLOUDS = 5000  # to learn from, at most: a peer is to take seconds
_BATCH = 256
_ROWS = 2**20  # of a batch, padding included


Table: TypeAlias = NDArray[np.float32]
Labels: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Peer:
    """A cheap model's result.

    Attributes:
        name: What it is.
        accuracy: On the test clouds, of a classifier.
        train_clouds: How many it learned from.
        seconds: All that it took, the description of the clouds included.
        r2: On the test clouds, of a regression: the mean over the numbers.
    """

    name: str
    accuracy: float | None
    train_clouds: int
    seconds: float
    r2: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words, ready for JSON; without the figure of another task."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def cheap_peer(train_set: CloudDataset, test_set: CloudDataset, normalise: Transform) -> Peer:
    """Classify clouds by their `describe`, count, moments, extents and quantiles alone.

    Extremely randomised trees (Geurts, Ernst and Wehenkel 2006) where scikit-learn is installed,
    and else the nearest class mean of the standardised numbers.

    Args:
        train_set: To learn from; of more than 5,000 clouds as many, evenly chosen.
        test_set: To be measured on.
        normalise: What is done to every cloud.
    """
    start = time.perf_counter()
    stride = max(1, -(-len(train_set) // CLOUDS))
    chosen = torch.arange(0, len(train_set), stride)
    x, y = _described(train_set, chosen, normalise), train_set.labels[chosen].numpy()
    test = _described(test_set, torch.arange(len(test_set)), normalise)
    if find_spec("sklearn") is not None:
        name, predicted = "extra trees on moments, extents and quantiles", _trees(x, y, test)
    else:
        name, predicted = "nearest class mean of moments and extents", _centroids(x, y, test)
    accuracy = float((predicted == test_set.labels.numpy()).mean())
    return Peer(name, accuracy, len(y), round(time.perf_counter() - start, 2))


def cheap_peer_of_numbers(
    train_set: CloudDataset, test_set: CloudDataset, normalise: Transform
) -> Peer:
    """Tell the numbers of clouds from their `describe` alone.

    Extremely randomised trees where scikit-learn is installed, and else ridge regression on the
    standardised description, with the penalty 1; of numbers that are standardised as well.

    Args:
        train_set: To learn from; of more than 5,000 clouds as many, evenly chosen.
        test_set: To be measured on.
        normalise: What is done to every cloud.
    """
    start = time.perf_counter()
    assert train_set.targets is not None
    assert test_set.targets is not None
    stride = max(1, -(-len(train_set) // CLOUDS))
    chosen = torch.arange(0, len(train_set), stride)
    x, y = _described(train_set, chosen, normalise), train_set.targets[chosen].double().numpy()
    # Neither the trees' sums of squares nor the figure shall see an offset, or a unit.
    mean, spread = y.mean(0), y.std(0)
    spread[spread == 0] = 1
    y, truth = (y - mean) / spread, (test_set.targets.double().numpy() - mean) / spread
    test = _described(test_set, torch.arange(len(test_set)), normalise)
    if find_spec("sklearn") is not None:
        from sklearn.ensemble import ExtraTreesRegressor

        name = "extra trees on moments, extents and quantiles"
        model = ExtraTreesRegressor(200, random_state=0)
        model.fit(np.clip(x, -1e30, 1e30), y if y.shape[1] > 1 else y[:, 0])
        said = np.asarray(model.predict(np.clip(test, -1e30, 1e30))).reshape(len(test), -1)
    else:
        name, said = "ridge regression on moments and extents", _ridge(x, y, test)
    total = np.square(truth - truth.mean(0)).sum(0)
    within = np.square(truth - said).sum(0)
    r2 = float(np.where(total > 0, 1 - within / np.where(total > 0, total, 1), within == 0).mean())
    return Peer(name, None, len(y), round(time.perf_counter() - start, 2), r2)


def _ridge(x: Table, y: NDArray[np.float64], test: Table) -> NDArray[np.float64]:
    mean, spread = x.mean(0), x.std(0)
    spread[spread == 0] = 1
    a, b = (x - mean) / spread, (test - mean) / spread
    gram = a.T.astype(np.float64) @ a + np.eye(a.shape[1])
    return np.asarray(b @ np.linalg.solve(gram, a.T @ y))


def _described(dataset: CloudDataset, chosen: torch.Tensor, normalise: Transform) -> Table:
    order = chosen[dataset.sizes[chosen].argsort(stable=True)]  # clouds of like sizes together
    widest = max(1, int(dataset.sizes[chosen].max()))
    parts = [
        describe(batch.points, batch.weights, placed=True)
        for some in torch.split(order, max(1, min(_BATCH, _ROWS // widest)))
        for batch in [dataset.__getitems__(some.tolist()).map(normalise)]
    ]
    described = torch.cat(parts)
    table = torch.empty_like(described)
    table[torch.searchsorted(chosen, order)] = described  # back in the order of `chosen`, rising
    return np.asarray(table.numpy(), dtype=np.float32)


def _trees(x: Table, y: Labels, test: Table) -> Labels:
    from sklearn.ensemble import ExtraTreesClassifier

    with warnings.catch_warnings():  # of many classes of few clouds, once for each tree
        warnings.filterwarnings("ignore", "The number of unique classes is greater than")
        model = ExtraTreesClassifier(200, random_state=0).fit(np.clip(x, -1e30, 1e30), y)
    return np.asarray(model.predict(np.clip(test, -1e30, 1e30)), dtype=np.int64)


def _centroids(x: Table, y: Labels, test: Table) -> Labels:
    mean, spread = x.mean(0), x.std(0)
    spread[spread == 0] = 1
    classes = np.unique(y)
    means = np.stack([((x[y == label] - mean) / spread).mean(0) for label in classes])
    apart = ((((test - mean) / spread)[:, None] - means) ** 2).sum(-1)
    return np.asarray(classes[apart.argmin(1)], dtype=np.int64)
