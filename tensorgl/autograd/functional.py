"""Derivatives of functions: Jacobians, Hessians and their products with vectors, by reverse mode.

Every function takes `func` from tensors to one tensor or a tuple, and `inputs`, a tensor or a tuple. With
`create_graph` the result can be differentiated; with `strict` an output that does not depend on an
input raises instead of giving zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorgl.autograd import engine
from tensorgl.autograd.modes import enable_grad
from tensorgl.creation import eye, ones_like, zeros, zeros_like
from tensorgl.ops.joining import stack
from tensorgl.tensor import Tensor

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = Tensor | tuple[Tensor, ...]
Function = Callable[..., Any]


def _as_tuple(x: Any, what: str, name: str) -> tuple[Tensor, ...]:
    values = x if isinstance(x, tuple) else (x,)
    for k, v in enumerate(values):
        if not isinstance(v, Tensor):
            at = f" at index {k}" if isinstance(x, tuple) else ""
            raise TypeError(
                f"The {what} given to {name} must be either a Tensor or a tuple of Tensors but the "
                f"given {what}{at} has type {type(v)}."
            )
    return values


def _started(inputs: Any, create_graph: bool, name: str) -> tuple[Tensor, ...]:
    """The inputs as tensors that a graph of its own begins at; with `create_graph` it goes on above."""
    return tuple(
        x.reshape(x.shape) if create_graph and x.requires_grad else x.detach().requires_grad_()
        for x in _as_tuple(inputs, "inputs", name)
    )


def _called(func: Function, inputs: tuple[Tensor, ...], name: str, strict: bool) -> Any:
    """The result of `func`, and the same as a tuple."""
    result = func(*inputs)
    outputs = _as_tuple(result, "outputs of the user-provided function", name)
    for k, out in enumerate(outputs):
        if strict and not out.requires_grad:
            raise RuntimeError(
                f"Output {k} of the user-provided function does not require gradients. The outputs "
                "must be computed in a differentiable manner from the input when running in strict mode."
            )
    return result, outputs


def _product(
    outputs: tuple[Tensor, ...],
    inputs: tuple[Tensor, ...],
    v: tuple[Tensor, ...],
    create_graph: bool,
    strict: bool,
    what: str,
) -> list[Tensor]:
    """The gradient of v . outputs in each input; zeros where there is none."""
    pairs = [(o, w) for o, w in zip(outputs, v, strict=True) if o.requires_grad]
    grads: tuple[Any, ...] = (None,) * len(inputs)
    if pairs:
        recorded, weights = zip(*pairs, strict=True)
        grads = engine.grad(
            recorded,
            inputs,
            weights,
            retain_graph=True,
            create_graph=create_graph,
            allow_unused=True,
        )
    for k, g in enumerate(grads):
        if strict and g is None:
            raise RuntimeError(
                f"{what} is independent of input {k}. This is not allowed in strict mode."
            )
    return [zeros_like(x) if g is None else g for x, g in zip(inputs, grads, strict=True)]


def _finished(result: Any, create_graph: bool) -> Any:
    """Results, nested in tuples, without history unless it was asked for."""
    if isinstance(result, Tensor):
        return result if create_graph else result.detach()
    return tuple(_finished(r, create_graph) for r in result)


def _like(given: Any, values: Any) -> Any:
    """A tuple, or its one element where `given` was no tuple."""
    return tuple(values) if isinstance(given, tuple) else values[0]


def _vector(v: Any, like: Any, what: str) -> tuple[Tensor, ...]:
    """`v` checked against the tensors it is multiplied with; 1 if it was left out for a scalar."""
    tensors = like if isinstance(like, tuple) else (like,)
    if v is None:
        if len(tensors) != 1 or tensors[0].numel() != 1:
            raise RuntimeError(f"The vector v can only be None if {what} with a single element.")
        return (ones_like(tensors[0]),)
    vectors = _as_tuple(v, "v", "the product")
    if len(vectors) != len(tensors):
        raise RuntimeError(
            f"v is a tuple of invalid length: should be {len(tensors)} but got {len(vectors)}."
        )
    for w, t in zip(vectors, tensors, strict=True):
        if w.shape != t.shape:
            raise RuntimeError(
                f"v has invalid size: should be {tuple(t.shape)} but got {tuple(w.shape)}."
            )
    return vectors


@enable_grad()
def jacobian(
    func: Function,
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The derivative of every element of every output in every element of every input.

    `vectorize` and `strategy` are accepted as PyTorch does; the result is the same.

    Returns:
        A tensor of shape (*output, *input) for one of each; else tuples of them, by output, by input.
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise ValueError(
            f'Expected strategy to be either "forward-mode" or "reverse-mode", given "{strategy}".'
        )
    started = _started(inputs, create_graph, "jacobian")
    result, outputs = _called(func, started, "jacobian", strict)
    rows = []
    for k, out in enumerate(outputs):
        name = f"Output {k} of the user-provided function"
        size = out.numel()
        units = eye(size, dtype=out.dtype, device=out.device).reshape(size, *out.shape)
        grads = [_product((out,), started, (unit,), create_graph, strict, name) for unit in units]
        if strict and create_graph:
            _check_dependence(grads)
        rows.append(
            _like(
                inputs, [_assembled([g[j] for g in grads], out, x) for j, x in enumerate(started)]
            )
        )
    return _finished(_like(result, rows), create_graph)


def _check_dependence(grads: list[list[Tensor]]) -> None:
    for row in grads:
        for j, g in enumerate(row):
            if not g.requires_grad:
                raise RuntimeError(
                    f"The jacobian of the user-provided function is independent of input {j}. This is "
                    "not allowed in strict mode when create_graph=True."
                )


def _assembled(rows: list[Tensor], out: Tensor, x: Tensor) -> Tensor:
    """The gradients of every element of an output, (*out, *x)."""
    if not rows:
        return zeros((*out.shape, *x.shape), dtype=x.dtype, device=x.device)
    return stack(rows).reshape(*out.shape, *x.shape)


def _scalar(func: Function, name: str) -> Function:
    """`func`, checked to give one tensor of one element, without dims."""

    def call(*inputs: Tensor) -> Tensor:
        out = func(*inputs)
        if isinstance(out, tuple):
            raise RuntimeError(f"The function given to {name} should return a single Tensor")
        _as_tuple(out, "outputs of the user-provided function", name)
        if out.numel() != 1:
            raise RuntimeError(
                f"The Tensor returned by the function given to {name} should contain a single element"
            )
        return out.reshape(())

    return call


@enable_grad()
def hessian(
    func: Function,
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of a function with one value.

    Returns:
        A tensor of shape (*input, *input) for one input; else tuples of tuples of them.
    """

    def gradient(*started: Tensor) -> Any:
        given = started if isinstance(inputs, tuple) else started[0]
        return jacobian(_scalar(func, "hessian"), given, create_graph=True, strict=strict)

    return jacobian(gradient, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)


@enable_grad()
def vjp(
    func: Function,
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The outputs, and v times the Jacobian: `v` is like the outputs, the product like the inputs."""
    started = _started(inputs, create_graph, "vjp")
    result, outputs = _called(func, started, "vjp", strict)
    weights = _vector(v, result, "the user-provided function returns a single Tensor")
    product = _product(
        outputs, started, weights, create_graph, strict, "The output of the user-provided function"
    )
    return _finished(result, create_graph), _finished(_like(inputs, product), create_graph)


@enable_grad()
def jvp(
    func: Function,
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The outputs, and the Jacobian times v: `v` is like the inputs, the product like the outputs.

    By two reverse passes: u J is linear in u, and the derivative of its product with v is J v.
    """
    started = _started(inputs, create_graph, "jvp")
    vector = _vector(v, inputs, "the input to the user-provided function is a single Tensor")
    result, outputs = _called(func, started, "jvp", strict)
    u = tuple(zeros_like(o, requires_grad=True) for o in outputs)
    name = "The output of the user-provided function"
    backward = _product(outputs, started, u, True, strict, name)
    product = _product(tuple(backward), u, vector, create_graph, strict, "The product")
    return _finished(result, create_graph), _finished(_like(result, product), create_graph)


@enable_grad()
def vhp(
    func: Function,
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The value of a function with one, and v times its Hessian; `v` is like the inputs."""
    started = _started(inputs, create_graph, "vhp")
    vector = _vector(v, inputs, "the input to the user-provided function is a single Tensor")
    result, outputs = _called(_scalar(func, "vhp"), started, "vhp", strict)
    one = (ones_like(result),)
    name = "The output of the user-provided function"
    first = _product(outputs, started, one, True, strict, name)
    name = "The jacobian of the user-provided function"
    product = _product(tuple(first), started, vector, create_graph, strict, name)
    return _finished(result, create_graph), _finished(_like(inputs, product), create_graph)


def hvp(
    func: Function,
    inputs: Tensors,
    v: Tensors | None = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The value of a function with one, and its Hessian times v: that of `vhp`, by symmetry."""
    return vhp(func, inputs, v, create_graph, strict)
