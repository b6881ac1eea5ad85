"""Random tensors: counter-based, and bit-identical on every backend for one seed.

What goes through a logarithm or a tangent (`exponential_`, `log_normal_`, `geometric_`, `cauchy_`) is as
exact as the backend's own function.
"""

from __future__ import annotations

from collections import abc
from collections.abc import Sequence
from contextlib import contextmanager
from math import log1p, pi
from typing import Any

import numpy as np

from tensorgl import autograd, dispatch, dtypes, primitives
from tensorgl.creation import as_size
from tensorgl.dtypes import as_dtype
from tensorgl.dtypes import dtype as dtype_type
from tensorgl.inplace import inplace
from tensorgl.ops import sampling
from tensorgl.ops.sampling import Generator, default_generator
from tensorgl.tensor import Tensor
from tensorgl.values import Kind, Place, as_device, as_leaf

__all__ = [
    "Generator",
    "bernoulli",
    "default_generator",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "multinomial",
    "normal",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "seed",
    "set_rng_state",
]

Shape = tuple[int, ...]


def manual_seed(seed: int) -> Generator:
    """Start the default generator again from `seed`."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Start the default generator again from a seed of the operating system, which is returned."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default generator started from."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator as a uint8 tensor."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Set the default generator to a state that `get_rng_state` gave."""
    default_generator.set_state(new_state)


@contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, **options: Any) -> abc.Generator[None]:
    """Put the state of the default generator back at the end; `devices` are accepted and ignored."""
    state = default_generator.state
    try:
        yield
    finally:
        if enabled:
            default_generator.state = state


def rand(
    *sizes: Any,
    size: Sequence[int] | None = None,
    generator: Generator | None = None,
    dtype: Kind = None,
    device: Place = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Uniform numbers in [0, 1): multiples of 2^-24 in float32, of 2^-53 in float64."""
    kind = as_dtype(dtype) or dtypes.get_default_dtype()
    shape = as_size("rand", sizes, size)
    return as_leaf(sampling.uniform(shape, kind, as_device(device), generator), requires_grad)


def randn(
    *sizes: Any,
    size: Sequence[int] | None = None,
    generator: Generator | None = None,
    dtype: Kind = None,
    device: Place = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Numbers from the standard normal distribution."""
    kind = as_dtype(dtype) or dtypes.get_default_dtype()
    shape = as_size("randn", sizes, size)
    return as_leaf(sampling.normal(shape, kind, as_device(device), generator), requires_grad)


def randint(
    low: Any = 0,
    high: Any = None,
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: Kind = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """Integers in [low, high): `randint(high, size)` or `randint(low, high, size)`; int64 by default.

    Raises:
        RuntimeError: `low` is not below `high`, or the dtype cannot hold them.
    """
    if high is None or not hasattr(high, "__index__"):
        low, high, size = 0, low, high if size is None else size
    if not isinstance(size, Sequence):
        raise TypeError(
            f"randint(): argument 'size' must be tuple of ints, not {type(size).__name__}"
        )
    shape = as_size("randint", (size,))
    kind = as_dtype(dtype) or dtypes.int64
    return as_leaf(_integers(low, high, shape, kind, device, generator), requires_grad)


def _integers(
    low: Any, high: Any, shape: Shape, kind: dtype_type, device: Place, generator: Any
) -> Tensor:
    try:
        low, high = low.__index__(), high.__index__()
    except AttributeError:
        raise TypeError(f"random integers: expected int bounds, given {low} and {high}") from None
    if low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    for name, bound in (("from", low), ("to - 1", high - 1)):
        if not _is_exact(bound, kind):
            raise RuntimeError(f"{name} is out of bounds for {kind.name}, given {bound}")
    return sampling.integers(low, high, shape, kind, as_device(device), generator)


def _is_exact(value: int, kind: dtype_type) -> bool:
    if kind.is_floating_point:
        return abs(value) <= dtypes.finfo(kind).max
    if kind is dtypes.bool:
        return value in (0, 1)
    return dtypes.iinfo(kind).min <= value <= dtypes.iinfo(kind).max


def rand_like(input: Tensor, **options: Any) -> Tensor:
    """`rand` of input's shape, and of its dtype and device unless told otherwise."""
    return rand(tuple(input.shape), **_like(input, options))


def randn_like(input: Tensor, **options: Any) -> Tensor:
    """`randn` of input's shape, and of its dtype and device unless told otherwise."""
    return randn(tuple(input.shape), **_like(input, options))


def randint_like(input: Tensor, low: Any = 0, high: Any = None, **options: Any) -> Tensor:
    """`randint` of input's shape, and of its dtype and device unless told otherwise."""
    return randint(low, high, tuple(input.shape), **_like(input, options))


def _like(input: Tensor, options: dict[str, Any]) -> dict[str, Any]:
    options.pop("memory_format", None)  # see layouts.py
    return {"dtype": input.dtype, "device": input.device} | options


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: Kind = dtypes.int64,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """The integers from 0 to n - 1 in random order."""
    # The order of 31-bit keys. Equal keys stay in order, so one of two numbers comes first with
    # probability 1/2 + 2^-32, which no sample can show.
    (n,) = as_size("randperm", (n,))
    keys = sampling.integers(0, 1 << 31, (n,), dtypes.int32, as_device(device), generator)
    kind = as_dtype(dtype)
    dtypes.element(max(n - 1, 0), kind)
    return as_leaf(dispatch.call1(primitives.argsort, keys, (0, False)).to(kind), requires_grad)


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: Kind = None,
    device: Place = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal numbers of a mean and a standard deviation, either of which may be a tensor.

    Args:
        mean: a number or a tensor.
        std: a number or a tensor, not negative; broadcast with `mean`.
        size: the shape, where both are numbers.
        generator: default: the default generator.
        dtype: default: that of the tensors, else the default float.
        device: default: that of the tensors, else the cpu.
        requires_grad: record ops on it.

    Raises:
        RuntimeError: `std` is negative.
    """
    tensors = [x for x in (mean, std) if isinstance(x, Tensor)]
    if not tensors:
        if size is None:
            raise TypeError("normal(): expected a tensor mean or std, or a size, given neither")
        out = randn(size=size, generator=generator, dtype=dtype, device=device)
        return as_leaf(_scaled(out, mean, std), requires_grad)
    with autograd.no_grad():
        law = sum(tensors[1:], tensors[0])  # of the shape, dtype and device of the result
        out = sampling.normal(tuple(law.shape), law.dtype, law.device, generator)
        return as_leaf(_scaled(out, mean, std), requires_grad)


def _scaled(out: Any, mean: Any, std: Any) -> Any:
    """`out * std + mean`."""
    if isinstance(std, Tensor):
        if std.device.type == "cpu" and (dispatch.to_host(std.detach()) < 0).any():
            raise RuntimeError("normal expects all elements of std >= 0.0")
    elif std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    if not isinstance(std, Tensor) and std == 1 and not isinstance(mean, Tensor) and mean == 0:
        return out
    return out * std + mean


def bernoulli(
    input: Tensor, p: float | None = None, *, generator: Generator | None = None
) -> Tensor:
    """1 with the probability that `input` holds for each element (or with `p`), else 0.

    Raises:
        RuntimeError: a probability is not in [0, 1].
    """
    if p is not None:
        return _bernoulli(input, p, generator)
    if not input.dtype.is_floating_point:
        raise NotImplementedError(
            f"bernoulli: expected probabilities of a float dtype, given {input.dtype}"
        )
    return _bernoulli(input, input.detach(), generator)


def _bernoulli(like: Tensor, p: Any, generator: Generator | None) -> Tensor:
    shape = tuple(like.shape)
    if not isinstance(p, Tensor):
        _check_probability(0 <= p <= 1, p)
        return sampling.bernoulli_mask(shape, p, like.device, generator).to(like.dtype)
    if p.device.type == "cpu":
        _check_probability(not ((p < 0) | (p > 1)).any(), p)
    return (sampling.uniform(shape, dtypes.float32, like.device, generator) < p).to(like.dtype)


def _check_probability(inside: bool, p: Any) -> None:
    if not inside:
        raise RuntimeError(f"bernoulli expects p to be in [0, 1], but got p={p}")


def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Indices drawn with the probabilities (or weights) in the last dim of `input`.

    Computed on the host, as its arguments must be checked there.

    Args:
        input: weights, (n) or (m, n), none negative; they need not sum to 1.
        num_samples: how many indices to draw from each row.
        replacement: whether one index may come up several times.
        generator: default: the default generator.

    Returns:
        int64, (num_samples) or (m, num_samples).

    Raises:
        RuntimeError: weights are negative, not finite or all zero, or too few for the samples.
    """
    if not input.dtype.is_floating_point:
        raise RuntimeError(
            f"multinomial only supports floating-point dtypes for input, got: {input.dtype.title}"
        )
    if input.ndim not in (1, 2):
        raise RuntimeError(f"prob_dist must be 1 or 2 dim, given {input.ndim}")
    if num_samples <= 0:
        raise RuntimeError(f"cannot sample n_sample <= 0 samples, given {num_samples}")
    if not replacement and num_samples > input.shape[-1]:
        raise RuntimeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement: "
            f"{num_samples} > {input.shape[-1]}"
        )
    weights = np.atleast_2d(dispatch.to_host(input.detach())).astype(np.float64)
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if (weights.sum(1) <= 0).any():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    draw = _with_replacement if replacement or num_samples == 1 else _without_replacement
    chosen = draw(weights, num_samples, generator).reshape(*input.shape[:-1], num_samples)
    return dispatch.from_host(chosen, dtypes.int64, input.device)


def _host_uniform(shape: Shape, generator: Generator | None) -> Any:
    return dispatch.to_host(sampling.uniform(shape, dtypes.float64, "cpu", generator))


def _with_replacement(weights: Any, count: int, generator: Generator | None) -> Any:
    """Where uniform numbers fall among the running sums."""
    sums = weights.cumsum(1)
    points = _host_uniform((len(weights), count), generator) * sums[:, -1:]
    points = np.minimum(points, np.nextafter(sums[:, -1:], 0))  # as the product may round up
    out = np.empty(points.shape, np.int64)
    for row, (edges, at) in enumerate(zip(sums, points, strict=True)):
        out[row] = np.searchsorted(edges, at, side="right")
    return out


def _without_replacement(weights: Any, count: int, generator: Generator | None) -> Any:
    """The first arrivals of exponential clocks whose rates are the weights."""
    with np.errstate(divide="ignore"):
        times = -np.log1p(-_host_uniform(weights.shape, generator)) / weights
    return np.argsort(times, 1, kind="stable")[:, :count].copy()


def _drawn(self: Tensor, generator: Generator | None) -> Any:
    """Uniform numbers for a method that fills `self`, which must be floating-point."""
    return sampling.uniform(tuple(self.shape), self.dtype, self.device, generator)


def uniform_(
    self: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill with uniform numbers in [from_, to)."""
    if from_ > to:
        raise RuntimeError(
            f"uniform_ expects to return a [from, to) range, but found from={from_} > to={to}"
        )
    return inplace(self, _drawn(self, generator) * (to - from_) + from_)


def normal_(
    self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill with normal numbers."""
    out = sampling.normal(tuple(self.shape), self.dtype, self.device, generator)
    return inplace(self, _scaled(out, mean, std))


def random_(
    self: Tensor,
    from_: int | None = None,
    to: int | None = None,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with integers in [from_, to), from 0 if only one bound is given.

    Without bounds: up to the largest of an integer dtype, or all that a floating-point one counts.
    """
    kind = self.dtype
    if from_ is not None and to is None:
        from_, to = None, from_
    if to is None:
        if kind.is_floating_point:
            to = int(2 / dtypes.finfo(kind).eps) + 1
        else:
            to = 2 if kind is dtypes.bool else dtypes.iinfo(kind).max + 1
    value = _integers(from_ or 0, to, tuple(self.shape), kind, self.device, generator)
    return inplace(self, value)


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with 1 with probability `p`, a number or a tensor, and else 0."""
    return inplace(self, _bernoulli(self, p, generator))


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers of density lambd * exp(-lambd * x), x >= 0."""
    if lambd <= 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    return inplace(self, (-_drawn(self, generator)).log1p() / -lambd)


def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Fill with k = 1, 2, … of probability (1 - p)^(k - 1) * p."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    u = sampling.uniform(tuple(self.shape), dtypes.float32, self.device, generator)
    return inplace(self, (((-u).log1p() / log1p(-p)).floor() + 1).to(self.dtype))


def log_normal_(
    self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill with exp(x) of normal numbers x of this mean and deviation."""
    if std <= 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    out = sampling.normal(tuple(self.shape), self.dtype, self.device, generator)
    return inplace(self, _scaled(out, mean, std).exp())


def cauchy_(
    self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill with numbers of density sigma / (pi * ((x - median)^2 + sigma^2))."""
    if sigma <= 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    angle = (_drawn(self, generator) - 0.5) * pi
    return inplace(self, angle.tan() * sigma + median)


# tensor.py is below this module, so the methods are given to the class here.
for _method in (
    bernoulli,
    bernoulli_,
    cauchy_,
    exponential_,
    geometric_,
    log_normal_,
    multinomial,
    normal_,
    random_,
    uniform_,
):
    setattr(Tensor, _method.__name__, _method)
