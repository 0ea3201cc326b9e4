"""Readers of files. Each raises `DataError`, and no other exception, for what is in a file."""

from ddeq_data.readers.cloud import SUFFIXES, CloudFile, read_cloud, read_cloud_file
from ddeq_data.readers.formats.idx import read_idx
from ddeq_data.readers.formats.off import read_off
from ddeq_data.readers.formats.pcd import read_pcd
from ddeq_data.readers.formats.ply import read_ply
from ddeq_data.readers.formats.points import read_pts, read_text, read_xyz
from ddeq_data.shapes import Mesh

__all__ = [
    "SUFFIXES",
    "CloudFile",
    "Mesh",
    "read_cloud",
    "read_cloud_file",
    "read_idx",
    "read_off",
    "read_pcd",
    "read_ply",
    "read_pts",
    "read_text",
    "read_xyz",
]
