"""ModelNet10 and ModelNet40, from the meshes or from releases of points."""

from ddeq_data.datasets.modelnet.dataset import ModelNet10, ModelNet40, Release

__all__ = ["ModelNet10", "ModelNet40", "Release"]
