"""A house one can live in: who imports whom in a package, how full a folder is, what is private.

Each rule is a function that lists what breaks it. It is tried on the four packages, and on a small
package that is made up to break it.
"""

import ast
import re
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    path.name: path
    for path in sorted(ROOT.glob("packages/*/src/*"))
    if (path / "__init__.py").exists()
}
MOST = 20  # modules on one level
# What stands in a folder, from the ground up: imports run downward. A package or a folder in one
# may have a table; what is not in the table of its folder has no place there.
ORDER = {
    "ddeq_data": (
        "_internal",
        "errors",
        "counters",
        "measures",
        "transforms",
        "crops",
        "loading",
        "shapes",
        "readers",
        "storage",
        "downloads",
        "datasets",
    ),
    "ddeq_models": (
        "errors",
        "_internal",
        "registry",
        "config",
        "recipes",
        "models",
        "tasks",
        "data",
        "distributed",
        "runs",
        "measuring",
        "report",
        "training",
        "using",
        "estimator",
        "builtin",
        "cli",
        "__main__",
    ),
    "ddeq_data.readers": ("source", "columns", "vertices", "text", "formats", "cloud"),
}


class Import(NamedTuple):
    """One name that a file imports, `module` and `name`; `name` is "" for `import module`."""

    module: str
    name: str
    line: int
    where: str


class Arrow(NamedTuple):
    """An import of a module of one's own package."""

    source: str
    target: str
    line: int
    where: str

    def __str__(self) -> str:
        return f"{self.source}, line {self.line}{self.where}, imports {self.target}"


def imports(path: Path, folder: str) -> tuple[Import, ...]:
    """All imports of a file, those in functions and for the type checker as well.

    Args:
        path: The file.
        folder: The package that it is in, by which relative imports go.
    """
    return imports_of(path.read_text(encoding="utf-8"), folder)


@cache
def imports_of(text: str, folder: str) -> tuple[Import, ...]:
    """Those of a text; once, as every file is looked at by several rules."""

    def walk(node: ast.AST, where: str) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            inner = where
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                inner = where or " (in a function)"
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                inner = where or " (for the type checker)"
            elif isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, "", child.lineno, where)
            elif isinstance(child, ast.ImportFrom):
                above = folder.split(".")[: len(folder.split(".")) + 1 - child.level]
                base = ".".join([*above, *([child.module] if child.module else [])])
                for alias in child.names:
                    module = base if child.level else child.module or ""
                    yield Import(module, alias.name, child.lineno, where)
            elif isinstance(child, ast.Call) and child.args:
                called, first = ast.unparse(child.func), child.args[0]
                if called.endswith("import_module") and isinstance(first, ast.Constant):
                    yield Import(str(first.value), "", child.lineno, where)
            yield from walk(child, inner)

    return tuple(walk(ast.parse(text), ""))


def modules(package: Path) -> dict[str, Path]:
    """The files of a package by the names of the modules."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def folder_of(module: str, path: Path) -> str:
    return module if path.name == "__init__.py" else module.rpartition(".")[0]


def arrows(package: Path) -> list[Arrow]:
    """Who imports whom. A module that is imported imports its folders too; that is not counted."""
    every = modules(package)
    found = []
    for source, path in every.items():
        for one in imports(path, folder_of(source, path)):
            target = f"{one.module}.{one.name}"
            while target and target not in every:
                target = target.rpartition(".")[0]
            if target and target != source:
                found.append(Arrow(source, target, one.line, one.where))
    return found


def circle(every: Iterable[Arrow]) -> list[Arrow]:
    """A shortest circle of arrows, the one that closes it last; [] if there is none."""
    out: dict[str, list[Arrow]] = {}
    for arrow in every:
        out.setdefault(arrow.source, []).append(arrow)
    shortest: list[Arrow] = []
    for start in sorted(out):
        came: dict[str, list[Arrow]] = {start: []}
        queue = deque([start])
        while queue:
            place = queue.popleft()
            for arrow in out.get(place, []):
                if arrow.target == start and not 0 < len(shortest) <= len(came[place]) + 1:
                    shortest = [*came[place], arrow]
                if arrow.target not in came:
                    came[arrow.target] = [*came[place], arrow]
                    queue.append(arrow.target)
    # An import that was put off closes it: whoever wrote that knew of the way round.
    last = next((i for i, arrow in enumerate(shortest) if arrow.where), len(shortest) - 1)
    return shortest[last + 1 :] + shortest[: last + 1]


def told(found: list[Arrow]) -> str:
    way = " -> ".join([found[0].source, *(arrow.target for arrow in found)])
    return f"a circle of imports, {way}; it is closed where {found[-1]}"


def upward(package: Path, order: dict[str, tuple[str, ...]]) -> list[str]:
    """Imports that do not run downward, and what has no place in the table of its folder."""
    every, wrong = modules(package), []
    for folder in (f for f in order if f.split(".")[0] == package.name):
        rank = {f"{folder}.{name}": i for i, name in enumerate(order[folder])}
        rank[folder] = len(rank)

        def floor(module: str, folder: str = folder) -> str | None:
            if module == folder:
                return folder
            inner = module.removeprefix(f"{folder}.")
            return None if inner == module else f"{folder}.{inner.split('.')[0]}"

        stand = {place for module in every if (place := floor(module)) is not None}
        wrong += [f"{place} has no place in the order of {folder}" for place in stand - set(rank)]
        wrong += [f"{place} is in the order, and is not there" for place in set(rank) - stand]
        for arrow in arrows(package):
            source, target = floor(arrow.source), floor(arrow.target)
            if source in rank and target in rank and rank[target] > rank[source]:
                wrong.append(f"{arrow}, which is above it")
    return sorted(wrong)


def crowded(package: Path, most: int = MOST) -> list[str]:
    """Folders with too many modules, those in folders of their own and `__init__` not counted."""
    folders = [package, *(path for path in package.rglob("*") if path.is_dir())]
    count = {path: len([f for f in path.glob("*.py") if f.stem != "__init__"]) for path in folders}
    return [f"{path} holds {n} modules, at most {most}" for path, n in count.items() if n > most]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def taken(path: Path, folder: str, packages: Iterable[str]) -> list[str]:
    """Names that begin with an underscore and are imported from these packages."""
    if "_internal" in path.parts:
        return []
    return [
        f"{path}, line {one.line}{one.where}: imports {one.name} from {one.module}"
        for one in imports(path, folder)
        if is_private(one.name) and one.module.split(".")[0] in packages
    ]


def peeps(path: Path, package: str) -> list[str]:
    """Imports from what is internal to a package, in a file outside it: Python or a page."""
    if path.suffix == ".py":
        found = [(one.module, one.name, one.line) for one in imports(path, "")]
    else:
        pattern = re.compile(r"^\s*(?:from|import)\s+([\w.]+)(?:\s+import\s+(\w+))?", re.MULTILINE)
        text = path.read_text(encoding="utf-8")
        found = [
            (match[1], match[2] or "", text.count("\n", 0, match.start(1)) + 1)
            for match in pattern.finditer(text)
        ]
    return [
        f"{path}, line {line}: takes {name or module} from {module}"
        for module, name, line in found
        if module.split(".")[0] == package
        and any(map(is_private, [*module.split("."), *([name] if name == "_internal" else [])]))
    ]


def outside(package: str) -> list[Path]:
    """The files that are not of a package; its own tests and tools may look inside."""
    own = PACKAGES[package].parents[1]
    found = [path for path in ROOT.glob("packages/**/*.py") if not path.is_relative_to(own)]
    for folder in ("benchmarks", "examples", "docs", "tests"):
        found += [*ROOT.glob(f"{folder}/**/*.py"), *ROOT.glob(f"{folder}/**/*.md")]
    return [*found, *ROOT.glob("*.md"), *ROOT.glob("packages/*/README.md")]


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_no_circle(name: str) -> None:
    found = circle(arrows(PACKAGES[name]))
    assert not found, told(found)


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_imports_run_downward(name: str) -> None:
    wrong = upward(PACKAGES[name], ORDER)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_no_folder_is_crowded(name: str) -> None:
    assert not crowded(PACKAGES[name])


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_no_name_with_an_underscore_is_imported(name: str) -> None:
    """Tests may: they are beside the code that they look into."""
    wrong = []
    for module, path in modules(PACKAGES[name]).items():
        wrong += taken(path, folder_of(module, path), PACKAGES)
    for folder in ("benchmarks", "examples"):
        for path in ROOT.glob(f"{folder}/**/*.py"):
            wrong += taken(path, "", [name])
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_nobody_looks_into_what_is_internal(name: str) -> None:
    wrong = [line for path in outside(name) for line in peeps(path, name)]
    assert not wrong, "\n".join(wrong)


def build(folder: Path, **files: str) -> Path:
    """A package `demo` of these modules; two underscores stand for a folder."""
    package = folder / "demo"
    for name, text in files.items():
        path = package / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for path in (package, *(p for p in package.rglob("*") if p.is_dir())):
        (path / "__init__.py").touch()
    return package


@pytest.mark.parametrize(
    ("back", "where"),
    [
        ("from demo.a import f", ""),
        ("import demo.a", ""),
        ("from demo import a", ""),
        ("from ..a import f", ""),
        ("from .. import a", ""),
        ("def g():\n    from demo.a import f", " (in a function)"),
        ("async def g():\n    import demo.a", " (in a function)"),
        ("g = lambda: import_module('demo.a')", " (in a function)"),
        ("def g():\n    importlib.import_module('demo.a')", " (in a function)"),
        ("if TYPE_CHECKING:\n    from demo.a import f", " (for the type checker)"),
        ("if typing.TYPE_CHECKING:\n    import demo.a", " (for the type checker)"),
        ("try:\n    from demo.a import f\nexcept ImportError:\n    pass", ""),
    ],
)
def test_the_rule_of_circles(tmp_path: Path, back: str, where: str) -> None:
    package = build(tmp_path, a="from demo.b import g", b="from demo.c.d import h", c__d=back)
    found = circle(arrows(package))
    assert [arrow.source for arrow in found] == ["demo.a", "demo.b", "demo.c.d"]
    line = 2 if "\n" in back else 1
    assert told(found) == (
        "a circle of imports, demo.a -> demo.b -> demo.c.d -> demo.a; "
        f"it is closed where demo.c.d, line {line}{where}, imports demo.a"
    )


def test_an_import_that_is_put_off_closes_the_circle(tmp_path: Path) -> None:
    package = build(tmp_path, a="def f():\n    import demo.b", b="import demo.c", c="import demo.a")
    assert told(circle(arrows(package))) == (
        "a circle of imports, demo.b -> demo.c -> demo.a -> demo.b; "
        "it is closed where demo.a, line 2 (in a function), imports demo.b"
    )


def test_the_shortest_circle_is_told(tmp_path: Path) -> None:
    package = build(tmp_path, a="import demo.b", b="import demo.c", c="import demo.a, demo.b")
    assert told(circle(arrows(package))).startswith("a circle of imports, demo.b -> demo.c -> demo")


def test_no_circle_where_there_is_none(tmp_path: Path) -> None:
    package = build(tmp_path, a="import demo.b, os", b="from demo.c import x", c__d="import demo.e")
    (package / "__init__.py").write_text("from demo.a import *")
    (package / "e.py").write_text("import json\nfrom elsewhere import a")
    assert circle(arrows(package)) == []
    (package / "e.py").write_text("import demo")  # what all of it is imported by
    (package / "c" / "__init__.py").write_text("import demo.c.d")
    assert told(circle(arrows(package))).endswith("closed where demo.e, line 1, imports demo")


def test_the_rule_of_order(tmp_path: Path) -> None:
    package = build(tmp_path, low__a="", low__b="import demo.low.a", high="from demo.low import a")
    order = {"demo": ("low", "high"), "demo.low": ("a", "b"), "other": ("x",)}
    assert upward(package, order) == []
    (package / "low" / "a.py").write_text("def f():\n    from demo.high import g")
    assert upward(package, order) == [
        "demo.low.a, line 2 (in a function), imports demo.high, which is above it"
    ]
    (package / "low" / "a.py").write_text("from demo import low")
    assert upward(package, order) == [
        "demo.low.a, line 1, imports demo.low, which is above it",
    ]
    (package / "low" / "a.py").write_text("")
    (package / "new.py").write_text("")
    assert upward(package, order) == ["demo.new has no place in the order of demo"]
    assert "demo.gone is in the order, and is not there" in upward(
        package, {"demo": ("gone", "low", "new", "high")}
    )


def test_the_rule_of_crowds(tmp_path: Path) -> None:
    package = build(tmp_path, **{f"part{i}": "" for i in range(MOST)}, folder__a="")
    assert crowded(package) == []
    (package / "one_more.py").touch()
    assert crowded(package) == [f"{package} holds 21 modules, at most 20"]
    for i in range(MOST):
        (package / "folder" / f"b{i}.py").touch()
    assert len(crowded(package)) == 2


def test_the_rule_of_underscores(tmp_path: Path) -> None:
    package = build(
        tmp_path,
        a="from demo.b import _f, g\nfrom demo import __version__\nfrom os import _exit",
        b="def h():\n    from .c import _x as x",
        _internal="",
    )
    (package / "_internal").mkdir()
    (package / "_internal" / "d.py").write_text("from demo.b import _f")
    wrong = [taken(path, "demo", ["demo"]) for path in modules(package).values()]
    assert [line.rpartition(": ")[2] for one in wrong for line in one] == [
        "imports _f from demo.b",
        "imports _x from demo.c",
    ]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.py", "from demo._internal import locks", 1),
        ("a.py", "\nfrom demo._internal.locks import Lock", 2),
        ("a.py", "import demo._internal.locks as locks", 1),
        ("a.py", "from demo import _internal", 1),
        ("a.py", "def f():\n    from demo.part._check import Check", 2),
        ("a.md", "# Page\n```python\nfrom demo._internal import locks\n```\n", 3),
        ("a.md", "    import demo._internal\n", 1),
    ],
)
def test_the_rule_of_what_is_internal(tmp_path: Path, name: str, text: str, line: int) -> None:
    file = tmp_path / name
    file.write_text(text)
    assert [found.partition(":")[0] for found in peeps(file, "demo")] == [f"{file}, line {line}"]
    assert peeps(file, "other") == []
    other = tmp_path / f"other_{name}"
    other.write_text("from demo.locks import Lock\nimport demo\nfrom torch._C import x\n")
    assert peeps(other, "demo") == []
