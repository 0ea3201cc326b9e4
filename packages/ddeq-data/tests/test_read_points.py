"""PCD, xyz and pts."""

import struct
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from ddeq_data import DataError, read_cloud, read_pcd, read_pts, read_text, read_xyz

LAW = settings(max_examples=30, deadline=None, derandomize=True)
POINTS = stn.arrays(
    np.float32, st.tuples(st.integers(1, 6), st.just(3)), elements=st.floats(-1e6, 1e6, width=32)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("points")


def pcd_bytes(points, form, *, size=4, extra=False, end="\n"):
    count = len(points)
    names = ["x", "y", "z"] if not extra else ["rgb", "z", "histogram", "x", "y"]
    counts = [4 if name == "histogram" else 1 for name in names]
    head = [
        "# .PCD v0.7 - Point Cloud Data file format",
        "VERSION 0.7",
        "FIELDS " + " ".join(names),
        "SIZE " + " ".join("2" if name == "histogram" else str(size) for name in names),
        "TYPE " + " ".join("U" if name == "histogram" else "F" for name in names),
        "COUNT " + " ".join(map(str, counts)),
        f"WIDTH {count}",
        "HEIGHT 1",
        "VIEWPOINT 0 0 0 1 0 0 0",
        f"POINTS {count}",
        f"DATA {form}",
        "",
    ]
    body = b""
    for x, y, z in points.tolist():
        row = {"x": x, "y": y, "z": z, "rgb": 4.2e6, "histogram": [1, 2, 3, 4]}
        for name in names:
            values = row[name] if name == "histogram" else [row[name]]
            code = "<H" if name == "histogram" else {4: "<f", 8: "<d"}[size]
            if form == "binary":
                body += b"".join(struct.pack(code, value) for value in values)
            else:
                body += " ".join(map(repr, values)).encode() + b" "
        body += b"" if form == "binary" else end.encode()
    return end.join(head).encode() + body


@LAW
@given(
    points=POINTS,
    form=st.sampled_from(["ascii", "binary"]),
    size=st.sampled_from([4, 8]),
    extra=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_every_form_of_pcd_gives_the_points(folder, points, form, size, extra, end):
    file = folder / "a.pcd"
    file.write_bytes(pcd_bytes(points, form, size=size, extra=extra, end=end))
    found = read_pcd(file)
    assert found.dtype == torch.float64
    np.testing.assert_array_equal(found.numpy(), points)
    np.testing.assert_array_equal(read_cloud(file, dim=3)[0].numpy(), points)


def test_pixels_without_a_measurement_are_left_out(tmp_path):
    points = np.array([[1, 2, 3], [np.nan] * 3, [4, 5, np.nan], [7, 8, 9]], np.float32)
    for form in ("ascii", "binary"):
        (tmp_path / "a.pcd").write_bytes(pcd_bytes(points, form))
        assert read_pcd(tmp_path / "a.pcd").tolist() == [[1, 2, 3], [7, 8, 9]]
    points[0, 0] = np.inf
    (tmp_path / "a.pcd").write_bytes(pcd_bytes(points, "binary"))
    with pytest.raises(DataError, match="expected finite coordinates"):
        read_pcd(tmp_path / "a.pcd")


def test_a_pcd_without_points_and_count_lines(tmp_path):
    text = pcd_bytes(np.ones((4, 3)), "ascii").decode()
    text = text.replace("POINTS 4\n", "").replace("COUNT 1 1 1\n", "")
    (tmp_path / "a.pcd").write_text(text.replace("WIDTH 4\nHEIGHT 1", "WIDTH 2\nHEIGHT 2"))
    assert read_pcd(tmp_path / "a.pcd").tolist() == [[1, 1, 1]] * 4


@pytest.mark.parametrize("form", ["ascii", "binary"])
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"FIELDS x y z", b"FIELDS x y w", "a line FIELDS with x, y and z, .*FIELDS x y w"),
        (b"FIELDS x y z\n", b"", "a line FIELDS with x, y and z, each once, found none"),
        (b"COUNT 1 1 1", b"COUNT 1 1", "a line COUNT of 3 numbers"),
        (b"COUNT 1 1 1", b"COUNT 1 1 2", "a line COUNT with 1 for x, y and z"),
        (b"COUNT 1 1 1", b"COUNT 1 1 x", "a line COUNT of whole numbers"),
        (b"POINTS 2", b"POINTS -2", "a line POINTS of whole numbers, found POINTS -2"),
        (b"POINTS 2", b"POINTS", "a line POINTS of one number"),
        (b"POINTS 2", b"POINTS 3", "(line 13|byte [0-9]+): expected .* for 3 points, found"),
        (b"POINTS 2", b"POINTS 999999999999999", "for 999999999999999 points, found"),
        (b"POINTS 2", b"POINTS 1", "for 1 points, found"),
        (b"HEIGHT", b"DEPTH", "line 8: expected DATA ascii or DATA binary, .* found 'DEPTH 1'"),
        (b"HEIGHT", b"WIDTH", "line 8: expected DATA ascii"),
        (b"DATA", b"# DATA", "expected DATA ascii or DATA binary"),
    ],
)
def test_a_malformed_pcd_names_the_place(tmp_path, form, old, new, message):
    whole = pcd_bytes(np.arange(6.0).reshape(2, 3) + 1.25, form)
    assert old in whole
    (tmp_path / "a.pcd").write_bytes(whole.replace(old, new, 1))
    with pytest.raises(DataError, match=message) as caught:
        read_pcd(tmp_path / "a.pcd")
    assert str(caught.value).startswith(str(tmp_path / "a.pcd"))


def test_other_forms_of_pcd(tmp_path):
    whole = pcd_bytes(np.ones((2, 3)), "binary")
    for old, new, message in [
        (b"DATA binary", b"DATA binary_compressed", "convert .* `pcl_convert_pcd_ascii_binary`"),
        (b"SIZE 4 4 4", b"SIZE 4 4 3", "a line TYPE and SIZE of known types"),
        (b"TYPE F F F", b"TYPE F F", "a line TYPE and SIZE of known types, 3 of each"),
        (b"TYPE F F F", b"TYPE F F Q", "a line TYPE and SIZE of known types"),
    ]:
        (tmp_path / "a.pcd").write_bytes(whole.replace(old, new))
        with pytest.raises(DataError, match=message):
            read_pcd(tmp_path / "a.pcd")
    (tmp_path / "a.pcd").write_bytes(whole.replace(b"FIELDS", b"COLUMNS") + bytes(40))
    assert len(read_pcd(tmp_path / "a.pcd")) == 2  # some writers fill up their last page


@LAW
@given(
    points=POINTS,
    separator=st.sampled_from([" ", "\t", ",", ";", ", "]),
    extra=st.sampled_from([[], [0.5], [0, 0, 1, 255, 7, 8]]),
    end=st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
)
def test_xyz_and_pts_give_the_coordinates(folder, points, separator, extra, end):
    rows = [separator.join(map(repr, [*row, *extra])) for row in points.tolist()]
    for name, text in [
        ("a.xyz", end.join(rows)),
        ("a.pts", end.join(rows) + end),
        ("b.pts", end.join([f"{len(rows)} ", *rows])),
        ("c.xyz", f"# scan{end}" + f" # x{end}".join(rows)),
    ]:
        (folder / name).write_text(text, newline="")
        reader = read_xyz if name.endswith("xyz") else read_pts
        np.testing.assert_array_equal(reader(folder / name).numpy(), points)
        np.testing.assert_array_equal(read_cloud(folder / name, dim=3)[0].numpy(), points)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.xyz", "1 2\n3 4\n", "expected at least 3 numbers in each line, x y z, found 2; give"),
        ("a.xyz", "2\nwater\nO 0 0 0\nH 0 0 1\n", "line 3: expected 1 numbers"),
        ("a.xyz", "1 2 3\n4 5\n", "line 2: expected 3 numbers as in line 1, found 2"),
        ("a.xyz", "1 2 inf\n", r"vertex 0 .* found \(1, 2, inf\)"),
        ("a.pts", "3\n1 2 3\n4 5 6\n", "line 1: expected 3 points, as it says, found 2; fetch"),
        ("a.pts", "1\n1 2 3\n4 5 x\n", "line 1: expected 1 points, as it says, found 2"),
        ("a.pts", "2\n1 2 3\n4 5 x\n", "line 3: expected a number, found 'x'"),
        ("a.pts", "version: 1\nn_points: 2\n{\n1 2\n}\n", "line 3: expected 2 numbers"),
    ],
)
def test_malformed_points_name_the_place(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        (read_xyz if name.endswith("xyz") else read_pts)(tmp_path / name)


def test_text_gives_all_columns(tmp_path):
    (tmp_path / "a.dat").write_text("x,y,n\n1,2,3\n4,5,6\n")
    assert read_text(tmp_path / "a.dat", header=True).tolist() == [[1, 2, 3], [4, 5, 6]]
    with pytest.raises(DataError, match="line 1: expected a number, found 'x'"):
        read_text(tmp_path / "a.dat")
    (tmp_path / "a.dat").write_text("\n")
    assert read_text(tmp_path / "a.dat").shape == (0, 0)


@LAW
@given(
    text=st.text(st.sampled_from('0123456789.-+e, ;\t\n\r#naxi_"/'), max_size=30),
    header=st.booleans(),
    numbered=st.booleans(),
)
def test_the_quick_way_reads_tables_as_the_careful_one_does(text, header, numbered):
    from ddeq_data.readers.text import table

    def outcome():
        try:
            found = table.read_table("a", text.encode(), header=header, numbered=numbered)
            return found.names, found.all()
        except DataError as error:
            return None, str(error)

    names, found = outcome()
    with mock.patch.object(table, "_plain", return_value=None):
        others, expected = outcome()
    assert names == others
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "text",
    ["1\t\t3\n4\t5\t\n", "\t2\t3\n4\t\t6\n", "x\ty\n1\t2\n\t4\t5\n", "1\t2\n3\t \t4\n"],
)
def test_numbers_do_not_slide_into_the_columns_of_empty_cells(tmp_path, text):
    (tmp_path / "a.txt").write_text(text)
    line = 3 if "x" in text else 2
    with pytest.raises(DataError, match=f"line {line}: expected a number in each cell"):
        read_cloud(tmp_path / "a.txt")


@pytest.mark.parametrize(
    "text",
    [
        "1\t\t2\n3\t\t4\n",
        "\t1\t2\n\t3\t4\n",
        "1\t2\t\n3\t4\n",
        "1 \t2 # a\t\tremark\n\t\n3\t 4",
        "1\t,\t2\n3,\t\t4\n",
    ],
)
def test_tabs_that_only_line_up_are_blanks(tmp_path, text):
    (tmp_path / "a.txt").write_text(text)
    assert read_cloud(tmp_path / "a.txt")[0].tolist() == [[1, 2], [3, 4]]
