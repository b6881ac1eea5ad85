"""Statistics: variance, standard deviation, covariance and correlation."""

from __future__ import annotations

from math import inf
from typing import Any

from tensorgl import dtypes
from tensorgl import primitives as p
from tensorgl.dispatch import call1, calln, defvjp, differentiable, op
from tensorgl.ops.arithmetic import maximum
from tensorgl.ops.comparison import eq, where
from tensorgl.ops.dims import Dims, count, numpy_names, unreduced
from tensorgl.ops.linalg import matmul
from tensorgl.ops.movement import clone, expand, reshape, sliced, squeeze, transpose, wrap_dims
from tensorgl.ops.reduction import sum

__all__ = ["corrcoef", "cov", "std", "std_mean", "var", "var_mean"]

Tensor = Any


def _moments(
    input: Tensor, dim: Dims | bool, unbiased: bool | None, keepdim: bool, correction: float | None
) -> tuple[Tensor, Tensor]:
    """Variance and mean, from the arguments of PyTorch's three signatures."""
    if isinstance(dim, bool):  # var(input, unbiased)
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    elif unbiased is not None:
        raise TypeError("var/std: expected either unbiased or correction, given both")
    return calln(p.var_mean, (input,), (wrap_dims(dim, input.ndim), correction, keepdim))


def _var_mean_backward(
    g: Any,
    input: Tensor,
    out: Any,
    shape: tuple[int, ...],
    dim: tuple[int, ...],
    correction: float,
    keepdim: bool,
) -> Tensor:
    of_var, of_mean = g
    n = count(shape, dim)
    total: Any = 0
    if of_var is not None:
        scale = 2 / (n - correction) if n > correction else inf
        deviation = input - unreduced(out[1], shape, dim, keepdim)
        total = unreduced(of_var * scale, shape, dim, keepdim) * deviation
    if of_mean is not None:
        total = expand(unreduced(of_mean / n, shape, dim, keepdim), shape) + total
    return total


defvjp(
    p.var_mean,
    input=lambda g, input, out, shape, dim, correction, keepdim: _var_mean_backward(
        g, input, out, shape, dim, correction, keepdim
    ),
)


# Where the root is 0 the gradient is 0; the infinity keeps the second gradient finite there.
@differentiable(input=lambda g, out: g / (where(eq(out, 0), inf, out) * 2))
def root(input: Tensor) -> Tensor:
    """The square root, with 0 for its gradient at 0: PyTorch's choice for std."""
    return call1(p.sqrt, input)


@op
@numpy_names
def var(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """The variance over `dim` (default: all).

    Args:
        input: a floating-point tensor.
        dim: one dim or several.
        unbiased: False divides by the count, True (the default) by the count - 1.
        keepdim: keep the reduced dims, with size 1.
        correction: what to take off the count instead of 1.

    Raises:
        RuntimeError: the input is no floating-point tensor.
    """
    return _moments(input, dim, unbiased, keepdim, correction)[0]


@op
@numpy_names
def std(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """The standard deviation over `dim` (default: all); arguments as for `var`. Gradient 0 at 0."""
    return root(_moments(input, dim, unbiased, keepdim, correction)[0])


@op
@numpy_names
def var_mean(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The variance and the mean over `dim` (default: all); arguments as for `var`."""
    var, mean = _moments(input, dim, unbiased, keepdim, correction)
    return var, clone(mean)  # the gradient saves the mean itself


@op
@numpy_names
def std_mean(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The standard deviation and the mean over `dim` (default: all); arguments as for `var`."""
    var, mean = _moments(input, dim, unbiased, keepdim, correction)
    return root(var), clone(mean)


@op
def cov(
    input: Tensor,
    *,
    correction: int = 1,
    fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:
    """The covariance matrix of variables (rows) over observations (columns).

    Args:
        input: (variables, observations), or one variable.
        correction: what to take off the count of observations.
        fweights: how often each observation occurred, integers.
        aweights: how much each observation weighs, floats.

    Raises:
        RuntimeError: the input has more than two dims, or weights do not fit the observations.
    """
    if input.ndim > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with {input.ndim} "
            "dimensions"
        )
    x = input if input.ndim == 2 else reshape(input, (1, -1) if input._aval.size else (1, 0))
    weights = _observation_weights(x.shape[1], fweights, aweights)
    if weights is None:
        total = x.shape[1]
        centred = x - sum(x, 1, keepdim=True) / total
        other, norm = centred, max(total - correction, 0)
    else:
        total = sum(weights)
        centred = x - sum(x * weights, 1, keepdim=True) / total
        other = centred * weights
        lost = correction if aweights is None else correction * sum(weights * aweights) / total
        norm = maximum(total - lost, 0)
    return squeeze(matmul(other, transpose(centred, 0, 1)) / norm)


def _observation_weights(n: int, fweights: Any, aweights: Any) -> Any:
    for name, weights, floats in (("fweights", fweights, False), ("aweights", aweights, True)):
        if weights is None:
            continue
        if weights.ndim > 1 or weights._aval.size != n:
            raise RuntimeError(
                f"cov(): expected {name} to have one dimension and the same numel as there are "
                f"observations in the input, given shape {tuple(weights.shape)} != ({n},)"
            )
        if weights.dtype.is_floating_point is not floats or weights.dtype is dtypes.bool:
            raise RuntimeError(
                f"cov(): expected {name} to have {'floating point' if floats else 'integral'} dtype "
                f"but got {weights.dtype.title}"
            )
    if fweights is None or aweights is None:
        return aweights if fweights is None else fweights
    return fweights * aweights


@op
def corrcoef(input: Tensor) -> Tensor:
    """Pearson's correlation coefficients of variables (rows) over observations (columns)."""
    if input.ndim > 2:
        raise RuntimeError(
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with "
            f"{input.ndim} dimensions"
        )
    c = cov(input)
    if c.ndim == 0:
        return c / c
    n = c.shape[0]
    spread = call1(p.sqrt, sliced(reshape(c, (n * n,)), (0,), (n * n,), (n + 1,)))
    c = c / reshape(spread, (n, 1)) / spread
    return where(c > 1, 1, where(c < -1, -1, c))  # rounding may lead a little too far
