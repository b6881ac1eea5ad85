"""Every line of the case table: value, dtype, shape, layouts, empty and special inputs, gradients."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgl as tg
from tests.ops.cases import CASES
from tests.ops.harness import Case, Spec, arrays, assert_close, flat, special, tensors

GRADS = [c for c in CASES if c.grad]
IDS = [f"{k}-{c.id}" for k, c in enumerate(CASES)]
GRAD_IDS = [i for i, c in zip(IDS, CASES, strict=True) if c.grad]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_value(case: Case) -> None:
    values = arrays(case)
    actual = flat(case.call(*tensors(values)))
    expected = flat(case.oracle(*values))
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        assert_close(a, e, case.tolerance, case.id)
        if isinstance(a, tg.Tensor) and a.is_floating_point():
            assert a.dtype is tg.float32


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_non_contiguous(case: Case) -> None:
    values = arrays(case)
    strided = flat(case.call(*tensors(values, layout="T")))
    for a, e in zip(strided, flat(case.oracle(*values)), strict=True):
        assert_close(a, e, case.tolerance, case.id)


@pytest.mark.parametrize("case", [c for c in CASES if c.empty], ids=lambda c: c.id)
def test_empty(case: Case) -> None:
    values = arrays(case, shrink=True)
    with np.errstate(all="ignore"):
        expected = flat(case.oracle(*values))
    for a, e in zip(flat(case.call(*tensors(values))), expected, strict=True):
        assert_close(a, e, case.tolerance, case.id)


@pytest.mark.parametrize("case", [c for c in CASES if c.special], ids=lambda c: c.id)
def test_special_values(case: Case) -> None:
    """NaN, infinities and signed zeros, every combination of two."""
    values, expected = special(case)
    for a, e in zip(flat(case.call(*tensors(values))), expected, strict=True):
        assert_close(a, e, case.tolerance, case.id)


def _gradient_inputs(case: Case) -> tuple[list[object], list[bool]]:
    wanted = []
    for s in case.inputs:
        first = s[0] if isinstance(s, tuple | list) and s else s
        wanted.append(isinstance(first, Spec) and first.kind == "f" and first.grad)
    return arrays(case, seed=1), wanted


def _flat_call(case: Case):  # type: ignore[no-untyped-def]
    """The case as a function of a flat list of tensors, and its inputs in float64."""
    values, wanted = _gradient_inputs(case)
    inputs = tensors(values, dtype="float64", grads=wanted)

    def function(*leaves: tg.Tensor) -> tuple[tg.Tensor, ...]:
        rest = iter(leaves)

        def build(x: object) -> object:
            if isinstance(x, tuple | list) and x and isinstance(x[0], tg.Tensor):
                return type(x)(next(rest) for _ in x)
            return next(rest) if isinstance(x, tg.Tensor) else x

        result = case.call(*[build(x) for x in inputs])
        return tuple(r for r in flat(result) if isinstance(r, tg.Tensor) and r.requires_grad)

    leaves = [leaf for x in inputs for leaf in flat(x) if isinstance(leaf, tg.Tensor)]
    return function, leaves


@pytest.mark.parametrize("case", GRADS, ids=GRAD_IDS)
def test_gradient(case: Case) -> None:
    function, leaves = _flat_call(case)
    assert function(*leaves), "no output requires a gradient"
    tg.autograd.gradcheck(function, leaves, fast_mode=True)


@pytest.mark.parametrize("case", [c for c in GRADS if c.second], ids=lambda c: c.id)
def test_second_gradient(case: Case) -> None:
    function, leaves = _flat_call(case)
    tg.autograd.gradgradcheck(function, leaves, fast_mode=True)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_shape_without_values(case: Case) -> None:
    """The rules in primitives alone, on the device that computes nothing, give shape and dtype."""
    values = arrays(case)
    actual = flat(case.call(*tensors(values)))
    try:
        shapes = flat(case.call(*tensors(values, device="meta")))
    except tg.errors.UnsupportedError:
        return  # its shape depends on values
    for a, s in zip(actual, shapes, strict=True):
        if isinstance(a, tg.Tensor):
            assert (a.shape, a.dtype) == (s.shape, s.dtype)
