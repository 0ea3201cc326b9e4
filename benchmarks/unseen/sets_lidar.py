"""Generated scans of street objects: rays from one sensor, the first hit of each.

Only the side towards the sensor is seen, and the points thin out with the distance. The points are
in the frame of a street whose origin says nothing; the sizes, in metres, do.
"""

from dataclasses import dataclass

import numpy as np

from benchmarks.unseen.clouds import Array, Clouds, Sampler, about_vertical, drawn

Generator = np.random.Generator
HEIGHT = 1.8  # of the sensor over its ground, in metres
STEP = np.deg2rad(0.25)  # between columns of rays
ROW = np.deg2rad(0.4)  # between rows


@dataclass(frozen=True)
class Part:
    """A solid of an object in its own frame: z = 0 is the ground, x points ahead.

    Attributes:
        kind: "box", "cylinder" (upright) or "ellipsoid".
        centre: its middle.
        half: half its extent along each axis; a cylinder's and an ellipsoid's are radii.
    """

    kind: str
    centre: tuple[float, float, float]
    half: tuple[float, float, float]


def lidar(seed: int) -> Clouds:
    """504 scans of six kinds of objects, 20 to 600 points each."""

    def law(kind: str) -> Sampler:
        return lambda generator: scan(generator, kind)

    kinds = ("car", "van", "pole", "tree", "person", "wall")
    return drawn({kind: law(kind) for kind in kinds}, 84, seed)


def scan(generator: Generator, kind: str) -> Array:
    """The points of one object, seen from a sensor at a random place and distance."""
    while True:
        parts = solids(generator, kind)
        distance = generator.uniform(6.0, 45.0)
        bearing, heading = generator.uniform(-np.pi, np.pi, 2)
        centre = distance * np.array([np.cos(bearing), np.sin(bearing), 0.0])
        centre[2] = -HEIGHT + generator.uniform(-0.2, 0.2)
        points = cast(parts, centre, heading, bearing, distance)
        # Dark or wet surfaces swallow some rays; something nearer may hide one side.
        points = points[generator.uniform(size=len(points)) < generator.uniform(0.7, 1.0)]
        if generator.uniform() < 0.5 and len(points) > 0:
            across = points @ np.array([-np.sin(bearing), np.cos(bearing), 0.0])
            hidden = np.quantile(across, generator.uniform(0.0, 0.4))
            points = points[across >= hidden]
        if len(points) >= 20:
            break
    points = generator.permutation(points)[:600]
    points = points + 0.015 * generator.normal(size=points.shape)
    # The street's frame: where the sensor's car was, and how it was turned.
    place = np.append(generator.uniform(-50.0, 50.0, 2), generator.uniform(-2.0, 2.0))
    return np.asarray(points @ about_vertical(generator.uniform(-np.pi, np.pi)).T + place)


def solids(generator: Generator, kind: str) -> list[Part]:
    """The parts of one object of a kind, its measures drawn."""
    draw = generator.uniform
    match kind:
        case "car":
            length, width, height = draw(3.8, 4.8), draw(1.65, 1.85), draw(1.35, 1.65)
            body = Part("box", (0, 0, 0.55), (length / 2, width / 2, 0.35))
            middle, rise = 0.5 * (0.9 + height), 0.5 * (height - 0.9)
            cabin = Part("box", (-0.2, 0, middle), (length / 4, width / 2 - 0.1, rise))
            return [body, cabin]
        case "van":
            length, width, height = draw(4.4, 6.0), draw(1.8, 2.1), draw(1.6, 2.3)
            half = (length / 2 - 0.4, width / 2, height / 2)
            hold = Part("box", (-0.4, 0, 0.25 + height / 2), half)
            bonnet = Part("box", (length / 2 - 0.4, 0, 0.75), (0.4, width / 2, 0.45))
            return [hold, bonnet]
        case "pole":
            radius, height = draw(0.08, 0.2), draw(3.0, 6.0)
            mast = Part("cylinder", (0, 0, height / 2), (radius, radius, height / 2))
            sign = Part("box", (0, 0, height - 0.4), (0.03, 0.3, 0.3))
            return [mast, sign] if draw() < 0.5 else [mast]
        case "tree":
            radius, stem, crown = draw(0.12, 0.25), draw(1.5, 2.5), draw(1.0, 2.0)
            trunk = Part("cylinder", (0, 0, stem / 2), (radius, radius, stem / 2 + 0.3))
            top = crown * draw(0.9, 1.3)
            return [trunk, Part("ellipsoid", (0, 0, stem + top), (crown, crown, top))]
        case "person":
            height, width = draw(1.5, 1.95), draw(0.2, 0.28)
            legs = Part("cylinder", (0, 0, 0.24 * height), (0.13, 0.13, 0.24 * height))
            trunk = Part("ellipsoid", (0, 0, 0.66 * height), (0.16, width, 0.22 * height))
            head = Part("ellipsoid", (0, 0, 0.93 * height), (0.1, 0.09, 0.07 * height))
            return [legs, trunk, head]
    length, height = draw(3.0, 9.0), draw(2.8, 4.5)
    return [Part("box", (0, 0, height / 2), (length / 2, 0.15, height / 2))]


def cast(parts: list[Part], centre: Array, heading: float, bearing: float, far: float) -> Array:
    """Where the sensor's rays first hit the object, the sensor at the origin."""
    reach = max(float(np.hypot(*part.half[:2])) + abs(part.centre[0]) for part in parts)
    top = max(part.centre[2] + part.half[2] for part in parts)
    near = max(far - reach, 1.0)
    side = min(np.arctan2(reach, near), 1.2)
    columns = bearing + np.arange(-side, side, STEP)
    rows = np.arange(np.arctan2(centre[2], near), np.arctan2(centre[2] + top, near) + ROW, ROW)
    # A spinning sensor has an end to its field: 15 degrees up, 25 down.
    rows = rows[(rows > np.deg2rad(-25.0)) & (rows < np.deg2rad(15.0))]
    turn, lift = (grid.ravel() for grid in np.meshgrid(columns, rows))
    rays = np.stack(
        [np.cos(lift) * np.cos(turn), np.cos(lift) * np.sin(turn), np.sin(lift)], axis=1
    )
    back = about_vertical(-heading)
    start, directions = back @ -centre, rays @ back.T
    ranges = np.min([hits(part, start, directions) for part in parts], axis=0)
    seen = np.isfinite(ranges)
    return np.asarray(rays[seen] * ranges[seen, None])


def hits(part: Part, start: Array, directions: Array) -> Array:
    """How far along each ray a solid begins; infinite where it is missed."""
    half = np.array(part.half)
    origin, rays = (start - np.array(part.centre)) / half, directions / half
    if part.kind == "ellipsoid":
        enter, leave = ball(origin, rays)
    elif part.kind == "cylinder":
        enter, leave = ball(origin[:2], rays[:, :2])
        low, high = slabs(origin[2:], rays[:, 2:])
        enter, leave = np.maximum(enter, low), np.minimum(leave, high)
    else:
        enter, leave = slabs(origin, rays)
    return np.where((enter < leave) & (enter > 0.0), enter, np.inf)


def ball(origin: Array, rays: Array) -> tuple[Array, Array]:
    """Where rays enter and leave the unit ball (a disc's cylinder for two coordinates)."""
    a, b, c = (rays**2).sum(1), rays @ origin, (origin**2).sum() - 1.0
    inside = b**2 - a * c
    root = np.sqrt(np.maximum(inside, 0.0))
    missed = inside <= 0.0
    return np.where(missed, np.inf, (-b - root) / a), np.where(missed, -np.inf, (-b + root) / a)


def slabs(origin: Array, rays: Array) -> tuple[Array, Array]:
    """Where rays enter and leave the cube of half extent one."""
    slopes = 1.0 / np.where(np.abs(rays) < 1e-12, 1e-12, rays)
    one, other = (-1.0 - origin) * slopes, (1.0 - origin) * slopes
    return np.minimum(one, other).max(1), np.maximum(one, other).min(1)
