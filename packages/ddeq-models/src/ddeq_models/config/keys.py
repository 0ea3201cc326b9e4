"""Changes of a configuration by the keys that its ``config.json`` shows: ``model.dim``."""

from collections.abc import Mapping
from typing import Any

from ddeq_models.config.run import RunConfig
from ddeq_models.errors import UserError

SECTIONS = ("task", "data", "model", "train")
"""The parts of a configuration whose keys can be set."""


def check_key(values: Mapping[str, Any], section: str, key: str) -> None:
    """See that a section of a configuration, as JSON has it, knows a key.

    Raises:
        UserError: It does not; listing those that it knows.
    """
    if key not in values[section]:
        known = ", ".join(values[section])
        what = f"the model {values['model']['kind']}" if section == "model" else section
        raise UserError(f"{what} has no key {key}; known are {known}")


def changed(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """A configuration with some of its keys changed.

    Args:
        config: The configuration.
        changes: Values by key, ``{"model.dim": 32}``, as ``ddeq train --set`` knows them.

    Raises:
        UserError: A key is unknown, or a value is not of its kind.
    """
    values = config.to_dict()
    for name, value in changes.items():
        section, dot, key = str(name).partition(".")
        if not dot or section not in SECTIONS:
            raise UserError(
                f"expected SECTION.KEY with a section of {', '.join(SECTIONS)}, got {name!r}"
            )
        check_key(values, section, key)
        values[section][key] = value
    return RunConfig.from_dict(values)
