"""Generated jets of particles: quark, gluon, W boson and top quark, from a formula.

A jet is one, two or three prongs; a prong is a spray of particles around its axis. A gluon's prong
has more particles, softer and wider. A few soft particles of the surroundings lie over each.
"""

import numpy as np

from benchmarks.unseen.clouds import Array, Clouds, Sampler, between, drawn

Generator = np.random.Generator


def jets(seed: int) -> Clouds:
    """Points (eta, phi) about the jet's axis; the transverse momentum is the weight."""

    def law(kind: str) -> Sampler:
        return lambda generator: jet(generator, kind)

    kinds = ("quark", "gluon", "W", "top")
    return drawn({kind: law(kind) for kind in kinds}, 150, seed, weighted=True)


def jets_momenta(seed: int) -> Clouds:
    """Points (eta, phi, ln pt) in the detector's frame, where the jet's own place says nothing."""

    def law(kind: str) -> Sampler:
        def sample(generator: Generator) -> Array:
            particles = jet(generator, kind)
            axis = np.array([generator.normal(0.0, 1.0), generator.uniform(-2.0, 2.0)])
            momentum = 500.0 * np.exp(generator.normal(0.0, 0.15)) * particles[:, 2:]
            return np.concatenate([particles[:, :2] + axis, np.log(momentum)], axis=1)

        return sample

    return drawn({kind: law(kind) for kind in ("quark", "W", "top")}, 120, seed)


def jet(generator: Generator, kind: str) -> Array:
    """Particles (eta, phi, share of the momentum) about the jet's axis."""
    match kind:
        case "quark":
            prongs = [prong(generator, 15, 30, 0.06, 0.4)]
        case "gluon":
            prongs = [prong(generator, 35, 65, 0.14, 1.0)]
        case "W":
            share = generator.uniform(0.3, 0.7)
            angle, apart = generator.uniform(-np.pi, np.pi), generator.uniform(0.35, 0.6)
            away = apart * np.array([np.cos(angle), np.sin(angle)])
            prongs = decay(generator, [-away * (1 - share), away * share], [share, 1 - share])
        case _:  # a top: a b quark and a W, whose own two prongs lie across
            shares = generator.dirichlet(np.full(3, 12.0))
            angles = generator.uniform(-np.pi, np.pi) + np.deg2rad(
                np.array([0.0, 120.0, 240.0]) + generator.uniform(-20.0, 20.0, 3)
            )
            radius = generator.uniform(0.25, 0.4, 3)
            axes = np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)
            prongs = decay(generator, list(axes - shares @ axes), list(shares))
    # What else the collision leaves there: soft, and all over the jet's disc.
    soft = between(generator, 5, 12)
    turn = generator.uniform(-np.pi, np.pi, soft)
    reach = 0.8 * np.sqrt(generator.uniform(size=soft))
    faint = 0.004 * generator.exponential(size=soft) + 0.0005
    around = np.stack([reach * np.cos(turn), reach * np.sin(turn), faint], axis=1)
    particles = generator.permutation(np.concatenate([*prongs, around]))
    particles[:, 2] = np.maximum(particles[:, 2], 2e-4)
    particles[:, 2] /= particles[:, 2].sum()
    return particles


def decay(generator: Generator, axes: list[Array], shares: list[float]) -> list[Array]:
    """One quark's prong along each axis, with its share of the momentum."""
    parts = [prong(generator, 9, 20, 0.045, 0.5) for _ in axes]
    for part, axis, share in zip(parts, axes, shares, strict=True):
        part[:, :2] += axis
        part[:, 2] *= share
    return parts


def prong(generator: Generator, least: int, most: int, width: float, evenness: float) -> Array:
    """A spray of particles, softer ones wider, whose shares add up to one."""
    count = between(generator, least, most)
    share = generator.dirichlet(np.full(count, evenness))
    radius = width * generator.exponential(size=count) * (1.0 + 0.02 / (share + 0.02))
    radius = np.minimum(radius, 0.7)
    angle = generator.uniform(-np.pi, np.pi, count)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    points -= share @ points  # the axis is where the momentum goes
    return np.concatenate([points, share[:, None]], axis=1)
