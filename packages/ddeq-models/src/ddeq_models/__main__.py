"""`python -m ddeq_models` is the command `ddeq`."""

import sys

from ddeq_models.cli import main

if __name__ == "__main__":
    sys.exit(main())
