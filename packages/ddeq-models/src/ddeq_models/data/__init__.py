"""From the name of a data set to batches as a model gets them."""

from ddeq_models.config import SPLITS, Split
from ddeq_models.data.entries import DataSet, entry, register_data
from ddeq_models.data.pipeline import (
    augmentation,
    batches,
    check_data,
    check_fit,
    check_target,
    framed,
    generator_of,
    held_out,
    moved,
    normaliser,
    open_split,
    thinning,
    view,
)
from ddeq_models.registry import DATA_SETS

__all__ = [
    "DATA_SETS",
    "SPLITS",
    "DataSet",
    "Split",
    "augmentation",
    "batches",
    "check_data",
    "check_fit",
    "check_target",
    "entry",
    "framed",
    "generator_of",
    "held_out",
    "moved",
    "normaliser",
    "open_split",
    "register_data",
    "thinning",
    "view",
]
