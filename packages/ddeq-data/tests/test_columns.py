"""Columns by name: which are coordinates, which features, which weights."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddeq_data import DataError, PointCloudFolder, RandomPoints, SurfacePoints, collate, read_cloud
from ddeq_data.shapes import Shape

LAW = settings(max_examples=40, deadline=None, derandomize=True)
POINTS = [[0.5, 1, 2], [3, 4, 5.25], [-6, 7, 8]]
NAMES = ("intensity", "z", "x", "nx", "label", "y")
TABLE = np.arange(24.0).reshape(4, 6) + 0.25


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("columns")


def write(path, names, table):
    """One table in the format that the suffix says, its columns named."""
    rows = [" ".join(map(repr, row)) for row in table.tolist()]
    match path.suffix:
        case ".npz":
            np.savez(path, **dict(zip(names, table.T, strict=True)))
        case ".ply":
            head = ["ply", "format ascii 1.0", f"element vertex {len(table)}"]
            head += [f"property double {name}" for name in names] + ["end_header"]
            path.write_text("\n".join([*head, *rows]) + "\n")
        case ".pcd":
            ones = " ".join("1" for _ in names)
            head = [f"FIELDS {' '.join(names)}", f"SIZE {ones.replace('1', '8')}"]
            head += [f"TYPE {ones.replace('1', 'F')}", f"COUNT {ones}"]
            path.write_text("\n".join([*head, f"POINTS {len(table)}", "DATA ascii", *rows]))
        case ".csv":
            path.write_text("\n".join([",".join(names), *(row.replace(" ", ",") for row in rows)]))
        case _:
            path.write_text("\n".join([" ".join(names), *rows]))
    return path


@LAW
@given(
    suffix=st.sampled_from([".csv", ".txt", ".xyz", ".pts", ".ply", ".pcd", ".npz"]),
    names=st.permutations(NAMES),
    features=st.lists(st.sampled_from(["intensity", "nx", "label"]), unique=True),
    columns=st.none() | st.permutations(["z", "x", "y"]).map(lambda p: p[:2]),
    capitals=st.booleans(),
)
def test_columns_are_found_by_name_in_every_format(
    folder, suffix, names, features, columns, capitals
):
    table = TABLE[:, [NAMES.index(name) for name in names]]
    if suffix == ".npz":
        capitals = False  # the keys of an archive are what they are
    file = write(folder / f"a{suffix}", [n.upper() if capitals else n for n in names], table)
    points, weights = read_cloud(file, columns=columns, features=features)
    wanted = [*(columns or "xyz"), *features]
    np.testing.assert_array_equal(points.numpy(), TABLE[:, [NAMES.index(n) for n in wanted]])
    assert weights is None


@pytest.mark.parametrize(
    "text",
    [
        ",x,y,z\n0,0.5,1,2\n1,3,4,5.25\n2,-6,7,8\n",  # pandas writes its index
        "z,y,x\n2,1,0.5\n5.25,4,3\n8,7,-6\n",
        "label,x,y,z\n7,0.5,1,2\n7,3,4,5.25\n1,-6,7,8\n",
        'name;X;Y;Z\nchair;0.5;1;2\nchair, old;3;4;5.25\n"a;b";-6;7;8\n',
        "x,y,z,intensity\n0.5,1,2,200\n3,4,5.25,1.#QNAN\n-6,7,8,9\n",
        "0,1,2\n0.5,1,2\n3,4,5.25\n-6,7,8\n",  # pandas of an array
        ",0,1,2\n0,0.5,1,2\n1,3,4,5.25\n2,-6,7,8\n",
        "label,0,1,2\n7,0.5,1,2\n7,3,4,5.25\n1,-6,7,8\n",
        '"x","y","z"\n"0.5","1","2"\n"3","4","5.25"\n"-6","7","8"\n',
        "x,y,z,\n0.5,1,2,\n3,4,5.25,\n-6,7,8,\n",
        "x,y,z,\n0.5,1,2\n3,4,5.25\n-6,7,8\n",
        "# z y x\n2 1 0.5\n5.25 4 3\n8 7 -6\n",  # numpy.savetxt(header="z y x")
        "# a remark\n# of x and y\n\nx\ty\tz\tan id\n0.5\t1\t2\t7\n3\t4\t5.25\t8\n-6\t7\t8\t9",
        "# x y\n0.5 1 2\n3 4 5.25\n-6 7 8\n",  # a remark that does not fit is one
        "//X Y Z\n0.5 1 2\n3 4 5.25\n-6 7 8\n",  # CloudCompare
        "//Z,Y,X,R\n2,1,0.5,9\n5.25,4,3,9\n8,7,-6,9\n",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_tables_of_common_writers(tmp_path, text, end):
    (tmp_path / "a.csv").write_text(text.replace("\n", end), newline="")
    points, weights = read_cloud(tmp_path / "a.csv")
    assert points.tolist() == POINTS
    assert weights is None


@pytest.mark.parametrize("suffix", [".csv", ".txt", ".ply", ".pcd", ".npz"])
@pytest.mark.parametrize("name", ["weight", "weights"])
def test_weights_are_found_by_name(tmp_path, suffix, name):
    name = "weights" if suffix == ".npz" else name
    table = np.array([[1.0, 5, 6], [0, np.inf, 7], [3, 8, 9]])
    file = write(tmp_path / f"a{suffix}", (name, "y", "x"), table)
    points, weights = read_cloud(file)
    assert points.tolist() == [[6, 5], [9, 8]]
    assert weights.tolist() == [0.25, 0.75]
    write(tmp_path / f"a{suffix}", (name, "y", "x"), np.array([[-1.0, 5, 6], [1, 7, 8]]))
    with pytest.raises(DataError, match=f"key '{name}', row 0 .* at least 0, found -1"):
        read_cloud(file)
    if suffix != ".npz":  # as a feature it is one
        assert read_cloud(file, features=(name,))[0].tolist() == [[6, 5, -1], [8, 7, 1]]


SIX = "\n".join(" ".join(map(str, row)) for row in TABLE.tolist())


@pytest.mark.parametrize("suffix", [".txt", ".csv"])
def test_many_columns_without_names_are_not_a_geometry(tmp_path, suffix):
    file = tmp_path / f"a{suffix}"
    file.write_text(SIX if suffix == ".txt" else SIX.replace(" ", ","))
    with pytest.raises(DataError, match=r"found 6 columns and no names .*--columns 0,1,2.*--feat"):
        read_cloud(file)
    assert read_cloud(file, dim=6)[0].tolist() == TABLE.tolist()
    points = read_cloud(file, columns=("2", "0"), features=("5",))[0]
    assert points.tolist() == TABLE[:, [2, 0, 5]].tolist()
    points = read_cloud(file, features=("3", "4", "5"))[0]  # three are left
    assert points.tolist() == TABLE.tolist()


def test_formats_and_arrays_that_know_their_points(tmp_path):
    (tmp_path / "a.xyz").write_text(SIX)
    (tmp_path / "a.pts").write_text("4\n" + SIX)
    np.save(tmp_path / "a.npy", TABLE)
    np.savez(tmp_path / "a.npz", points=TABLE[:, :5], normals=TABLE[:, 3:], intensity=TABLE[:, 5])
    for name in ("a.xyz", "a.pts"):
        assert read_cloud(tmp_path / name)[0].tolist() == TABLE[:, :3].tolist()
        found = read_cloud(tmp_path / name, features=("5", "3"))[0]
        assert found.tolist() == TABLE[:, [0, 1, 2, 5, 3]].tolist()
    assert read_cloud(tmp_path / "a.npy")[0].shape == (4, 6)
    found = read_cloud(tmp_path / "a.npy", features=("1",))[0]
    assert found.tolist() == TABLE[:, [0, 2, 3, 4, 5, 1]].tolist()
    found = read_cloud(tmp_path / "a.npz", features=("normals", "intensity"))[0]
    assert found.tolist() == TABLE[:, [0, 1, 2, 3, 4, 3, 4, 5, 5]].tolist()
    found = read_cloud(tmp_path / "a.npz", columns=("2", "0"), features=("normals",))[0]
    assert found.tolist() == TABLE[:, [2, 0, 3, 4, 5]].tolist()


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("a,b\n1,2\n", None, "columns that are called x, y and perhaps z, found the columns a, b;"),
        ("a,x\n1,2\n", ("y",), "expected a column 'y', found the columns a, x; correct columns="),
        ("a,x\n1,2\n", ("2",), "expected a column '2'"),
        ("x,y,X\n1,2,3\n", ("x", "y"), None),
        ("x,y,x\n1,2,3\n", None, "expected one column 'x', found 2 among x, y"),
        ("x,y,weight,weights\n1,2,3,4\n", None, "expected one column of weights, found 2"),
        ("x,y\n1,2,3\n", None, "line 1: expected a name for each of 3 columns, or no names, found"),
        ("# note\nx,y\n1,b\n", None, "line 3: expected a number, found 'b'"),
        ("1,2\n3,4\n", ("x",), "expected a column 'x', found 2 columns without names"),
        ("y,z\n3,4\n", None, "columns that are called x, y"),
        ("x,z\n3,4\n", None, "columns that are called x, y"),
        ("made,by,X\n1,2,3\n", None, "columns that are called x, y"),
        ("x,weight\n1,2\n", ("x",), None),
    ],
)
def test_what_is_not_there_is_told_with_what_is(tmp_path, text, columns, message):
    (tmp_path / "a.csv").write_text(text)
    if message is None:
        wanted = [[1, 2]] if columns == ("x", "y") else [[1]]
        assert read_cloud(tmp_path / "a.csv", columns=columns)[0].tolist() == wanted
        assert read_cloud(tmp_path / "a.csv")[0].tolist() == wanted or "X" in text
        return
    with pytest.raises(DataError, match=message):
        read_cloud(tmp_path / "a.csv", columns=columns)


def test_a_title_is_not_taken_for_names(tmp_path):
    (tmp_path / "a.xyz").write_text("y of X\n1 2 3\n4 5 6\n")
    with pytest.raises(
        DataError, match="columns that are called x, y and perhaps z, found the col"
    ):
        read_cloud(tmp_path / "a.xyz")


def test_names_that_are_none(tmp_path):
    for columns, features, message in (
        ("xy", (), r"columns must be a tuple of names such as \('x', 'y'\), got 'xy'"),
        ((0, 1), (), "columns must be a tuple of names"),
        ((), (), "columns must name at least one column"),
        (("x", "y"), ("x",), "must name each column once, got 'x' twice"),
        (None, ("",), "features must be a tuple of names"),
    ):
        for use in (read_cloud, PointCloudFolder):
            with pytest.raises(ValueError, match=message):
                use(tmp_path, columns=columns, features=features)


def test_a_folder_keeps_features_beside_the_coordinates(tmp_path):
    for kind, i in itertools.product("ab", range(4)):
        (tmp_path / kind).mkdir(exist_ok=True)
        suffix = (".csv", ".ply", ".pcd", ".npz")[i]
        write(tmp_path / kind / f"{i}{suffix}", NAMES, TABLE + i)
    plain = PointCloudFolder(tmp_path, test_share=0.0, validation_share=0.0)
    assert (plain.dim, plain.coordinates) == (3, 3)
    data = PointCloudFolder(
        tmp_path,
        test_share=0.0,
        validation_share=0.0,
        columns=("x", "y"),
        features=("nx", "intensity"),
        sampling=RandomPoints(3),
    )
    assert (data.dim, data.coordinates) == (4, 2)
    assert "dimension 2\n    features: 2 of each point" in repr(data)
    assert {tuple(row) for row in data[1].points.tolist()} <= {
        tuple(row) for row in (TABLE + 1)[:, [2, 5, 3, 0]].tolist()
    }
    assert collate(list(data)).points.shape == (8, 3, 4)
    with pytest.raises(DataError, match="points of the surface have no features; leave features"):
        PointCloudFolder(tmp_path, "train", features=("nx",), sampling=SurfacePoints(5))


def test_features_of_one_file_and_not_of_another(tmp_path):
    (tmp_path / "a").mkdir()
    np.savez(tmp_path / "a" / "1.npz", points=TABLE[:, :3], extra=TABLE[:, 3:])
    np.savez(tmp_path / "a" / "2.npz", points=TABLE[:, :4], extra=TABLE[:, 4:])
    with pytest.raises(
        DataError, match=r"points of dimension 3 with 3 features, .* found 4 of dim"
    ):
        PointCloudFolder(tmp_path, test_share=0.0, validation_share=0.0, features=("extra",))


def test_a_mesh_loses_the_triangles_of_the_points_that_it_loses(tmp_path):
    from ddeq_data.readers import read_cloud_file

    head = "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\n"
    head += "property float z\nproperty float weight\nelement face 2\n"
    head += "property list uchar int vertex_indices\nend_header\n"
    body = "0 0 0 0\n1 0 0 1\n1 1 0 1\n0 1 0 2\n3 0 1 2\n3 1 2 3\n"
    (tmp_path / "a.ply").write_text(head + body)
    cloud = read_cloud_file(tmp_path / "a.ply")
    assert cloud.points.tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert cloud.faces.tolist() == [[0, 1, 2]]
    assert cloud.kept.tolist() == [False, True, True, True]
    assert torch.equal(cloud.weights, torch.tensor([0.25, 0.25, 0.5]).double())
    assert len(SurfacePoints(7)(Shape(*cloud[:4]), 0).points) == 7


@pytest.mark.parametrize("key", ["weights", "weight", "Weights", "WEIGHT"])
def test_weights_of_an_archive_have_the_names_of_any_format(tmp_path, key):
    points, weights = np.arange(6.0).reshape(3, 2), np.array([1.0, 2.0, 5.0])
    np.savez(tmp_path / "a.npz", points=points, **{key: weights})
    np.savez(tmp_path / "b.npz", x=points[:, 0], y=points[:, 1], **{key: weights})
    np.savez(tmp_path / "c.npz", points, **{key: weights})
    for name in "abc":
        found, mass = read_cloud(tmp_path / f"{name}.npz")
        assert found.tolist() == points.tolist()
        assert mass.tolist() == [0.125, 0.25, 0.625]
    np.savez(tmp_path / "d.npz", points=points, weight=weights, Weights=weights)
    with pytest.raises(DataError, match="one column of weights, found 2"):
        read_cloud(tmp_path / "d.npz")
    np.savez(tmp_path / "e.npz", points=points, **{key: weights[:2]})
    with pytest.raises(DataError, match=f"key '{key}'.*one weight for each point"):
        read_cloud(tmp_path / "e.npz")
