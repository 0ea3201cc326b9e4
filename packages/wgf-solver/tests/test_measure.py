import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wgf_solver import Measure

LAW = settings(max_examples=30, deadline=None, derandomize=True)
positive = st.floats(1e-3, 1e3)


def test_uniform_when_no_weights_are_given():
    mu = Measure(torch.randn(2, 3, 5, 4))
    assert mu.full
    assert mu.batch_shape == (2, 3)
    assert mu.dim == 4
    assert mu.marks is None
    torch.testing.assert_close(mu.weights, torch.full((2, 3, 5), 0.2))
    assert mu.mask.all()


def test_weights_are_normalised_cast_and_expanded():
    points = torch.randn(3, 4, 2, dtype=torch.float64)
    counts = Measure(points, torch.tensor([1, 0, 3, 0]))
    expected = torch.tensor([0.25, 0.0, 0.75, 0.0], dtype=torch.float64)
    torch.testing.assert_close(counts.weights, expected.expand(3, 4))
    assert not counts.full
    mask = Measure(points, torch.tensor([True, False, True, False]))
    assert mask.mask.tolist() == [[True, False, True, False]] * 3


@LAW
@given(st.lists(positive, min_size=1, max_size=40), st.booleans())
def test_normalising_twice_changes_no_bit(values, double):
    weights = torch.tensor(values, dtype=torch.float64 if double else torch.float32)
    points = torch.zeros(len(values), 1, dtype=weights.dtype)
    once = Measure(points, weights)
    twice = Measure(points, once.weights)
    assert torch.equal(once.weights, twice.weights)
    assert abs(float(once.weights.sum()) - 1) < 1e-6


def test_the_gradient_of_weights_is_that_of_normalised_weights_wherever_they_sum_to():
    points = torch.randn(4, 2, dtype=torch.float64)
    for total in (1.0, 2.0):  # a sum of 1 takes another branch
        weights = torch.full((4,), total / 4, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(Measure(points, weights).mean().sum(), weights)
        expected = (points - points.mean(0)).sum(-1) / total
        torch.testing.assert_close(gradient, expected)


def test_empty_measures():
    mu = Measure(torch.randn(2, 3, 2), torch.tensor([[0.0, 0, 0], [1, 0, 0]]))
    assert mu.mask.any(-1).tolist() == [False, True]
    assert torch.equal(mu.mean()[0], torch.zeros(2))
    assert torch.equal(mu.spread(), torch.zeros(2))
    none = Measure(torch.zeros(2, 0, 3))
    assert not none.full
    assert none.mean().tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (([1.0, 2.0],), TypeError, "floating-point tensor"),
        ((torch.ones(3, 2, dtype=torch.int64),), TypeError, "torch.int64"),
        ((torch.randn(3),), ValueError, r"points\[:, None\]"),
        ((torch.randn(3, 2), torch.ones(2)), ValueError, "weights"),
        ((torch.randn(3, 2), torch.ones(4, 3)), ValueError, "weights"),
        ((torch.randn(3, 2), None, torch.ones(2, 1)), ValueError, "marks"),
    ],
)
def test_errors_say_what_came(arguments, error, text):
    with pytest.raises(error, match=text):
        Measure(*arguments)


def test_unknown_arguments_and_assignment_are_errors():
    with pytest.raises(TypeError):
        Measure(torch.randn(3, 2), weight=torch.ones(3))  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        Measure(torch.randn(3, 2)).points = torch.zeros(3, 2)  # type: ignore[misc]


def test_replace_does_not_carry_a_stale_full():
    mu = Measure(torch.randn(3, 2))
    assert not replace(mu, weights=torch.tensor([1.0, 0, 1])).full
    assert replace(mu, points=torch.zeros(3, 2)).mask.all()
    with pytest.raises((ValueError, TypeError), match="full"):
        replace(mu, full=True)


def test_full_is_a_promise_that_every_path_keeps():
    full, part = Measure(torch.randn(3, 2)), Measure(torch.randn(3, 2), torch.tensor([1.0, 0, 1]))
    for change in (
        lambda mu: mu.with_points(torch.zeros(3, 4)),
        lambda mu: mu.zero_padding(),
        lambda mu: mu.detach(),
        lambda mu: mu.to(dtype=torch.float64),
    ):
        assert change(full).full
        assert bool(change(full).mask.all())
        assert not change(part).full
    # Weights that were given may be padding, whatever their values are.
    assert not Measure(torch.randn(3, 2), torch.ones(3)).full
    assert not Measure.from_ragged([torch.randn(3, 2), torch.randn(1, 2)]).full


def test_from_ragged():
    clouds = [torch.randn(3, 2), torch.randn(1, 2), torch.randn(0, 2)]
    marks = [torch.randn(len(c), 1) for c in clouds]
    mu = Measure.from_ragged(clouds, marks=marks)
    assert mu.points.shape == (3, 3, 2)
    assert mu.mask.sum(-1).tolist() == [3, 1, 0]
    torch.testing.assert_close(mu.weights[0], torch.full((3,), 1 / 3))
    assert torch.equal(mu.points[1, :1], clouds[1])
    assert torch.equal(mu.marks[0], marks[0])
    weighted = Measure.from_ragged(clouds[:2], [torch.tensor([1.0, 1, 2]), torch.tensor([7.0])])
    assert weighted.weights.tolist() == [[0.25, 0.25, 0.5], [1.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("clouds", "weights", "text"),
    [
        ([], None, "at least one cloud"),
        ([torch.randn(2, 2), torch.randn(2, 3)], None, "one d"),
        ([torch.randn(2)], None, "n_b, d"),
        ([torch.randn(2, 2)], [torch.ones(3)], "one row for each point"),
    ],
)
def test_from_ragged_errors(clouds, weights, text):
    with pytest.raises(ValueError, match=text):
        Measure.from_ragged(clouds, weights)


def test_with_points_keeps_the_rest_and_checks_the_atoms():
    mu = Measure(torch.randn(2, 3, 2), torch.tensor([1.0, 2, 1]), torch.randn(3, 1))
    moved = mu.with_points(torch.zeros(2, 3, 5))
    assert moved.weights is mu.weights
    assert moved.marks is mu.marks
    with pytest.raises(ValueError, match="another number of atoms"):
        mu.with_points(torch.zeros(2, 4, 2))


@pytest.mark.parametrize("junk", [float("nan"), float("inf"), 1e30])
def test_padding_reaches_no_value_and_no_gradient(junk):
    points = torch.randn(4, 2, dtype=torch.float64)
    weights = torch.tensor([1.0, 2, 0, 1], dtype=torch.float64)
    clean = Measure(points[[0, 1, 3]], weights[[0, 1, 3]])
    padded = points.clone()
    padded[2] = junk
    padded.requires_grad_()
    mu = Measure(padded, weights, padded * 2)
    for size in (mu.mean(), mu.spread(), mu.spread(relative=True)):
        (gradient,) = torch.autograd.grad(size.sum(), padded, retain_graph=True)
        assert torch.equal(gradient[2], torch.zeros(2, dtype=torch.float64))
        assert gradient.isfinite().all()
    torch.testing.assert_close(mu.mean(), clean.mean())
    torch.testing.assert_close(mu.spread(), clean.spread())
    assert torch.equal(mu.zero_padding().points[2], torch.zeros(2, dtype=torch.float64))
    assert torch.equal(mu.zero_padding().marks[2], torch.zeros(2, dtype=torch.float64))


def test_mean_and_spread_by_hand():
    mu = Measure(torch.tensor([[0.0, 0], [4, 0], [0, 4]]), torch.tensor([2.0, 1, 1]))
    torch.testing.assert_close(mu.mean(), torch.tensor([1.0, 1]))
    variance = 0.5 * 2 + 0.25 * 10 + 0.25 * 10
    torch.testing.assert_close(mu.spread(), torch.tensor(variance).sqrt())
    torch.testing.assert_close(mu.spread(relative=True), torch.tensor(variance / 8).sqrt())
    dirac = Measure(torch.ones(3, 2))
    assert dirac.spread() == 0
    assert dirac.spread(relative=True) == 0
    assert Measure(torch.zeros(3, 2)).spread(relative=True) == 0
    assert Measure(torch.tensor([[-1.0], [1.0]])).spread(relative=True) == 1


@LAW
@given(st.integers(1, 6), st.lists(positive, min_size=6, max_size=6))
def test_mass_law(which, values):
    points = torch.randn(6, 2, dtype=torch.float64)
    weights = torch.tensor(values, dtype=torch.float64)
    i = which - 1
    split = Measure(
        torch.cat([points, points[i : i + 1]]),
        torch.cat([weights, weights[i : i + 1] / 2])
        * torch.ones(7).index_fill_(0, torch.tensor([i]), 0.5),
    )
    whole = Measure(points, weights)
    torch.testing.assert_close(split.mean(), whole.mean())
    torch.testing.assert_close(split.spread(), whole.spread())


def test_sample_draws_atoms_with_their_marks_by_weight():
    points = torch.arange(4.0)[:, None]
    mu = Measure(points.expand(3, 4, 1), torch.tensor([0.0, 1, 3, 0]), marks=points * 10)
    drawn = mu.sample(4000, torch.Generator().manual_seed(1))
    assert drawn.points.shape == (3, 4000, 1)
    assert drawn.full
    assert torch.equal(drawn.marks, drawn.points * 10)
    assert set(drawn.points.unique().tolist()) == {1.0, 2.0}
    torch.testing.assert_close(drawn.mean(), mu.mean(), atol=0.03, rtol=0)
    again = mu.sample(4000, torch.Generator().manual_seed(1))
    assert torch.equal(again.points, drawn.points)
    assert Measure(points).sample(5).points.shape == (5, 1)


def test_sample_passes_the_gradient_and_refuses_the_empty_measure():
    points = torch.randn(4, 2, requires_grad=True)
    Measure(points).sample(8).points.sum().backward()
    assert float(points.grad.sum()) == 16
    with pytest.raises(ValueError, match="empty measure"):
        Measure(torch.randn(2, 4, 2), torch.tensor([[1.0] * 4, [0.0] * 4])).sample(3)


def test_to_and_detach():
    mu = Measure(torch.randn(3, 2, requires_grad=True), torch.ones(3), torch.randn(3, 1))
    double = mu.to(dtype=torch.float64)
    assert {double.points.dtype, double.weights.dtype, double.marks.dtype} == {torch.float64}
    assert not mu.detach().points.requires_grad
    assert "3 atoms in dimension 2, marks 1" in repr(mu)


def test_negative_weights_are_refused_where_a_look_costs_nothing():
    with pytest.raises(ValueError, match=r"got -0.5 as the least of \(2, 3\)"):
        Measure(torch.zeros(2, 3, 1), torch.tensor([[1.0, 1, 1], [1, -0.5, 1]]))
    meta = Measure(torch.zeros(2, 3, 1, device="meta"), -torch.ones(3, device="meta"))
    assert meta.weights.device.type == "meta"  # no look
    inner = torch.func.vmap(lambda w: Measure(torch.zeros(3, 1), w).weights)(torch.ones(2, 3))
    torch.testing.assert_close(inner, torch.full((2, 3), 1 / 3))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_without_a_finite_total_spoil_their_own_measure_only(bad):
    mu = Measure(torch.zeros(2, 3, 1), torch.tensor([[1.0, 1, 2], [bad, bad, 1]]))
    assert mu.weights[0].tolist() == [0.25, 0.25, 0.5]
    assert mu.weights[1].isnan().all()


@pytest.mark.parametrize(
    ("part", "error", "message"),
    [
        ([0.5, 0.5], TypeError, "must be a tensor of real numbers; got list"),
        (torch.ones(2, dtype=torch.complex64), TypeError, "got torch.complex64"),
        (torch.tensor(1.0), ValueError, "must have at least . dimension"),
        (torch.ones(3, 2, device="meta"), ValueError, "must be on the device of the points, cpu"),
    ],
)
def test_weights_and_marks_that_are_none(part, error, message):
    for name in ("weights", "marks"):
        with pytest.raises(error, match=message):
            Measure(torch.zeros(3, 2, 2), **{name: part})


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_expand_is_a_view_for_every_index(batch):
    mu = Measure(torch.randn(4, 2), torch.rand(4), torch.randn(4, 1))
    wide = mu.expand(batch)
    assert wide.batch_shape == batch
    for mine, theirs in ((wide.points, mu.points), (wide.weights, mu.weights)):
        assert mine.data_ptr() == theirs.data_ptr()
    assert wide.marks is not None
    torch.testing.assert_close(wide.mean(), mu.mean().expand(*batch, 2))
    assert Measure(torch.zeros(4, 2)).expand(batch).full
    with pytest.raises(ValueError, match=r"batch shape \(2,\) does not expand to \(3,\)"):
        Measure(torch.zeros(2, 4, 2)).expand((3,))


@pytest.mark.parametrize("low", [torch.float16, torch.bfloat16])
def test_counts_that_a_half_precision_does_not_hold(low):
    mu = Measure(torch.zeros(3, 1, dtype=low), torch.tensor([70000, 70000, 1]))
    assert mu.weights.dtype == low
    torch.testing.assert_close(
        mu.weights, torch.tensor([0.5, 0.5, 1 / 140001]).to(low), rtol=1e-2, atol=0
    )
    huge = Measure(torch.zeros(3, 1), torch.tensor([2e38, 2e38, 1e38]))
    torch.testing.assert_close(huge.weights, torch.tensor([0.4, 0.4, 0.2]))


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 4.0] * 100])
def test_in_another_precision_the_mass_is_one_again(weights):
    given = None if weights is None else torch.tensor(weights)
    rough = Measure(torch.full((300, 1), 100.0).bfloat16(), given)
    mu = rough.to(dtype=torch.float64)
    assert abs(float(mu.weights.sum()) - 1) < 1e-14
    torch.testing.assert_close(mu.mean(), torch.tensor([100.0]).double())
    assert mu.full == rough.full
    same = rough.to(dtype=torch.bfloat16)
    assert torch.equal(same.weights, rough.weights)


def test_from_ragged_of_several_types_loses_nothing():
    exact = 1 / 3
    clouds = [torch.zeros(2, 1), torch.full((1, 1), exact, dtype=torch.float64)]
    weights = [torch.tensor([1, 2]), torch.tensor([0.5])]
    marks = [torch.tensor([[1], [300]]), torch.tensor([[0.5]])]
    for order in (1, -1):
        mu = Measure.from_ragged(clouds[::order], weights[::order], marks[::order])
        second = 1 if order == 1 else 0
        assert mu.points.dtype == torch.float64
        assert float(mu.points[second, 0, 0]) == exact
        assert torch.allclose(mu.weights[1 - second], torch.tensor([1 / 3, 2 / 3]).double())
        assert mu.marks[1 - second, 1] == 300
        assert mu.marks[second, 0] == 0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision_are_normalised_and_normalising_again_changes_no_bit(dtype):
    # The tolerance for a sum that counts as 1 was so wide that a fifth of the mass fitted into it.
    rounded = torch.finfo(dtype).eps
    for n in (3, 100, 1000):
        weights = torch.rand(n) + 0.5
        for total in (0.8, 0.98, 1.0, 1.1):
            points = torch.zeros(n, 1, dtype=dtype)
            mu = Measure(points, total * weights / weights.sum())
            assert abs(float(mu.weights.double().sum()) - 1) <= rounded
            again = Measure(points, mu.weights)
            assert torch.equal(again.weights, mu.weights)
