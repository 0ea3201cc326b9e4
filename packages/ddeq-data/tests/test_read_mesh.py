"""OFF and PLY: the layouts they come in, and what is wrong with them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddeq_data import DataError, read_cloud, read_off, read_ply

LAW = settings(max_examples=40, deadline=None, derandomize=True)
FLOATS = st.one_of(
    st.floats(-1e9, 1e9),
    st.floats(-1000, 1000).map(lambda v: round(v, 3)),
    st.integers(-50, 50).map(float),
)


@st.composite
def meshes(draw, corners=5, lone=True):
    vertices = draw(st.lists(st.tuples(FLOATS, FLOATS, FLOATS), min_size=1, max_size=7))
    index = st.integers(0, len(vertices) - 1)
    polygon = st.lists(index, min_size=1 if lone else 3, max_size=corners)
    return vertices, draw(st.lists(polygon, max_size=6))


def fans(polygons):
    return [
        [polygon[0], *polygon[k : k + 2]]
        for polygon in polygons
        for k in range(1, len(polygon) - 1)
    ]


def expect(mesh, vertices, polygons):
    assert mesh.vertices.dtype == torch.float64
    assert mesh.faces.dtype == torch.int64
    assert mesh.vertices.tolist() == [list(v) for v in vertices]
    assert mesh.faces.shape == (len(fans(polygons)), 3)
    assert mesh.faces.tolist() == fans(polygons)


def off_lines(vertices, polygons, edges=True):
    lines = [f"{len(vertices)} {len(polygons)}" + " 0" * edges]
    lines += [" ".join(repr(value) for value in vertex) for vertex in vertices]
    return lines + [" ".join(map(str, [len(polygon), *polygon])) for polygon in polygons]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("meshes")


@LAW
@given(mesh=meshes(), data=st.data())
def test_every_layout_of_off_gives_the_mesh(folder, mesh, data):
    lines = off_lines(*mesh)
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r", " \n", "\t\r\n", "\n\n"]))
    layouts = {
        "plain": "OFF" + end + end.join(lines) + end,
        "merged": "OFF" + end.join(lines),
        "one line": "OFF " + " ".join(lines),
        "a number in each line": "OFF\n" + "\n".join(" ".join(lines).split()),
        "blank lines": "\n\n off \n\n\n" + "\n \n".join(lines) + "\n\n",
        "byte-order mark": "\ufeffOFF\n" + "\n".join(lines),
    }
    if end != "\r":
        layouts["comments"] = f"# Gödel{end}OFF # 1 2 3{end}" + f" # 3 0 1 2{end}#{end}".join(lines)
    if len(mesh[0]) * len(mesh[1]) > 0:
        layouts["no edges"] = "OFF" + end + end.join(off_lines(*mesh, edges=False)) + end
    for text in layouts.values():
        (folder / "a.off").write_text(text, "utf-8", newline="")
        expect(read_off(folder / "a.off"), *mesh)


@LAW
@given(
    mesh=meshes(),
    header=st.sampled_from(["OFF", "COFF", "NOFF", "CNOFF", "STOFF", "STCNOFF"]),
    alpha=st.booleans(),
    colour=st.sampled_from(["", " 255 0 7", " 0.5 0.25 1 1", " 3"]),
    merged=st.booleans(),
)
def test_further_columns_are_passed_over(folder, mesh, header, alpha, colour, merged):
    lines = off_lines(*mesh)
    count = len(mesh[0])
    extra = (
        " 0 0 1" * ("N" in header)
        + " 9 8 7" * ("C" in header)
        + " 1" * ("C" in header and alpha)
        + " .5 .5" * ("ST" in header)
    )
    lines[1 : 1 + count] = [line + extra for line in lines[1 : 1 + count]]
    lines[1 + count :] = [line + colour for line in lines[1 + count :]]
    (folder / "a.off").write_text(header + "\n" * (not merged) + "\n".join(lines) + "\n")
    expect(read_off(folder / "a.off"), *mesh)


def test_undeclared_colours_of_vertices_are_passed_over(tmp_path):
    (tmp_path / "a.off").write_text("OFF\n3 1 0\n0 0 0 1 2 3\n1 0 0 4 5 6\n0 1 0 7 8 9\n3 0 1 2\n")
    mesh = read_off(tmp_path / "a.off")
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert mesh.faces.tolist() == [[0, 1, 2]]


def test_a_colour_is_not_taken_for_a_face(tmp_path):
    text = "COFF\n2 2 0\n1 1 1 9 8 7\n3 0 3 9 8 7\n2 0 1 3\n1 1 3\n"
    (tmp_path / "a.off").write_text(text)
    mesh = read_off(tmp_path / "a.off")
    assert mesh.vertices.tolist() == [[1, 1, 1], [3, 0, 3]]
    assert mesh.faces.shape == (0, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("PLY\n", r"line 1: expected the header of a text file .* found 'PLY"),
        ("OFFER\n1 0 0\n", "found 'OFFER"),
        ("4OFF\n1 0 0\n1 2 3 4\n", "found '4OFF"),
        ("OFF BINARY\n\0\0", "found 'OFF BINARY"),
        ("OFF\n", "line 1: expected the numbers of vertices, faces and edges, found the end"),
        ("OFF\n3 1\n", "line 2: expected the numbers of vertices, .* found the end"),
        ("OFF\n# note\n3 one 0\n", "line 3: expected a number, found 'one'; remove it, or"),
        ("OFF\n-3 1 0\n", "line 2: .* at least 0, found -3 and 1"),
        ("OFF\n1.5 1 0\n", "line 2: expected a number of vertices or faces, found 1.5"),
        ("OFF\n2 0 0\n1 2 3\n\n4 5\n", "line 5: expected 2 vertices, found the end"),
        ("OFF\n2 0 0\n1 2 3\n4 5 6x\n", "line 4: expected a number, found '6x'"),
        ("OFF\n1 0 0\n1 2-3\n", "line 3: expected a number, found '2-3'"),
        ("OFF\n1 0 0\n1 . 2-3\n", "line 3: expected a number, found '.'"),
        ("OFF\n1 0 0\n1 1.2.3 3\n", "line 3: expected a number, found '1.2.3'"),
        ("OFF\n1 0 0\n1 nan 3\n", r"vertex 0 \(counted from 0\): .* found \(1, nan, 3\)"),
        ("OFF\n2 0 0\n1 2 3 1 1e400 3\n", r"vertex 1 .* found \(1, inf, 3\)"),
        ("OFF\n1 1 0\n1 2 3\n3 0 0 1\n", r"face 0 .* corners in 0..0, .* found 1; repair"),
        ("OFF\n1 2 0\n1 2 3\n2 0 0\n3 0 -1 0\n", r"face 1 .* found -1"),
        ("OFF\n0 1 0\n3 0 0 0\n", r"face 0 .* expected no face, as there is no vertex, found 0"),
        ("OFF\n1 2 0\n1 2 3\n3 0 0 0\n", "line 4: expected 2 faces, of which 1 are there"),
        ("OFF\n1 1 0\n1 2 3\n3 0 0\n", r"line 4: expected 3 corners of face 0 .* found the end"),
        ("OFF\n1 1 0\n1 2 3\n0 0 0\n", "line 4: expected a number of corners, at least 1, found 0"),
        ("OFF\n1 1 0\n1 2 3\n3 0 0.5 0\n", "line 4: expected the number of a vertex, found 0.5"),
        ("OFF\n1 0 0\n1 2 3\n4 5 6\n", "line 4: expected the end after 1 vertices and 0 faces, fo"),
        ("OFF\n999999999999999 1 0\n1 2 3\n", "expected 999999999999999 vertices, found the end"),
        ("OFF\n1 1 0\n1 2 3\n9e15 1 0 0\n", "expected 9000000000000000 corners"),
    ],
)
def test_a_malformed_off_names_the_place(tmp_path, text, message):
    file = tmp_path / "a.off"
    file.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_off(file)
    assert str(caught.value).startswith(str(file))


def ply_bytes(vertices, polygons, form, *, counter="uchar", index="int", end=b"\n", extra=False):
    order = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}[form]
    codes = {"uchar": "u1", "int": "i4", "uint": "u4", "short": "i2", "uint8": "u1"}
    head = [
        "ply",
        f"format {form} 1.0",
        "comment made by hand",
        *(["element camera 2", "property float view", "property list uchar short range"] * extra),
        f"element vertex {len(vertices)}",
        *(["property uchar red"] * extra),
        *(f"property double {axis}" for axis in "xyz"),
        "obj_info nothing",
        f"element face {len(polygons)}",
        f"property list {counter} {index} vertex_indices",
        *(["property float quality"] * extra),
        *(["element edge 1", "property int a", "property int b"] * extra),
        "end_header",
    ]

    def put(code, value):
        if not order:
            return f"{value!r} ".encode()
        return np.array(value).astype(order + code).tobytes()

    body = []
    if extra:
        body += [put("f4", 1.5), put("u1", 1), put("i2", 7), put("f4", 2.5), put("u1", 0)]
    for vertex in vertices:
        body += [put("u1", 200)] * extra + [put("f8", value) for value in vertex]
    for polygon in polygons:
        body += [put(codes[counter], len(polygon)), *(put(codes[index], i) for i in polygon)]
        body += [put("f4", 0.5)] * extra
    body += [put("i4", 0), put("i4", 0)] * extra
    return b"".join(line.encode() + end for line in head) + b"".join(body)


@LAW
@given(
    mesh=meshes(),
    form=st.sampled_from(["ascii", "binary_little_endian", "binary_big_endian"]),
    counter=st.sampled_from(["uchar", "int", "uint8"]),
    index=st.sampled_from(["int", "uint", "short"]),
    end=st.sampled_from([b"\n", b"\r\n"]),
    extra=st.booleans(),
)
def test_every_form_of_ply_gives_the_mesh(folder, mesh, form, counter, index, end, extra):
    content = ply_bytes(*mesh, form, counter=counter, index=index, end=end, extra=extra)
    (folder / "a.ply").write_bytes(content)
    expect(read_ply(folder / "a.ply"), *mesh)
    (folder / "a.ply").write_bytes(content + b"\n")
    expect(read_ply(folder / "a.ply"), *mesh)


def test_a_ply_of_points_only(tmp_path):
    text = "ply\nformat ascii 1.0\nelement vertex 2\nproperty float z\nproperty float y\n"
    (tmp_path / "a.ply").write_text(text + "property float x\nend_header\n1 2 3\n4 5 6\n")
    mesh = read_ply(tmp_path / "a.ply")
    assert mesh.vertices.tolist() == [[3, 2, 1], [6, 5, 4]]
    assert mesh.faces.shape == (0, 3)
    assert read_cloud(tmp_path / "a.ply")[0].tolist() == [[3, 2, 1], [6, 5, 4]]


SQUARE = ([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], [[0, 1, 2], [0, 2, 3, 1]])


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_a_truncated_ply_is_refused(tmp_path, form):
    whole = ply_bytes(*SQUARE, form).rstrip(b" ")
    cuts = range(0, len(whole), 7) if form == "ascii" else range(len(whole))
    if form == "ascii":
        cuts = [cut for cut in cuts if whole[cut : cut + 1] in (b" ", b"\n")]
    for cut in cuts:
        (tmp_path / "a.ply").write_bytes(whole[:cut])
        with pytest.raises(DataError):
            read_ply(tmp_path / "a.ply")
    (tmp_path / "a.ply").write_bytes(whole + b" 9")
    with pytest.raises(DataError, match="expected the end after the last element"):
        read_ply(tmp_path / "a.ply")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"ply", b"plx", "line 1: expected the line ply, found 'plx'"),
        (b"ascii", b"morse", "line 2: expected format, .* found 'format morse 1.0'"),
        (b"format ascii 1.0\n", b"", "expected a line format ahead of it, found none"),
        (b"vertex 4", b"vertex four", "line 4: expected format, element"),
        (b"vertex 4", b"vertex 3", "expected the end after the last element .* further numbers"),
        (b"double z", b"double w", "header: expected an element vertex .* found x, y"),
        (b"double z", b"double x", "line 7: expected properties of different names"),
        (b"double z", b"list uchar double z", "header: .* found x, y"),
        (b"double x", b"quad x", "line 5: expected format, element, property"),
        (b"list uchar int", b"list float int", "line 10: expected format"),
        (b"element face", b"element vertex", "expected elements of different names"),
        (b"end_header", b"end", "expected format, .* found 'end'"),
        (b"3 0 1 2", b"-3 0 1 2", "line 1[0-9]: expected the length of a list vertex_indices"),
        (b"3 0 1 2", b"3 0 1 9", r"face 0 \(counted from 0\): .* found 9"),
        (b"3 0 1 2", b"3 0 1 .5", "element face: expected whole numbers"),
        (b"3 0 1 2", b"3 0 1 b", "line 12: expected a number, found 'b'"),
    ],
)
def test_a_malformed_ply_names_the_place(tmp_path, old, new, message):
    whole = ply_bytes(*SQUARE, "ascii")
    assert old in whole
    (tmp_path / "a.ply").write_bytes(whole.replace(old, new, 1))
    with pytest.raises(DataError, match=message) as caught:
        read_ply(tmp_path / "a.ply")
    assert str(caught.value).startswith(str(tmp_path / "a.ply"))


def test_a_header_cannot_ask_for_memory(tmp_path):
    whole = ply_bytes(*SQUARE, "binary_little_endian")
    for old, new in ((b"vertex 4", b"vertex 999999999999999"), (b"face 2", b"face 99999999999999")):
        (tmp_path / "a.ply").write_bytes(whole.replace(old, new))
        with pytest.raises(DataError, match=r"expected 9+ rows of the element"):
            read_ply(tmp_path / "a.ply")
    whole = whole.replace(b"list uchar", b"list uint")
    (tmp_path / "a.ply").write_bytes(whole)
    with pytest.raises(DataError):
        read_ply(tmp_path / "a.ply")
