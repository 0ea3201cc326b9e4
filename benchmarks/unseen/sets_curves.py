"""Generated sets of plane curves: six families, and four that differ in topology."""

import numpy as np

from benchmarks.unseen.clouds import Array, Clouds, Sampler, between, drawn, rotation
from benchmarks.unseen.sets_laws import frame

Generator = np.random.Generator


def curves(seed: int) -> Clouds:
    """Six families of curves with noise, each turned, scaled and put anywhere."""

    def law(family: str) -> Sampler:
        def sample(generator: Generator) -> Array:
            t = generator.uniform(0.0, 2 * np.pi, between(generator, 50, 150))
            points = curve(family, t, generator.uniform(0.8, 1.2))
            points = points + 0.04 * generator.normal(size=points.shape)
            own = np.exp(generator.normal(0.0, 0.3))
            return np.asarray(own * points @ rotation(generator, 2) + generator.normal(0, 1, 2))

        return sample

    families = ("ellipse", "spiral", "rose", "Lissajous", "cardioid", "astroid")
    return drawn({family: law(family) for family in families}, 80, seed)


def curve(family: str, t: Array, shape: float) -> Array:
    """Points of one family; ``shape`` near 1 deforms it."""
    x, y = np.cos(t), np.sin(t)
    match family:
        case "ellipse":
            return np.stack([x, 0.7 * shape * y], axis=1)
        case "spiral":
            radius = 0.15 + 0.14 * shape * t
            return np.stack([radius * np.cos(1.7 * t), radius * np.sin(1.7 * t)], axis=1)
        case "rose":
            radius = np.cos(3 * t) * 1.2
            return np.stack([radius * x, shape * radius * y], axis=1)
        case "Lissajous":
            return np.stack([np.sin(2 * t + 0.5 * shape), np.sin(3 * t)], axis=1)
        case "cardioid":
            radius = 0.6 * (1.0 + shape * x)
            return np.stack([radius * x - 0.5, radius * y], axis=1)
        case "astroid":
            return np.stack([1.2 * x**3, 1.2 * shape * y**3], axis=1)
    raise ValueError(family)


def topology(seed: int) -> Clouds:
    """A circle, two, a figure eight and an open arc, each under a random affine map."""

    def law(family: str) -> Sampler:
        def sample(generator: Generator) -> Array:
            count = between(generator, 80, 200)
            t = generator.uniform(0.0, 2 * np.pi, count)
            circle = np.stack([np.cos(t), np.sin(t)], axis=1)
            side = np.where(generator.uniform(size=count) < 0.5, -1.0, 1.0)
            match family:
                case "circle":
                    points = 1.4 * circle
                case "two circles":
                    points = 0.8 * circle + np.outer(side, [generator.uniform(1.05, 1.4), 0.0])
                case "figure eight":
                    points = 0.9 * circle + np.outer(side, [0.9, 0.0])
                case _:  # an arc of 200 to 270 degrees
                    t = t / (2 * np.pi) * np.deg2rad(generator.uniform(200.0, 270.0))
                    points = 1.4 * np.stack([np.cos(t), np.sin(t)], axis=1)
            points = points + 0.04 * generator.normal(size=points.shape)
            own = np.exp(generator.normal(0.0, 0.4))
            return np.asarray(own * points @ frame(generator, 2) + generator.normal(0, 1, 2))

        return sample

    families = ("circle", "two circles", "figure eight", "arc")
    return drawn({family: law(family) for family in families}, 100, seed)
