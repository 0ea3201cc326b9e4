"""Data sets of point clouds."""

from ddeq_data.datasets.base import CloudDataset, TargetKind
from ddeq_data.datasets.digits import Digits
from ddeq_data.datasets.folder import PointCloudFolder
from ddeq_data.datasets.frames import fit_frame
from ddeq_data.datasets.listing import Listing, list_folder
from ddeq_data.datasets.mnist import FashionMNISTPointCloud, MNISTPointCloud
from ddeq_data.datasets.modelnet import ModelNet10, ModelNet40, Release
from ddeq_data.datasets.splits import stratified_holdout, stratified_share
from ddeq_data.datasets.synthetic import SyntheticShapes
from ddeq_data.datasets.synthetic_targets import SyntheticBlobs, SyntheticMoons
from ddeq_data.datasets.targets import LABELS, TARGETS, list_files

__all__ = [
    "LABELS",
    "TARGETS",
    "CloudDataset",
    "Digits",
    "FashionMNISTPointCloud",
    "Listing",
    "MNISTPointCloud",
    "ModelNet10",
    "ModelNet40",
    "PointCloudFolder",
    "Release",
    "SyntheticBlobs",
    "SyntheticMoons",
    "SyntheticShapes",
    "TargetKind",
    "fit_frame",
    "list_files",
    "list_folder",
    "stratified_holdout",
    "stratified_share",
]
