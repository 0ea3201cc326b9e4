"""Protocols of point-cloud completion: named rules that cut clouds into what is seen and the rest.

Each is a frozen dataclass whose `repr` tells all there is to it, so that no two are mixed up. What
happens to a cloud is a function of the cloud and of one 64-bit seed: not of the other clouds of
its batch, of padding, or of the order of its points.
"""

from ddeq_data.crops.balls import DDEQsCrop
from ddeq_data.crops.base import Crop, CroppedBatch
from ddeq_data.crops.fractions import HalfSpaceCrop, UniformCrop, ViewpointCrop

__all__ = ["Crop", "CroppedBatch", "DDEQsCrop", "HalfSpaceCrop", "UniformCrop", "ViewpointCrop"]
