"""A page of clouds of a data set."""

import numpy as np

from ddeq_data import CloudDataset
from ddeq_models._internal.text import in_picture
from ddeq_models.report.pictures.projection import Array, Up, ink, on_paper, shades
from ddeq_models.report.pictures.style import INK, SMALL, TEXT, bare, figure, png

COLUMNS = 8
ROWS_OF_CLASSES = 12  # of more classes, one cloud each is shown
_CELL = 0.95  # inches
_FILL = 0.82  # share of a cell that a cloud may fill
_INK = 0.34  # share of a cell that the points of a cloud cover together, at most
_POINTS = 4096  # drawn of a cloud, at most


def draw_clouds(dataset: CloudDataset, title: str, up: Up = "z") -> bytes:
    """Draw some clouds of each class of a data set.

    A row is a class and has its first clouds; of many classes there is one cloud each. The area
    of a point in the plane is in proportion to its weight. Clouds in space are seen from above at
    an angle, without perspective, and what is nearer is darker.

    Args:
        dataset: Clouds of dimension 2 or 3; of another one the first three coordinates are shown.
        title: Said above.
        up: The axis that points up in space.

    Returns:
        A PNG file.
    """
    labels = dataset.labels.numpy()
    present = [i for i in range(len(dataset.classes)) if (labels == i).any()]
    by_row = len(present) <= ROWS_OF_CLASSES
    cells: list[tuple[int, int, int]] = []  # row, column, cloud
    for place, label in enumerate(present):
        members = np.flatnonzero(labels == label)
        if by_row:
            cells += [(place, i, int(cloud)) for i, cloud in enumerate(members[:COLUMNS])]
        else:
            cells.append((place // COLUMNS, place % COLUMNS, int(members[0])))
    rows = max(row for row, _, _ in cells) + 1
    height = 1.04 if by_row else 1.22  # of a cell: a name stands below
    names = {i: in_picture(dataset.classes[i].replace("_", " ")) for i in present}
    longest = max(map(len, names.values()))
    margin = 0.2 + 0.085 * longest if by_row else 0.0  # inches, for names at the left
    left_out = len(cells) < sum(int((labels == i).sum()) for i in present)
    if left_out:
        title += f"; the first {COLUMNS} of each class" if by_row else "; one of each class"
    made = figure(COLUMNS * _CELL + margin, rows * height * _CELL + 0.45)
    axes = made.subplots()
    bare(axes)
    for spine in axes.spines.values():
        spine.set_visible(False)
    spots, areas, depths = [], [], []
    for row, column, cloud in cells:
        points, area, shade = _view(dataset, cloud, up)
        spots.append(points + [column + 0.5, -row * height - 0.5])
        areas.append(area)
        depths.append(shade)
    places = np.concatenate(spots)
    axes.scatter(
        places[:, 0],
        places[:, 1],
        s=np.concatenate(areas) * (72 * _CELL) ** 2,
        c=ink(np.concatenate(depths)),
        linewidths=0,
    )
    for place, label in enumerate(present):
        row, column = (place, 0) if by_row else divmod(place, COLUMNS)
        x, y = (-0.08, -row * height - 0.5) if by_row else (column + 0.5, -row * height - 1.08)
        side = "right" if by_row else "center"
        axes.text(x, y, names[label], ha=side, va="center", fontsize=SMALL, color=INK)
    axes.set_xlim(-margin / _CELL, COLUMNS)
    axes.set_ylim(-rows * height, 0)
    axes.set_title(in_picture(title, 120), loc="left", fontsize=TEXT, color=INK, fontweight="bold")
    return png(made)


def _view(dataset: CloudDataset, index: int, up: Up) -> tuple[Array, Array, Array]:
    # (n, 2) places in [-1/2, 1/2]^2, (n,) areas in shares of a cell, (n,) shades in 0..1.
    points, weights, _ = dataset[index]
    step = -(-len(points) // _POINTS) or 1
    spots = points[::step, : min(dataset.coordinates, 3)].double().numpy()
    mass = weights[::step].double().numpy()
    if not len(spots):
        return np.empty((0, 2)), np.empty(0), np.empty(0)
    # The area is bounded, so that few points do not become blots.
    area = np.minimum(_INK * mass / mass.sum(), 2.5 * _INK / max(len(spots), 40))
    spots, depth = on_paper(spots, up)
    order = np.argsort(-depth, kind="stable")  # the farthest first
    spots, area, shade = spots[order], area[order], shades(depth[order])
    low, high = spots.min(0), spots.max(0)
    return (spots - (low + high) / 2) * _FILL / (np.ptp(spots, 0).max() or 1.0), area, shade
