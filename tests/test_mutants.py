"""The tool that takes decisions away: it tells a test that notices from one that does not."""

import importlib.util
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "packages" / "wgf-solver" / "tools" / "mutants.py"


@pytest.fixture(scope="module")
def mutants():
    spec = importlib.util.spec_from_file_location("mutants", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["mutants"]


def test_every_mutant_of_the_list_still_fits_its_code(mutants):
    listed = mutants.read(TOOL.with_suffix(".txt"))
    assert len({m.name for m in listed}) == len(listed) > 40
    for mutant in listed:
        package = mutants.PACKAGES / mutant.package
        code = (package / "src" / mutant.module / mutant.file).read_text(encoding="utf-8")
        assert code.count(mutant.old) == 1, mutant.name
        assert mutant.new != mutant.old, mutant.name
        assert mutant.tests, mutant.name
        for word in mutant.tests:
            name, _, part = word.partition(":")
            text = (package / "tests" / f"test_{name}.py").read_text(encoding="utf-8")
            assert part in text, f"{mutant.name}: no test named {part} in {name}"


def test_one_is_killed_one_survives_and_one_has_no_sound_test(mutants, tmp_path, monkeypatch):
    """In a package that is made up, whose tests begin at once."""
    package = tmp_path / "packages/toy-package"
    for name, text in {
        "src/toy_package/__init__.py": "",
        "src/toy_package/rooms.py": "def half(x):\n    return x / 2\n",
        "tests/test_rooms.py": "from toy_package.rooms import half\n\n\n"
        "def test_half():\n    assert half(4) == 2\n",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    monkeypatch.setattr(mutants, "PACKAGES", tmp_path / "packages")
    bench = mutants.Bench(tmp_path / "bench")
    code, tests = "return x / 2", ("rooms:half",)

    def verdict(new: str, tests: tuple[str, ...]) -> str:
        mutant = mutants.Mutant(new, "toy-package", "rooms.py", code, new, tests)
        return bench.verdict(mutant).strip()

    assert verdict(f"{code}  # as it was", tests) == "SURVIVES"
    assert verdict("return x", tests) == "killed"
    assert verdict("return x", ("rooms:no_such",)) == "UNSOUND"
    assert code in (tmp_path / "bench/toy_package/rooms.py").read_text()  # as it was
