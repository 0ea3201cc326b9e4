import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddeq_data import SizeBuckets

LAW = settings(max_examples=60, deadline=None, derandomize=True)


@LAW
@given(
    sizes=st.lists(st.integers(0, 20), max_size=60),
    batch_size=st.integers(1, 9),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    pool=st.integers(1, 4),
    epoch=st.integers(0, 5),
)
def test_every_cloud_comes_once(sizes, batch_size, shuffle, drop_last, pool, epoch):
    sampler = SizeBuckets(
        torch.tensor(sizes, dtype=torch.int64),
        batch_size,
        shuffle=shuffle,
        seed=3,
        drop_last=drop_last,
        pool=pool,
    )
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    seen = [i for batch in batches for i in batch]
    assert len(set(seen)) == len(seen)
    if drop_last:
        assert all(len(batch) == batch_size for batch in batches)
        assert len(sizes) - len(seen) == len(sizes) % batch_size
    else:
        assert sorted(seen) == list(range(len(sizes)))
        assert sum(len(batch) != batch_size for batch in batches) <= 1


@LAW
@given(
    count=st.integers(1, 60), seed=st.integers(-5, 2**62), epoch=st.integers(0, 9), data=st.data()
)
def test_a_resumed_epoch_goes_on_exactly(count, seed, epoch, data):
    sizes = torch.arange(count) % 7
    first = SizeBuckets(sizes, 4, shuffle=True, seed=seed)
    first.set_epoch(epoch)
    whole = list(first)
    taken = data.draw(st.integers(0, len(whole)))
    source = iter(first)
    for _ in range(taken):
        next(source)
    state = first.state_dict()
    if taken:
        assert state == {"seed": seed, "epoch": epoch, "position": taken}
    resumed = SizeBuckets(sizes, 4, shuffle=True, seed=seed)
    resumed.load_state_dict({**state, "position": taken})
    resumed.set_epoch(epoch)  # as a loop over epochs does
    assert list(resumed) == whole[taken:]
    resumed.set_epoch(epoch + 1)
    first.set_epoch(epoch + 1)
    assert list(resumed) == list(first)
    assert resumed.epoch == epoch + 1


def test_order_is_a_function_of_seed_and_epoch():
    sizes = torch.arange(500) % 13

    def order(seed: int, epoch: int) -> list[list[int]]:
        sampler = SizeBuckets(sizes, 8, shuffle=True, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 0) == order(0, 0)
    orders = [order(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert all(a != b for i, a in enumerate(orders) for b in orders[:i])


def test_iterating_twice_repeats_the_epoch():
    sampler = SizeBuckets(torch.arange(20), 3, shuffle=True, seed=0)
    next(iter(sampler))  # a look at one batch takes nothing away
    assert list(sampler) == list(sampler)


def test_little_is_padded():
    sizes = torch.randint(30, 350, (6400,), generator=torch.Generator().manual_seed(0))

    def fill(**options: object) -> float:
        batches = list(SizeBuckets(sizes, 64, seed=0, **options))
        padded = sum(int(sizes[batch].max()) * len(batch) for batch in batches)
        return int(sizes.sum()) / padded

    assert fill(shuffle=True) > 0.95
    assert fill(shuffle=True, pool=1) < 0.65  # one batch to a pool is a plain shuffle
    assert fill(shuffle=False) >= fill(shuffle=True)


def test_without_shuffle_clouds_are_sorted_by_size_and_then_by_index():
    sampler = SizeBuckets(torch.tensor([3, 1, 3, 2, 1]), 2, shuffle=False, seed=0)
    assert list(sampler) == [[1, 4], [3, 0], [2]]
    sampler.set_epoch(5)
    assert list(sampler) == [[1, 4], [3, 0], [2]]


def test_dropped_clouds_are_not_always_the_largest():
    sizes = torch.arange(100)
    sampler = SizeBuckets(sizes, 8, shuffle=True, seed=0, drop_last=True)
    left_out = []
    for epoch in range(20):
        sampler.set_epoch(epoch)
        left_out += sorted(set(range(100)) - {i for batch in sampler for i in batch})
    assert 30 < sum(left_out) / len(left_out) < 70


def test_it_says_what_is_wrong():
    sizes = torch.arange(10)
    with pytest.raises(ValueError, match="batch_size and pool must be at least 1, got 0"):
        SizeBuckets(sizes, 0, shuffle=True, seed=0)
    with pytest.raises(ValueError, match=r"sizes must be \(C,\), got shape \(10, 1\)"):
        SizeBuckets(sizes[:, None], 2, shuffle=True, seed=0)
    sampler = SizeBuckets(sizes, 3, shuffle=True, seed=1)
    for state, message in [
        ({"seed": 1, "epoch": 0}, "expected the keys seed, epoch and position"),
        ({"seed": 2, "epoch": 0, "position": 0}, "belongs to seed 2, this sampler has seed 1"),
        ({"seed": 1, "epoch": 0, "position": 5}, r"position must be in 0\.\.4"),
    ]:
        with pytest.raises(ValueError, match=message):
            sampler.load_state_dict(state)
