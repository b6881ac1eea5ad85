"""Checks of gradients against finite differences, element by element or along random directions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tensorgl import dispatch, dtypes
from tensorgl.autograd import engine
from tensorgl.tensor import Tensor
from tensorgl.values import tensor

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """An analytic gradient differs from the numeric one."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    fast_mode: bool = False,
) -> bool:
    """Compare the gradient of `func` with central differences.

    Args:
        func: from tensors to one tensor or several.
        inputs: its arguments; those that require a gradient should be float64 and on cpu.
        eps: the step of the difference.
        atol: how much the two may differ,
        rtol: and how much more relative to the numeric one.
        raise_exception: raise, instead of returning False.
        nondet_tol: how much the gradient may differ when it is computed again.
        fast_mode: compare one random projection of the Jacobian instead of all its elements.

    Returns:
        Whether they agree.

    Raises:
        GradcheckError: they do not agree.
        ValueError: no input requires a gradient.
    """
    args = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    wanted = [a for a in args if isinstance(a, Tensor) and a.requires_grad]
    if not wanted:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them have "
            "requires_grad=True."
        )
    for k, a in enumerate(wanted):
        if a.dtype is not dtypes.float64:
            warnings.warn(
                f"Input #{k} requires gradient and is not a double precision floating point. This check "
                "will likely fail if all the inputs are not of double precision floating point.",
                stacklevel=2,
            )
    try:
        _compare(func, args, wanted, eps, atol, rtol, nondet_tol, fast_mode)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _outputs(result: Any) -> list[Tensor]:
    """The floating-point tensors among the results."""
    results = (result,) if isinstance(result, Tensor) else tuple(result)
    return [r for r in results if isinstance(r, Tensor) and r.is_floating_point()]


def _differentiable(result: Any) -> list[Tensor]:
    return [r for r in _outputs(result) if r.requires_grad]


def _flat(x: Tensor) -> Any:
    return np.array(dispatch.to_host(x.detach()), np.float64).reshape(-1)


def _compare(
    func: Callable[..., Any],
    args: tuple[Any, ...],
    wanted: list[Tensor],
    eps: float,
    atol: float,
    rtol: float,
    nondet_tol: float,
    fast: bool,
) -> None:
    """Compare C J D for the Jacobian J of each output in each input; C and D are 1 in slow mode."""
    rng = np.random.default_rng(0)
    outs = _outputs(func(*args))
    left = [_directions(o.numel(), fast, rng) for o in outs]
    right = [_directions(a.numel(), fast, rng) for a in wanted]
    analytic = [
        _analytic(o, c, wanted, nondet_tol) if o.requires_grad else None
        for o, c in zip(outs, left, strict=True)
    ]
    for j, (a, d) in enumerate(zip(wanted, right, strict=True)):
        differences = _numeric(func, args, a, d, eps)
        for k, c in enumerate(left):
            numeric = c @ differences[k].T
            exact = analytic[k]
            if exact is None:
                if np.abs(numeric).max(initial=0) > atol:
                    raise GradcheckError("Numerical gradient for function expected to be zero")
                continue
            ours = exact[j] @ d.T
            if not np.allclose(ours, numeric, rtol, atol):
                raise GradcheckError(
                    f"Jacobian mismatch for output {k} with respect to input {j},\n"
                    f"numerical:{numeric.T}\nanalytical:{ours.T}\n"
                )


def _directions(size: int, fast: bool, rng: Any) -> Any:
    """Rows to project on: every unit vector, or a random one of length 1."""
    if not fast:
        return np.eye(size)
    row = rng.standard_normal((1, size))
    return row / max(np.linalg.norm(row), 1e-300)


def _analytic(out: Tensor, rows: Any, wanted: list[Tensor], nondet_tol: float) -> list[Any]:
    """For each input, the gradient of every projection of `out`, a row each."""
    jacobians = [np.zeros((len(rows), a.numel())) for a in wanted]
    for r, row in enumerate(rows):
        cotangent = tensor(row.reshape(tuple(out.shape)), dtype=out.dtype)
        for again in range(2 if r == 0 else 1):
            grads = engine.grad(out, wanted, cotangent, retain_graph=True, materialize_grads=True)
            for jacobian, g in zip(jacobians, grads, strict=True):
                flat = _flat(g)
                if again and np.abs(flat - jacobian[r]).max(initial=0) > nondet_tol:
                    raise GradcheckError(
                        "Backward is not reentrant, i.e., running backward with same input and "
                        "grad_output multiple times gives different values."
                    )
                jacobian[r] = flat
    return jacobians


def _numeric(
    func: Callable[..., Any], args: tuple[Any, ...], a: Tensor, rows: Any, eps: float
) -> list[Any]:
    """For each output, its central difference along every row of directions of `a`, a row each."""
    values = dispatch.to_host(a.detach())
    original = values.copy()
    columns = []
    for row in rows:
        ends = []
        for step in (eps, -eps):
            values[...] = original + step * row.reshape(values.shape)
            ends.append([_flat(o) for o in _outputs(func(*args))])
        columns.append([(b - c) / (2 * eps) for b, c in zip(*ends, strict=True)])
    values[...] = original
    if not columns:
        return [np.zeros((0, o.numel())) for o in _outputs(func(*args))]
    return [np.stack(deltas) for deltas in zip(*columns, strict=True)]


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    **options: Any,
) -> bool:
    """Compare the second gradient of `func` with central differences of the first.

    Args:
        func: from tensors to one tensor or several.
        inputs: its arguments.
        grad_outputs: the gradients that the first backward starts from; default: random ones.
        **options: as for `gradcheck`.
    """
    args = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    rng = np.random.default_rng(1)
    if grad_outputs is None:
        grad_outputs = [
            tensor(rng.standard_normal(tuple(o.shape)), dtype=o.dtype, requires_grad=True)
            for o in _differentiable(func(*args))
        ]
    cotangents = (grad_outputs,) if isinstance(grad_outputs, Tensor) else tuple(grad_outputs)

    def first_gradient(*all_args: Any) -> Any:
        inner, outer = all_args[: len(args)], all_args[len(args) :]
        wanted = [a for a in inner if isinstance(a, Tensor) and a.requires_grad]
        grads = engine.grad(
            _differentiable(func(*inner)), wanted, outer, create_graph=True, allow_unused=True
        )
        return tuple(g for g in grads if g is not None)

    return gradcheck(first_gradient, (*args, *cotangents), **options)
