"""What holds for all tests of the workspace: the processes that share them take one thread each."""

import os

# Set before torch is imported, and inherited by what a test starts. Threads of several processes on
# the same cores wait for each other by spinning, and everything takes many times as long.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
