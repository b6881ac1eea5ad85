"""What tests in browsers share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tensorgl.wasm import browsers, site
from tests.gl import REQUIRED

MESA = ("--use-gl=angle", "--use-angle=gl-egl", "--ignore-gpu-blocklist")
"""Has Chromium draw with Mesa's llvmpipe, which is quicker than its own SwiftShader."""


@pytest.fixture(scope="session")
def built() -> Path:
    """The built site; where it cannot be had, the tests are skipped or fail."""
    try:
        for name in ("chromium", "firefox"):
            browsers.find(name)
        return site.cached()
    except RuntimeError as missing:
        (pytest.fail if "webgl" in REQUIRED else pytest.skip)(str(missing))
