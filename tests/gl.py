"""Tests on device "gl": one backend for each target in a process, and a check that nothing leaked.

In a browser, where tests/browser runs these tests again, there is one target and WebGL2 serves it.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from functools import cache

import pytest

from tensorgl.avals import device
from tensorgl.backends import backend_of, install
from tensorgl.backends.glsl import GlslBackend

IN_BROWSER = sys.platform == "emscripten"
NATIVE = "webgl" if IN_BROWSER else "opengl"
TARGETS = ("fragment",) if IN_BROWSER else ("compute", "fragment")
GL = device("gl")
REQUIRED = os.environ.get("TENSORGL_TEST_BACKENDS", "").split(",")
"""Backends whose absence is a failure and not a skip: numpy, opengl, webgl."""


@cache
def made(target: str) -> GlslBackend | str:
    """The backend of a target, made once in a process; or why there is none."""
    try:
        if IN_BROWSER:
            from tensorgl.backends.webgl import create

            return create()
        from tensorgl.backends.opengl import create

        return create(target)
    except RuntimeError as error:
        return str(error)


def use(target: str) -> GlslBackend:
    """Let device "gl" be this target; without one, skip the test or fail it."""
    backend = made(target)
    if isinstance(backend, str):
        (pytest.fail if NATIVE in REQUIRED else pytest.skip)(backend)
    if backend_of(GL) is not backend:
        install(GL, backend)
    return backend


@pytest.fixture(scope="module", params=TARGETS)
def gl_module_target(request: pytest.FixtureRequest) -> str:
    """A module's tests for one target run after each other, so that the backend changes twice."""
    return request.param


@pytest.fixture
def gl_target(gl_module_target: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The target that device "gl" has in this test, "compute" or "fragment".

    A test that passes must have given all its memory back, and WebGL must have had no complaint.
    """
    backend = use(gl_module_target)
    backend.graph.clear()  # what a test that failed left waiting would fail again
    before, failures = live(backend), request.session.testsfailed
    yield gl_module_target
    if request.session.testsfailed == failures:
        after = live(backend)
        if after > before:
            gc.collect()
            after = live(backend)
        assert after <= before, f"leaked {after - before} bytes of device memory"
    if IN_BROWSER:
        code = backend.device.js.error()  # type: ignore[attr-defined]
        assert code == 0, f"WebGL complains: {code:#x}"


def live(backend: GlslBackend) -> int:
    """Bytes that tensors hold; calls that wait and whose results nobody sees hold none."""
    backend.flush()
    return backend.counters()["bytes_live"]
