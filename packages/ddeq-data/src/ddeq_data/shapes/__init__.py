"""Shapes, and how points are had of them: from a surface, a grid or a list."""

from ddeq_data.shapes.figures import FIGURES
from ddeq_data.shapes.grids import voxel_bounds, voxel_means
from ddeq_data.shapes.mesh import Mesh
from ddeq_data.shapes.sampling import (
    AllPoints,
    FirstPoints,
    RandomPoints,
    SurfacePoints,
    VoxelVertices,
)
from ddeq_data.shapes.shape import Sampling, Shape
from ddeq_data.shapes.surfaces import sample_surface

__all__ = [
    "FIGURES",
    "AllPoints",
    "FirstPoints",
    "Mesh",
    "RandomPoints",
    "Sampling",
    "Shape",
    "SurfacePoints",
    "VoxelVertices",
    "sample_surface",
    "voxel_bounds",
    "voxel_means",
]
