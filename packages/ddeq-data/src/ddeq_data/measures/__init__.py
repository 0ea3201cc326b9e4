"""Measures: clouds of weighted points, one by one, in a padded batch, or laid end to end."""

from ddeq_data.measures.batch import Cloud, PointBatch
from ddeq_data.measures.packed import PackedClouds
from ddeq_data.measures.precision import as_precise_as_needed

__all__ = ["Cloud", "PackedClouds", "PointBatch", "as_precise_as_needed"]
