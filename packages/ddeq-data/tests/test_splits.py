import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddeq_data import stratified_holdout, stratified_share

LAW = settings(max_examples=60, deadline=None, derandomize=True)
LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=80)


@LAW
@given(labels=LABELS, seed=st.integers(-9, 9), data=st.data())
def test_each_class_gives_its_share(labels, seed, data):
    count = data.draw(st.integers(0, len(labels)))
    table = torch.tensor(labels)
    chosen = stratified_holdout(table, count, seed)
    assert len(chosen) == count
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    for label in set(labels):
        share = labels.count(label) * count / len(labels)
        assert abs(int((table[chosen] == label).sum()) - share) < 1


def test_it_is_fixed_for_ever():
    # Recorded once: another result would change the splits of published data sets.
    fixed = [11, 12, 13, 14, 15, 21, 25, 28]
    labels = torch.arange(40) % 3
    assert stratified_holdout(labels, 8, 0).tolist() == fixed
    assert stratified_holdout(labels, 8, 1).tolist() != fixed


def test_a_class_does_not_depend_on_the_order_of_the_others():
    labels = torch.tensor([0, 1] * 20)
    chosen = stratified_holdout(labels, 10, 0)
    swapped = stratified_holdout(1 - labels, 10, 0)
    assert torch.equal(chosen, swapped)


def test_a_count_out_of_range():
    with pytest.raises(ValueError, match=r"count must be in 0\.\.3, .* got 4"):
        stratified_holdout(torch.zeros(3, dtype=torch.int64), 4, 0)


@LAW
@given(labels=LABELS, share=st.floats(0, 1), seed=st.integers(-9, 9))
def test_a_share_takes_one_at_least_of_each_class_that_can_spare_it(labels, share, seed):
    table = torch.tensor(labels)
    chosen = stratified_share(table, share, seed)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    plain = stratified_holdout(table, int(len(labels) * share), seed)
    assert set(plain.tolist()) <= set(chosen.tolist())
    for label in set(labels):
        size, taken = labels.count(label), int((table[chosen] == label).sum())
        assert abs(taken - int(len(labels) * share) * size / len(labels)) < 1 or taken == 1
        if share > 0 and size >= 3:
            assert taken >= 1
        if share == 0:
            assert taken == 0


def test_a_share_out_of_range():
    with pytest.raises(ValueError, match=r"share must be in 0\.\.1, got 1\.5"):
        stratified_share(torch.zeros(3, dtype=torch.int64), 1.5, 0)


def test_a_share_is_not_rounded_down_twice():
    for share, count in ((0.29, 29), (0.57, 57), (0.295, 29)):
        assert len(stratified_share(torch.zeros(100, dtype=torch.int64), share, 0)) == count
