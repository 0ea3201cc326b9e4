"""Model folders: a trained model in the layout of the Hugging Face Hub, to keep and to pass on.

=================  ========================================================================
config.json        the `RunConfig` that it was trained by, without the place of the data
model.safetensors  the weights
README.md          the model card: see `ddeq_models.runs.card`
result.json        what was measured; where that is known
calibration.*      how far answers can be trusted; where that is known
=================  ========================================================================

A model folder is read by the same code as a run folder: both have a ``config.json`` and a
``model.safetensors``. Some come with the package (`shipped_names`). Wherever a run folder is asked
for, a model folder or one of these names will do. To pass a folder on: ``hf upload USER/NAME
FOLDER``; what ``hf download`` brings is such a folder again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ddeq_models._internal.files import read_owned, write_atomically
from ddeq_models._internal.text import shortened
from ddeq_models.config import RunConfig
from ddeq_models.errors import UserError
from ddeq_models.runs.calibration import Calibration, read_calibration, write_calibration
from ddeq_models.runs.card import CARD, kept_of, model_card
from ddeq_models.runs.folder import RunFolder, check_out

SHIPPED = Path(__file__).parents[1] / "models" / "weights"


def shipped_names() -> tuple[str, ...]:
    """Names of the models that come with the package."""
    return tuple(sorted(path.parent.name for path in SHIPPED.glob("*/config.json")))


def open_model(source: str | Path) -> RunFolder:
    """The folder of a trained model, which is only read.

    Args:
        source: A run folder, a model folder, or the name of a model that comes with the package.
            A folder that holds a model goes before a name.

    Raises:
        UserError: It is none of these.
    """
    folder = RunFolder(source, writes=False)
    if folder.holds_run():
        return folder
    if str(source) in shipped_names():
        return RunFolder(SHIPPED / source, writes=False)
    if folder.path.exists():
        raise UserError(
            f"{source} is not a run folder: it has no config.json; `ddeq train` makes one"
        )
    raise UserError(
        f"there is no run folder {source}, and no model of that name comes with the package "
        f"({', '.join(shipped_names())} do); `ddeq train` makes a run"
    )


def from_pretrained(source: str | Path, *, device: torch.device | str = "cpu") -> nn.Module:
    """A trained model, in evaluation mode.

    It expects clouds that are normalised as those of its training were: `predict`, `complete` and
    `evaluate` see to that; otherwise take ``ddeq_models.data.view(model.run_config.data)``, a
    transform of `ddeq_data.PointBatch`.

    Args:
        source: See `open_model`.
        device: Where to put it.

    Returns:
        The model. Its attribute ``run_config`` is the `RunConfig`: the normalisation of the data,
        the names of the classes, how it was trained.

    Raises:
        UserError: There is no such model, or a file of it is missing, damaged or of another model.
    """
    folder = open_model(source)
    model = folder.model(device)
    model.run_config = folder.config()  # type: ignore[assignment]  # no parameter, no module
    return model


def _unwrapped(model: nn.Module) -> nn.Module:
    """The model itself: what compiles, copies or averages one puts its own name into every key."""
    while not hasattr(model, "config"):
        inner = getattr(model, "_orig_mod", None) or getattr(model, "module", None)
        if not isinstance(inner, nn.Module):
            break
        model = inner
    return getattr(model, "_orig_mod", model)


def card_of(run: RunFolder) -> str:
    """The text of the card of a model folder, which may be somebody else's; empty without one.

    Raises:
        UserError: It cannot be read.
    """
    try:
        return read_owned(run.path, CARD).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UserError(f"cannot read {run.path / CARD}: {error.strerror}") from error


def save_pretrained(
    source: str | Path | nn.Module,
    folder: str | Path,
    *,
    config: RunConfig | None = None,
    result: Mapping[str, Any] | None = None,
    license: str | None = None,
    notes: str = "",
    calibration: Calibration | None = None,
) -> Path:
    """Write a model folder.

    Args:
        source: See `open_model`; or a model, as `from_pretrained` or `build_model` gives it.
        folder: Where; it must be empty or not exist. Its name becomes that of the model.
        config: Of a model that was not made by `from_pretrained`: how it was trained.
        result: What was measured, as a ``result.json`` has it. None: what the folder of the
            source says; of a model that is passed itself, nothing.
        license: Of the weights, by the Hub's identifier (``mit``, ``cc-by-4.0``, ...); None: what
            the card of the source says, if it has one.
        notes: A paragraph for the model card, in Markdown: what else there is to say; empty: what
            the card of the source says.
        calibration: Of a model that is passed itself; of a folder its own is taken.

    Returns:
        The folder.

    Raises:
        UserError: The source is no model, nothing is known of its training, the licence is no
            identifier, or the folder is not empty or cannot be written.
    """
    if license is not None and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", license) is None:
        raise UserError(
            f"the licence must be an identifier of the Hub or of SPDX, mit or cc-by-4.0 say, got "
            f"{shortened(license)!r}"
        )
    target, unfinished = Path(folder), 0
    if isinstance(source, nn.Module):
        model = _unwrapped(source)
        known = config or getattr(model, "run_config", None)
        if not isinstance(known, RunConfig):
            raise UserError(
                "nothing is known of this model's training; give save_pretrained a config, the "
                "RunConfig with its classes and the normalisation of its data"
            )
        config = known
        if getattr(model, "config", config.model) != config.model_at(config.train.epochs):
            config = replace(
                config,
                model=model.config,  # type: ignore[arg-type]  # every model has one
                train=replace(config.train, solver_phases=()),
            )
    else:
        if config is not None or calibration is not None:
            raise UserError("a folder knows its configuration; leave config out, and calibration")
        run = open_model(source)
        model, config = run.model(), run.config()
        calibration = read_calibration(run.path, len(config.classes))
        if result is None and run.is_complete():
            result = run.result()
        unfinished = run.kept_epoch() if run.is_unfinished() else 0
        known_license, known_notes = kept_of(card_of(run))
        license, notes = license or known_license, notes or known_notes
        phases, kept = config.train.solver_phases, run.kept_epoch()
        # Later phases never held for the weights that were kept.
        before = tuple(phase for phase in phases if phase.epoch <= kept)
        config = replace(config, train=replace(config.train, solver_phases=before))
    # No place on this machine is told.
    begun = config.train.init
    begun = Path(begun).name if begun and Path(begun).is_absolute() else begun
    config = replace(
        config,
        data=replace(config.data, root=None),
        train=replace(config.train, init=begun),
    )
    check_out(target)
    try:
        made = RunFolder.create(target, config)
        made.write_weights(model.state_dict())
        if result is not None:
            made.write_result(result)
        if calibration is not None:
            write_calibration(target, calibration)
        parameters = sum(p.numel() for p in model.parameters())
        name = target.resolve().name
        card = model_card(
            name, config, parameters, result, license=license, notes=notes, unfinished=unfinished
        )
        write_atomically(target / CARD, card.encode())
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}; give another folder") from error
    return target
