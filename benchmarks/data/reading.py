"""Reading of meshes, images and folders: seconds and memory, beside trimesh and PyTorch Geometric.

Each OFF file is read as it is, and with a merged header, with CRLF and with comments; vertices and
faces must equal trimesh's. The readers take turns, and the least time of each counts. `--tables`
writes MNIST as the CSV of `pointcloudmnist2d` by its published recipe, padded with -1 and with 0,
and compares the clouds of all 70,000. The classes of `--folder` are counted beside ModelNet40's.
What is not given, or not installed, is left out of the table.
"""

import argparse
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from ddeq_data import MNISTPointCloud, PointCloudFolder, SizeBuckets, collate, read_idx, read_off
from ddeq_data.datasets import list_folder
from ddeq_data.datasets.modelnet.counts import MODELNET40

try:
    import trimesh
except ImportError:
    trimesh = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The benchmark's own options."""
    parser.add_argument("--off", type=Path, help="folder of OFF files")
    parser.add_argument("--mnist", type=Path, help="folder of the MNIST files")
    parser.add_argument("--tables", action="store_true", help="with --mnist: also CSV tables")
    parser.add_argument("--folder", type=Path, help="folder class/part/file, for PointCloudFolder")
    parser.add_argument("--repeats", type=int, default=15)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Time what was asked for; seconds, and memory in MB."""
    figures: dict[str, Any] = {
        "peers": {
            "trimesh": None if trimesh is None else trimesh.__version__,
            "torch_geometric": version("torch-geometric") if find_spec("torch_geometric") else None,
        }
    }
    if options.off is not None:
        files = sorted(options.off.glob("*.off"))
        figures["off"] = [_off(file, options.repeats) for file in files]
    if options.mnist is not None:
        figures["mnist"] = _mnist(options.mnist)
        if options.tables:
            figures["tables"] = _tables(options.mnist)
    if options.folder is not None:
        figures["folder"] = _folder(options.folder)
    return figures


def table(figures: dict[str, Any]) -> str:
    """A table for each kind of data."""
    lines = [
        f"{name}: {release or 'not installed, nothing to compare with'}"
        for name, release in figures["peers"].items()
    ]
    if "off" in figures:
        peers = [name for name in figures["off"][0]["seconds"] if name != "ddeq_data"]
        titles = ["file", "bytes", "ms", *(f"{name} | ratio" for name in peers), "equal"]
        lines += ["", f"| {' | '.join(titles)} |", "|" + " --- |" * (4 + 2 * len(peers))]
        for row in figures["off"]:
            own = row["seconds"]["ddeq_data"]
            beside = [
                f"{1e3 * row['seconds'][name]:.2f} | {row['seconds'][name] / own:.1f}"
                for name in peers
            ]
            cells = [row["file"], f"{row['bytes']:,}", f"{1e3 * own:.2f}", *beside]
            lines.append(f"| {' | '.join(cells)} | {row['equal']} of {row['variants']} |")
    for name in ("mnist", "tables", "folder"):
        if name in figures:
            lines += [
                "",
                f"{name}: " + ", ".join(f"{k} {v:,.2f}" for k, v in figures[name].items()),
            ]
    return "\n".join(lines)


def _off(file: Path, repeats: int) -> dict[str, Any]:
    content = file.read_bytes()
    plain = content.replace(b"\r\n", b"\n")
    variants = {
        "merged": plain.replace(b"OFF\n", b"OFF", 1),
        "crlf": plain.replace(b"\n", b"\r\n"),
        "comments": b"# a comment\n" + plain.replace(b"\n", b" # another\n\n", 40),
    }
    equal = 0
    if trimesh is not None:
        expected = trimesh.load(file, process=False)
        with tempfile.TemporaryDirectory() as folder:
            for name, changed in {"original": content, **variants}.items():
                path = Path(folder) / f"{name}.off"
                path.write_bytes(changed)
                mesh = read_off(path)
                equal += np.array_equal(mesh.vertices, expected.vertices) and np.array_equal(
                    mesh.faces, expected.faces
                )
    calls: dict[str, Callable[[], object]] = {"ddeq_data": lambda: read_off(file)}
    if trimesh is not None:
        # With process=False it reads and does no more; as it comes it also merges vertices.
        calls["trimesh"] = lambda: trimesh.load(file, process=False)
        calls["trimesh merging"] = lambda: trimesh.load(file)
    if find_spec("torch_geometric"):
        from torch_geometric.io import read_off as geometric  # it takes seconds

        calls["torch_geometric"] = lambda: geometric(str(file))
    return {
        "file": file.name,
        "bytes": len(content),
        "seconds": _least(calls, repeats),
        "variants": 1 + len(variants),
        "equal": equal,
    }


def _mnist(root: Path) -> dict[str, float]:
    before = time.perf_counter()
    train, test = (MNISTPointCloud(root, split) for split in ("train+validation", "test"))
    seconds = time.perf_counter() - before
    return {
        "clouds": len(train) + len(test),
        "seconds": seconds,
        "peak_megabytes": _peak(),
        "epoch_clouds_per_second": _epoch(train, workers=1),
    }


def _tables(root: Path) -> dict[str, float]:
    figures: dict[str, float] = {}
    images = [MNISTPointCloud(root, split) for split in ("train+validation", "test")]
    with tempfile.TemporaryDirectory() as name:
        for padding in ("-1", "0"):
            folder = Path(name) / padding
            folder.mkdir()
            _write_tables(root, folder, padding)
            before = time.perf_counter()
            tables = [MNISTPointCloud(folder, split) for split in ("train+validation", "test")]
            figures[f"seconds padded with {padding}"] = time.perf_counter() - before
            figures[f"equal clouds padded with {padding}"] = sum(
                torch.equal(a.points, b.points) and a.label == b.label
                for own, other in zip(images, tables, strict=True)
                for a, b in zip(own, other, strict=True)
            )
    return figures


def _write_tables(root: Path, folder: Path, padding: str) -> None:
    # Pixels above 0 as x, y = 27 - row, value; shuffled by one stream from seed 42, the images to
    # train first; rows filled up to the largest of all images.
    random = np.random.RandomState(42)  # the published recipe's
    parts = {}
    for part, name in (("train", "train"), ("t10k", "test")):
        stem = next(root.rglob(f"{part}-images*idx3-ubyte*"))
        labels = next(root.rglob(f"{part}-labels*idx1-ubyte*"))
        parts[name] = read_idx(stem), read_idx(labels)
    most = max(int(np.count_nonzero(images, (1, 2)).max()) for images, _ in parts.values())
    empty = ",".join([padding] * 3)
    for name, (images, labels) in parts.items():
        with open(folder / f"{name}.csv", "w") as out:
            out.write(",".join(["label", *(f"{c}{i}" for i in range(most) for c in "xyv")]) + "\n")
            for image, label in zip(images, labels, strict=True):
                rows, columns = np.nonzero(image)
                points = np.stack([columns, 27 - rows, image[rows, columns]], 1)
                random.shuffle(points)
                cells = [str(label), *map(str, points.reshape(-1).tolist())]
                out.write(",".join(cells + [empty] * (most - len(points))) + "\n")


def _folder(root: Path) -> dict[str, float]:
    listing = list_folder(root)
    found = Counter(zip(listing.labels.tolist(), listing.parts, strict=True))
    published = sum(
        (found[i, "train"], found[i, "test"]) == MODELNET40.get(name)
        for i, name in enumerate(listing.classes)
    )
    with tempfile.TemporaryDirectory() as cache:
        spans = []
        for _ in range(2):
            before = time.perf_counter()
            data = PointCloudFolder(root, "train+validation", cache=cache)
            test = PointCloudFolder(root, "test", cache=cache)
            spans.append(time.perf_counter() - before)
        return {
            "clouds": len(data) + len(test),
            "classes": len(listing.classes),
            "classes with ModelNet40's counts": published,
            "first_seconds": spans[0],
            "cached_seconds": spans[1],
            "epoch_clouds_per_second": _epoch(data, workers=1),
        }


def _epoch(data: Any, workers: int) -> float:
    # Clouds a second, drawn evenly and collated; the worker's start is not counted.
    sampler = SizeBuckets(data.sizes, 64, shuffle=True, seed=0)
    loader: Any = DataLoader(data, batch_sampler=sampler, collate_fn=collate, num_workers=workers)
    batches = iter(loader)
    next(batches)
    count = 0
    before = time.perf_counter()
    for batch in batches:
        count += len(batch)
    return count / (time.perf_counter() - before)


def _least(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    spans = dict.fromkeys(calls, float("inf"))
    for _ in range(repeats):
        for name, call in calls.items():
            before = time.perf_counter()
            call()
            spans[name] = min(spans[name], time.perf_counter() - before)
    return spans


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
