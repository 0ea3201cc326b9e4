"""Files that several processes share: processed clouds, whole or not at all, under locks."""

from ddeq_data._internal.locks import Lock
from ddeq_data.storage.cache import cached_clouds
from ddeq_data.storage.clouds_file import read_clouds, write_clouds

__all__ = ["Lock", "cached_clouds", "read_clouds", "write_clouds"]
