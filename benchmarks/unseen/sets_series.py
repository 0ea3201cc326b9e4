"""Real time series as clouds: channels as coordinates, or pairs of time and value.

The time runs from -1 to 1 over the longest series of a set, so that durations are kept and time and
value weigh about the same in the archives' standardised series.
"""

import numpy as np

from benchmarks.unseen.clouds import Array, Clouds
from benchmarks.unseen.packaged import named, packaged


def vowels(seed: int) -> Clouds:
    """Japanese vowels: 12 cepstral coefficients at each of 7 to 29 times; 9 speakers."""
    return named(*archived("JapaneseVowels"))


def motions(seed: int) -> Clouds:
    """Standing, walking, running, badminton: a watch's accelerometer and gyroscope, 100 times."""
    return named(*archived("BasicMotions"))


def arrowheads(seed: int) -> Clouds:
    """Outlines of projectile points, the radius against the angle; 3 kinds."""
    return timed(*archived("ArrowHead"))


def gun_point(seed: int) -> Clouds:
    """A hand's path as it draws a gun, or only points; 2 classes."""
    return timed(*archived("GunPoint"))


def italy_power(seed: int) -> Clouds:
    """A day's power in Italy, 24 hours; October to March, or April to September."""
    return timed(*archived("ItalyPowerDemand"))


def leaves(seed: int) -> Clouds:
    """Outlines of leaves, the radius against the angle; 6 kinds of trees."""
    return timed(*archived("OSULeaf"))


def gestures(seed: int) -> Clouds:
    """One axis of a remote control's accelerometer, 29 to 361 times; 10 gestures."""
    return timed(*archived("PickupGestureWiimoteZ"))


def appliances(seed: int) -> Clouds:
    """What an appliance draws at 365 times; 10 kinds."""
    series, names = archived("ACSF1")
    # The archive's 1,460 values are four channels, interleaved.
    return named([values.reshape(-1, 4) for values in series], names)


def trace(seed: int) -> Clouds:
    """Simulated transients of an instrument in a power plant; 4 kinds."""
    # tslearn ships the labels of the archive's test part only beside those of the training part.
    with np.load(packaged("tslearn", ".cached_datasets/Trace.npz")) as file:
        series = np.concatenate([file["X_train"], file["X_test"]])
        labels = np.concatenate([file["y_train"], file["y_test"]])
    return timed(list(series), [str(label) for label in labels])


def exercises(seed: int) -> Clouds:
    """Shoulder exercises: a watch's accelerometer and gyroscope, every eighth time; 7 kinds."""
    file = np.load(packaged("seglearn", "data/watch_dataset.npy"), allow_pickle=True).item()
    kinds = [str(file["y_labels"][label]) for label in file["y"]]
    return named([series[::8] for series in file["X"]], kinds)


def timed(series: list[Array], names: list[str]) -> Clouds:
    """One channel as a set of pairs (time, value)."""
    longest = max(len(values) for values in series) - 1
    points = [
        np.stack([2.0 * np.arange(len(values)) / longest - 1.0, values[:, 0]], axis=1)
        for values in series
    ]
    return named(points, names)


def archived(name: str) -> tuple[list[Array], list[str]]:
    """Series (times, channels) and classes of a set of the UCR and UEA archives, both parts."""
    series, names = [], []
    for part in ("TRAIN", "TEST"):
        path = packaged("aeon", f"datasets/data/{name}/{name}_{part}.ts")
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        # The header ends with @data; then a line a series: channels and class between colons.
        begin = next(i for i, line in enumerate(lines) if line.strip().lower() == "@data") + 1
        for line in filter(None, map(str.strip, lines[begin:])):
            *channels, label = line.split(":")
            series.append(np.array([channel.split(",") for channel in channels], np.float64).T)
            names.append(label)
    return series, names
