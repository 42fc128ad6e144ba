"""The tests' networks are tiny: one thread each is faster than two that wait for each other. Set before torch is imported."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
