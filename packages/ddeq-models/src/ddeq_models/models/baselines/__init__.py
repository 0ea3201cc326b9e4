"""Models of the literature under the same data, loop and metrics as the `DDEQ`.

Each is written from its paper on weighted measures: padding is weight 0 everywhere, batch
normalisation included; a batch of one and clouds smaller than a neighbourhood work.
"""

from ddeq_models.models.baselines.deep_sets import DeepSets, DeepSetsConfig
from ddeq_models.models.baselines.deep_sets_regressor import (
    DeepSetsRegressor,
    DeepSetsRegressorConfig,
)
from ddeq_models.models.baselines.dgcnn import DGCNN, DGCNNConfig
from ddeq_models.models.baselines.pcn import PCN, PCNConfig
from ddeq_models.models.baselines.point_transformer import PointTransformer, PointTransformerConfig
from ddeq_models.models.baselines.pointnet import PointNet, PointNetConfig
from ddeq_models.models.baselines.pointnet2 import PointNet2, PointNet2Config
from ddeq_models.models.baselines.pointnet_segmenter import (
    PointNetSegmenter,
    PointNetSegmenterConfig,
)
from ddeq_models.models.baselines.set_transformer import SetTransformer, SetTransformerConfig

__all__ = [
    "DGCNN",
    "PCN",
    "DGCNNConfig",
    "DeepSets",
    "DeepSetsConfig",
    "DeepSetsRegressor",
    "DeepSetsRegressorConfig",
    "PCNConfig",
    "PointNet",
    "PointNet2",
    "PointNet2Config",
    "PointNetConfig",
    "PointNetSegmenter",
    "PointNetSegmenterConfig",
    "PointTransformer",
    "PointTransformerConfig",
    "SetTransformer",
    "SetTransformerConfig",
]
