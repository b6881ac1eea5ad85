"""What the case table cannot say of elementwise ops: dtypes, errors, ties, operators, writes in place."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tensorgl as tg

inf, nan = math.inf, math.nan


def grads(function, *values, dtype=tg.float64):
    """The gradients of the sum of a function, as lists."""
    leaves = [tg.tensor(v, dtype=dtype, requires_grad=True) for v in values]
    found = tg.autograd.grad(function(*leaves).sum(), leaves)
    return [g.tolist() for g in found]


def same(tensor, expected):
    np.testing.assert_array_equal(tensor.detach().numpy(), np.array(expected))


# dtypes


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (tg.float32, 2, tg.float32),
        (tg.float16, 2.5, tg.float16),
        (tg.int64, 2, tg.int64),
        (tg.int64, 2.5, tg.float32),
        (tg.uint8, -1, tg.uint8),
        (tg.bool, 1, tg.int64),
        (tg.bool, True, tg.bool),
        (tg.int32, np.float64(0.5), tg.float32),
    ],
)
def test_a_python_number_decides_the_dtype_only_by_its_category(a, b, expected):
    assert (tg.ones(2, dtype=a) + b).dtype is expected


def test_a_zero_dim_tensor_promotes_like_a_number():
    assert (tg.ones(2) * tg.tensor(2.0, dtype=tg.float64)).dtype is tg.float32
    assert (tg.ones(2, dtype=tg.int8) + tg.tensor(300)).dtype is tg.int8


def test_integers_wrap_around():
    bytes_ = tg.tensor([1, 200, 255], dtype=tg.uint8)
    same(bytes_ + 300, np.array([45, 244, 43], np.uint8))
    same(bytes_ - 2, np.array([255, 198, 253], np.uint8))
    same(-bytes_, np.array([255, 56, 1], np.uint8))
    same(tg.tensor([127], dtype=tg.int8) + 1, np.array([-128], np.int8))


def test_bool_arithmetic():
    b = tg.tensor([True, False])
    same(b + b, [True, False])
    same(b * b, [True, False])
    with pytest.raises(RuntimeError, match="logical_xor"):
        b - b
    with pytest.raises(RuntimeError, match="logical_not"):
        1 - b
    with pytest.raises(RuntimeError, match="logical_not"):
        tg.neg(b)
    for function in (tg.abs, tg.floor, tg.round):
        with pytest.raises(NotImplementedError):
            function(b)


def test_composites_promote_like_primitives():
    half, longs = tg.tensor([0.5], dtype=tg.float16), tg.tensor([3])
    assert tg.xlogy(half, longs).dtype is tg.float16
    assert tg.logaddexp(half, half).dtype is tg.float16
    assert tg.sinc(longs).dtype is tg.float32
    assert tg.float_power(half, 2).dtype is tg.float64
    assert tg.ldexp(half, longs).item() == 4.0


# integers


def test_integer_division_rounds_as_asked():
    x = tg.tensor([-7, 7, -8])
    same(x // 2, [-4, 3, -4])
    same(tg.div(x, 2, rounding_mode="trunc"), [-3, 3, -4])
    same(x % 3, [2, 1, 1])
    same(tg.fmod(x, 3), [-1, 1, -2])
    same(5 % tg.tensor([3, -3]), [2, -1])


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
@pytest.mark.parametrize("zero", [0, tg.tensor([1, 0])])
def test_integer_division_by_zero(name, zero):
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        getattr(tg, name)(tg.tensor([4, 5]), zero)


def test_single_precision_remainders_are_exact():
    x = tg.tensor([2.0**66, 16777216.0, -5.0, 1.0, -1.0, inf, 3.0])
    y = tg.tensor([3.0, 3.0, 3.0, inf, inf, 2.0, 0.0])
    same(tg.fmod(x, y), np.array([1, 1, -2, 1, -1, nan, nan], np.float32))
    same(tg.remainder(x, y)[2:], np.array([1.0, 1.0, inf, nan, nan], np.float32))
    same(tg.floor_divide(x, y)[2:], np.array([-2.0, 0.0, -1.0, nan, inf], np.float32))


def test_integer_powers():
    x = tg.tensor([1, -1, 2, 0])
    same(x**3, [1, -1, 8, 0])
    same(x ** tg.tensor([-2, -3, -1, -1]), [1, -1, 0, 0])
    same(2 ** tg.tensor([3, -1]), [8, 0])
    with pytest.raises(RuntimeError, match="negative integer powers"):
        x**-1


def test_shifts_out_of_range():
    x = tg.tensor([-7, 7])
    same(x << 64, [0, 0])
    same(x >> 64, [-1, 0])
    same(x >> -1, [-1, 0])
    same(2 << tg.tensor([1, 2]), [4, 8])


def test_bits_of_floats_are_refused():
    with pytest.raises(NotImplementedError, match="bitwise_and"):
        tg.ones(2) & 1


# values


def test_sign_of_nan_and_of_zeros():
    x = tg.tensor([nan, -0.0, 0.0, -inf])
    same(tg.sign(x), np.array([0, 0, 0, -1], np.float32))
    same(tg.signbit(tg.tensor([-0.0, 0.0, -3.0])), [True, False, True])


def test_round_is_half_to_even():
    same(tg.round(tg.tensor([0.5, 1.5, 2.5, -0.5])), np.array([0, 2, 2, 0], np.float32))
    with pytest.raises(NotImplementedError, match="decimals"):
        tg.round(tg.tensor([15]), decimals=-1)


def test_clamp_takes_the_upper_bound_where_they_cross():
    x = tg.tensor([0.0, 1.0, nan])
    same(tg.clamp(x, 2.0, 1.0), np.array([1, 1, nan], np.float32))
    assert tg.clamp(tg.tensor([1, 5]), max=2.5).dtype is tg.float32
    with pytest.raises(RuntimeError, match="At least one"):
        tg.clamp(x)


@pytest.mark.parametrize("size", [10, 1 << 15])
def test_where_does_not_compute_with_what_it_drops(size):
    condition = tg.arange(size) % 3 == 0
    kept = tg.where(condition, tg.arange(size).to(tg.float32), tg.full((size,), nan))
    same(kept[condition], np.arange(0, size, 3, dtype=np.float32))
    assert tg.where(condition, nan, -0.0).signbit()[1].item()
    same(tg.where(condition, 0.0, 1.0).sum(), np.float32(size - len(range(0, size, 3))))


def test_where_of_a_condition_alone_gives_indices():
    (rows,) = tg.where(tg.tensor([False, True, True]))
    same(rows, [1, 2])
    with pytest.raises(RuntimeError, match="boolean"):
        tg.where(tg.ones(2), 1, 2)


def test_logaddexp_of_infinities():
    x = tg.tensor([inf, -inf, -inf])
    same(tg.logaddexp(x, tg.tensor([inf, -inf, 1.0])), np.array([inf, -inf, 1], np.float32))


def test_lerp_ends_are_exact():
    a, b = tg.tensor([0.1]), tg.tensor([0.7])
    assert tg.lerp(a, b, 1.0).item() == b.item()
    assert tg.lerp(a, b, tg.tensor([0.0])).item() == a.item()
    with pytest.raises(RuntimeError, match="end"):
        tg.lerp(a, b.to(tg.float64), 0.5)


def test_isclose_and_equal():
    x = tg.tensor([1.0, inf, nan])
    same(tg.isclose(x, x), [True, True, False])
    assert tg.allclose(x, x, equal_nan=True) is True
    assert tg.equal(x, x) is False
    assert tg.equal(tg.ones(2), tg.ones(3)) is False
    assert tg.equal(tg.ones(2), tg.ones(2, dtype=tg.int64)) is True
    same(tg.isclose(tg.tensor([1], dtype=tg.uint8), tg.tensor([2], dtype=tg.uint8)), [False])
    with pytest.raises(RuntimeError, match="did not match"):
        tg.isclose(x, x.to(tg.float64))


# Computed with mpmath to 40 digits, of the double nearest to each argument.
@pytest.mark.parametrize(
    ("function", "x", "expected"),
    [
        (tg.erf, 0.3, 0.32862675945912741619),
        (tg.erf, 1e-20, 1.128379167095512512e-20),
        (tg.erfc, 10.0, 2.0884875837625447570e-45),
        (tg.erfc, 3.0, 2.2090496998585441373e-05),
        (tg.erfc, -1.0, 1.8427007929497148693),
        (tg.erfinv, 1 - 2.0**-53, 5.8635847487551679272),
        (tg.erfinv, 0.5, 0.47693627620446987338),
        (tg.lgamma, 1 + 2.0**-20, -5.5047500661488667909e-07),
        (tg.lgamma, 0.5, 0.57236494292470008707),
        (tg.lgamma, 100.0, 359.13420536957539878),
        (tg.lgamma, -0.5, 1.2655121234846453965),
        (tg.digamma, 1.0, -0.57721566490153286061),
        (tg.digamma, -0.5, 0.036489973978576520559),
        (lambda x: tg.polygamma(1, x), 1.0, math.pi**2 / 6),
        (lambda x: tg.polygamma(3, x), 0.5, math.pi**4),
    ],
)
def test_special_functions_to_double_precision(function, x, expected):
    assert function(tg.tensor(x, dtype=tg.float64)).item() == pytest.approx(
        expected, rel=4e-15, abs=0
    )


def test_special_functions_at_their_poles():
    x = tg.tensor([0.0, -0.0, -1.0, inf, nan])
    same(tg.lgamma(x), np.array([inf, inf, inf, inf, nan], np.float32))
    same(tg.digamma(x), np.array([-inf, inf, nan, inf, nan], np.float32))
    same(tg.polygamma(2, x), np.array([-inf, -inf, -inf, 0, nan], np.float32))
    same(tg.erfinv(tg.tensor([1.0, -1.0, 1.5])), np.array([inf, -inf, nan], np.float32))
    with pytest.raises(RuntimeError, match="negative n"):
        tg.polygamma(-1, x)


# gradients at ties, kinks and ends


@pytest.mark.parametrize(
    ("function", "values", "expected"),
    [
        (tg.abs, [[0.0, -2.0]], [[0.0, -1.0]]),
        (tg.sqrt, [[0.0, 4.0]], [[inf, 0.25]]),
        (tg.sign, [[0.0, 3.0]], [[0.0, 0.0]]),
        (tg.maximum, [[1.0, 2.0, nan], [1.0, 3.0, 0.0]], [[0.5, 0.0, 1.0], [0.5, 1.0, 1.0]]),
        (tg.minimum, [[1.0, 2.0], [1.0, 3.0]], [[0.5, 1.0], [0.5, 0.0]]),
        (tg.fmax, [[1.0, nan, 0.0], [1.0, 0.0, nan]], [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]),
        (lambda x: x.clamp(0, 1), [[0.0, 1.0, -1.0, 2.0]], [[1.0, 1.0, 0.0, 0.0]]),
        (
            tg.clamp,
            [[0.0, -1.0, 2.0, 0.5], [0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 0.0]],
            [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]],
        ),
        (lambda x: x**0, [[0.0, nan]], [[0.0, 0.0]]),
        (lambda x: x**0.5, [[0.0, 1.0]], [[inf, 0.5]]),
        (lambda x: 0**x, [[0.0, 1.0, -1.0]], [[0.0, 0.0, -inf]]),
        (tg.pow, [[0.0, 0.0, 2.0], [0.0, 1.0, 0.0]], [[0.0, 1.0, 0.0], [0.0, 0.0, math.log(2)]]),
        (tg.atan2, [[0.0], [0.0]], [[0.0], [0.0]]),
        (tg.sinc, [[0.0]], [[0.0]]),
        (tg.nan_to_num, [[nan, inf, 2.0]], [[0.0, 0.0, 1.0]]),
        (lambda x, y: tg.where(x > y, x, y), [[1.0, 3.0], [2.0, 2.0]], [[0.0, 1.0], [1.0, 0.0]]),
        (tg.xlogy, [[0.0, 0.0], [2.0, 0.0]], [[math.log(2), 0.0], [0.0, nan]]),
    ],
)
def test_gradients_at_special_points(function, values, expected):
    np.testing.assert_array_equal(grads(function, *values), expected)


def test_a_gradient_is_summed_over_what_was_broadcast_and_cast_back():
    row = tg.ones(3, dtype=tg.float16, requires_grad=True)
    (tg.ones(2, 3) * row).sum().backward()
    same(row.grad, np.array([2, 2, 2], np.float16))
    x = tg.ones(2, requires_grad=True)
    (x.to(tg.float64) * 3).sum().backward()
    same(x.grad, np.array([3, 3], np.float32))


# operators


def test_operators_give_way_to_what_they_do_not_know():
    x = tg.ones(2)
    assert (x == None) is False  # noqa: E711
    assert (x != "a") is True
    for operation in (lambda: x + "a", lambda: None * x, lambda: x < "a", lambda: x**None):
        with pytest.raises(TypeError):
            operation()
    with pytest.raises(TypeError, match="must be Tensor or number, not str"):
        tg.add(x, "a")
    with pytest.raises(TypeError, match="must be Tensor, not float"):
        tg.isinf(2.0)
    assert isinstance(np.float32(2) * x, tg.Tensor)


def test_reflected_operators():
    x = tg.tensor([2.0, 4.0])
    same(1 - x, np.array([-1, -3], np.float32))
    same(8 / x, np.array([4, 2], np.float32))
    same(7 // x, np.array([3, 1], np.float32))
    same(7 % x, np.array([1, 3], np.float32))
    same(2**x, np.array([4, 16], np.float32))
    same(1 > x, [False, False])  # noqa: SIM300


def test_alpha():
    same(tg.sub(5, tg.tensor([1.0]), alpha=2), np.array([3], np.float32))
    with pytest.raises(RuntimeError, match="alpha must not be a floating point"):
        tg.add(tg.tensor([1]), tg.tensor([1]), alpha=0.5)
    with pytest.raises(RuntimeError, match="addcdiv"):
        tg.addcdiv(tg.ones(1), tg.tensor([1]), tg.tensor([2]))


# in place


def test_in_place_operators_write_the_same_memory():
    x = tg.tensor([5, 6])
    alias, memory = x, x.numpy()
    x += 1
    x *= 2
    x //= 5
    x <<= 3
    x ^= 1
    assert x is alias
    assert memory.tolist() == [17, 17]


def test_in_place_keeps_the_dtype_or_refuses():
    x = tg.tensor([1, 2])
    with pytest.raises(RuntimeError, match="result type Float can't be cast"):
        x.div_(2)
    with pytest.raises(RuntimeError, match="output with shape"):
        x.add_(tg.ones(3, 2, dtype=tg.int64))
    y = tg.tensor([1.0, 2.0])
    same(y.eq_(1), np.array([1, 0], np.float32))


@pytest.mark.parametrize("name", ["mul_", "sin_", "exp_", "pow_", "clamp_min_", "div_"])
def test_gradient_through_a_write_over_what_it_needs(name):
    """As from the out-of-place form, though the operand is overwritten."""
    results = []
    for method in (name, name[:-1]):
        x = tg.tensor([0.5, 1.5], dtype=tg.float64, requires_grad=True)
        w = tg.tensor([2.0, 3.0], dtype=tg.float64, requires_grad=True)
        y = x * 1
        args = () if name in ("sin_", "exp_") else (w,)
        y = getattr(y, method)(*args)
        (y * y).sum().backward()
        results.append([x.grad.tolist(), w.grad.tolist() if args else None])
    assert results[0] == results[1]
