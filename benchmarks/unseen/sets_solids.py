"""Generated furniture as in CAD libraries: composed boxes and cylinders, 256 points on each."""

import numpy as np

from benchmarks.unseen.clouds import Array, Clouds, Labels, Sampler, about_vertical, drawn

Generator = np.random.Generator
Box = tuple[float, float, float, float, float, float]
"""The middle (x, y, z) and the extents of a box; a negative first extent makes it a cylinder."""


def furniture(seed: int) -> Clouds:
    """Five kinds, upright, turned, in any units: the scale runs over two decades."""

    def law(kind: str) -> Sampler:
        def sample(generator: Generator) -> Array:
            points = surface(generator, boxes(generator, kind), 256)
            points = points * np.exp(generator.normal(0.0, 0.15, 3))
            points = points @ about_vertical(generator.uniform(-np.pi, np.pi)).T
            own = np.exp(generator.uniform(np.log(0.1), np.log(10.0)))
            return np.asarray(own * (points + generator.normal(0.0, 0.3, 3)))

        return sample

    kinds = ("table", "chair", "sofa", "bed", "shelf")
    return drawn({kind: law(kind) for kind in kinds}, 100, seed)


def boxes(generator: Generator, kind: str) -> list[Box]:
    """The parts of a piece of furniture, in metres."""
    draw = generator.uniform
    match kind:
        case "table":
            x, y, z = draw(0.9, 1.6), draw(0.6, 0.9), draw(0.65, 0.8)
            top: list[Box] = [(0, 0, z, x, y, 0.04)]
            if draw() < 0.25:  # on one foot
                return [*top, (0, 0, z / 2, -0.1, 0.1, z), (0, 0, 0.02, -0.5, 0.5, 0.04)]
            return top + legs(x, y, z, 0.06)
        case "chair":
            x, z, back = draw(0.4, 0.5), draw(0.4, 0.5), draw(0.4, 0.6)
            seat: list[Box] = [(0, 0, z, x, x, 0.04), (-x / 2, 0, z + back / 2, 0.04, x, back)]
            return seat + legs(x, x, z, 0.04)
        case "sofa":
            x, y, z, back = draw(0.8, 1.0), draw(1.2, 2.2), draw(0.35, 0.45), draw(0.35, 0.5)
            arm = draw(0.1, 0.25)
            arms: list[Box] = [(0, side * y / 2, z + 0.1, x, arm, 0.25) for side in (-1, 1)]
            return [(0, 0, z - 0.1, x, y, 0.2), (-x / 2, 0, z + back / 2, 0.15, y, back), *arms]
        case "bed":
            x, y, z = draw(1.9, 2.1), draw(0.9, 1.8), draw(0.3, 0.5)
            head: Box = (-x / 2, 0, 0.5, 0.06, y, draw(0.8, 1.1))
            return [(0, 0, z, x, y, 0.22), head, *legs(x, y, z, 0.08)]
    x, y, z, boards = draw(0.7, 1.1), draw(0.25, 0.4), draw(1.3, 2.0), int(generator.integers(4, 7))
    sides: list[Box] = [(side * x / 2, 0, z / 2, 0.03, y, z) for side in (-1, 1)]
    return sides + [(0, 0, height, x, y, 0.03) for height in np.linspace(0.05, z, boards)]


def legs(x: float, y: float, z: float, thick: float) -> list[Box]:
    """Four legs under a plate of x by y at the height z."""
    x, y = 0.45 * x, 0.45 * y
    return [(a * x, b * y, z / 2, thick, thick, z) for a in (-1, 1) for b in (-1, 1)]


def surface(generator: Generator, parts: list[Box], count: int) -> Array:
    """Points uniform on the surfaces of the parts, inner ones too, as CAD meshes have them."""
    return surface_of(generator, parts, count)[0]


def surface_of(generator: Generator, parts: list[Box], count: int) -> tuple[Array, Labels]:
    """The same, and which part each point is of."""
    extents = np.abs([part[3:] for part in parts])
    faces = np.stack([extents[:, [1, 2]].prod(1), extents[:, [0, 2]].prod(1)], axis=1)
    faces = np.concatenate([faces, extents[:, [0, 1]].prod(1, keepdims=True)], axis=1)
    shares = faces.ravel() / faces.sum()
    chosen, axis = np.divmod(generator.choice(len(shares), count, p=shares), 3)
    points = generator.uniform(-0.5, 0.5, (count, 3))
    points[np.arange(count), axis] = np.where(generator.uniform(size=count) < 0.5, -0.5, 0.5)
    # A cylinder: the square's rays drawn in to the inscribed circle.
    round_ = np.array([part[3] < 0 for part in parts])[chosen]
    flat = points[round_, :2]
    longest = np.abs(flat).max(1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    points[round_, :2] = flat * longest / np.maximum(norm, 1e-12)
    middles = np.array([part[:3] for part in parts])
    return np.asarray(points * extents[chosen] + middles[chosen]), chosen.astype(np.int64)
