"""Every shader that the case table asks for is valid GLSL of its target, by Khronos's own compiler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import tensorgl as tg
from tensorgl.backends import backend_of, install
from tensorgl.backends.glsl import GlslBackend
from tests.backends.glsl.validation import ES, TextDevice, complaints, limits
from tests.gl import GL
from tests.ops.cases import CASES
from tests.ops.harness import Case, Spec, arrays, flat, tensors

DIALECTS = {
    "compute": limits("compute"),
    "fragment": limits("fragment"),
    "browser": limits("fragment", ES),
    "small browser": limits("fragment", ES, draw_buffers=4, rows=2048),
}


@pytest.fixture(params=DIALECTS)
def device(request: pytest.FixtureRequest) -> Iterator[TextDevice]:
    """Device "gl" only keeps texts, in this test."""
    made = TextDevice(DIALECTS[request.param])
    before = install(GL, GlslBackend(made))
    yield made
    install(GL, before)


def run(case: Case) -> None:
    """The case's values and gradients, strided inputs too."""
    wanted = [isinstance(s, Spec) and s.kind == "f" and s.grad for s in case.inputs]
    for layout in "CT":
        inputs = tensors(arrays(case), device="gl", layout=layout, grads=wanted)
        with tg.device("gl"):
            results = [r for r in flat(case.call(*inputs)) if isinstance(r, tg.Tensor)]
        leaves = [t for t in flat(inputs) if isinstance(t, tg.Tensor) and t.requires_grad]
        roots = [r for r in results if r.requires_grad]
        if roots and leaves:
            results += [
                g
                for g in tg.autograd.grad(
                    roots, leaves, [tg.rand_like(r) for r in roots], allow_unused=True
                )
                if g is not None
            ]
        backend_of(GL).flush()


def test_case_table(device: TextDevice, tmp_path: Path) -> None:
    for case in CASES:
        try:
            run(case)
        except (tg.errors.UnsupportedError, TypeError):  # refusals; test_cases_gl.py judges them
            backend_of(GL).graph.clear()
    assert len(device.sources) > len(CASES)
    assert complaints(set(device.sources), device.limits.target, tmp_path) == ""
