"""The picture of a confusion matrix."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ddeq_models._internal.text import in_picture
from ddeq_models.report.pictures.style import INK, SMALL, TEXT, bare, figure, png

NUMBERS_UP_TO = 20  # classes; beyond that the counts no longer fit in their squares


def draw_confusion_matrix(counts: ArrayLike, classes: Sequence[str], title: str) -> bytes:
    """Draw how often each true class (row) was taken for each class (column).

    The shade is the share of the row, so that rare classes are seen as well as frequent ones; the
    diagonal is blue, errors are red.

    Args:
        counts: (classes, classes) integers.
        classes: Their names.
        title: Said above.

    Returns:
        A PNG file.
    """
    counts = np.asarray(counts)
    classes = [in_picture(name) for name in classes]
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = len(classes)
    side = min(max(0.5 * size, 3.2), 12.0)
    made = figure(side + 1.0, side + 1.3)
    axes = made.subplots()
    right = np.eye(size, dtype=bool)
    image = np.ones((size, size, 3))
    # From white to blue on the diagonal, to vermilion beside it; an error of a tenth of its
    # class is already plain to see.
    for where, colour, strength in (
        (right, (0.0, 0.447, 0.698), share),
        (~right, (0.835, 0.369, 0.0), np.minimum(1.0, np.sqrt(share * 2.5))),
    ):
        blend = 1 - strength[..., None] * (1 - np.array(colour))
        image[where] = blend[where]
    axes.imshow(image, interpolation="nearest")
    bare(axes)
    axes.set_xticks(range(size), classes, fontsize=SMALL, rotation=90 if _long(classes) else 0)
    axes.set_yticks(range(size), classes, fontsize=SMALL)
    axes.tick_params(length=0, colors=INK)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("predicted", fontsize=TEXT, color=INK)
    axes.set_ylabel("true", fontsize=TEXT, color=INK)
    axes.set_title(in_picture(title, 120), fontsize=TEXT, color=INK, fontweight="bold", loc="left")
    if size <= NUMBERS_UP_TO:
        for i, j in zip(*counts.nonzero(), strict=True):
            dark = image[i, j].mean() < 0.6
            axes.text(
                j,
                i,
                str(counts[i, j]),
                ha="center",
                va="center",
                fontsize=SMALL if counts.max() < 1000 else SMALL - 1.5,
                color="white" if dark else INK,
            )
    return png(made)


def _long(classes: Sequence[str]) -> bool:
    return any(len(name) > 2 for name in classes)
