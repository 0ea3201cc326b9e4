"""Kill a process at random moments of download, unpacking, processing and caching.

A process of its own forks the victims, so that none of them has to import torch.
"""

import contextlib
import hashlib
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path

from ddeq_data.storage import read_clouds

# Each line of its input is a folder; it answers with the victim's number, and at its end with how.
NURSERY = """
import os, sys
import pooch, requests, urllib3.exceptions
from typing import ClassVar
from ddeq_data import ModelNet40
from ddeq_data.downloads import Resource

class Small(ModelNet40):
    counts: ClassVar = {"bed": (COUNT, 0), "sofa": (COUNT, 0)}
    meshes: ClassVar = Resource("Small.zip", (sys.argv[1],), None, "")

for root in sys.stdin:
    victim = os.fork()
    if victim == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            Small(root.strip(), "train+validation", download=True)
        except BaseException:
            os._exit(1)
        os._exit(0)
    print(victim, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1]), flush=True)
"""
COUNT = 40  # meshes in each of two classes
# What shows that a stage has begun, the later ones first.
SIGNS = {
    "caching": "Small/.processed/*.partial",
    "processing": "Small/.processed",
    "unpacking": ".download/Small.*.partial",
    "download": ".download/Small.zip/part",
}


def archive() -> dict[str, bytes]:
    """The files of a small ModelNet."""
    chance = random.Random(0)
    files = {}
    for kind in ("bed", "sofa"):
        for i in range(COUNT):
            rows = [" ".join(f"{chance.random():.6f}" for _ in range(3)) for _ in range(90)]
            faces = [f"3 {j} {j + 1} {j + 2}" for j in range(88)]
            text = "\n".join(["OFF", "90 88 0", *rows, *faces, ""])
            files[f"Small/{kind}/train/{kind}_{i:04d}.off"] = text.encode()
    return files


def packed(files: dict[str, bytes]) -> bytes:
    """The archive of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    return buffer.getvalue()


def kill_often(folder: Path, serve, kills: int, seed: int = 0) -> Counter:
    """Kill so often, and check after each kill that nothing unfinished looks finished.

    Args:
        folder: An empty folder.
        serve: `serve` of `server.py`.
        kills: How often.
        seed: Of the moments.

    Returns:
        How many kills hit each stage, how many runs "finished" in between, and how many files
        that were there after a kill were "checked" to be whole.
    """
    files = archive()
    whole = packed(files)
    chance = random.Random(seed)
    root = folder / "root"
    hit: Counter = Counter()
    program = NURSERY.replace("COUNT", str(COUNT))
    with serve({"Small.zip": whole}) as served:
        served.pause = 0.002
        command = [sys.executable, "-c", program, served.url + "Small.zip"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, **pipes) as nursery:

            def start(where: Path) -> int:
                nursery.stdin.write(f"{where}\n")
                nursery.stdin.flush()
                return int(nursery.stdout.readline())

            start(folder / "first")
            before = time.perf_counter()
            assert nursery.stdout.readline() == "0\n", "a run that is not killed must succeed"
            span = time.perf_counter() - before
            expected = digest(folder / "first")
            while sum(hit[stage] for stage in (*SIGNS, "between")) < kills:
                if chance.random() < 0.5:  # else what the last one left is gone on with
                    shutil.rmtree(root, ignore_errors=True)
                stage, delay = chance.choice([*SIGNS]), 0.03 * chance.random() ** 2
                victim = start(root)
                limit = time.perf_counter() + 2 * span
                while not any(root.glob(SIGNS[stage])) and time.perf_counter() < limit:
                    time.sleep(0.0005)
                    if any((root / "Small" / ".processed").glob("*.clouds")):
                        break  # too late
                time.sleep(delay)
                # The nursery waits for it: until that is read the number belongs to no other,
                # unless it has ended, which the signal then does not find.
                kill(victim)
                code = int(nursery.stdout.readline())
                assert code in (0, -signal.SIGKILL), f"a run that goes on must succeed, got {code}"
                hit["checked"] += check(root, files, whole)
                if code == 0:
                    assert digest(root) == expected, "clouds that differ"
                    hit["finished"] += 1
                    shutil.rmtree(root)
                else:
                    found = (s for s, sign in SIGNS.items() if any(root.glob(sign)))
                    hit[next(found, "between")] += 1
            start(root)
            assert nursery.stdout.readline() == "0\n", "the last run must succeed"
            assert digest(root) == expected
            left = [path for path in root.rglob("*") if path.match("*.partial")]
            assert not left, f"left behind: {left}"
            nursery.stdin.close()
    return hit


def kill(victim: int) -> None:
    """Kill a process of the nursery, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)


def check(root: Path, files: dict[str, bytes], whole: bytes) -> int:
    """Check that what stands under its own name is whole; return how many files were."""
    checked = 0
    if (root / "Small.zip").exists():
        assert (root / "Small.zip").read_bytes() == whole, "half an archive"
        checked += 1
    if (root / "Small").exists():
        for name, content in files.items():
            assert (root / name).read_bytes() == content, f"half a folder: {name}"
        checked += len(files)
    for file in (root / "Small" / ".processed").glob("*.clouds"):
        assert len(read_clouds(file)) == 2 * COUNT, "half a cache"
        checked += 1
    return checked


def digest(root: Path) -> str:
    """What the processed clouds are, without what they say of times."""
    (file,) = (root / "Small" / ".processed").glob("*.clouds")
    clouds = read_clouds(file)
    return hashlib.sha256(clouds.points.numpy().tobytes()).hexdigest()
