"""Shapes, and how points are had of them: from a surface, a grid or a list."""

from ddeq_data.shapes.sampling import (
    AllPoints,
    FirstPoints,
    RandomPoints,
    Sampling,
    Shape,
    SurfacePoints,
    VoxelVertices,
)
from ddeq_data.shapes.surfaces import sample_surface, voxel_bounds, voxel_means

__all__ = [
    "AllPoints",
    "FirstPoints",
    "RandomPoints",
    "Sampling",
    "Shape",
    "SurfacePoints",
    "VoxelVertices",
    "sample_surface",
    "voxel_bounds",
    "voxel_means",
]
