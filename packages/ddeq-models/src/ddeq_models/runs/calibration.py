r"""How far the answers of a model can be trusted: its temperature, and what it has seen.

**Temperature** (Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML
2017): probabilities are ``softmax(logits / T)``.

**Unlike the training.** Two numbers of a cloud, each a mean square of deviations in units of what
is usual among training clouds:

    features   min_c ‖(z − m_c) W‖² / F     z: what the model reads its answer from; m_c: the mean
                                            of class c; W Wᵀ: the inverse of the covariance within
                                            the classes (Lee, Lee, Lee and Shin, NeurIPS 2018)
    shape      ‖(g − m) V‖² / G             g: logarithms of the number of points, of the size and,
                                            by the size, of the extents and of the distances from
                                            the mean within which a twentieth of the mass and all
                                            of it lies; and how far off its place is; of the cloud
                                            as the model sees it

The two distances tell what covariances do not: a ring has no mass about its mean, normal noise a
few points far out.

A cloud is unlike the training where one of them is above its limit. The limits were chosen on
validation clouds, such that of clouds like them at most 5 % are called so. What a normalisation
takes away, size and place of z-scored clouds say, is no part of what the model sees and is not
told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ddeq_models._internal.files import read_owned, write_atomically
from ddeq_models.errors import UserError
from ddeq_models.runs.places import CALIBRATION
from set_attention import mean_pool

__all__ = [
    "Calibration",
    "as_written",
    "in_words",
    "outline",
    "read_calibration",
    "relative",
    "write_calibration",
]

EXTENTS = 3  # the largest ones of a cloud that are looked at
_LEAST = 1e-3  # an extent, by the size, below which a cloud is flat
_NEAREST = 0.05  # of the mass: how hollow a cloud is
_HOLLOW = 0.02  # such a distance, by the size, below which it is not
_COLDEST, _HOTTEST = 1e-3, 1e3


@dataclass(frozen=True, eq=False)
class Calibration:
    """What is known of a model's answers.

    Attributes:
        temperature: () above 0.
        centres: (C, F), the mean features of the classes of the training clouds.
        features: (F, F), `W`.
        place: (d,), the mean place of the training clouds, and
        size: (), their mean size; in the unit of the model.
        mean: (G,), the mean of their shapes; see `relative`. Those of 0.7.0 have two numbers less.
        shape: (G, G), `V`.
        limits: (2,), of features and of shape.
        clouds: (2,), how many training and validation clouds all this is of.
        errors: (2,), expected calibration error of the validation clouds at temperature 1 and at
            `temperature`.
    """

    temperature: Tensor
    centres: Tensor
    features: Tensor
    place: Tensor
    size: Tensor
    mean: Tensor
    shape: Tensor
    limits: Tensor
    clouds: Tensor
    errors: Tensor

    def probabilities(self, logits: Tensor) -> Tensor:
        """Probabilities (B, classes) in float64, on the processor, of logits (B, classes)."""
        return (logits.detach().cpu().double() / self.temperature).softmax(-1)

    def distances(self, features: Tensor, shapes: Tensor) -> Tensor:
        """The two numbers (B, 2) of clouds, in float64.

        Args:
            features: (B, F).
            shapes: (B, G), from `relative`.
        """
        features = features.detach().cpu().double() @ self.features
        centres = self.centres @ self.features
        of_features = torch.cdist(features, centres).amin(1).square() / features.shape[1]
        known = shapes[:, : len(self.mean)]
        of_shape = ((known - self.mean) @ self.shape).square().mean(1)
        return torch.stack([of_features, of_shape], 1)

    def unlike(self, features: Tensor, outlines: Tensor) -> Tensor:
        """By how much each of the two numbers is above its limit: a factor (B, 2), 1 at the limit.

        Args:
            features: (B, F).
            outlines: (B, 4 + d + E), from `outline`.
        """
        distances = self.distances(features, relative(outlines, self.place, self.size))
        # A number that is not finite is like nothing.
        return torch.nan_to_num(distances / self.limits, nan=math.inf, posinf=math.inf)


def in_words(factors: Tensor) -> str:
    """What of a cloud is unlike the training, in a sentence; empty where nothing is.

    Args:
        factors: (2,), from `Calibration.unlike`.
    """
    of_features, of_shape = factors.tolist()
    parts = [
        f"{what} ({_times(factor**0.5)} the limit)"
        for what, factor in (
            ("its number of points, size, place or shape", of_shape),
            ("what the model reads its answer from", of_features),
        )
        if factor > 1
    ]
    return f"unlike all that was seen in training: {' and '.join(parts)}" if parts else ""


def _times(factor: float) -> str:
    told = f"{factor:.3g}"
    return "just above" if told == "1" else f"{told} times"


def outline(points: Tensor, weights: Tensor, count: Tensor, dim: int) -> Tensor:
    """Number of points, size, place, extents and distances of clouds (B, 4 + d + E), in float64.

    Args:
        points: (B, n, at least d) as the model sees them.
        weights: (B, n), 0 in padding.
        count: (B,), points of each cloud before any were left out.
        dim: d, how many of the columns, the first ones, are coordinates.
    """
    coordinates, weights = points[..., :dim].detach().cpu().double(), weights.cpu().double()
    inside = (weights > 0).unsqueeze(-1)
    means = mean_pool(torch.where(inside, coordinates, 0), weights)
    own = torch.where(inside, coordinates - means.unsqueeze(-2), 0)
    spread = torch.einsum("bn,bni,bnj->bij", weights, own, own)
    extents = torch.linalg.eigvalsh(spread).flip(-1)[:, :EXTENTS].clamp(min=0).sqrt()
    sizes = spread.diagonal(dim1=-2, dim2=-1).sum(-1).sqrt().unsqueeze(-1)
    lengths = torch.cat([extents, _distances(own, weights)], 1)
    known = lengths / torch.where(sizes > 0, sizes, 1)
    return torch.cat([count.cpu().double().unsqueeze(-1), sizes, means, known], 1)


def _distances(own: Tensor, weights: Tensor) -> Tensor:
    """From the mean to the nearest twentieth of the mass, and to the farthest point: (B, 2)."""
    distances, order = own.norm(dim=-1).sort(-1)
    mass = weights.gather(-1, order).cumsum(-1)
    # Twenty points of weight 1/20: rounding does not decide whether the first one is enough.
    enough = mass >= (1 - 1e-6) * _NEAREST * mass[:, -1:]
    nearest = distances.gather(-1, enough.int().argmax(-1, keepdim=True))
    return torch.cat([nearest, distances[:, -1:]], -1)


def relative(outlines: Tensor, place: Tensor, size: Tensor) -> Tensor:
    """The shapes (B, G) of outlines: logarithms, lengths by the size of the training clouds.

    Args:
        outlines: (B, 4 + d + E).
        place: (d,), where clouds are on average.
        size: (), how large they are.
    """
    first, last = 2 + len(place), outlines.shape[1] - 2
    count, sizes, means, extents, distances = (
        outlines[:, columns]
        for columns in (
            slice(0, 1), slice(1, 2), slice(2, first), slice(first, last), slice(last, None)
        )
    )  # fmt: skip
    unit = torch.where(size > 0, size, 1)
    off = (means - place).norm(dim=-1, keepdim=True) / unit
    logarithms = [count.log(), (sizes / unit + _LEAST).log(), (extents + _LEAST).log()]
    return torch.cat([*logarithms, off, (distances + _HOLLOW).log()], 1)


def as_written(tensor: Tensor) -> Tensor:
    """Numbers as a file holds them, float32, in float64: what is read is what was written."""
    return tensor.float().double()


def write_calibration(folder: Path, calibration: Calibration) -> None:
    """Write it into a run folder or model folder.

    Raises:
        OSError: The folder cannot be written to.
    """
    tensors = {
        field.name: getattr(calibration, field.name).float().contiguous()
        for field in fields(calibration)
    }
    write_atomically(folder / CALIBRATION, save(tensors, {"format": "pt"}))


def read_calibration(folder: Path, classes: int) -> Calibration | None:
    """What the folder of a model knows of its answers; None if nothing: of an older version.

    Args:
        folder: A run folder or model folder.
        classes: How many classes the model has.

    Raises:
        UserError: The file is damaged.
    """
    try:
        tensors = load(read_owned(folder, CALIBRATION))
        return _checked(tensors, classes)
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{folder / CALIBRATION} is damaged ({error}); ddeq calibrate makes it again, and "
            "without it answers are not calibrated"
        ) from error


def _numbers(dim: int, found: int) -> int:
    """How many a shape has, in this version or the last."""
    before = 3 + min(dim, EXTENTS)
    return before if found == before else before + 2


def _checked(tensors: Mapping[str, Tensor], classes: int) -> Calibration:
    names = [field.name for field in fields(Calibration)]
    if set(tensors) != set(names):
        raise ValueError(f"expected {', '.join(names)}")
    double: dict[str, Any] = {name: tensors[name].double() for name in names}
    for name, tensor in double.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} is not finite")
    found = Calibration(**double)
    width, dim, of_shape = len(found.features), found.place.numel(), found.mean.numel()
    wanted = {
        "temperature": (), "features": (width, width), "place": (dim,), "size": (),
        "mean": (_numbers(dim, of_shape),), "shape": (of_shape, of_shape), "limits": (2,),
        "clouds": (2,), "errors": (2,),
    }  # fmt: skip
    for name, shape in wanted.items():
        if tuple(double[name].shape) != shape:
            raise ValueError(f"{name} has the shape {tuple(double[name].shape)}, not {shape}")
    many = found.centres.ndim != 2 or not 1 <= len(found.centres) <= classes
    if many or found.centres.shape[1] != width:
        raise ValueError(f"centres has the shape {tuple(found.centres.shape)}")
    if not _COLDEST <= float(found.temperature) <= _HOTTEST:
        raise ValueError(f"the temperature is {float(found.temperature):g}")
    if not bool((found.limits > 0).all()):
        raise ValueError("the limits must be above 0")
    return found
