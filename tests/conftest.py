"""Set-up of the whole suite."""

import os

# The suite runs in one process a core; more BLAS threads than cores make small products wait for
# each other. Must be set before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from hypothesis import settings

# Machines differ in speed, and no test asserts a time.
settings.register_profile("tensorgl", deadline=None, print_blob=True)
settings.load_profile("tensorgl")
