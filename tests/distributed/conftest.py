"""What tests of the core begin with."""

from __future__ import annotations

import pytest

from tensorgl.distributed.effects import Settings
from tests.distributed.driver import A, B, Driver


@pytest.fixture
def two() -> Driver:
    """A and B in round 1, with shares of six samples each."""
    driver = Driver(Settings(lease=30, grace=10, least_members=2))
    driver.begun(A, B)
    assert driver.core.round
    return driver
