"""The digits that come with the package."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import torch

from ddeq_data.datasets.base import CloudDataset
from ddeq_data.datasets.images import pack_images
from ddeq_data.datasets.splits import check_split
from ddeq_data.measures import Transform

__all__ = ["Digits"]

_CODES = {"train": 0, "validation": 1, "test": 2}


class Digits(CloudDataset):
    """1,797 handwritten digits of 8 x 8 pixels, as weighted measures in the plane.

    A point is a pixel whose value (1..16) is above 0: x its column 0..7, y = 7 - row, so that
    digits stand upright. Its weight is its value divided by the sum of the values of its image.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository 1998, doi:10.24432/C50P49, CC BY 4.0; the copy in scikit-learn's
    `load_digits`, in its order. It comes with the package: nothing is downloaded.

    The split is fixed, and stratified: 1,257 to train, 180 to validate, 360 to test.

    Args:
        split: "train", "validation", "test" or "train+validation".
        transform: Applied to each cloud; see `CloudDataset`.

    Raises:
        ValueError: If there is no such split, or `transform` is random.
    """

    licence: str | None = "CC BY 4.0"

    def __init__(self, split: str = "train", transform: Transform | None = None) -> None:
        check_split(split)
        with (
            files("ddeq_data").joinpath("data/digits.npz").open("rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            images, labels, codes = arrays["images"], arrays["labels"], arrays["split"]
        chosen = np.isin(codes, [_CODES[part] for part in split.split("+")])
        clouds = pack_images(
            images[chosen], torch.from_numpy(labels[chosen].astype(np.int64)), weighted=True
        )
        super().__init__(clouds, [str(digit) for digit in range(10)], transform)
        self.split = split

    def _facts(self) -> dict[str, str]:
        return {"split": self.split, **super()._facts()}
