"""Transforms of measures: callables `(points, weights, generator=None) -> (points, weights)`.

They act on any leading batch shape, on each measure by itself; padding (weight 0) never takes
part, whatever it holds, and comes out as the point 0. Random ones need a `torch.Generator`.
"""

from ddeq_data.transforms.base import RandomTransform, Transform, is_random
from ddeq_data.transforms.compose import Compose
from ddeq_data.transforms.coordinates import OnCoordinates
from ddeq_data.transforms.frame import Frame
from ddeq_data.transforms.mixing import cut_mix
from ddeq_data.transforms.motions import RandomRotation, RandomScale, RandomShear, RandomShift
from ddeq_data.transforms.normalise import UnitSphere, ZScore
from ddeq_data.transforms.points import DropPoints, Jitter
from ddeq_data.transforms.precision import ToFloat32
from ddeq_data.transforms.resampling import FarthestSample, RandomSample, farthest_points

__all__ = [
    "Compose",
    "DropPoints",
    "FarthestSample",
    "Frame",
    "Jitter",
    "OnCoordinates",
    "RandomRotation",
    "RandomSample",
    "RandomScale",
    "RandomShear",
    "RandomShift",
    "RandomTransform",
    "ToFloat32",
    "Transform",
    "UnitSphere",
    "ZScore",
    "cut_mix",
    "farthest_points",
    "is_random",
]
