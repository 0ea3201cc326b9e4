"""Measures: clouds of weighted points, one by one, in a padded batch, or laid end to end."""

from ddeq_data.measures.batch import Cloud, PointBatch
from ddeq_data.measures.packed import PackedClouds
from ddeq_data.measures.precision import as_precise_as_needed
from ddeq_data.measures.transform import Transform

__all__ = ["Cloud", "PackedClouds", "PointBatch", "Transform", "as_precise_as_needed"]
