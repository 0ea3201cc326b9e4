import pytest
import torch
from scipy import stats

from ddeq_data.counters import mix, normal, uniform


def test_mix_is_splitmix64():
    # The first outputs of the reference generator for the seeds 0 and 1234567.
    known = {
        0: [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F],
        1234567: [6457827717110365317, 3203168211198807973, 9817491932198370423],
    }
    for seed, values in known.items():
        bits = mix(torch.tensor(seed), torch.arange(3))
        assert [int(b) % 2**64 for b in bits] == values


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_and_normal_follow_their_laws(dtype):
    counter = torch.arange(20_000)
    flat = uniform(torch.tensor(7), counter, dtype)
    assert flat.dtype == dtype
    assert flat.min() >= 0
    assert flat.max() < 1
    assert stats.kstest(flat.numpy(), "uniform").pvalue > 0.01
    assert stats.kstest(normal(torch.tensor(7), counter, dtype).numpy(), "norm").pvalue > 0.01


def test_neighbouring_seeds_and_counters_are_uncorrelated():
    draws = normal(torch.arange(200)[:, None], torch.arange(200), torch.float64)
    table = draws.flatten()
    for shifted in (draws.roll(1, 0).flatten(), draws.roll(1, 1).flatten()):
        assert abs(stats.pearsonr(table.numpy(), shifted.numpy()).statistic) < 0.02


def test_seed_and_counter_broadcast():
    seeds, counter = torch.arange(3)[:, None], torch.arange(4)
    both = mix(seeds, counter)
    assert both.shape == (3, 4)
    assert both[2, 1] == mix(torch.tensor(2), torch.tensor(1))
