"""The training of models."""

from ddeq_models.training.run import resume_run, train

__all__ = ["resume_run", "train"]
