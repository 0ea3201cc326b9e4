"""``hatch run release PACKAGE``: check version, changelog, archives and a clean install.

Nothing is uploaded and nothing is tagged; the commands for both are printed where all is well.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement

from tools.address import PACKAGES, ROOT
from tools.release.checks import archive_faults, changelog_faults, project, version_faults

_LOOK = """
import importlib, importlib.metadata, json, sys
package, module = sys.argv[1:]
found = importlib.import_module(module)
scripts = importlib.metadata.distribution(package).entry_points.select(group="console_scripts")
names = [name for name in getattr(found, "__all__", ()) if not hasattr(found, name)]
print(json.dumps([importlib.metadata.version(package), found.__file__, names,
                  [script.name for script in scripts if script.load()]]))
"""


def _run(*words: str | Path, cwd: Path = ROOT) -> str:
    """A command's output; where it fails, all that it said ends the check."""
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*map(str, words)], cwd=cwd, env=alone, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _environment(folder: Path, *what: str | Path) -> Path:
    """A new environment with packages; the path of its Python."""
    _run(sys.executable, "-m", "venv", folder)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    _run(python, "-m", "pip", "install", "--quiet", "--upgrade", "pip")
    _run(python, "-m", "pip", "install", "--quiet", "--no-compile", *what)
    return python


def _siblings(package: str) -> list[str]:
    """A package and those of the workspace that it needs, from the ground up."""
    names = [Requirement(text).name for text in project(package)["dependencies"]]
    return [name for name in PACKAGES if name in names or name == package]


def _archives(python: Path, package: str, out: Path) -> tuple[Path, Path]:
    """Build wheel and sdist, the wheel from the sdist."""
    _run(python, "-m", "build", "--outdir", out, ROOT / "packages" / package)
    module = package.replace("-", "_")
    (wheel,), (sdist,) = (list(out.glob(f"{module}-*{end}")) for end in (".whl", ".tar.gz"))
    return wheel, sdist


def check(package: str, out: Path, *, install: bool = True) -> list[str]:
    """All that is wrong with a package; its archives are left in a folder.

    Args:
        package: Its name.
        out: The folder, empty or new.
        install: Whether to install it in a new environment, which fetches PyTorch.
    """
    version = project(package)["version"]
    faults = version_faults(version, _run("git", "tag").split(), package)
    text = (ROOT / "packages" / package / "CHANGELOG.md").read_text("utf-8")
    faults += changelog_faults(text, version)
    changed = _run("git", "status", "--porcelain", "--", ROOT / "packages" / package)
    if changed:
        faults.append(f"there are changes that are not committed:\n{changed.rstrip()}")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        tools = _environment(place / "tools", "--group", f"{ROOT / 'pyproject.toml'}:release")
        archives = _archives(tools, package, out)
        faults += archive_faults(package, *archives)
        _run(tools, "-m", "twine", "check", "--strict", *archives)
        if install:
            print("a clean install, with all that it needs", flush=True)
            others = [n for n in _siblings(package) if n != package]
            wheels = [_archives(tools, other, place / "siblings")[0] for other in others]
            python = _environment(place / "clean", archives[0], *wheels)
            _run(python, "-m", "pip", "check")
            module = package.replace("-", "_")
            strict = ["-W", "error", "-W", "ignore:Failed to initialize NumPy"]  # torch without it
            said = _run(python, *strict, "-c", _LOOK, package, module, cwd=place)
            found, file, missing, scripts = json.loads(said)
            if found != version or not Path(file).is_relative_to(place):
                faults.append(f"installed is {found} from {file}, expected {version}")
            faults += [f"{module}.{name} is promised and not there" for name in missing]
            for script in scripts:
                _run(python.with_name(script), "--version", cwd=place)
    return faults


def main() -> int:
    """Check one package; 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="hatch run release", description=__doc__)
    parser.add_argument("package", choices=PACKAGES)
    parser.add_argument("--out", type=Path, help="folder of the archives [dist/PACKAGE-VERSION]")
    parser.add_argument("--no-install", action="store_true", help="leave the clean install out")
    options = parser.parse_args()
    package, version = options.package, project(options.package)["version"]
    out = options.out or ROOT / "dist" / f"{package}-{version}"
    for old in out.glob(f"{package.replace('-', '_')}-*"):
        old.unlink()
    faults = check(package, out, install=not options.no_install)
    if faults:
        print(*(f"- {fault}" for fault in faults), sep="\n")
        return 1
    tag = f"{package}-v{version}"
    print(f"{package} {version} can be released. Its archives are in {out}.")
    print(f"git tag --annotate {tag} --message '{package} {version}' && git push origin {tag}")
    print(f"twine upload {out}/*")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
