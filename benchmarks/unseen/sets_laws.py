"""Generated sets whose classes differ in one property of the law: size, scale, place, weights...

Everything else is drawn from the same law for every class, so that a model that drops the one
property, by its normalisation for one, sits at chance.
"""

import numpy as np

from benchmarks.unseen.clouds import Array, Clouds, Sampler, between, drawn, rotation

Generator = np.random.Generator


def blob(generator: Generator, count: int, dimension: int) -> Array:
    """A cloud of mean 0 and variance 1 in expectation, of one of three shapes."""
    normal = generator.normal(size=(count, dimension))
    match int(generator.integers(3)):
        case 0:
            return normal
        case 1:  # a ring, or a sphere
            ring = normal / np.linalg.norm(normal, axis=1, keepdims=True)
            return np.asarray(ring * np.sqrt(dimension) + 0.1 * normal)
        case _:
            return generator.uniform(-np.sqrt(3), np.sqrt(3), (count, dimension))


def frame(generator: Generator, dimension: int) -> Array:
    """A random frame: a rotation, axes stretched by up to two, another rotation."""
    stretch = np.exp(generator.uniform(-0.35, 0.35, dimension))
    return np.asarray((rotation(generator, dimension) * stretch) @ rotation(generator, dimension))


def size(seed: int) -> Clouds:
    """The number of points is the class; shape, scale and frame are not."""

    def law(low: int, high: int) -> Sampler:
        def sample(generator: Generator) -> Array:
            own = np.exp(generator.normal(0.0, 0.3))
            points = blob(generator, between(generator, low, high), 2) @ frame(generator, 2)
            return np.asarray(own * points + generator.normal(0.0, 1.0, 2))

        return sample

    return drawn({"24-32": law(24, 32), "36-48": law(36, 48), "54-72": law(54, 72)}, 120, seed)


def scale(seed: int) -> Clouds:
    """The scale is the class, in steps of 1.4; the place is anywhere."""

    def law(unit: float) -> Sampler:
        def sample(generator: Generator) -> Array:
            own = unit * np.exp(generator.normal(0.0, 0.05))
            points = blob(generator, between(generator, 80, 240), 3)
            return np.asarray(own * points @ rotation(generator, 3) + generator.normal(0, 5.0, 3))

        return sample

    return drawn({f"{1.4**step:.2f}": law(1.4**step) for step in range(4)}, 120, seed)


def place(seed: int) -> Clouds:
    """The quadrant of the centre is the class; each cloud is wider than the quadrants are apart."""

    def law(x: float, y: float) -> Sampler:
        def sample(generator: Generator) -> Array:
            own = np.exp(generator.normal(0.3, 0.3))
            points = blob(generator, between(generator, 40, 160), 2) @ frame(generator, 2)
            centre = np.array([x, y]) + generator.normal(0.0, 0.25, 2)
            return np.asarray(own * (points - points.mean(0)) + centre)

        return sample

    names = {"++": (1, 1), "+-": (1, -1), "-+": (-1, 1), "--": (-1, -1)}
    return drawn({name: law(*centre) for name, centre in names.items()}, 100, seed)


def weights(seed: int) -> Clouds:
    """The points are uniform on a disc in every class; where the weight lies is the class."""

    def law(kind: str) -> Sampler:
        def sample(generator: Generator) -> Array:
            count = between(generator, 40, 160)
            radius, angle = np.sqrt(generator.uniform(size=count)), generator.uniform(-np.pi, np.pi)
            angles = generator.uniform(-np.pi, np.pi, count)
            tilt = {
                "centre": 1.5 - 3.0 * radius**2,
                "rim": 3.0 * radius**2 - 1.5,
                "side": 1.5 * radius * np.cos(angles - angle),
                "two sides": 2.0 * radius**2 * np.cos(2 * (angles - angle)),
            }[kind]
            # An own factor for every point, so that no single weight tells anything.
            weight = np.exp(0.6 * tilt + generator.normal(0.0, 1.0, count))
            return np.stack([radius * np.cos(angles), radius * np.sin(angles), weight], axis=1)

        return sample

    kinds = ("centre", "rim", "side", "two sides")
    return drawn({kind: law(kind) for kind in kinds}, 100, seed, weighted=True)


def one_point(seed: int) -> Clouds:
    """One point lies outside the disc of the others; the line it is on is the class."""

    def law(degrees: float) -> Sampler:
        def sample(generator: Generator) -> Array:
            count = between(generator, 40, 160)
            normal = generator.normal(size=(4 * count, 2))
            inside = normal[np.linalg.norm(normal, axis=1) < 2.0][:count]
            side = 180.0 * generator.integers(2)
            angle = np.deg2rad(degrees + side + generator.uniform(-16.0, 16.0))
            far = generator.uniform(2.4, 3.4) * np.array([[np.cos(angle), np.sin(angle)]])
            return generator.permutation(np.concatenate([inside, far]))

        return sample

    lines = ("0", "45", "90", "135")
    return drawn({f"{line} degrees": law(float(line)) for line in lines}, 120, seed)


def aspect(seed: int) -> Clouds:
    """The ratios of a solid ellipsoid's axes are the class; its frame and scale are not."""

    def law(axes: tuple[float, float, float]) -> Sampler:
        def sample(generator: Generator) -> Array:
            count = between(generator, 64, 200)
            ball = generator.normal(size=(count, 3))
            ball /= np.linalg.norm(ball, axis=1, keepdims=True)
            ball *= np.cbrt(generator.uniform(size=(count, 1)))
            own = np.exp(generator.normal(0.0, 0.4)) * np.exp(generator.normal(0.0, 0.05, 3))
            points = own * ball * np.array(axes) @ rotation(generator, 3)
            return np.asarray(points + generator.normal(0.0, 1.0, 3))

        return sample

    shapes = {"ball": (1, 1, 1), "rod": (1.9, 0.8, 0.8), "plate": (1.4, 1.4, 0.6)}
    return drawn({name: law(axes) for name, axes in shapes.items()}, 120, seed)


def orientation(seed: int) -> Clouds:
    """The direction of the longer axis is the class."""

    def law(degrees: float) -> Sampler:
        def sample(generator: Generator) -> Array:
            angle = np.deg2rad(degrees + generator.normal(0.0, 6.0))
            ratio = generator.uniform(2.0, 4.0)
            points = blob(generator, between(generator, 40, 160), 2) * np.array([ratio, 1.0])
            c, s = np.cos(angle), np.sin(angle)
            own = np.exp(generator.normal(0.0, 0.4))
            turned = points @ np.array([[c, s], [-s, c]])
            return np.asarray(own * turned + generator.normal(0.0, 2.0, 2))

        return sample

    lines = ("0", "45", "90", "135")
    return drawn({f"{line} degrees": law(float(line)) for line in lines}, 100, seed)


def clusters(seed: int) -> Clouds:
    """The number of clusters is the class; the number of points and the width are not."""

    def law(number: int) -> Sampler:
        def sample(generator: Generator) -> Array:
            centres = apart(generator, number, 0.24)
            count = between(generator, 60, 200)
            shares = generator.dirichlet(np.full(number, 8.0))
            chosen = np.concatenate(
                [np.repeat(np.arange(number), 5), generator.choice(number, count, p=shares)]
            )
            width = generator.uniform(0.02, 0.04)
            return np.asarray(centres[chosen] + width * generator.normal(size=(len(chosen), 2)))

        return sample

    return drawn({str(number): law(number) for number in (2, 3, 4, 5)}, 120, seed)


def apart(generator: Generator, number: int, distance: float) -> Array:
    """Places in the unit square, no two of them nearer than ``distance``."""
    while True:
        centres = generator.uniform(0.0, 1.0, (number, 2))
        gaps = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
        if (gaps + np.eye(number) > distance).all():
            return centres


def pair_distances(seed: int) -> Clouds:
    """Uniform on a square in every class; how near the neighbours are is the class."""
    return drawn(
        {"hard core": hard_core, "Poisson": poisson, "pairs": pairs, "filaments": filaments},
        120,
        seed,
    )


def hard_core(generator: Generator) -> Array:
    """No two points nearer than 0.7 times the mean spacing: drawn one by one, on the torus."""
    count = between(generator, 100, 200)
    least, points = 0.7 / np.sqrt(count), np.empty((0, 2))
    while len(points) < count:
        candidate = generator.uniform(size=2)
        gaps = np.abs(points - candidate)
        if not (np.linalg.norm(np.minimum(gaps, 1.0 - gaps), axis=1) < least).any():
            points = np.concatenate([points, candidate[None]])
    return points


def poisson(generator: Generator) -> Array:
    """Independent points."""
    return generator.uniform(size=(between(generator, 100, 200), 2))


def pairs(generator: Generator) -> Array:
    """Every point has a partner close by, in a direction of their own."""
    half = between(generator, 50, 100)
    first = generator.uniform(size=(half, 2))
    angles = generator.uniform(-np.pi, np.pi, half)
    step = 0.15 / np.sqrt(2 * half) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.asarray(np.concatenate([first, first + step]) % 1.0)


def filaments(generator: Generator) -> Array:
    """Short rows of five points at the mean spacing's third, on the torus."""
    rows = between(generator, 20, 40)
    starts = generator.uniform(size=(rows, 1, 2))
    angles = generator.uniform(-np.pi, np.pi, rows)
    step = 0.35 / np.sqrt(5 * rows) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = starts + step[:, None] * np.arange(5)[None, :, None]
    return np.asarray(points.reshape(-1, 2) % 1.0)
