"""Point-cloud data sets as weighted measures.

A measure is points (..., n, d) and weights (..., n) that sum to 1; padding is weight 0.

What lives where, each resting on those before it at most:

- `errors`, `counters`: the one error for files; random numbers that are looked up.
- `measures`: a cloud, a padded batch, many clouds end to end.
- `transforms`, `crops`: what maps a measure to another one, or cuts it in two.
- `loading`: which clouds make a batch, and how they become one.
- `shapes`: meshes and figures, and how points are had of them.
- `readers`: files of clouds and meshes.
- `storage`, `downloads`: processed clouds on disk; files from the network.
- `datasets`: all of it together.
"""

from importlib.metadata import version

from ddeq_data import transforms
from ddeq_data.crops import (
    Crop,
    CroppedBatch,
    DDEQsCrop,
    HalfSpaceCrop,
    UniformCrop,
    ViewpointCrop,
)
from ddeq_data.datasets import (
    CloudDataset,
    Digits,
    FashionMNISTPointCloud,
    MNISTPointCloud,
    ModelNet10,
    ModelNet40,
    PointCloudFolder,
    SyntheticBlobs,
    SyntheticMoons,
    SyntheticShapes,
    fit_frame,
    stratified_holdout,
    stratified_share,
)
from ddeq_data.errors import DataError
from ddeq_data.loading import SizeBuckets, collate, pack, unpack
from ddeq_data.measures import Cloud, PackedClouds, PointBatch
from ddeq_data.readers import (
    Mesh,
    read_cloud,
    read_idx,
    read_off,
    read_pcd,
    read_ply,
    read_pts,
    read_text,
    read_xyz,
)
from ddeq_data.shapes import (
    AllPoints,
    FirstPoints,
    RandomPoints,
    Sampling,
    Shape,
    SurfacePoints,
    VoxelVertices,
    sample_surface,
    voxel_bounds,
    voxel_means,
)
from ddeq_data.transforms import (
    Compose,
    DropPoints,
    FarthestSample,
    Frame,
    Jitter,
    OnCoordinates,
    RandomRotation,
    RandomSample,
    RandomScale,
    RandomShear,
    RandomShift,
    ToFloat32,
    Transform,
    UnitSphere,
    ZScore,
    cut_mix,
    farthest_points,
)

__version__ = version("ddeq-data")

__all__ = [
    "AllPoints",
    "Cloud",
    "CloudDataset",
    "Compose",
    "Crop",
    "CroppedBatch",
    "DDEQsCrop",
    "DataError",
    "Digits",
    "DropPoints",
    "FarthestSample",
    "FashionMNISTPointCloud",
    "FirstPoints",
    "Frame",
    "HalfSpaceCrop",
    "Jitter",
    "MNISTPointCloud",
    "Mesh",
    "ModelNet10",
    "ModelNet40",
    "OnCoordinates",
    "PackedClouds",
    "PointBatch",
    "PointCloudFolder",
    "RandomPoints",
    "RandomRotation",
    "RandomSample",
    "RandomScale",
    "RandomShear",
    "RandomShift",
    "Sampling",
    "Shape",
    "SizeBuckets",
    "SurfacePoints",
    "SyntheticBlobs",
    "SyntheticMoons",
    "SyntheticShapes",
    "ToFloat32",
    "Transform",
    "UniformCrop",
    "UnitSphere",
    "ViewpointCrop",
    "VoxelVertices",
    "ZScore",
    "collate",
    "cut_mix",
    "farthest_points",
    "fit_frame",
    "pack",
    "read_cloud",
    "read_idx",
    "read_off",
    "read_pcd",
    "read_ply",
    "read_pts",
    "read_text",
    "read_xyz",
    "sample_surface",
    "stratified_holdout",
    "stratified_share",
    "transforms",
    "unpack",
    "voxel_bounds",
    "voxel_means",
]
