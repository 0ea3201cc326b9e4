"""The clouds of a run once more: whether they are still those that it was trained and tested on."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

from safetensors import SafetensorError, safe_open

from ddeq_data import CloudDataset
from ddeq_models._internal.files import owned_file
from ddeq_models.config import DataConfig, Split
from ddeq_models.data import open_split
from ddeq_models.errors import UserError
from ddeq_models.runs.folder import CHECKPOINT, RunFolder

__all__ = ["check_unchanged", "fingerprints", "open_clouds"]

_LOG = logging.getLogger(__name__)


def fingerprints(data: DataConfig, identity: str) -> dict[str, str]:
    """What a ``result.json`` says of the clouds, by what they were for.

    Args:
        data: The clouds of the run; what is learnt from goes by the name of ``learn_from``.
        identity: Their fingerprints as `ddeq_models.runs.identity` has them.
    """
    return dict(zip((data.learn_from, "validation", "test"), identity.split(), strict=True))


def open_clouds(run: RunFolder, split: Split, root: str | None = None) -> CloudDataset:
    """A split of the data of a run, neither normalised nor augmented.

    Args:
        run: The run folder, or a model folder.
        split: ``train``, ``validation`` or ``test``.
        root: Folder of the data; None is the run's own.

    Raises:
        UserError: See `open_split` and `check_unchanged`.
        DataError: The files are missing or damaged.
    """
    data = run.config().data
    dataset = open_split(replace(data, root=root or data.root), split)
    check_unchanged(run, {split: dataset}, root)
    return dataset


def check_unchanged(run: RunFolder, sets: dict[str, CloudDataset], root: str | None = None) -> None:
    """See that no cloud that was learnt from counts as another, because files were changed.

    Where chance drew the split, it draws another one from other files. A split of its own that has
    other clouds than in the training is but told, unless the folder was named.

    Args:
        run: The run folder, or a model folder. Where it does not know of which clouds it was, no
            difference is seen.
        sets: Its clouds by what they are for.
        root: The folder that was named; None is the run's own.

    Raises:
        UserError: The files are others, and nothing but chance says what they are for.
    """
    known = _known(run)
    data = run.config().data
    place = root or data.root or data.name
    for split, dataset in sets.items():
        if known.get(split) in (None, dataset.fingerprint()):
            continue
        changed = f"the {split} clouds of {place} are not those of the training of {run.path}"
        if dataset.drawn:
            raise UserError(
                f"{changed}, and were drawn anew: some that it learnt from may be among them; give "
                "the files as they were, train anew, or put what is to be measured under "
                f"{split}/ in a folder of its own, and give that as root"
            )
        if root is None:
            _LOG.warning("%s: its files were changed since then", changed)


def _known(run: RunFolder) -> dict[str, Any]:
    """The fingerprints of the clouds of a run; none where it does not tell."""
    try:
        if run.is_complete():
            found: dict[str, Any] = run.result().get("clouds", {})
            return found
        with safe_open(owned_file(run.path, CHECKPOINT), framework="pt") as file:
            state = json.loads(file.metadata()["state"])
        return fingerprints(run.config().data, state["identity"]["data"])
    # What is damaged of the records stops no evaluation.
    except (SafetensorError, OSError, LookupError, TypeError, ValueError, RecursionError):
        return {}
