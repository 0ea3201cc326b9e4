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


def test_one_is_killed_one_survives_and_one_has_no_sound_test(mutants, tmp_path):
    bench = mutants.Bench(tmp_path)
    sizes = ("norms.py", "return norm / math.sqrt(n * d)", ("decisions:residual_of_nothing",))
    plain, code, tests = sizes
    same = mutants.Mutant("no mutant", "wgf-solver", plain, code, f"{code}  # as it was", tests)
    assert bench.verdict(same).strip() == "SURVIVES"
    gone = ("velocities/residual.py", "if image.points.shape != mu.points.shape:", "if True:")
    assert bench.verdict(mutants.Mutant("gone", "wgf-solver", *gone, tests)).strip() == "killed"
    lost = mutants.Mutant("lost", "wgf-solver", plain, code, "return norm", ("decisions:no_such",))
    assert bench.verdict(lost).strip() == "UNSOUND"
