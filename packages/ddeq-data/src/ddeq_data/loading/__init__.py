"""What a `DataLoader` is given: which clouds make a batch, and how they become one."""

from ddeq_data.loading.collation import collate, pack, unpack
from ddeq_data.loading.sampler import SizeBuckets

__all__ = ["SizeBuckets", "collate", "pack", "unpack"]
