"""Every line of the case table on device "gl", on both targets.

Values are held against the oracle, gradients against those of the cpu backend. What that device leaves to
the cpu must say so.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl.primitives import TABLE
from tests.ops.cases import CASES
from tests.ops.harness import Case, Spec, arrays, assert_close, flat, special, tensors

pytestmark = pytest.mark.usefixtures("gl_target")

IDS = [f"{k}-{c.id}" for k, c in enumerate(CASES)]
GRADS = [c for c in CASES if c.grad]
GRAD_IDS = [i for i, c in zip(IDS, CASES, strict=True) if c.grad]
CPU_ONLY = {name for name, p in TABLE.items() if p.kind == "linalg"}
"""Primitives that stay on the cpu: few elements, long chains of steps that wait for each other."""
FLOAT64 = {"float_power"}
"""Ops whose results are float64."""


class StaysOnCpuError(Exception):
    """A case needs a primitive of `CPU_ONLY`, and the error said what to do."""


def on_gl(case: Case, values: list[Any], **options: Any) -> tuple[list[Any], list[Any]]:
    """The inputs on gl and the case's results, of which the tensors are there too."""
    inputs = tensors(values, device="gl", **options)
    try:
        with tg.device("gl"):
            results = flat(case.call(*inputs))
    except (tg.errors.UnsupportedError, TypeError) as error:
        check_refusal(case, error)
        raise StaysOnCpuError from None
    for r in results:
        if isinstance(r, tg.Tensor):
            assert r.device.type == "gl"
    return inputs, results


def check_refusal(case: Case, error: Exception) -> None:
    """Only what is in `CPU_ONLY` or `FLOAT64` is refused, and the message names the way out."""
    text = str(error)
    if case.op in FLOAT64:
        assert "float64 on device 'gl', which does not support float64" in text
        return
    assert text.split(":")[0] in CPU_ONLY, text
    assert ".cpu()" in text


def compare(case: Case, values: list[Any], expected: list[Any], **options: Any) -> None:
    """A case's results on gl are those expected."""
    try:
        _, actual = on_gl(case, values, **options)
    except StaysOnCpuError:
        return
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        a = a.detach().cpu() if isinstance(a, tg.Tensor) else a
        assert_close(a, e, case.gl_tolerance or case.tolerance, case.id)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_value(case: Case) -> None:
    values = arrays(case)
    compare(case, values, flat(case.oracle(*values)))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_shape_and_dtype(case: Case) -> None:
    """They are those on cpu; nothing needs to run for it."""
    values = arrays(case)
    try:
        _, actual = on_gl(case, values)
    except StaysOnCpuError:
        return
    for a, e in zip(actual, flat(case.call(*tensors(values))), strict=True):
        if isinstance(a, tg.Tensor):
            assert (a.shape, a.dtype) == (e.shape, e.dtype)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_non_contiguous(case: Case) -> None:
    values = arrays(case)
    compare(case, values, flat(case.oracle(*values)), layout="T")


@pytest.mark.parametrize("case", [c for c in CASES if c.empty], ids=lambda c: c.id)
def test_empty(case: Case) -> None:
    values = arrays(case, shrink=True)
    with np.errstate(all="ignore"):
        expected = flat(case.oracle(*values))
    compare(case, values, expected)


@pytest.mark.parametrize("case", [c for c in CASES if c.special], ids=lambda c: c.id)
def test_special_values(case: Case) -> None:
    compare(case, *special(case))


@pytest.mark.parametrize("case", GRADS, ids=GRAD_IDS)
def test_gradient(case: Case) -> None:
    """A random combination of the results has the gradient that it has on cpu."""
    wanted = []
    for s in case.inputs:
        first = s[0] if isinstance(s, tuple | list) and s else s
        wanted.append(isinstance(first, Spec) and first.kind == "f" and first.grad)
    values = arrays(case, seed=1)

    def gradients(device: str) -> list[Any]:
        inputs = tensors(values, device=device, grads=wanted)
        with tg.device(device):
            results = flat(case.call(*inputs))
        results = [r for r in results if isinstance(r, tg.Tensor) and r.requires_grad]
        rng = np.random.default_rng(2)
        weights = [
            tg.tensor(rng.standard_normal(r.shape).astype(np.float32), device=device)
            for r in results
        ]
        leaves = [t for t in flat(inputs) if isinstance(t, tg.Tensor) and t.requires_grad]
        found = tg.autograd.grad(results, leaves, weights, allow_unused=True)
        return [None if g is None else g.detach().cpu().numpy() for g in found]

    expected = gradients("cpu")
    try:
        actual = gradients("gl")
    except (tg.errors.UnsupportedError, TypeError) as error:
        check_refusal(case, error)
        return
    for a, e in zip(actual, expected, strict=True):
        assert (a is None) == (e is None)
        if e is not None:
            assert_close(a, e, case.gradient_tolerance, f"gradient of {case.id}")


@pytest.mark.parametrize("name", sorted(CPU_ONLY))
def test_stays_on_cpu(name: str) -> None:
    x = tg.eye(3, device="gl")
    call = {
        "cholesky": tg.linalg.cholesky,
        "inv": tg.linalg.inv,
        "solve": lambda x: tg.linalg.solve(x, x),
        "solve_triangular": lambda x: tg.linalg.solve_triangular(x, x, upper=True),
        "qr": tg.linalg.qr,
        "svd": tg.linalg.svd,
        "svdvals": tg.linalg.svdvals,
        "eigh": tg.linalg.eigh,
        "eigvalsh": tg.linalg.eigvalsh,
        "slogdet": tg.linalg.slogdet,
    }[name]
    with pytest.raises(tg.errors.UnsupportedError, match=rf"^{name}: .*{re.escape('.cpu()')}"):
        call(x)
