"""Maps and yardsticks that several files of tests share."""

import warnings
from collections.abc import Callable

import pytest

with warnings.catch_warnings():
    # Where there is no numpy, torch says so when it is imported; here warnings are errors.
    warnings.filterwarnings("ignore", "Failed to initialize NumPy")
    import torch

from torch import Tensor

from wgf_solver import Measure

Map = Callable[[Measure], Measure]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def ifs() -> Callable[[Tensor], Map]:
    """An iterated function system of two affine maps: it returns twice as many atoms.

    The parameters ``(..., 2, 6)`` hold a 2 x 2 matrix and a shift for each map; leading dimensions
    are those of the batch of measures.
    """

    def build(theta: Tensor) -> Map:
        matrices = theta[..., :4].reshape(*theta.shape[:-1], 2, 2)
        shifts = theta[..., None, 4:]

        def f(mu: Measure) -> Measure:
            images = [
                mu.points @ matrices[..., k, :, :].mT + shifts[..., k, :, :] for k in range(2)
            ]
            return Measure(torch.cat(images, -2), torch.cat([mu.weights, mu.weights], -1))

        return f

    return build


@pytest.fixture
def ifs_parameters() -> Tensor:
    """Two contractions of the plane, ``(2, 6)``."""
    rows = [[0.5, 0.1, 0.0, 0.5, 0.3, -0.2], [0.4, -0.2, 0.3, 0.4, -0.5, 0.4]]
    return torch.tensor(rows, dtype=torch.float64)


@pytest.fixture
def marked_map() -> Callable[[Tensor], Map]:
    """A smooth equivariant contraction that reads marks and weights; parameters ``(..., 3)``."""

    def build(theta: Tensor) -> Map:
        a, b, c = (theta[..., None, None, k] for k in range(3))

        def f(mu: Measure) -> Measure:
            mean = mu.mean()[..., None, :]
            shift = 0 if mu.marks is None else b * mu.marks
            return mu.with_points(torch.tanh(a * mu.points + shift + c * mean + 0.1))

        return f

    return build


@pytest.fixture
def differences() -> Callable[[Callable[[Tensor], Tensor], Tensor, float], Tensor]:
    """The gradient of a batch of scalars by central differences, all in one call.

    ``loss`` maps ``(K, *shape)`` to ``(K,)``; returned is the gradient at one ``(*shape)``.
    """

    def gradient(loss: Callable[[Tensor], Tensor], at: Tensor, h: float = 1e-5) -> Tensor:
        steps = h * torch.eye(at.numel(), dtype=at.dtype).reshape(at.numel(), *at.shape)
        with torch.no_grad():
            values = loss(torch.cat([at + steps, at - steps]))
        up, down = values.chunk(2)
        return ((up - down) / (2 * h)).reshape(at.shape)

    return gradient
