"""Readers of files. Each raises `DataError`, and no other exception, for what is in a file."""

from ddeq_data.readers.cloud import read_cloud
from ddeq_data.readers.idx import read_idx
from ddeq_data.readers.mesh import Mesh
from ddeq_data.readers.off import read_off
from ddeq_data.readers.pcd import read_pcd
from ddeq_data.readers.ply import read_ply
from ddeq_data.readers.points import read_pts, read_text, read_xyz

__all__ = [
    "Mesh",
    "read_cloud",
    "read_idx",
    "read_off",
    "read_pcd",
    "read_ply",
    "read_pts",
    "read_text",
    "read_xyz",
]
