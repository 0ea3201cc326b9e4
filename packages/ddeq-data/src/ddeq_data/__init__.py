"""Point-cloud data sets as weighted measures."""

from importlib.metadata import version

__version__ = version("ddeq-data")
