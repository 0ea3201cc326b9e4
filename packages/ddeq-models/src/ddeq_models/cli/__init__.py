"""The ``ddeq`` command."""

from ddeq_models.cli.main import main

__all__ = ["main"]
