"""The tests of the whole project inside browsers, where WebGL2 serves device "gl".

One test here is many in a tab; it fails with the text of those that failed there. Each ends with the
checks of the fixture `gl_target`: no memory leaked, and WebGL had nothing to complain of.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

import tensorgl as tg
from tensorgl import profiler
from tensorgl.primitives import TABLE
from tests.browser.conftest import MESA
from tests.browser.suite import run
from tests.ops.cases import CASES
from tests.ops.harness import arrays, flat, tensors
from tests.ops.test_cases_gl import CPU_ONLY, IDS

THREADS = "a tab has no second thread"
PROCESSES = "a tab starts no process"
STACK = "deep recursion ends the tab: its stack is the browser's, and small"
LEFT_OUT = {
    "tests/autograd/test_engine.py::test_a_chain_of_any_length": STACK,
    "tests/autograd/test_engine.py::test_threads_differentiate_at_once": THREADS,
    "tests/autograd/test_modes.py::test_one_decorated_function_in_two_threads": THREADS,
    "tests/backends/glsl/test_library.py": "draws by moderngl",
    "tests/backends/glsl/test_tuning.py::TestFiles::test_a_damaged_file_is_left_out_with_a_warning[3]": STACK,
    "tests/backends/glsl/test_validation.py": PROCESSES,
    "tests/backends/test_allocator.py": PROCESSES,
    "tests/test_random.py::test_each_process_starts_from_another_seed": PROCESSES,
    "tests/test_random.py::test_threads_never_get_the_same_numbers": THREADS,
    "tests/test_serialization.py::test_hostile_files[True-deep JSON]": STACK,
    "tests/test_serialization.py::test_hostile_files[False-deep JSON]": STACK,
    "tests/test_serialization.py::test_our_safetensors_and_the_librarys_read_each_other": "wants safetensors",
    "tests/utils/test_data.py::test_worker_init_runs_once_in_each_thread": THREADS,
    "tests/utils/test_data.py::test_workers_run_ahead_but_not_far": THREADS,
    "tests/utils/test_images.py": "wants matplotlib",
}
"""What is not for a tab, and why. Each must name a test that there is."""
IN_PARTS = "tests/ops/test_cases_gl.py"
"""The largest module has tabs of its own."""


@dataclass(frozen=True)
class Part:
    """Tests that share a tab; `least` guards against those that nobody runs any more."""

    tests: tuple[str, ...]
    least: int
    part: tuple[int, int] = (0, 1)


PARTS = {
    "ops 1": Part((IN_PARTS,), 1000, (0, 3)),
    "ops 2": Part((IN_PARTS,), 1000, (1, 3)),
    "ops 3": Part((IN_PARTS,), 1000, (2, 3)),
    "kernels 1": Part(("tests/backends",), 450, (0, 3)),
    "kernels 2": Part(("tests/backends",), 450, (1, 3)),
    "kernels 3": Part(("tests/backends",), 450, (2, 3)),
    "training": Part(
        (
            "tests/browser/modules.py",
            "tests/optim",
            "tests/test_compiling.py",
            "tests/test_compiling_changes.py",
            "tests/test_profiler.py",
        ),
        550,
    ),
    "python": Part(
        (
            "tests/autograd",
            # The bytes that members exchange are the same in a tab.
            "tests/distributed/test_codecs.py::test_golden_payloads",
            "tests/distributed/test_messages.py::test_golden_messages",
            "tests/distributed/test_wire.py::test_golden_frames",
            "tests/nn",
            "tests/ops",
            "tests/test_conversion.py",
            "tests/test_creation.py",
            "tests/test_datasets.py",
            "tests/test_dtypes.py",
            "tests/test_func.py",
            "tests/test_primitives.py",
            "tests/test_printing.py",
            "tests/test_random.py",
            "tests/test_serialization.py",
            "tests/test_settings.py",
            "tests/test_values.py",
            "tests/utils",
        ),
        5600,
    ),
}


def left_out(part: Part) -> list[str]:
    """How the names begin of what is left out of a part."""
    names = [*LEFT_OUT, *([] if IN_PARTS in part.tests else [IN_PARTS])]
    return [name for name in names if name.startswith(part.tests)]


@pytest.mark.parametrize("name", PARTS)
def test_in_chromium(name: str, built: Path) -> None:
    part = PARTS[name]
    outcome = run(built, "chromium", part.tests, part=part.part, left_out=left_out(part), args=MESA)
    assert not outcome.complaint(), outcome.complaint()
    assert len(outcome.passed) + len(outcome.skipped) == outcome.selected
    assert len(outcome.passed) >= part.least


NOT_IN_THE_TABLE = {
    "bernoulli": "tests/backends/glsl/test_random.py",
    "normal": "tests/backends/glsl/test_random.py",
    "randint": "tests/backends/glsl/test_random.py",
    "pool_take": "tests/backends/glsl/test_pooling.py",
}
"""Primitives that no case of an op calls, nor its gradient; and tests that do."""


def test_every_primitive_and_training_in_firefox(built: Path) -> None:
    tests = [f"tests/ops/test_cases_gl.py::{name}" for name in every_primitive()]
    tests.append("tests/test_compiling.py::test_equals_the_plain_step[fragment-adam]")
    outcome = run(built, "firefox", [*tests, *sorted(set(NOT_IN_THE_TABLE.values()))])
    assert not outcome.complaint(), outcome.complaint()
    assert len(outcome.passed) > len(tests) + 150


def every_primitive() -> list[str]:
    """Tests that together call every primitive that device "gl" has, but those `NOT_IN_THE_TABLE`."""
    missing = TABLE.keys() - CPU_ONLY - NOT_IN_THE_TABLE.keys()
    chosen: list[str] = []
    for name, case in zip(IDS, CASES, strict=True):
        with profiler.profile() as prof:
            inputs = tensors(arrays(case), grads=[case.grad] * len(case.inputs))
            results = [r for r in flat(case.call(*inputs)) if isinstance(r, tg.Tensor)]
            wanted = [r.sum() for r in results if r.requires_grad]
            if wanted:
                tg.autograd.backward(wanted)
        called = {event.name for event in prof.events()} & missing
        if called:
            missing -= called
            chosen.append(f"test_{'gradient' if wanted else 'value'}[fragment-{name}]")
    assert not missing, missing
    return chosen
