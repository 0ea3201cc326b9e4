import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.utils.data import DataLoader, Dataset

from ddeq_data import (
    AllPoints,
    FirstPoints,
    Mesh,
    RandomPoints,
    Shape,
    SurfacePoints,
    VoxelVertices,
    sample_surface,
    voxel_bounds,
    voxel_means,
)

LAW = settings(max_examples=25, deadline=None, derandomize=True)


def box(a, b, c, offset=0.0):
    grid = torch.tensor([[x, y, z] for x in (0, a) for y in (0, b) for z in (0, c)]).double()
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = torch.tensor([(q[0], *q[k : k + 2]) for q in quads for k in (1, 2)])
    return Mesh(grid + offset, faces)


@pytest.mark.parametrize("scale", [1.0, 1e-160, 1e200])
def test_the_sample_is_uniform_by_area(scale):
    # A box of sides 1, 2, 4, each side cut into squares of one area: 28 x 16 cells.
    points = sample_surface(Mesh(box(1, 2, 4).vertices * scale, box(1, 2, 4).faces), 40_000, 3)
    points = (points / scale).numpy()
    sides = np.array([1, 2, 4])
    cells = {}
    flat = np.isclose(points, 0, atol=1e-12) | np.isclose(points, sides, rtol=1e-12)
    assert flat.any(1).all()
    inner = points[flat.sum(1) == 1]
    assert len(inner) > 39_900
    where = flat[flat.sum(1) == 1]
    axis = where.argmax(1)
    upper = np.take_along_axis(inner, axis[:, None], 1)[:, 0] > 0.5
    cell = np.floor(inner * 4).astype(int)
    np.put_along_axis(cell, axis[:, None], 0, 1)
    for key in zip(axis, upper, *cell.T, strict=True):
        cells[key] = cells.get(key, 0) + 1
    assert len(cells) == 28 * 16
    assert stats.chisquare(list(cells.values())).pvalue > 1e-3


def test_it_is_a_function_of_the_seed():
    mesh = box(1, 1, 1)
    few, many = sample_surface(mesh, 10, 7), sample_surface(mesh, 50, 7)
    assert torch.equal(few, many[:10])
    assert not torch.equal(few, sample_surface(mesh, 10, 8))
    generator = torch.Generator().manual_seed(0)
    first, second = (sample_surface(mesh, 10, generator) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first, sample_surface(mesh, 10, torch.Generator().manual_seed(0)))
    assert sample_surface(mesh, 0, 7).shape == (0, 3)


class Sampled(Dataset):
    """Boxes whose surface is sampled wherever they are asked for."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> torch.Tensor:
        torch.rand(index)  # what others draw from the global generator is of no matter
        mesh = box(1, 1 + index, 2)
        return SurfacePoints(20, seed=3)(Shape(mesh.vertices, None, mesh.faces), index).points


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # where there is one core
def test_it_does_not_depend_on_workers_or_order():
    expected = torch.stack([Sampled()[i] for i in range(12)])
    for workers in (0, 2):
        loader = DataLoader(Sampled(), batch_size=2, num_workers=workers)
        assert torch.equal(torch.cat(list(loader)), expected)
    order = [7, 2, 11, 0]
    assert torch.equal(torch.stack([Sampled()[i] for i in order]), expected[order])


def test_the_sample_is_fixed_for_ever():
    # Recorded once: another result would change processed data sets.
    expected = [0.017364553546, 1.313815812127, 0.0]
    assert sample_surface(box(1, 2, 4), 1, 0)[0].tolist() == pytest.approx(expected)


def test_faces_without_area_are_never_chosen():
    vertices = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5], [6, 6, 6], [7, 7, 7.0]])
    faces = torch.tensor([[3, 4, 5], [0, 1, 2], [0, 0, 1], [3, 3, 3]])
    points = sample_surface(Mesh(vertices.double(), faces), 1000, 0)
    assert (points <= 1).all()
    assert (points[:, 2] == 0).all()
    for none in (faces[:1], faces[:0]):
        with pytest.raises(ValueError, match="has no area to draw points from; use its vertices"):
            sample_surface(Mesh(vertices.double(), none), 10, 0)
    with pytest.raises(ValueError, match="count must be at least 0"):
        sample_surface(Mesh(vertices.double(), faces), -1, 0)


@LAW
@given(seed=st.integers(0, 99), count=st.integers(1, 300), low=st.integers(1, 60))
def test_vertices_are_thinned_into_the_bounds(seed, count, low):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(count, 3, generator=generator)
    high = low + 20
    thin = voxel_bounds(points, low, high)
    assert len(thin) <= high
    assert len(thin) >= min(low, count)
    assert (thin.amin(0) >= points.amin(0) - 1e-5).all()
    assert (thin.amax(0) <= points.amax(0) + 1e-5).all()
    order = torch.randperm(count, generator=generator)
    again = voxel_bounds(torch.cat([points[order], points]), low, high)
    torch.testing.assert_close(again, thin)


def test_a_lattice_gives_what_it_can():
    lattice = torch.cartesian_prod(*[torch.arange(8.0)] * 3)
    thin = voxel_bounds(lattice, 300, 310)
    assert len(thin) < 300
    assert len(voxel_bounds(lattice, 1, 512)) == 512
    with pytest.raises(ValueError, match="expected 1 <= low <= high, got low=3, high=2"):
        voxel_bounds(lattice, 3, 2)


def test_a_cell_becomes_its_mean():
    points = torch.tensor([[0.0, 0], [0.5, 0], [1.5, 0], [9, 9], [9, 9]])
    assert voxel_means(points, 1.0).tolist() == [[0.25, 0], [1.5, 0], [9, 9]]
    assert len(voxel_means(points, 0)) == 4
    assert voxel_means(points[:0], 1.0).shape == (0, 2)
    with pytest.raises(ValueError, match="size must be finite and at least 0"):
        voxel_means(points, -1)


def test_samplings_make_clouds_of_shapes():
    mesh = box(1, 1, 1)
    weights = torch.arange(8).double() / 28
    shape = Shape(mesh.vertices, weights, mesh.faces)
    assert AllPoints()(shape, 0)[:2] == shape[:2]
    first = FirstPoints(3)(shape, 0)
    assert torch.equal(first.points, mesh.vertices[:3])
    torch.testing.assert_close(first.weights, torch.tensor([0, 1 / 3, 2 / 3]).double())
    drawn = {tuple(map(tuple, RandomPoints(4)(shape, key).points.tolist())) for key in range(9)}
    assert len(drawn) > 5
    assert all(len(set(points)) == 4 for points in drawn)
    surface = SurfacePoints(20, seed=1)
    assert torch.equal(surface(shape, 5).points, surface(shape, 5).points)
    assert not torch.equal(surface(shape, 5).points, surface(shape, 6).points)
    assert not torch.equal(surface(shape, 5).points, SurfacePoints(20, seed=2)(shape, 5).points)
    assert len(VoxelVertices(2, 4)(shape, 0).points) == 1  # a lattice: 8 or 1
    assert len(VoxelVertices(2, 8)(shape, 0).points) == 8


def test_the_grid_of_z_scored_vertices_is_as_elongated_as_the_shape():
    # On a long box the grid sees its length first; z-scored, each axis is as long as the others.
    mesh = box(1, 1, 100)
    shape = Shape(mesh.vertices, None, mesh.faces)
    assert len(VoxelVertices(2, 4)(shape, 0).points) == 2
    assert len(VoxelVertices(2, 4, z_scored=True)(shape, 0).points) == 1  # a cube: 8 or 1
    kept = VoxelVertices(2, 8, z_scored=True)(shape, 0).points
    torch.testing.assert_close(kept.abs(), torch.ones(8, 3).double())


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        (FirstPoints(9), "it holds 8 points, fewer than 9; ask for fewer"),
        (RandomPoints(9), "it holds 8 points, fewer than 9"),
        (SurfacePoints(), "it holds points and no faces"),
    ],
)
def test_what_cannot_be_sampled(sampling, message):
    with pytest.raises(ValueError, match=message):
        sampling(Shape(box(1, 1, 1).vertices, None, None), 0)


@pytest.mark.parametrize("kind", [FirstPoints, RandomPoints, SurfacePoints])
def test_counts_are_checked(kind):
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        kind(0)
    with pytest.raises(ValueError, match="expected 1 <= low <= high"):
        VoxelVertices(0, 3)
