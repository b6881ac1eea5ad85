"""Checks of gradients against finite differences, along random directions and element by element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tensorgl import dispatch
from tensorgl.autograd import engine
from tensorgl.values import tensor
from tensorgl.tensor import Tensor

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """An analytic gradient differs from the numeric one."""


def _outputs(result: Any) -> list[Tensor]:
    results = (result,) if isinstance(result, Tensor) else tuple(result)
    return [r for r in results if isinstance(r, Tensor) and r.requires_grad]


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    fast_mode: bool = False,
) -> bool:
    """Compare the gradient of `func` with central differences.

    Args:
        func: from tensors to one tensor or several.
        inputs: its arguments; those that require a gradient should be float64.
        eps: the step of the difference.
        fast_mode: compare along one random direction instead of element by element.

    Returns:
        Whether they agree; with `raise_exception`, raises GradcheckError where they do not.
    """
    args = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    wanted = [a for a in args if isinstance(a, Tensor) and a.requires_grad]
    if not wanted:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of the them "
            "have requires_grad=True."
        )
    rng = np.random.default_rng(0)
    try:
        outs = _outputs(func(*args))
        for k, out in enumerate(outs):
            cotangent = rng.standard_normal(tuple(out.shape))
            v = tensor(cotangent, dtype=out.dtype)
            grads = engine.grad(out, wanted, v, retain_graph=True, allow_unused=True)
            for j, (a, g) in enumerate(zip(wanted, grads, strict=True)):
                analytic = (
                    np.zeros(tuple(a.shape)) if g is None else np.asarray(dispatch.to_host(g))
                )
                _compare(func, args, a, k, cotangent, analytic, eps, atol, rtol, fast_mode, rng, j)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _compare(
    func: Any,
    args: tuple[Any, ...],
    a: Tensor,
    k: int,
    cotangent: Any,
    analytic: Any,
    eps: float,
    atol: float,
    rtol: float,
    fast: bool,
    rng: Any,
    j: int,
) -> None:
    """Compare d(cotangent . func)/da with differences, for output `k` and input `j`."""
    values = dispatch.to_host(a.detach())
    size = values.size
    if fast:
        directions = [rng.standard_normal(values.shape)] if size else []
    else:
        directions = [np.eye(1, size, i).reshape(values.shape) for i in range(size)]
    for d in directions:
        original = values.copy()
        ends = []
        for step in (eps, -eps):
            values[...] = original + step * d
            out = _outputs(func(*args))[k]
            ends.append(float((np.asarray(dispatch.to_host(out.detach())) * cotangent).sum()))
        values[...] = original
        numeric = (ends[0] - ends[1]) / (2 * eps)
        exact = float((analytic * d).sum())
        if not abs(numeric - exact) <= atol + rtol * abs(numeric):
            raise GradcheckError(
                f"Jacobian mismatch for output {k} with respect to input {j}: numerical {numeric:.8g}, "
                f"analytical {exact:.8g}"
            )


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Any = None,
    **options: Any,
) -> bool:
    """Compare the second gradient of `func` with central differences of the first; see `gradcheck`."""
    args = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    outs = _outputs(func(*args))
    rng = np.random.default_rng(1)
    if grad_outputs is None:
        grad_outputs = [
            tensor(rng.standard_normal(tuple(o.shape)), dtype=o.dtype, requires_grad=True)
            for o in outs
        ]
    cotangents = (grad_outputs,) if isinstance(grad_outputs, Tensor) else tuple(grad_outputs)

    def first_gradient(*all_args: Any) -> Any:
        inner, outer = all_args[: len(args)], all_args[len(args) :]
        wanted = [a for a in inner if isinstance(a, Tensor) and a.requires_grad]
        grads = engine.grad(
            _outputs(func(*inner)), wanted, outer, create_graph=True, allow_unused=True
        )
        return tuple(g for g in grads if g is not None)

    return gradcheck(first_gradient, (*args, *cotangents), **options)
