import gzip
import hashlib
import importlib.util
import io
import os
import socket
import stat
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ddeq_data import DataError, FashionMNISTPointCloud, MNISTPointCloud, ModelNet40
from ddeq_data.datasets import resources
from ddeq_data.downloads import Resource, fetch, transfer, unpack
from ddeq_data.downloads.fetch import WORK


def beside(name):
    # Tests are no package: a file beside them is loaded by its place.
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


server = beside("server")
needs_pooch = pytest.mark.skipif(
    importlib.util.find_spec("pooch") is None, reason="pooch is not installed"
)
CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr(transfer, "_WAIT", 0.001)


@pytest.fixture
def files():
    with server.serve({"a.bin": CONTENT}) as running:
        yield running


def resource(*urls, md5=MD5, name="a.bin"):
    return Resource(name, urls, md5, "put it there by hand")


def dead_url():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/a.bin"


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@needs_pooch
def test_a_file_is_fetched_once(files, tmp_path):
    wanted = resource(files.url + "a.bin")
    for _ in range(2):
        file = fetch(wanted, tmp_path / "new" / "er")
        assert file == tmp_path / "new" / "er" / "a.bin"
        assert file.read_bytes() == CONTENT
    assert files.asked == [""]
    assert visible(file.parent) == ["a.bin"]
    assert [path.name for path in (file.parent / ".download").iterdir()] == ["a.bin.lock"]


@needs_pooch
def test_a_connection_that_is_cut_goes_on_where_it_was(files, tmp_path):
    files.cuts = [100_000, 150_000]
    assert fetch(resource(files.url + "a.bin"), tmp_path).read_bytes() == CONTENT
    assert files.asked == ["", "bytes=100000-", "bytes=250000-"]


@needs_pooch
def test_a_later_run_goes_on(files, tmp_path):
    files.cuts = [50_000, 0, 0, 0]
    with pytest.raises(DataError, match=r"a.bin \(IncompleteRead: .*, 50,000 bytes have come\);"):
        fetch(resource(files.url + "a.bin"), tmp_path)
    assert visible(tmp_path) == []
    assert (tmp_path / ".download/a.bin/part").stat().st_size == 50_000
    files.asked.clear()
    assert fetch(resource(files.url + "a.bin"), tmp_path).read_bytes() == CONTENT
    assert files.asked == ["bytes=50000-"]


@needs_pooch
def test_a_part_that_is_all_there_is_not_fetched_again(files, tmp_path):
    (tmp_path / ".download/a.bin").mkdir(parents=True)
    (tmp_path / ".download/a.bin/part").write_bytes(CONTENT)
    assert fetch(resource(files.url + "a.bin"), tmp_path).read_bytes() == CONTENT
    assert files.asked == ["bytes=300000-"]


@needs_pooch
@pytest.mark.parametrize("part", [b"x" * 1000, b"x" * 400_000, CONTENT[:-1] + b"x"])
def test_a_part_of_another_file_is_fetched_anew(files, tmp_path, part):
    if part[-1:] == b"x" and len(part) == len(CONTENT):
        assert part != CONTENT
    (tmp_path / ".download/a.bin").mkdir(parents=True)
    (tmp_path / ".download/a.bin/part").write_bytes(part)
    assert fetch(resource(files.url + "a.bin"), tmp_path).read_bytes() == CONTENT
    assert files.asked[-1] == ""


@needs_pooch
def test_a_server_without_ranges_begins_anew(files, tmp_path):
    files.ranges = False
    files.cuts = [100_000, 200_000]
    assert fetch(resource(files.url + "a.bin"), tmp_path).read_bytes() == CONTENT
    assert files.asked == ["", "bytes=100000-", "bytes=200000-"]


@needs_pooch
def test_a_dead_first_mirror(files, tmp_path):
    wanted = resource(dead_url(), files.url + "no.bin", files.url + "a.bin")
    assert fetch(wanted, tmp_path).read_bytes() == CONTENT
    assert len(files.asked) == 2  # a 404 is believed at once


@needs_pooch
def test_the_next_mirror_goes_on_with_what_the_first_has_given(files, tmp_path):
    with server.serve({"a.bin": CONTENT}) as other:
        other.cuts = [120_000, 0, 0, 0]
        fetch(resource(other.url + "a.bin", files.url + "a.bin"), tmp_path)
    assert files.asked == ["bytes=120000-"]


@needs_pooch
def test_a_wrong_checksum_is_refused_and_the_next_mirror_asked(files, tmp_path):
    files.content["forged.bin"] = b"y" + CONTENT[1:]
    forged, real = files.url + "forged.bin", files.url + "a.bin"
    assert fetch(resource(forged, real), tmp_path).read_bytes() == CONTENT
    assert files.asked == ["", ""]
    (tmp_path / "a.bin").unlink()
    with pytest.raises(DataError, match=rf"forged.bin .md5 [0-9a-f]{{32}}, not {MD5}; removed"):
        fetch(resource(forged), tmp_path)
    assert visible(tmp_path) == []
    assert list((tmp_path / ".download/a.bin").iterdir()) == []


@needs_pooch
def test_all_mirrors_are_named_with_what_was_wrong(files, tmp_path):
    dead = dead_url()
    with pytest.raises(DataError) as caught:
        fetch(resource(dead, files.url + "no.bin"), tmp_path)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'a.bin'}: expected one of 2 mirrors to give this file")
    assert f"{dead} (ConnectionRefusedError: [Errno" in text
    assert f"{files.url}no.bin (HTTP 404 Not Found)" in text
    assert text.endswith("which goes on with what has come, or put it there by hand.")
    files.status = 503
    files.asked.clear()
    with pytest.raises(DataError, match="HTTP 503 Service Unavailable"):
        fetch(resource(files.url + "a.bin"), tmp_path)
    assert len(files.asked) == 3  # this may pass, and was tried again
    with pytest.raises(DataError, match="in vain: there is none"):
        fetch(resource(), tmp_path)


@needs_pooch
def test_of_two_that_start_at_once_one_fetches(files, tmp_path):
    files.pause = 0.001
    wanted = resource(files.url + "a.bin")
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(fetch, wanted, tmp_path) for _ in range(4)]
    assert [future.result().read_bytes() == CONTENT for future in found] == [True] * 4
    assert files.asked == [""]


TOGETHER = """
import os, sys
from pathlib import Path
from ddeq_data.downloads import Resource, fetch

wanted = Resource("a.bin", (sys.argv[1] + "a.bin",), sys.argv[2], "")
children = []
for _ in range(3):
    children.append(os.fork())
    if children[-1] == 0:
        os._exit(0 if fetch(wanted, Path(sys.argv[3])).is_file() else 1)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@needs_pooch
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked")
def test_of_three_processes_that_start_at_once_one_fetches(files, tmp_path):
    files.pause = 0.002
    subprocess.run([sys.executable, "-c", TOGETHER, files.url, MD5, tmp_path], check=True)
    assert files.asked == [""]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_another_file_of_that_name_is_left_alone(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"mine")
    with pytest.raises(DataError, match=rf"of md5 {MD5}, found md5 [0-9a-f]+; move it away"):
        fetch(resource(), tmp_path)
    with pytest.raises(DataError, match="of md5 unknown, found no whole zip archive, File is not"):
        fetch(resource(md5=None), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == b"mine"


def test_without_pooch_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs pooch: pip install 'ddeq-data\[downl"):
        MNISTPointCloud(tmp_path, download=True)


@needs_pooch
def test_a_link_in_the_place_of_the_work_is_not_followed(files, tmp_path):
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "thesis.tex").touch()
    for number, place in enumerate((f"{WORK}", f"{WORK}/a.bin")):
        folder = tmp_path / str(number)
        (folder / place).parent.mkdir(parents=True)
        (folder / place).symlink_to(documents)
        with pytest.raises(DataError, match="found a link, which is not followed; remove it"):
            fetch(resource(files.url + "a.bin"), folder)
    assert [path.name for path in documents.iterdir()] == ["thesis.tex"]


@needs_pooch
def test_what_this_program_did_not_make_is_not_deleted(files, tmp_path):
    work = tmp_path / WORK / "a.bin"
    work.mkdir(parents=True)
    (work / "mine.txt").touch()
    (work / "tmpabc").touch()  # as pooch leaves it when it is killed
    (work / "part").symlink_to(work / "mine.txt")
    assert fetch(resource(files.url + "a.bin"), tmp_path).read_bytes() == CONTENT
    assert [path.name for path in work.iterdir()] == ["mine.txt"]
    assert (work / "mine.txt").read_bytes() == b""


@needs_pooch
def test_no_server_fills_the_disk(files, tmp_path):
    small = replace(resource(files.url + "a.bin"), most=len(CONTENT) - 1)
    with pytest.raises(DataError, match=r"bytes, where at most [0-9,]+ can be"):
        fetch(small, tmp_path)
    files.endless = True  # and says nothing of a length
    with pytest.raises(DataError, match=r"more than [0-9,]+ bytes, which it has not"):
        fetch(small, tmp_path)
    assert sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()) < len(CONTENT)


@needs_pooch
def test_a_server_that_lies_about_ranges_is_given_up(files, tmp_path):
    files.cuts, files.lies = [1000] * 1000, True
    with pytest.raises(DataError, match="tried in vain"):
        fetch(resource(files.url + "a.bin"), tmp_path)
    assert len(files.asked) < 12


@needs_pooch
def test_a_server_that_drips_is_given_up(files, tmp_path):
    files.drip = 0.02
    with pytest.raises(DataError, match=r"Slow|bytes in 0 seconds"):
        fetch(resource(files.url + "a.bin"), tmp_path, seconds=0.1)


def archive(names, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as bundle:
        for name, content in names.items():
            bundle.writestr(name, content)
    return buffer.getvalue()


@needs_pooch
def test_an_archive_without_a_checksum_must_be_whole(files, tmp_path):
    whole = archive({"data/a.txt": CONTENT}, zipfile.ZIP_STORED)
    damaged = bytearray(whole)
    damaged[1000] ^= 1
    files.content |= {"page.zip": b"<html>", "damaged.zip": bytes(damaged), "a.zip": whole}
    urls = [files.url + name for name in ("page.zip", "damaged.zip", "a.zip")]
    file = fetch(resource(*urls, md5=None, name="a.zip"), tmp_path)
    assert file.read_bytes() == whole
    with pytest.raises(DataError, match=r"File is not a zip.*, data/a.txt is damaged; removed"):
        fetch(resource(*urls[:2], md5=None, name="b.zip"), tmp_path)


def test_an_archive_is_unpacked_once_and_only_its_folder(tmp_path):
    names = {"data/": b"", "data/b/a.txt": CONTENT, "__MACOSX/data/b": b"x", "other": b""}
    (tmp_path / "data.zip").write_bytes(archive(names))
    (tmp_path / ".download/data.1.partial/data").mkdir(parents=True)  # left by one that was killed
    with ThreadPoolExecutor(3) as pool:
        for folder in pool.map(lambda _: unpack(tmp_path / "data.zip", "data"), range(3)):
            assert folder == tmp_path / "data"
    assert visible(tmp_path) == ["data", "data.zip"]
    assert (tmp_path / "data/b/a.txt").read_bytes() == CONTENT
    assert not list((tmp_path / ".download").glob("*.partial"))


def link_to(target):
    link = zipfile.ZipInfo("data/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    return {link: target}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"data/../../out": b""}, r"lie in its folder, found 'data/../../out'"),
        ({"data//etc/out": b""}, "lie in its folder"),
        ({"data/..\\out": b""}, "lie in its folder"),
        ({"data/C:out": b""}, "lie in its folder"),
        (link_to("/etc"), "found 'data/link'; delete it"),
        ({"data/a": b"", "data/a/b": b""}, "a whole zip archive, found .*Not a directory|exists"),
        ({"else/a": b""}, "expected a folder data in it, found else; delete it and download"),
        ({}, "expected a folder data in it, found nothing"),
        ({f"data/{'x' * 300}": b""}, "names that this file system can hold, found File name too"),
        ({f"data/{'x/' * 300}x": b""}, "at most 64 folders within each other"),
        ({"data/bomb": bytes(2_000_000)}, "at most 1,000,000 bytes unpacked, found 2,000,000"),
    ],
)
def test_archives_that_are_refused(tmp_path, names, message):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "data.zip").write_bytes(archive(names))
    with pytest.raises(DataError, match=message):
        unpack(inner / "data.zip", "data", most=1_000_000)
    assert visible(inner) == ["data.zip"]
    assert visible(tmp_path / "a") == ["b"]
    assert not list((inner / ".download").glob("*.partial"))


def test_a_bomb_that_lies_of_its_size_gets_no_longer_than_it_says(tmp_path):
    whole = bytearray(archive({"data/bomb": bytes(2_000_000)}))
    size = (2_000_000).to_bytes(4, "little")
    while (at := whole.find(size)) >= 0:  # in the local header and in the directory
        whole[at : at + 4] = (1000).to_bytes(4, "little")
    (tmp_path / "data.zip").write_bytes(whole)
    with pytest.raises(DataError, match="a whole zip archive, found Bad CRC-32"):
        unpack(tmp_path / "data.zip", "data", most=1_000_000)
    assert visible(tmp_path) == ["data.zip"]


def test_no_room_on_the_disk(tmp_path, monkeypatch):
    (tmp_path / "data.zip").write_bytes(archive({"data/a": CONTENT}))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 5}))
    with pytest.raises(DataError, match="room for 300,000 bytes on the disk, found 5; make room"):
        unpack(tmp_path / "data.zip", "data")


@needs_pooch
def test_mnist_is_downloaded(tmp_path, mnist_arrays, idx_bytes, monkeypatch):
    content = {
        f"{name}.gz": gzip.compress(idx_bytes(array)) for name, array in mnist_arrays.items()
    }
    with server.serve(content) as files:
        for kind, published in (
            (MNISTPointCloud, resources.MNIST),
            (FashionMNISTPointCloud, resources.FASHION_MNIST),
        ):
            own = tuple(
                Resource(
                    one.name,
                    (files.url + one.name,),
                    hashlib.md5(content[one.name]).hexdigest(),
                    one.by_hand,
                )
                for one in published
            )
            monkeypatch.setattr(kind, "resources", own)
            root = tmp_path / "new" / kind.__name__
            assert len(kind(root, "test", download=True)) == 40
            assert len(kind(root, download=True)) == 220
            assert visible(root / kind.folder / "raw") == sorted(content)
        assert len(files.asked) == 8
        (root / "FashionMNIST/raw/t10k-labels-idx1-ubyte.gz").unlink()  # only what is missing
        assert len(kind(root, "test", download=True)) == 40
        assert len(files.asked) == 9


def test_tables_that_are_there_are_not_downloaded_as_images(tmp_path, monkeypatch):
    (tmp_path / "train.csv").write_text("label,x0,y0,v0\n" + "1,0,0,9\n" * 12)
    (tmp_path / "test.csv").write_text("label,x0,y0,v0\n1,0,0,9\n")
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert len(MNISTPointCloud(tmp_path, "test", download=True)) == 1
    assert len(MNISTPointCloud(tmp_path, "validation", download=True)) == 1


@needs_pooch
def test_modelnet_is_downloaded_and_unpacked(tmp_path, monkeypatch):
    mesh = "OFF\n3 1 0\n0 0 0\n0 0 1\n0 1 0\n3 0 1 2\n"
    names = {
        f"ModelNet40/{kind}/{part}/{kind}_{i}.off": mesh
        for kind, counts in (("bed", (2, 1)), ("sofa", (1, 1)))
        for part, count in zip(("train", "test"), counts, strict=True)
        for i in range(count)
    }
    with server.serve({"ModelNet40.zip": archive({**names, "__MACOSX/x": ""})}) as files:
        monkeypatch.setattr(ModelNet40, "counts", {"bed": (2, 1), "sofa": (1, 1)})
        url = files.url + "ModelNet40.zip"
        monkeypatch.setattr(ModelNet40, "meshes", Resource("ModelNet40.zip", (url,), None, ""))
        for root in (tmp_path, tmp_path, tmp_path / "ModelNet40"):
            data = ModelNet40(root, "test", download=True)
            assert (len(data), data.root) == (2, tmp_path / "ModelNet40")
    assert files.asked == [""]
    assert "processed: kept in" in repr(data)


def test_the_published_files():
    every = [*resources.MNIST, *resources.FASHION_MNIST]
    every += [resources.MODELNET10, resources.MODELNET40, resources.HDF5, resources.RESAMPLED]
    for one in every:
        assert one.urls
        assert all(url.startswith("http") and url.endswith("/" + one.name) for url in one.urls)
        assert one.md5 is None or (len(one.md5) == 32 and int(one.md5, 16))
        assert one.md5 is not None or one.name.endswith(".zip")
    assert len({one.md5 for one in every if one.md5}) == 9
