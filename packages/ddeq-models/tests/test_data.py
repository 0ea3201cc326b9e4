from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ddeq_data import Compose, ToFloat32, UnitSphere, ZScore
from ddeq_models import PRESETS, RECIPES, DataConfig, UserError
from ddeq_models.data import (
    DATA_SETS,
    augmentation,
    batches,
    generator_of,
    normaliser,
    open_split,
)


def test_every_preset_has_a_recipe_for_every_data_set() -> None:
    assert set(RECIPES) == {(data, preset) for data in DATA_SETS for preset in PRESETS}
    assert all(recipe.data.name == data for (data, _), recipe in RECIPES.items())


def test_normalisers() -> None:
    single = ToFloat32(centre=True)  # as what follows centres all clouds
    assert normaliser(DataConfig(normalise="z-score")) == Compose([single, ZScore()])
    assert normaliser(DataConfig(normalise="unit-sphere")) == Compose([single, UnitSphere()])
    assert normaliser(DataConfig(normalise="none")) == ToFloat32()


def test_augmentation_is_off_unless_asked_for() -> None:
    points, weights = torch.randn(2, 5, 2), torch.full((2, 5), 0.2)
    same, kept = augmentation(DataConfig())(points, weights, None)
    assert torch.equal(same, points)
    assert torch.equal(kept, weights)


@pytest.mark.parametrize(
    "option", ["rotate", "scale", "stretch", "shear", "shift", "jitter", "drop"]
)
def test_each_augmentation_changes_clouds_by_its_own_size(option: str) -> None:
    points = torch.randn(8, 20, 2, generator=torch.Generator().manual_seed(0))
    weights = torch.full((8, 20), 0.05)
    change = {}
    for size in (0.05, 0.5):
        augment = augmentation(replace(DataConfig(), **{option: size}))
        moved, weighed = augment(points, weights, generator_of(0, 0))
        again, _ = augment(points, weights, generator_of(0, 0))
        other, _ = augment(points, weights, generator_of(0, 1))
        assert torch.equal(moved, again)
        assert not torch.equal(moved, other)
        change[size] = float((moved - points).norm() + (weighed - weights).norm())
        torch.testing.assert_close(weighed.sum(-1), torch.ones(8))
    assert 0 < 2 * change[0.05] < change[0.5]


def test_steps_and_seeds_have_their_own_chance() -> None:
    draws = {
        tuple(torch.rand(2, generator=generator_of(seed, step)).tolist())
        for seed in range(10)
        for step in range(10)
    }
    assert len(draws) == 100


def test_batches_hold_every_cloud_once() -> None:
    dataset = open_split(DataConfig("digits"), "validation")
    loader, sampler = batches(dataset, 50, seed=3)
    orders = []
    for epoch in (1, 2):
        sampler.set_epoch(epoch)
        orders.append([batch.labels for batch in loader])
        assert [len(labels) for labels in orders[-1]].count(50) == 3
        assert torch.equal(torch.cat(orders[-1]).sort().values, dataset.labels.sort().values)
    assert not torch.equal(torch.cat(orders[0]), torch.cat(orders[1]))


def test_mnist_from_files(mnist: Path) -> None:
    config = DataConfig("mnist", root=str(mnist))
    sizes = [len(open_split(config, split)) for split in ("train", "validation", "test")]
    assert sizes == [44, 4, 20]
    uniform = open_split(config, "test")[3].weights
    weighted = open_split(replace(config, weighted=True), "test")[3].weights
    assert len(uniform.unique()) == 1 < len(weighted.unique())
    with pytest.raises(UserError, match="--root"):
        open_split(DataConfig("mnist"), "test")
