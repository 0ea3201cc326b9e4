"""What data sets there are, what of them is on disk, and how to get the rest."""

from pathlib import Path

from ddeq_data import MNISTPointCloud
from ddeq_models.cli.tables import Row, table
from ddeq_models.registry import DATA_SETS


def listing(root: Path) -> str:
    """A table of the data sets, and how those that are not under a folder get there."""
    rows: list[Row] = [("name", "clouds", "dim", "what it is", f"on disk under {root}")]
    absent = []
    for one in DATA_SETS.values():
        there = ["always there"] if one.find is None else one.find(root)
        if not there and one.download is not None:
            absent.append(one)
        rows.append(
            (
                one.name,
                "any" if one.clouds is None else f"{one.clouds:,}",
                "any" if one.dim is None else str(one.dim),
                one.text,
                "; ".join(there) or "-",
            )
        )
    lines = table(rows, right={1, 2})
    if absent:
        lines += ["", "to fetch what is not there (pip install 'ddeq-data[download]'):"]
        for one in absent:
            lines.append(f"  ddeq datasets get {one.name} --root {root}")
    tables = MNISTPointCloud.tables
    lines += [
        "",
        f"mnist is also read from train.csv and test.csv of Kaggle's {tables}, which need an",
        "account there; folder from class/part/file or class/file of any point files or meshes.",
        "to see clouds: ddeq datasets show NAME",
    ]
    return "\n".join(lines)
