"""Set-up of the whole suite."""

import os

# The suite runs in one process a core; more BLAS threads than cores make small products wait for
# each other. Must be set before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# What the machine's user measured decides on kernels; here it is a file that is not there.
os.environ["TENSORGL_TUNING"] = os.path.join(os.path.dirname(__file__), "untuned.json")

import pytest
from hypothesis import settings

import tensorgl as tg
from tests.gl import gl_module_target, gl_target

__all__ = ["gl_module_target", "gl_target"]

# Machines differ in speed, and no test asserts a time. Continuous integration judges a change by the
# same examples each time; everybody else's runs look for new ones.
settings.register_profile(
    "tensorgl", deadline=None, print_blob=True, derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("tensorgl")


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Every test draws the same random numbers each time, alone or with others."""
    tg.manual_seed(0)
