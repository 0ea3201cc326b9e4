import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddeq_data import Cloud, PackedClouds, PointBatch, collate, pack, unpack

LAW = settings(max_examples=50, deadline=None, derandomize=True)
SIZES = st.lists(st.integers(0, 6), min_size=1, max_size=8)


@LAW
@given(sizes=SIZES, dim=st.integers(1, 4), seed=st.integers(0, 99))
def test_collate_gives_back_every_cloud(ragged, sizes, dim, seed):
    clouds = ragged(sizes, dim, seed)
    batch = collate(clouds)
    assert batch.points.shape == (len(sizes), max(1, *sizes, 0), dim)
    assert batch.sizes.tolist() == sizes
    assert batch.labels.tolist() == list(range(len(sizes)))
    for i, cloud in enumerate(clouds):
        n = len(cloud.points)
        assert torch.equal(batch.points[i, :n], cloud.points)
        assert torch.equal(batch.weights[i, :n], cloud.weights)
        assert not batch.points[i, n:].any()
        assert not batch.weights[i, n:].any()
    assert batch.check() is batch


@LAW
@given(sizes=SIZES, seed=st.integers(0, 99), data=st.data())
def test_gather_equals_collating_single_clouds(ragged, sizes, seed, data):
    packed = PackedClouds.from_clouds(ragged(sizes, 2, seed))
    chosen = data.draw(st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=10))
    whole = packed.gather(torch.tensor(chosen))
    single = collate([packed.cloud(i) for i in chosen])
    again = packed.select(torch.tensor(chosen))
    for other in (single, again.gather(torch.arange(len(chosen)))):
        assert torch.equal(whole.points, other.points)
        assert torch.equal(whole.weights, other.weights)
        assert torch.equal(whole.labels, other.labels)
    assert again.sizes.tolist() == [sizes[i] for i in chosen]


@LAW
@given(sizes=SIZES, seed=st.integers(0, 99), rows=st.integers(0, 2))
def test_compact_undoes_padding(ragged, sizes, seed, rows):
    batch = collate(ragged(sizes, 2, seed))
    width = batch.points.shape[1]
    # Padding before, behind and between the points, with anything in it.
    where = torch.randperm(width + rows, generator=torch.Generator().manual_seed(seed))[:width]
    where = where.sort().values
    points = torch.full((len(sizes), width + rows, 2), float("nan")).double()
    weights = torch.zeros(points.shape[:2]).double()
    points[:, where] = torch.where(batch.mask[..., None], batch.points, float("inf"))
    weights[:, where] = batch.weights
    found = PointBatch(points, weights, batch.labels).compact()
    assert torch.equal(found.points, batch.points)
    assert torch.equal(found.weights, batch.weights)
    assert torch.equal(found.labels, batch.labels)


@LAW
@given(sizes=SIZES, dim=st.integers(1, 3), seed=st.integers(0, 99), rows=st.integers(0, 2))
def test_pack_and_unpack_are_inverse(ragged, sizes, dim, seed, rows):
    clouds = ragged(sizes, dim, seed)
    batch = collate(clouds)
    points = torch.nn.functional.pad(batch.points, (0, 0, rows, rows), value=float("nan"))
    weights = torch.nn.functional.pad(batch.weights, (rows, rows))
    packed = pack(PointBatch(points, weights, batch.labels))
    expected = PackedClouds.from_clouds(clouds)
    for name in ("points", "weights", "offsets", "labels"):
        assert torch.equal(getattr(packed, name), getattr(expected, name))
    assert packed.owners.tolist() == [i for i, size in enumerate(sizes) for _ in range(size)]
    again = unpack(packed)
    for name in ("points", "weights", "labels"):
        assert torch.equal(getattr(again, name), getattr(batch, name))


def test_gradients_pass_through_packing(ragged):
    batch = collate(ragged([2, 0, 3]))
    points = batch.points.requires_grad_()
    unpack(pack(PointBatch(points, batch.weights, batch.labels))).points.sum().backward()
    assert torch.equal(points.grad, batch.mask[..., None].double().expand_as(points))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("width", [0, 7, 30_000])  # the last is too large to be sent inline
def test_batches_survive_pickling(dtype, width):
    points = torch.randn(5, width, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    batch = PointBatch(points.mT.contiguous().mT, points[..., 0], torch.arange(5) - 2)
    for again in (pickle.loads(pickle.dumps(batch)), copy.deepcopy(batch)):
        for name in ("points", "weights", "labels"):
            first, second = getattr(batch, name), getattr(again, name)
            assert first.dtype == second.dtype
            assert torch.equal(first, second)
        again.points.zero_()  # memory of its own
        assert width == 0 or batch.points.any()
    leaf = points.clone().requires_grad_()
    tracked = copy.deepcopy(PointBatch(leaf, batch.weights, batch.labels))
    assert tracked.points.requires_grad
    assert copy.deepcopy(batch.to("meta")).points.device.type == "meta"


def test_compact_of_nothing():
    for shape in ((0, 3, 2), (2, 0, 2), (0, 0, 1)):
        none = PointBatch(torch.zeros(shape), torch.zeros(shape[:2]), torch.zeros(shape[0]).long())
        assert none.compact().points.shape == shape


def test_uniform_weights_and_integer_points_come_out_in_float32():
    points = torch.tensor([[0, 1], [2, 3], [255, 4]], dtype=torch.uint8)
    packed = PackedClouds(points, None, torch.tensor([0, 0, 3]), torch.tensor([4, 5]))
    batch = packed.gather(torch.tensor([1, 0]))
    assert batch.points.dtype == batch.weights.dtype == torch.float32
    assert batch.points[0].tolist() == [[0, 1], [2, 3], [255, 4]]
    assert torch.equal(batch.weights, torch.tensor([[1 / 3] * 3, [0] * 3]))
    cloud = packed.cloud(1)
    assert torch.equal(cloud.weights, batch.weights[0])
    cloud.points.zero_()  # a cloud is a copy
    assert packed.cloud(1).points.any()


def test_collate_passes_a_batch_through(ragged):
    batch = collate(ragged([2, 3]))
    assert collate(batch) is batch


def test_collate_takes_rows_of_weight_0_for_padding():
    nan = float("nan")
    batch = collate([Cloud(torch.tensor([[1.0], [nan]]), torch.tensor([1.0, 0.0]), 0)])
    assert batch.points.flatten().tolist() == [1.0, 0.0]
    assert batch.sizes.tolist() == [1]


def test_to_changes_floats_and_leaves_labels(ragged):
    batch = collate(ragged([2, 3])).to(dtype=torch.float32)
    assert batch.points.dtype == batch.weights.dtype == torch.float32
    assert batch.labels.dtype == torch.int64
    assert batch.to("meta").points.device.type == "meta"
    assert len(batch) == 2
    assert "2 clouds, padded to 3 points of dimension 2" in repr(batch)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_pinned_memory(ragged):
    pinned = collate(ragged([2, 3])).pin_memory()
    assert pinned.points.is_pinned()
    assert pinned.to("cuda", non_blocking=True).weights.is_cuda


def test_batch_says_what_does_not_fit():
    points, weights, labels = torch.zeros(2, 3, 2), torch.zeros(2, 3), torch.zeros(2).long()
    PointBatch(points, weights, labels)
    for broken, message in [
        ((points[0], weights, labels), r"points .*\(B, n, d\).*got.*\(3, 2\)"),
        ((points.long(), weights, labels), "points must be floating"),
        ((points, weights[:, :2], labels), r"weights .*\(2, 3\).*got.*\(2, 2\)"),
        ((points, weights.double(), labels), r"weights must be torch.float32.*torch.float64"),
        ((points, weights, labels[:1]), r"labels .*\(2,\).*got.*\(1,\)"),
        ((points, weights, labels.int()), r"labels must be torch.int64.*torch.int32"),
        ((points, weights.to("meta"), labels), "on one device, got cpu, meta and cpu"),
    ]:
        with pytest.raises(ValueError, match=message):
            PointBatch(*broken)


@pytest.mark.parametrize(
    ("points", "weights", "message"),
    [
        ([[1.0], [2.0]], [0.5, 0.4], "cloud 1 of the batch has weights that do not sum to 1"),
        ([[1.0], [2.0]], [1.5, -0.5], "cloud 1 of the batch has a weight that is negative"),
        ([[1.0], [2.0]], [float("nan"), 1.0], "not finite"),
        ([[float("inf")], [2.0]], [0.5, 0.5], "has a point that is not finite"),
        ([[1.0], [2.0]], [1.0, 0.0], r"padding \(rows of weight 0\) that is not 0"),
    ],
)
def test_check_names_the_cloud_that_breaks_the_convention(points, weights, message):
    good = torch.tensor([[1.0], [2.0]]), torch.tensor([0.5, 0.5])
    batch = PointBatch(
        torch.stack([good[0], torch.tensor(points)]),
        torch.stack([good[1], torch.tensor(weights)]),
        torch.tensor([0, 1]),
    )
    with pytest.raises(ValueError, match=message):
        batch.check()


def test_clouds_of_several_dtypes_come_out_in_the_widest(ragged):
    good = ragged([2])[0]
    single = Cloud(good.points.float(), good.weights.float(), 0)
    mixed = Cloud(good.points.double(), good.weights.float(), 0)
    assert collate([single, mixed]).points.dtype == torch.float64
    assert collate([single, mixed]).weights.dtype == torch.float64
    assert collate([single, single]).points.dtype == torch.float32


def test_collate_names_the_cloud_that_does_not_fit(ragged):
    good = ragged([2])[0]
    line = Cloud(torch.zeros(2, 1).double(), torch.full((2,), 0.5).double(), 0)
    heavy = Cloud(good.points, 2 * good.weights, 0)
    short = Cloud(good.points, good.weights[:1], 0)
    worded = good._replace(label="seven")
    for bad, message in [
        (line, "cloud 1 has dimension 1, cloud 0 has 2"),
        (good._replace(weights=good.weights.long()), "weights of cloud 1 must be floating"),
        (
            Cloud(good.points.to("meta"), good.weights.to("meta"), 0),
            "cloud 1 is on meta; batch clouds on the CPU",
        ),
        (heavy, "cloud 1 of the batch has weights"),
        (short, r"cloud 1 must have .*weights \(n,\)"),
        (worded, "label of cloud 1 must be an int, got 'seven'"),
    ]:
        with pytest.raises(ValueError, match=message):
            collate([good, bad])
    with pytest.raises(TypeError, match="element 1 must be a Cloud, got tuple"):
        collate([good, tuple(good)])
    with pytest.raises(ValueError, match="at least one cloud"):
        collate([])


def test_packed_says_what_does_not_fit():
    points, offsets, labels = torch.zeros(3, 2), torch.tensor([0, 1, 3]), torch.tensor([0, 0])
    PackedClouds(points, torch.ones(3), offsets, labels)
    for broken, message in [
        ((points[0], None, offsets, labels), r"points must be \(N, d\)"),
        ((points, torch.ones(2), offsets, labels), r"weights .*\(3,\).*got.*\(2,\)"),
        ((points, None, offsets[:2], labels), r"offsets .*\(3,\).*got.*\(2,\)"),
        ((points, None, torch.tensor([0, 4, 3]), labels), "offsets must rise from 0"),
        ((points, None, torch.tensor([0, 1, 2]), labels), "number of rows, 3"),
        ((points, None, offsets, labels.float()), "labels must be torch.int64"),
    ]:
        with pytest.raises(ValueError, match=message):
            PackedClouds(*broken)


def test_packed_clouds_tell_their_sizes_and_not_their_numbers(ragged):
    packed = PackedClouds.from_clouds(ragged([2, 0, 3], 3, 0, torch.float32))
    assert repr(packed) == (
        "PackedClouds(3 clouds, 5 points of dimension 3, torch.float32, weights torch.float32, cpu)"
    )
