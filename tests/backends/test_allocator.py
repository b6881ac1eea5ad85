"""Freed memory is used again: counted in page faults."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource
import tensorgl as tg

x = tg.zeros(1 << 20)
for _ in range(5):
    y = x + 1
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    y = x + 1  # 4 MB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**environment: str) -> int:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return int(result.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these thresholds")
def test_large_arrays_reuse_memory_unless_the_user_says_otherwise() -> None:
    assert faults() < 1000
    assert faults(MALLOC_MMAP_THRESHOLD_="65536") > 10_000
