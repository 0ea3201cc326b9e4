import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset

from ddeq_data import (
    CloudDataset,
    Compose,
    Digits,
    Jitter,
    PackedClouds,
    SizeBuckets,
    ZScore,
    collate,
)


@pytest.fixture
def dataset(ragged):
    clouds = PackedClouds.from_clouds(ragged([3, 0, 5, 1]))
    return CloudDataset(clouds, ["a", "b", "c", "d"])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_delivers_every_cloud(workers):
    digits = Digits("test", transform=ZScore())
    sampler = SizeBuckets(digits.sizes, 64, shuffle=True, seed=0)
    loader = DataLoader(digits, batch_sampler=sampler, collate_fn=collate, num_workers=workers)
    batches = list(loader)
    assert len(batches) == len(loader) == 6
    order = [i for batch in sampler for i in batch]
    assert torch.equal(torch.cat([batch.labels for batch in batches]), digits.labels[order])
    assert torch.equal(torch.cat([batch.sizes for batch in batches]), digits.sizes[order])


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # where there is one core
@pytest.mark.parametrize(("context", "workers"), [("fork", 2), ("spawn", 1)])
def test_workers_deliver_the_same_batches_in_the_same_order(context, workers):
    digits = Digits("test", transform=ZScore())
    sampler = SizeBuckets(digits.sizes, 50, shuffle=True, seed=4)
    alone = DataLoader(digits, batch_sampler=sampler, collate_fn=collate)
    helped = DataLoader(
        digits,
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=workers,
        multiprocessing_context=context,
    )
    for expected, batch in zip(alone, helped, strict=True):
        assert torch.equal(batch.points, expected.points)
        assert torch.equal(batch.weights, expected.weights)
        assert torch.equal(batch.labels, expected.labels)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_pins_memory(workers):
    digits = Digits("test")
    loader = DataLoader(
        digits, batch_size=64, collate_fn=collate, num_workers=workers, pin_memory=True
    )
    assert all(batch.points.is_pinned() for batch in loader)


def test_subsets_and_unions_work_in_a_loader(dataset):
    subset = Subset(dataset, [2, 0])
    union = ConcatDataset([dataset, subset])
    (batch,) = DataLoader(union, batch_size=6, collate_fn=collate)
    assert batch.labels.tolist() == [0, 1, 2, 3, 2, 0]
    assert torch.equal(batch.points[4], batch.points[2])
    (batch,) = DataLoader(subset, batch_size=6, collate_fn=collate)
    assert batch.labels.tolist() == [2, 0]


def test_indices(dataset):
    assert [cloud.label for cloud in dataset] == [0, 1, 2, 3]
    assert torch.equal(dataset[-2].points, dataset[np.int64(2)].points)
    batch = dataset.__getitems__([-1, 0])
    assert batch.labels.tolist() == [3, 0]
    assert torch.equal(batch.points[0, :1], dataset[3].points)
    assert batch.sizes.tolist() == [1, 3]
    for bad in (4, -5):
        with pytest.raises(IndexError, match=rf"index must be in 0\.\.3, got {bad}"):
            dataset[bad]
        with pytest.raises(IndexError, match=r"indices must be in 0\.\.3"):
            dataset.__getitems__([0, bad])
    with pytest.raises(TypeError):
        dataset[0:2]


def test_an_empty_cloud_has_weights_0(dataset):
    empty = dataset[1]
    assert empty.points.shape == (0, 2)
    assert empty.weights.shape == (0,)
    batch = dataset.__getitems__([1])
    assert batch.points.shape == (1, 1, 2)
    assert not batch.weights.any()
    batch.check()


def test_a_random_transform_belongs_in_the_training_loop(ragged):
    clouds = PackedClouds.from_clouds(ragged([3]))
    for transform in (Jitter(0.1), Compose([ZScore(), Jitter(0.1)])):
        with pytest.raises(ValueError, match=r"no random transform.*batch.map\(transform, gen"):
            CloudDataset(clouds, ["a"], transform)
    batch = CloudDataset(clouds, ["a"]).__getitems__([0])
    moved = batch.map(Jitter(0.1), torch.Generator().manual_seed(0))
    assert torch.equal(moved.labels, batch.labels)
    assert not torch.equal(moved.points, batch.points)


def test_any_callable_may_transform(ragged):
    def halve(points, weights, generator=None):
        return points / 2, weights

    clouds = PackedClouds.from_clouds(ragged([3]))
    points = CloudDataset(clouds, ["a"], halve)[0].points
    assert torch.equal(points, clouds.cloud(0).points / 2)


def test_labels_need_classes(ragged):
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.1, .* got 0\.\.2"):
        CloudDataset(PackedClouds.from_clouds(ragged([1, 1, 1])), ["a", "b"])


@pytest.mark.parametrize(
    ("points", "weights", "said"),
    [
        ([1.0, 2.0], [0.5, 1.5], "cloud 1 has weights that sum to 2, not to 1"),
        ([1.0, 2.0], [1.5, -0.5], "cloud 1 has a weight that is negative or not finite, point 1"),
        (
            [1.0, 2.0],
            [0.5, math.nan],
            "cloud 1 has a weight that is negative or not finite, point 1",
        ),
        ([math.inf, 2.0], [0.5, 0.5], "cloud 1 has a point that is not finite, point 0"),
    ],
)
def test_what_is_no_measure_is_refused(points, weights, said):
    clouds = PackedClouds(
        torch.tensor([[0.0], *[[x] for x in points]]),
        torch.tensor([1.0, *weights]),
        torch.tensor([0, 1, 3]),
        torch.zeros(2, dtype=torch.int64),
    )
    with pytest.raises(ValueError, match=said):
        CloudDataset(clouds, ["a"])


def test_what_weighs_nothing_may_be_anything():
    clouds = PackedClouds(
        torch.tensor([[0.0], [math.nan], [math.inf]]),
        torch.tensor([1.0, 0.0, 0.0]),
        torch.tensor([0, 2, 3, 3]),
        torch.zeros(3, dtype=torch.int64),
    )
    batch = CloudDataset(clouds, ["a"]).__getitems__([0, 1, 2]).check()
    assert batch.sizes.tolist() == [1, 0, 0]


def test_joined_sets_keep_their_licence_and_their_kind(ragged):
    assert Digits("train").joined(Digits("validation")).licence == Digits.licence
    plain = CloudDataset(PackedClouds.from_clouds(ragged([2])), ["a"])
    assert plain.joined(plain).licence is None
    kinds = [
        replace(PackedClouds.from_clouds(ragged([2])), targets=targets)
        for targets in (torch.zeros(1, 1), torch.zeros(2, dtype=torch.int64))
    ]
    with pytest.raises(ValueError, match="expected targets of one kind"):
        kinds[0].joined(kinds[1])
