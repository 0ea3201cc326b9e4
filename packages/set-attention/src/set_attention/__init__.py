"""Permutation-invariant attention blocks on weighted point sets.

A measure is features (..., n, d) and weights (..., n); padding is weight 0.
"""

from importlib.metadata import version

from set_attention.attention import SetAttention, attend, attention_weights
from set_attention.batch_norm import MeasureBatchNorm
from set_attention.bilinear import Bilinear
from set_attention.blocks import CrossBlock, TransformerBlock
from set_attention.context import BilinearContext, Context, VectorContext
from set_attention.deep_sets import DeepSetsBlock, EquivariantLinear
from set_attention.dropout import RowDropout, held_dropout
from set_attention.feed_forward import FeedForward
from set_attention.fourier import FourierFeatures
from set_attention.latent import LatentEncoder
from set_attention.local.grouping import LocalGroups, group_points, take_points
from set_attention.local.neighbours import nearest_points
from set_attention.local.places import in_order, merge_points
from set_attention.local.pooling import LocalPool
from set_attention.local.sampling import farthest_points
from set_attention.local_moments import LocalMoments
from set_attention.measures import clear_padding, log_weights
from set_attention.norm import SetNorm
from set_attention.pooling import AttentionPool, MaxPool, MeanPool, max_pool, mean_pool
from set_attention.precision import without_autocast
from set_attention.ragged import by_size
from set_attention.set_transformer import ISAB, MAB, PMA, SAB
from set_attention.vector_attention import VectorAttention

__all__ = [
    "ISAB",
    "MAB",
    "PMA",
    "SAB",
    "AttentionPool",
    "Bilinear",
    "BilinearContext",
    "Context",
    "CrossBlock",
    "DeepSetsBlock",
    "EquivariantLinear",
    "FeedForward",
    "FourierFeatures",
    "LatentEncoder",
    "LocalGroups",
    "LocalMoments",
    "LocalPool",
    "MaxPool",
    "MeanPool",
    "MeasureBatchNorm",
    "RowDropout",
    "SetAttention",
    "SetNorm",
    "TransformerBlock",
    "VectorAttention",
    "VectorContext",
    "attend",
    "attention_weights",
    "by_size",
    "clear_padding",
    "farthest_points",
    "group_points",
    "held_dropout",
    "in_order",
    "log_weights",
    "max_pool",
    "mean_pool",
    "merge_points",
    "nearest_points",
    "take_points",
    "without_autocast",
]

__version__ = version("set-attention")
