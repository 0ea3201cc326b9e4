"""Stratified splits of a set: 60 % to learn from, 20 % to choose by, 20 % to judge on."""

import numpy as np

from benchmarks.unseen.clouds import Clouds, Labels


def split(clouds: Clouds, seed: int) -> tuple[Labels, Labels, Labels]:
    """The clouds' numbers in the training, validation and test part.

    The clouds themselves are those of one generation; only who is in which part differs with the
    seed, and it is the same for every competitor.

    Args:
        clouds: the set.
        seed: of the shuffle.
    """
    generator = np.random.default_rng(seed)
    parts: tuple[list[Labels], list[Labels], list[Labels]] = ([], [], [])
    for label in range(len(clouds.classes)):
        members = generator.permutation(np.flatnonzero(clouds.labels == label))
        # At least one of a class in each part where it has three.
        held = max(1, round(0.2 * len(members)))
        for part, chosen in zip(
            parts, np.split(members, [len(members) - 2 * held, len(members) - held]), strict=True
        ):
            part.append(chosen)
    train, validation, test = (generator.permutation(np.concatenate(part)) for part in parts)
    return train, validation, test
