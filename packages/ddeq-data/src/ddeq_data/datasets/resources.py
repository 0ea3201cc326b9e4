"""The published files of the data sets: where they are, and their checksums where known."""

from __future__ import annotations

from ddeq_data.downloads import Resource

__all__ = ["FASHION_MNIST", "HDF5", "MNIST", "MODELNET10", "MODELNET40", "RESAMPLED"]


_GIB = 1 << 30


def _idx(mirrors: tuple[str, ...], checksums: dict[str, str]) -> tuple[Resource, ...]:
    return tuple(
        Resource(
            f"{name}-ubyte.gz",
            tuple(f"{mirror}{name}-ubyte.gz" for mirror in mirrors),
            md5,
            f"put a copy of {name}-ubyte.gz from elsewhere there",
        )
        for name, md5 in checksums.items()
    )


# yann.lecun.com, where MNIST comes from, has refused downloads since 2024.
MNIST = _idx(
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    {
        "train-images-idx3": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1": "ec29112dd5afa0611ce80d1b7f02629c",
    },
)
FASHION_MNIST = _idx(
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
    {
        "train-images-idx3": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1": "bb300cfdad3c16e7a12a480ee83cd310",
    },
)
# Princeton publishes no checksums: the archives' own and the shapes of each class are checked.
MODELNET10 = Resource(
    "ModelNet10.zip",
    (
        "http://3dvision.princeton.edu/projects/2014/3DShapeNets/ModelNet10.zip",
        "https://3dshapenets.cs.princeton.edu/ModelNet10.zip",
    ),
    None,
    "fetch ModelNet10.zip from https://modelnet.cs.princeton.edu with a browser and put it there",
    most=_GIB,
)
MODELNET40 = Resource(
    "ModelNet40.zip",
    (
        "https://modelnet.cs.princeton.edu/ModelNet40.zip",
        "http://modelnet.cs.princeton.edu/ModelNet40.zip",
    ),
    None,
    "fetch ModelNet40.zip from https://modelnet.cs.princeton.edu with a browser and put it there",
    most=4 * _GIB,
)
# Both releases of points were published on shapenet.cs.stanford.edu, which has not answered since
# 2024. It is asked last, in case it comes back.
HDF5 = Resource(
    "modelnet40_ply_hdf5_2048.zip",
    (
        "https://huggingface.co/datasets/Msun/modelnet40/resolve/main/modelnet40_ply_hdf5_2048.zip",
        "https://shapenet.cs.stanford.edu/media/modelnet40_ply_hdf5_2048.zip",
    ),
    "c9ab8e6dfb16f67afdab25e155c79e59",
    "put a copy of the archive from elsewhere there",
    most=_GIB,
)
RESAMPLED = Resource(
    "modelnet40_normal_resampled.zip",
    ("https://shapenet.cs.stanford.edu/media/modelnet40_normal_resampled.zip",),
    None,
    "fetch it, which needs an account, from kaggle.com/datasets/chenxaoyu/"
    "modelnet-normal-resampled, or from huggingface.co/datasets/Pointcept/"
    "modelnet40_normal_resampled-compressed, and unpack it as modelnet40_normal_resampled there",
    most=4 * _GIB,
)
