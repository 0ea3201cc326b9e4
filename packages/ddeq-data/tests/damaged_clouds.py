"""Files of real size, whole and damaged, read by this package and by others: they must agree.

Each input is either refused with a `DataError`, or read; and where another reader (numpy, trimesh)
reads it too, as the same numbers. What such a reader is known to misread is not put to it.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import resource
import signal
import struct
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ddeq_data import DataError, read_cloud

MEMORY = 2**30
SECONDS = float(os.environ.get("DDEQ_FUZZ_SECONDS", "10"))  # of wall time, for a case
KINDS = ("txt", "csv", "names", "xyz", "pts", "npy", "npz", "off", "ply", "binary", "pcd", "pcdb")
WORDS = (
    b"nan", b"-inf", b"1e400", b"-0", b"+5", b"1.5E-3", b"0x10", b"1_0", b"1.#QNAN", b".", b"-",
    b"5.", b".5", b"1e5", b"12345678901234567890", b"0.12345678901234567890", b"1d5", b"1e", b"",
    b"#", b"# 7", b'"3"', b"7;", b",", b"x", b"1e-400", b"00012", b"1 2", b"\xc3\xa9", b"\xff",
)  # fmt: skip


def points_of(chance: random.Random) -> np.ndarray[Any, Any]:
    """Points in space, 10 kB to 1 MB of them as text, most often few."""
    count = int(10 ** chance.uniform(2.5, 3.2 if chance.random() < 0.98 else 4.5))
    generator = np.random.default_rng(chance.getrandbits(32))
    points = generator.normal(size=(count, 3)) * 10.0 ** chance.randint(-3, 6)
    return points.round(chance.randint(0, 12)) if chance.random() < 0.8 else points


def written(kind: str, points: np.ndarray[Any, Any], chance: random.Random) -> bytes:
    """The points as a file of a kind."""
    mark = {"csv": ",", "names": ","}.get(kind, chance.choice((" ", "\t", "  ")))
    rows = [mark.join(map(repr, row)) for row in points.tolist()]
    end = chance.choice(("\n", "\n", "\r\n", "\r"))
    count, order = len(rows), chance.choice("<>")
    faces = np.arange(3 * (count // 3)).reshape(-1, 3)
    match kind:
        case "names":
            rows.insert(0, "z,x,y")
        case "pts" if chance.random() < 0.5:
            rows.insert(0, str(count))
        case "npy" | "npz":
            buffer = io.BytesIO()
            narrow = points.astype(chance.choice(("<f4", "<f8", ">f8")))
            if kind == "npy":
                np.save(buffer, narrow)
            else:
                np.savez_compressed(buffer, points=narrow)
            return buffer.getvalue()
        case "off":
            rows = [
                "OFF",
                f"{count} {len(faces)} 0",
                *rows,
                *(f"3 {a} {b} {c}" for a, b, c in faces),
            ]
        case "ply" | "binary":
            form = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
            head = ["ply", f"format {'ascii' if kind == 'ply' else form} 1.0"]
            head += [f"element vertex {count}", *(f"property double {a}" for a in "xyz")]
            head += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
            head.append("end_header")
            if kind == "ply":
                rows = [*head, *rows, *(f"3 {a} {b} {c}" for a, b, c in faces)]
            else:
                body = points.astype(order + "f8").tobytes()
                body += b"".join(struct.pack(order + "B3i", 3, *face) for face in faces)
                return "\n".join([*head, ""]).encode() + body
        case "pcd" | "pcdb":
            head = ["FIELDS x y z", "SIZE 8 8 8", "TYPE F F F", "COUNT 1 1 1", f"POINTS {count}"]
            if kind == "pcdb":
                text = "\n".join([*head, "DATA binary", ""]).encode()
                return text + points.astype("<f8").tobytes()
            rows = [*head, "DATA ascii", *rows]
    return end.join([*rows, ""]).encode()


def damaged(content: bytes, chance: random.Random) -> bytes:
    """The content with a word, a line or some bytes changed."""
    match chance.randrange(6):
        case 0:  # a word
            words = list(re.finditer(rb"[^\s,]+", content[: 1 << 16]))
            if not words:
                return content
            word = chance.choice(words)
            return content[: word.start()] + chance.choice(WORDS) + content[word.end() :]
        case 1:  # a line
            lines = content.split(b"\n")
            at = chance.randrange(len(lines))
            new = [[], [b""], [b"# a remark"], [lines[at], lines[at]], [lines[at] + b" "]]
            new += [
                [lines[at] + b" 7"],
                [b"\t" + lines[at]],
                [lines[at] + b"\r"],
                [lines[at] + b","],
            ]
            return b"\n".join([*lines[:at], *chance.choice(new), *lines[at + 1 :]])
        case 2:  # ends of lines
            every = [m.start() for m in re.finditer(rb"\n", content[: 1 << 16])] or [0]
            at = chance.choice(every)
            return content[:at] + chance.choice((b"\r", b"\r\n", b"\n\n")) + content[at + 1 :]
        case 3:  # a byte
            at = chance.randrange(len(content))
            return content[:at] + bytes([chance.randrange(256)]) + content[at + 1 :]
        case 4:  # a range
            at = chance.randrange(len(content))
            part = content[at : at + chance.choice((1, 8, 1000))]
            return content[:at] + chance.choice((b"", part + part)) + content[at + len(part) :]
        case _:
            return content[: chance.randrange(len(content))]


def other(kind: str, content: bytes) -> np.ndarray[Any, Any] | None:
    """What another reader reads; None where it is known to be of no use, or fails."""
    text = content.decode("latin-1").replace("\r\n", "\n").replace("\r", "\n")
    # numpy begins a comment within a word; trimesh knows none, and forgives much.
    if "#" in text or '"' in text:
        return None
    try:
        match kind:
            case "txt" | "xyz":
                if any(mark in text for mark in ",;"):
                    return None
                table = np.loadtxt(io.StringIO(text), ndmin=2)
                return table[:, :3] if kind == "xyz" else table
            case "pts":
                first, _, rest = text.partition("\n")
                body = rest if first.strip().isdigit() else text
                return (
                    None
                    if "," in text or ";" in text
                    else np.loadtxt(io.StringIO(body), ndmin=2)[:, :3]
                )
            case "csv":
                return np.loadtxt(io.StringIO(text), delimiter=",", ndmin=2)
            case "names":
                first, _, rest = text.partition("\n")
                if first != "z,x,y":
                    return None
                return np.loadtxt(io.StringIO(rest), delimiter=",", ndmin=2)[:, [1, 2, 0]]
            case "npy":
                return np.load(io.BytesIO(content)).astype(np.float64)
            case "npz":
                return np.load(io.BytesIO(content))["points"].astype(np.float64)
            case "off" | "ply" | "binary":
                import trimesh

                kind = "off" if kind == "off" else "ply"
                source = io.BytesIO(content if kind == "ply" else text.encode("latin-1"))
                mesh = trimesh.load(source, file_type=kind, process=False)
                return np.asarray(mesh.vertices, np.float64)
    except Exception:
        return None
    return None


def fuzz(
    turns: int,
    seed: int,
    note: Callable[[str], object] = lambda _: None,
    most: float = float("inf"),
) -> dict[str, Any]:
    """So many inputs, or as many as fit in some seconds: read, refused, compared, gone wrong."""
    end = time.monotonic() + most
    warnings.simplefilter("ignore")
    chance = random.Random(seed)
    outcome = {"read": 0, "refused": 0, "compared": 0, "bytes": 0, "slowest": 0.0}
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(turns):
            if time.monotonic() > end:
                break
            kind = chance.choice(KINDS)
            points = points_of(chance)
            content = written(kind, points, chance)
            whole = chance.random() < 0.1
            for _ in range(0 if whole else chance.randint(1, 2)):
                content = damaged(content, chance) or b" "
            suffix = {"names": "csv", "binary": "ply", "pcdb": "pcd"}.get(kind, kind)
            file = Path(folder) / f"a.{suffix}"
            file.write_bytes(content)
            outcome["bytes"] += len(content)
            note(f"seed {seed}, turn {turn}: {kind}")
            signal.setitimer(signal.ITIMER_REAL, SECONDS)  # not handled: it ends the process
            start = time.process_time()  # of the wall, a busy machine takes its share
            try:
                found = read_cloud(file)[0].numpy()
                outcome["read"] += 1
            except DataError as error:
                outcome["refused"] += 1
                found = None
                if whole or len(str(error)) > 1000:
                    wrong.append(f"turn {turn}, {kind}: {str(error)[:300]}")
            except Exception as error:
                found = None
                wrong.append(f"turn {turn}, {kind}: {type(error).__name__}: {str(error)[:300]}")
            outcome["slowest"] = max(outcome["slowest"], time.process_time() - start)
            signal.setitimer(signal.ITIMER_REAL, 0)
            if found is None:
                continue
            if whole:
                expected = points[:, [1, 2, 0]] if kind == "names" else points
                if kind in ("npy", "npz"):  # some are written in float32
                    expected = found if np.allclose(found, points, rtol=1e-6) else expected
            elif chance.random() < 0.5 and (read := other(kind, content)) is not None:
                expected = read
            else:
                continue
            outcome["compared"] += 1
            if found.shape != expected.shape or not np.array_equal(found, expected):
                where = "another shape"
                if found.shape == expected.shape:
                    row = int(np.flatnonzero((found != expected).any(1))[0])
                    where = f"row {row}: {found[row].tolist()}, {expected[row].tolist()}"
                wrong.append(f"turn {turn}, {kind}: {found.shape} and {expected.shape}, {where}")
    return {**outcome, "wrong": wrong}


if __name__ == "__main__":
    import trimesh  # noqa: F401 (what it takes is not the readers')

    place = Path(sys.argv[3]) if len(sys.argv) > 3 else None
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    note = place.write_text if place else lambda _: None
    report = fuzz(int(sys.argv[1]), int(sys.argv[2]), note, *map(float, sys.argv[4:]))
    print(json.dumps(report))
