"""Files from the network: mirrors tried in order, resumed, checked, and whole or not at all."""

from ddeq_data.downloads.archive import unpack
from ddeq_data.downloads.fetch import fetch
from ddeq_data.downloads.resource import Resource

__all__ = ["Resource", "fetch", "unpack"]
