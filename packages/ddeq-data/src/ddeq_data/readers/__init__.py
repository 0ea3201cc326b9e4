"""Readers of files. Each raises `DataError`, and no other exception, for what is in a file."""

from ddeq_data.readers.cloud import read_cloud
from ddeq_data.readers.idx import read_idx

__all__ = ["read_cloud", "read_idx"]
