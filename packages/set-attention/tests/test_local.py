"""Local structure: sampling, neighbours and groups against oracles; what the pool computes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional as F

import set_attention as sa
from set_attention import laws, measures
from set_attention.local import grouping, neighbours, places, sampling


def greedy(points: np.ndarray, weights: np.ndarray, count: int) -> list[int]:
    """Farthest-point sampling, written down."""
    there = np.flatnonzero(weights > 0)
    if not len(there):
        return [-1] * count
    mean = (weights[there, None] * points[there]).sum(0) / weights.sum()
    chosen = [int(there[((points[there] - mean) ** 2).sum(-1).argmax()])]
    while len(chosen) < count:
        apart = ((points[there, None] - points[None, chosen]) ** 2).sum(-1).min(-1)
        chosen.append(int(there[apart.argmax()]) if apart.max() > 0 else -1)
    return chosen


@pytest.mark.parametrize("dim", [1, 2, 3, 11])
def test_farthest_points_are_those_of_the_definition(normal, ragged, dim) -> None:
    points = normal(4, 5, dim)
    points[2, 1] = torch.nan  # padding
    for count in (1, 3, 6):
        chosen = sa.farthest_points(points, ragged, count=count)
        for i in range(4):
            assert chosen[i].tolist() == greedy(points[i].numpy(), ragged[i].numpy(), count)
    assert chosen[2].tolist()[2:] == [-1] * 4
    full = sa.farthest_points(points[0], count=2)
    assert full.tolist() == greedy(points[0].numpy(), np.ones(5), 2)
    assert sa.farthest_points(points[:, :0], count=2).eq(-1).all()


def test_farthest_points_cover_a_grid_and_start_at_its_edge() -> None:
    grid = torch.cartesian_prod(torch.arange(5.0), torch.arange(5.0))
    first = grid[sa.farthest_points(grid, count=4)]
    assert sorted(map(tuple, first.tolist())) == [(0, 0), (0, 4), (4, 0), (4, 4)]
    nine = grid[sa.farthest_points(grid, count=9)]
    assert float(torch.cdist(grid, nine).amin(1).max()) < 2


def test_rounding_does_not_choose_the_first_point_of_a_symmetric_shape() -> None:
    half = torch.arange(1, 24, dtype=torch.float64) / 16
    line = 1000 + torch.cat([half, -half])[:, None]
    weights = (0.1 + torch.linspace(1, 3, 23, dtype=torch.float64).sin()).repeat(2)
    starts = set()
    for rows in range(40):  # of padding, with which the sums are made in another order
        points = torch.cat([line, line.new_zeros(rows, 1)])
        mass = torch.cat([weights, weights.new_zeros(rows)])
        starts.add(int(sa.farthest_points(points, mass, count=1)))
    assert len(starts) == 1


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), grid=st.booleans(), leading=st.sampled_from([(), (2, 2)]))
def test_what_is_chosen_does_not_depend_on_the_order_nor_on_padding_nor_company(
    seed: int, grid: bool, leading: tuple[int, ...]
) -> None:
    """On a grid, where nearly all is equally far, too."""
    chance = torch.Generator().manual_seed(seed)
    points = torch.randn(*leading, 12, 2, generator=chance)
    if grid:  # no place twice
        cells = torch.rand(*leading, 16, generator=chance).argsort(-1)[..., :12]
        points = torch.stack([cells // 4, cells % 4], -1) / 7
    weights = torch.ones(points.shape[:-1])
    weights[..., 9:] = 0
    order = torch.rand(points.shape[:-1], generator=chance).argsort(-1)

    def groups(points: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        found = sa.group_points(points, weights, groups=5, neighbours=4, radius=1.5)
        several = found.index.argsort(-1)  # neighbours come in no order
        members = found.neighbours(points).take_along_dim(several[..., None], -2)
        return found.places, found.masses, found.middles(points), members.sum(-2)

    expected = groups(points, weights)
    assert torch.equal(expected[0], expected[2])
    moved = points.take_along_dim(order[..., None], -2), weights.take_along_dim(order, -1)
    padded = (
        torch.cat([torch.full_like(points, torch.nan), points], -2),
        torch.cat([torch.zeros_like(weights), weights], -1),
    )
    for other in (moved, padded):
        for a, b in zip(groups(*other), expected, strict=True):
            torch.testing.assert_close(a, b)
    if leading:
        alone = groups(points[1, 0], weights[1, 0])
        assert all(torch.equal(a, b[1, 0]) for a, b in zip(alone, expected, strict=True))


@pytest.mark.parametrize("dim", [1, 3, 12])
@pytest.mark.parametrize("pairs", [1, 300, 2**18])
def test_nearest_points_are_those_of_a_tree(normal, monkeypatch, dim, pairs) -> None:
    monkeypatch.setattr(neighbours, "_PAIRS", pairs)
    points, queries = normal(2, 40, dim) + 1e3, normal(2, 7, dim) + 1e3
    weights = normal(2, 40).clamp(min=-0.5) + 0.5  # a third is padding
    index, near = sa.nearest_points(queries, points, weights, count=6)
    assert torch.equal(near, weights.gather(-1, index.flatten(1)).view(index.shape))
    for i in range(2):
        there = np.flatnonzero(weights[i] > 0)
        apart, right = cKDTree(points[i, there]).query(queries[i], 6)
        assert np.array_equal(index[i].sort(-1).values, np.sort(there[right], -1))
        every = np.sort(apart, None)
        widest = 10 + int(np.diff(every[10:32]).argmax())  # where rounding decides nothing
        radius = float(every[widest : widest + 2].mean())
        _, within = sa.nearest_points(queries[i], points[i], weights[i], count=6, radius=radius)
        assert np.array_equal((within > 0).sum(-1), (apart <= radius).sum(-1))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(96, 300),
    count=st.sampled_from([1, 2, 3, 9]),
    kind=st.sampled_from(["any", "grid", "heap", "many coordinates"]),
)
def test_blocks_of_many_points_change_nothing(seed: int, n: int, count: int, kind: str) -> None:
    """Of many points those that are looked through are few, and the neighbours are the same."""
    chance = torch.Generator().manual_seed(seed)
    points = torch.rand(3, n, 9 if kind == "many coordinates" else 2, generator=chance)
    if kind == "grid":
        points = (12 * points).round() / 12
    if kind == "heap":  # a few places hold nearly all
        points = torch.where(torch.rand(3, n, 1, generator=chance) < 0.9, points[:, :1], points)
    weights = (torch.rand(3, n, generator=chance) - 0.2 * torch.arange(3.0)[:, None]).clamp(min=0)
    weights[2, 2:] *= torch.randint(2, (1,), generator=chance)  # two points are all there is
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_MANY", 1)
        found = sa.nearest_points(points, points, weights, count=count)
        patch.setattr(neighbours, "_MANY", n)
        expected = sa.nearest_points(points, points, weights, count=count)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.sort(-1).values, other.sort(-1).values)


@pytest.mark.parametrize(("n", "dim"), [(37, 33), (101, 33), (61, 64), (35, 9), (203, 17)])
def test_with_many_coordinates_equal_points_are_equally_far(normal, n, dim) -> None:
    """A product of matrices sums in another order at its edges, and by that told them apart."""
    owner = normal(n).argsort() % 3
    # The third: what a processor may leave of equal rows, and this one perhaps does not.
    for centre, left in ((0, 0), (1e6, 0), (0, 1e-7)):
        rows = (centre + normal(3, dim, dtype=torch.float32))[owner].double()
        rows = rows + left * normal(n, dim)
        padded = torch.cat([rows, rows[:1]]), torch.tensor([1.0] * n + [0])
        index, _ = sa.nearest_points(rows, *padded, count=4)
        order = sa.in_order(rows)
        first = [order[owner[order] == kind][:4].sort().values for kind in range(3)]
        assert torch.equal(index.sort(-1).values, torch.stack(first)[owner])


def test_ties_at_the_cut_go_to_a_place_and_not_to_a_row() -> None:
    ring = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    for order in ([0, 1, 2, 3], [2, 0, 3, 1], [3, 2, 1, 0]):
        index, _ = sa.nearest_points(torch.zeros(1, 2), ring[order], count=2)
        assert sorted(ring[order][index[0]].tolist()) == [[-1, 0], [0, -1]]  # -√2 and -√3 along it


def test_a_point_at_the_radius_is_within_it() -> None:
    line = torch.arange(5.0)[:, None]
    for radius, within in ((2.0, 3), (2 * (1 - 1e-5), 3), (2 * (1 - 1e-3), 2), (1.5, 2)):
        _, near = sa.nearest_points(line[:1], line, count=4, radius=radius)
        assert near.sum() == within


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    dim=st.sampled_from([1, 2, 3]),
    unit=st.floats(1e-3, 1e3),
    shift=st.floats(-5, 5),
)
def test_rounding_decides_nothing_on_a_grid(seed: int, dim: int, unit: float, shift: float) -> None:
    """Where many are equally far: scaled, moved or in another precision, the same are chosen."""
    chance = torch.Generator().manual_seed(seed)
    cells = torch.cartesian_prod(*[torch.arange(60 // dim**3 + 2.0)] * dim).view(-1, dim).double()
    cells = cells[torch.rand(len(cells), generator=chance).argsort()[:90]]
    mass = torch.rand(len(cells), generator=chance) + 0.1
    expected = sa.group_points(cells, mass, groups=20, neighbours=7, radius=3.0)
    moved = unit * (cells + shift)
    noise = unit * 1e-6 * torch.randn(cells.shape, generator=chance, dtype=torch.float64)
    for points in (moved, moved.float(), moved + noise):
        found = sa.group_points(points, mass, groups=20, neighbours=7, radius=3 * unit)
        assert torch.equal(found.centres, expected.centres)
        assert torch.equal(found.masses, expected.masses)
        assert torch.equal(found.index.sort(-1).values, expected.index.sort(-1).values)
        assert torch.equal(found.weights.sort(-1).values, expected.weights.sort(-1).values)


def test_what_differs_by_more_than_rounding_is_told_apart() -> None:
    """A part in 2,000 of the square is no rounding, and a part in 10,000 is."""
    for part, told in ((5e-4, True), (1e-4, False)):
        far = 1 + part / 2
        line = torch.tensor([[[-1.0], [0.0], [far]]], dtype=torch.float64)
        weights = torch.tensor([[1.0, 1e9, 1.0]], dtype=torch.float64)  # the mean is at 0
        assert int(sa.farthest_points(line, weights, count=1)) == (2 if told else 0)
        ends = torch.tensor([[[-1.0], [far], [0.0]]], dtype=torch.float64)
        weights = torch.tensor([[1.0, 1e9, 1.0]], dtype=torch.float64)
        chosen, owner = sampling.farthest(ends, weights, 2)
        assert chosen.tolist() == [[0, 1]]
        assert owner.tolist() == [[0, 1, 0]]  # of equally near ones the first
        near, _ = sa.nearest_points(line[:, 1:2], -line, count=2)  # in order the farther is first
        assert sorted(near.flatten().tolist()) == ([0, 1] if told else [1, 2])


def test_a_point_between_two_middles_is_of_the_first() -> None:
    line = torch.tensor([[0.0], [2.0], [1.0]])
    first = int(sa.farthest_points(line, torch.tensor([1.0, 3.0, 1.0]), count=1))
    assert first == 0
    groups = sa.group_points(line, torch.tensor([1.0, 3.0, 1.0]), groups=2, neighbours=1)
    assert groups.masses.tolist() == [2.0, 3.0]


def test_too_few_points_are_all_neighbours_and_none_are_none(normal, ragged) -> None:
    points = normal(4, 5, 2)
    index, near = sa.nearest_points(points, points, ragged, count=9)
    assert index.shape == near.shape == (4, 5, 5)
    assert (index.sort(-1).values == torch.arange(5)).all()
    torch.testing.assert_close(near.sort(-1).values[0], ragged[0].expand(5, 5))
    assert (near[3] == 0).all()
    assert sa.nearest_points(points, points[:, :0], count=2)[0].shape == (4, 5, 0)
    groups = sa.group_points(points, ragged, groups=6, neighbours=9)
    assert groups.index.shape == (4, 6, 5)
    assert (groups.masses > 0).sum(-1).tolist() == [5, 5, 2, 0]
    torch.testing.assert_close(groups.masses.sum(-1), ragged.sum(-1))
    torch.testing.assert_close(groups.shares().sum((-1, -2)), ragged.sum(-1))
    assert (groups.weights[groups.masses == 0] == 0).all()
    empty = sa.group_points(points[:, :0], groups=3, neighbours=2)
    assert (empty.masses == 0).all()
    assert empty.neighbours(normal(4, 0, 7)).shape == (4, 3, 1, 7)


def test_the_mass_of_a_group_is_what_is_nearest_to_it(normal, ragged) -> None:
    points = normal(4, 5, 3)
    groups = sa.group_points(points, ragged, groups=2, neighbours=2)
    chosen = sa.farthest_points(points, ragged, count=2)
    for i in range(3):
        middles = points[i, chosen[i]]
        owner = torch.cdist(points[i], middles).argmin(-1)
        for c in range(2):
            torch.testing.assert_close(groups.masses[i, c], ragged[i][owner == c].sum())
            torch.testing.assert_close(groups.places[i, c], middles[c])
            offset = points[i, groups.index[i, c]] - middles[c]
            offset = torch.where(groups.weights[i, c, :, None] > 0, offset, 0)
            torch.testing.assert_close(groups.offsets[i, c], offset)


def test_merging_is_the_same_measure_with_no_place_twice(normal) -> None:
    x, points = normal(3, 6, 4), normal(3, 6, 2)
    weights = normal(3, 6).abs()
    points[0, 4], points[0, 5], points[1, 0] = points[0, 1], points[0, 1], points[1, 3]
    points[0, 0], weights[0, 0] = points[0, 1], 0  # padding is no place
    weights[2] = 0
    merged = sa.merge_points(x, points, weights)
    assert (merged[2] > 0).sum(-1).tolist() == [3, 5, 0]
    for i in range(2):
        for kernel in (1.0, 3.0):  # integrals of features against functions of places
            test = [
                (w[i, :, None] * f[i] * (kernel * p[i]).sin().prod(-1, keepdim=True)).sum(0)
                for f, p, w in ((x, points, weights), merged)
            ]
            torch.testing.assert_close(*test)
    again = sa.merge_points(*merged)
    assert all(torch.equal(a, b) for a, b in zip(again, merged, strict=True))
    known, found = (
        vars(sa.group_points(*merged[1:], groups=4, neighbours=3, merged=way))
        for way in (True, False)
    )
    assert all(torch.equal(known[name], found[name]) for name in known)
    uniform = sa.merge_points(x[0, 1:], points[0, 1:])
    assert uniform[2].tolist() == [*uniform[2].tolist()[:3], 0, 0]
    assert sorted(uniform[2].tolist()) == [0, 0, 1, 1, 3]
    assert sa.merge_points(x[:, :0], points[:, :0])[2].shape == (3, 0)


def test_masses_are_counted_in_float32_at_least() -> None:
    n = 3000  # float16 counts by ones to 2048, bfloat16 to 256
    for dtype in (torch.float16, torch.bfloat16):
        x, points = torch.ones(n, 2, dtype=dtype), torch.zeros(n, 2, dtype=dtype)
        rows, _, weights = sa.merge_points(x, points)
        assert float(weights[0]) == n
        torch.testing.assert_close(rows[0].float(), torch.ones(2), rtol=0.01, atol=0)
        groups = sa.group_points(points, 30 * x[:, 0], groups=1, neighbours=2)
        assert float(groups.masses[0]) == 30 * n


def test_only_ratios_of_masses_matter_however_large_or_small(normal, ragged) -> None:
    x, points = normal(4, 5, 3).float(), normal(4, 5, 2).float()
    points[1, 3] = points[1, 2]
    module = sa.LocalPool(3, 2, 3, 3).eval()
    expected, spots, masses = module(x, points, ragged.float())
    for scale in (4.5e38, 1e30, 1e-30):  # of the first no sum is finite
        weights = (ragged * scale).float()
        tokens, places, scaled = module(x, points, weights)
        torch.testing.assert_close(tokens, expected)
        assert torch.equal(places, spots)
        parts = scaled / scaled.amax(-1, keepdim=True).clamp(min=1e-37)
        whole = masses.amax(-1, keepdim=True).clamp(min=1e-37)
        torch.testing.assert_close(parts, masses / whole)


def test_merging_looks_for_nothing_where_the_host_may_not_look(normal, monkeypatch) -> None:
    x, points = normal(2, 5, 3), normal(2, 5, 2)
    expected = sa.merge_points(x, points)
    for module in (measures, places):
        monkeypatch.setattr(module, "host_may_look", lambda tensor: False)
    for a, b in zip(sa.merge_points(x, points), expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("pool", ["max", "mean"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_formula(normal, ragged, pool, activation) -> None:
    torch.manual_seed(0)
    options = {"before": 0, "after": 0, "pool": pool, "activation": activation}
    module = sa.LocalPool(3, 2, 2, 3, out_dim=4, **options).double().eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    x, points = normal(4, 5, 3), normal(4, 5, 2)
    tokens, spots, masses = module(x, points, ragged)
    assert tokens.shape == (4, 2, 4)
    assert (tokens[3] == 0).all()
    torch.testing.assert_close(masses.sum(-1), ragged.sum(-1))
    f = torch.cat([x, points], -1)
    for i in range(3):
        chosen = sa.farthest_points(points[i], ragged[i], count=2)
        torch.testing.assert_close(spots[i], points[i, chosen])
        apart = torch.cdist(points[i], points[i]).masked_fill(ragged[i] == 0, torch.inf)
        near = [[j for j in apart[c].argsort()[:3].tolist() if ragged[i, j] > 0] for c in chosen]
        variance = torch.zeros(5, dtype=torch.float64)
        for mass, c, group in zip(masses[i], chosen, near, strict=True):
            w = ragged[i, group] / ragged[i, group].sum()
            variance += mass / masses[i].sum() * (w @ (f[i, group] - f[i, c]).square())
        for token, c, group in zip(tokens[i], chosen, near, strict=True):
            g = module.gain * (f[i, group] - f[i, c]) / (variance + 1e-5).sqrt() + module.shift
            norm = module.members.norm
            h = g @ module.members.linear.weight.T + x[i, c] @ module.middle.weight.T
            h = getattr(F, activation)(h / (1 + norm.epsilon) ** 0.5 * norm.weight + norm.bias)
            w = ragged[i, group] / ragged[i, group].sum()
            torch.testing.assert_close(token, h.amax(0) if pool == "max" else w @ h)


def two_stages(**options) -> tuple[sa.LocalPool, sa.LocalPool]:
    torch.manual_seed(0)
    stages = sa.LocalPool(3, 2, 4, 3, out_dim=5, **options), sa.LocalPool(5, 2, 2, 3, **options)
    return tuple(stage.double() for stage in stages)


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("training", [True, False])
def test_stages_compose_and_keep_the_laws_in_both_modes(normal, ragged, norm, training) -> None:
    stages = torch.nn.ModuleList(two_stages(norm=norm, expansion=0.5)).train(training)

    def tokens(x: Tensor, weights: Tensor | None) -> Tensor:
        points = x[..., :2]
        for stage in stages:
            x, points, weights = stage(x, points, weights)
        return torch.cat([x, points], -1)

    x = normal(4, 5, 3)
    x[2, 1] = torch.nan
    every = list(stages.parameters())
    for law in (laws.assert_invariant, laws.assert_padding_free, laws.assert_mass_consistent):
        law(tokens, x, ragged, parameters=every)
    if norm == "layer" or not training:  # the statistics of a batch are those of all its sets
        laws.assert_empty_defined(tokens, x, ragged, parameters=every)
        for i in range(4):
            torch.testing.assert_close(tokens(x[i], ragged[i]), tokens(x, ragged)[i])
        bad = x.clone()
        bad[0, 0] = torch.nan
        assert torch.equal(tokens(bad, ragged)[1:], tokens(x, ragged)[1:])


def test_residual_maps_begin_from_what_they_are_given(normal, ragged) -> None:
    plain = sa.LocalPool(3, 2, 2, 3, out_dim=5, before=0, after=0).double().eval()
    residual = sa.LocalPool(3, 2, 2, 3, out_dim=5, expansion=0.4, after=2).double().eval()
    assert residual.load_state_dict(plain.state_dict(), strict=False).unexpected_keys == []
    x, points = normal(4, 5, 3), normal(4, 5, 2)
    assert (residual(x, points, ragged)[0] - plain(x, points, ragged)[0]).abs().max() > 1e-3
    for part in (*residual.before, *residual.after):
        assert part.inner.linear.weight.shape == (2, 5)
        torch.nn.init.zeros_(part.outer.norm.weight)  # what is given is not negative, so stays
    torch.testing.assert_close(residual(x, points, ragged), plain(x, points, ragged))


def test_its_gradient_is_right(normal) -> None:
    stage = two_stages(activation="gelu", pool="mean")[0].eval()
    weights = normal(1, 6).softmax(-1).requires_grad_()
    x, points = normal(1, 6, 3).requires_grad_(), normal(1, 6, 2).requires_grad_()
    assert torch.autograd.gradcheck(stage, (x, points, weights))


def test_points_that_there_are_not_are_rows_of_0(normal, ragged, monkeypatch) -> None:
    x, points = normal(4, 5, 3), normal(4, 5, 2)
    x[ragged == 0] = torch.nan
    index = sa.farthest_points(points, ragged, count=6)
    assert (index == -1).sum(-1).tolist() == [1, 1, 4, 6]
    for looks in (True, False):
        if not looks:
            monkeypatch.setattr(grouping, "host_may_look", lambda tensor: False)
        rows = x.clone().requires_grad_()
        taken = sa.take_points(rows, index)
        for i in range(4):
            kept = index[i][index[i] >= 0]
            assert torch.equal(taken[i, : len(kept)], x[i, kept])
            assert (taken[i, len(kept) :] == 0).all()
        taken.sum().backward()
        assert torch.equal(rows.grad, (ragged > 0).unsqueeze(-1).expand(4, 5, 3).double())
    assert sa.take_points(x[:, :0], index.clamp(max=-1)).eq(0).all()


def test_an_index_of_no_row_is_refused() -> None:
    x = torch.ones(2, 4, 3)
    for bad in (4, -2, 7):
        with pytest.raises(ValueError, match=rf"from -1, for none, to 3, .* but got {bad}$"):
            sa.take_points(x, torch.tensor([[0], [bad]]))
    with pytest.raises(TypeError, match=r"indices as a torch\.Tensor"):
        sa.take_points(x, [[0], [1]])


def test_positions_are_counted_beyond_what_float32_can_count(monkeypatch) -> None:
    squares = torch.zeros(1, 2**24 + 3000)
    squares[0, 5] = 1
    behind = sampling._behind(squares)
    out = torch.empty_like(behind)
    assert int(sampling._first_as_large(squares, squares.new_ones(1, 1), behind, out)) == 5
    points = torch.randn(2, 30, 2)
    expected = sa.farthest_points(points, count=9)
    monkeypatch.setattr(sampling, "_COUNTED", 8)
    assert torch.equal(sa.farthest_points(points, count=9), expected)


def test_a_program_tells_more_than_a_million_points_apart(monkeypatch) -> None:
    n = 2**20 + 1000
    apart = torch.ones(1, 1, n)
    apart[..., 12345] = 0
    monkeypatch.setattr(neighbours, "sizes_may_decide", lambda: False)
    assert int(neighbours._smallest(apart, 1)[0]) == 12345
    apart[..., 12345], apart[..., n - 3] = 1, 0
    assert int(neighbours._smallest(apart, 1)[0]) == n - 3


def test_it_says_what_is_wrong() -> None:
    ones = torch.ones
    with pytest.raises(ValueError, match="expected a positive tokens, but got tokens=0"):
        sa.LocalPool(3, 2, 0)
    with pytest.raises(ValueError, match="but got before=-1"):
        sa.LocalPool(3, 2, 4, before=-1)
    with pytest.raises(ValueError, match='pool "max" or "mean", but got \'sum\''):
        sa.LocalPool(3, 2, 4, pool="sum")
    with pytest.raises(ValueError, match='norm "batch" or "layer", but got \'set\''):
        sa.LocalPool(3, 2, 4, norm="set")
    with pytest.raises(ValueError, match=r"features for each .* \(5, 2\), but .* \(4, 3\)"):
        sa.LocalPool(3, 2, 4)(ones(4, 3), ones(5, 2))
    with pytest.raises(ValueError, match=r"leading shape \(\) and of 3 coordinates.* \(4, 2\)"):
        sa.nearest_points(ones(4, 2), ones(5, 3), count=2)
    with pytest.raises(ValueError, match="expected a positive radius, but got radius=0"):
        sa.nearest_points(ones(4, 2), ones(5, 2), count=2, radius=0)
    with pytest.raises(ValueError, match="expected a positive count, but got count=0"):
        sa.farthest_points(ones(5, 2), count=0)
    with pytest.raises(ValueError, match=r"floating-point places .* torch.int64 of shape \(5, 2\)"):
        sa.farthest_points(ones(5, 2).long(), count=2)
