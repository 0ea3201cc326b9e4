"""What a training is a training of: the configuration and the data, each as a few letters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b

from ddeq_data import CloudDataset
from ddeq_models.config import RunConfig

__all__ = ["identity"]


# Keys that older versions did not have: a training that was stopped by one goes on.
_SINCE = {"init": "", "freeze": "none", "accumulate": 1}


def identity(config: RunConfig, sets: Sequence[CloudDataset]) -> dict[str, str]:
    """Fingerprints of a training, by what they are of.

    The folder of the data may be another one, and so may the version of the package; each number,
    word and cloud must be the same.

    Args:
        config: The run's.
        sets: The splits of its data.
    """
    plain = replace(config, version="", data=replace(config.data, root=None)).to_dict()
    for name, usual in _SINCE.items():
        if plain["train"][name] == usual:
            del plain["train"][name]
    text = json.dumps(plain, sort_keys=True)
    return {
        "configuration": blake2b(text.encode(), digest_size=16).hexdigest(),
        "data": " ".join(clouds.fingerprint() for clouds in sets),
    }
