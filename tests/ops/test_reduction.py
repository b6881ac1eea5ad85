"""What the case table cannot say of reductions: ties, zeros, NaN, dtypes, errors, precision."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tensorgl as tg

inf, nan = math.inf, math.nan


def gradient(function, values):
    """The gradient of the sum of a function's (first) result, as a list."""
    x = tg.tensor(values, dtype=tg.float64, requires_grad=True)
    out = function(x)
    out = out if isinstance(out, tg.Tensor) else out[0]
    return tg.autograd.grad(out.sum(), x)[0].tolist()


# ties


@pytest.mark.parametrize("name", ["amax", "max"])
def test_equal_extremes_share_the_gradient(name: str) -> None:
    assert gradient(getattr(tg, name), [1.0, 3.0, 3.0]) == [0, 0.5, 0.5]


def test_gradient_of_an_extreme_along_a_dim_goes_to_its_index() -> None:
    assert gradient(lambda x: x.max(0), [1.0, 3.0, 3.0]) == [0, 1, 0]
    assert gradient(lambda x: x.min(0), [1.0, 1.0, 3.0]) == [1, 0, 0]


def test_running_extreme_takes_the_latest_of_equals() -> None:
    values, indices = tg.tensor([2, 1, 2, 0]).cummax(0)
    assert (values.tolist(), indices.tolist()) == ([2, 2, 2, 2], [0, 0, 2, 2])
    assert tg.tensor([2, 1, 1, 3]).cummin(0).indices.tolist() == [0, 1, 2, 2]


@pytest.mark.parametrize("n", [6, 5000])
@pytest.mark.parametrize("dtype", [tg.float32, tg.float64, tg.int64, tg.uint8, tg.bool])
@pytest.mark.parametrize("descending", [False, True])
def test_sort_is_stable(n: int, dtype: tg.dtype, descending: bool) -> None:
    x = np.random.default_rng(0).integers(0, 2, n)
    order = np.argsort(-x if descending else x, kind="stable")
    assert tg.tensor(x, dtype=dtype).argsort(descending=descending).tolist() == order.tolist()


def test_signed_zeros_are_equal_in_a_sort() -> None:
    x = tg.tensor([0.0, -0.0] * 2000)
    assert x.argsort().tolist() == list(range(4000))


def test_equal_medians_share_the_gradient() -> None:
    assert gradient(tg.median, [1.0, 2.0, 2.0, 3.0]) == [0, 0.5, 0.5, 0]


def test_mode_is_the_least_of_equally_frequent_values_where_it_was_last() -> None:
    assert [t.item() for t in tg.tensor([3, 1, 2, 1, 2]).mode()] == [1, 3]


# zeros


@pytest.mark.parametrize("x", [[0.0, 2.0, 3.0], [0.0, 2.0, 0.0], [2.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
@pytest.mark.parametrize(
    "function", [lambda x: x.prod(), lambda x: x.prod(0), lambda x: x.cumprod(0)]
)
def test_products_of_zeros_have_gradients_of_any_order(function, x) -> None:
    x = tg.tensor(x, dtype=tg.float64, requires_grad=True)
    tg.autograd.gradcheck(function, (x,))
    tg.autograd.gradgradcheck(function, (x,))

    def second(x):
        (g,) = tg.autograd.grad(function(x).sum(), x, create_graph=True)
        return tg.autograd.grad((g * g).sum(), x, create_graph=True)[0]

    tg.autograd.gradcheck(second, (x,))


@pytest.mark.parametrize("p", [1, 2, 3, 1.5, inf])
def test_gradient_of_a_norm_at_zero_is_zero(p: float) -> None:
    assert gradient(lambda x: x.norm(p), [0.0, 0.0]) == [0, 0]


def test_infinity_norm_shares_the_gradient() -> None:
    assert gradient(lambda x: x.norm(inf), [3.0, -3.0, 1.0]) == [0.5, -0.5, 0]


def test_gradient_of_std_at_zero_is_zero_in_both_orders() -> None:
    x = tg.tensor([2.0, 2.0], dtype=tg.float64, requires_grad=True)
    (g,) = tg.autograd.grad(x.std(), x, create_graph=True)
    (h,) = tg.autograd.grad(g.sum(), x)
    assert g.tolist() == h.tolist() == [0, 0]


# NaN and infinity


@pytest.mark.parametrize("name", ["max", "min", "amax", "amin", "median", "cummax", "cummin"])
def test_nan_wins(name: str) -> None:
    x = tg.tensor([[1.0, nan, 3.0, 2.0, 5.0]])
    out = getattr(tg, name)(x, 1)
    assert math.isnan((out if isinstance(out, tg.Tensor) else out[0]).flatten()[-1].item())


@pytest.mark.parametrize("n", [1, 2000])
def test_nan_is_the_greatest_in_a_sort(n: int) -> None:
    x = tg.tensor([nan, inf, -nan, -inf] * n)
    assert x.sort().indices.tolist()[: 2 * n] == [*range(3, 4 * n, 4), *range(1, 4 * n, 4)]
    assert x.sort(descending=True).indices.tolist()[:2] == [0, 2]
    assert x.topk(2).indices.tolist() == [0, 2]


def test_argmax_finds_the_first_nan() -> None:
    assert tg.tensor([1.0, nan, nan, 3.0]).argmax().item() == 1


def test_nan_variants_ignore_nan() -> None:
    x = tg.tensor([[3.0, nan, 1.0, 2.0], [nan, nan, nan, nan]])
    assert x.nansum(1).tolist() == [6, 0]
    assert x.nanmean(1)[0].item() == x.nanmedian(1).values[0].item() == 2
    assert x.nanquantile(0.5, 1)[0].item() == 2
    assert x.nanmean(1).isnan().tolist() == x.nanmedian(1).values.isnan().tolist() == [False, True]
    assert gradient(tg.nansum, [3.0, nan]) == [1, 0]


def test_quantile_of_a_row_with_nan_is_nan() -> None:
    assert tg.tensor([[1.0, nan, 2.0], [1.0, 2.0, 3.0]]).quantile(0.5, 1).isnan().tolist() == [
        True,
        False,
    ]


def test_logsumexp_of_infinities() -> None:
    x = tg.tensor([[-inf, -inf], [inf, 1.0], [-inf, 0.0]])
    assert x.logsumexp(1).tolist() == [-inf, inf, 0]
    assert gradient(lambda x: x.logsumexp(0), [-inf, 0.0]) == [0, 1]


def test_logcumsumexp_does_not_overflow_and_skips_minus_infinity() -> None:
    x = tg.tensor([-inf, 1000.0, 1000.0])
    np.testing.assert_allclose(x.logcumsumexp(0).tolist(), [-inf, 1000, 1000 + math.log(2)])
    np.testing.assert_allclose(
        gradient(lambda x: x.logcumsumexp(0)[2], [-inf, 1e3, 1e3]), [0, 0.5, 0.5]
    )


@pytest.mark.parametrize("n", [100, 20000])
def test_an_infinity_leaves_the_running_sum_before_it_alone(n: int) -> None:
    x = np.ones(n, np.float32)
    x[n // 2] = inf
    np.testing.assert_array_equal(tg.tensor(x).cumsum(0).numpy(), np.cumsum(x))


# empty and 0-dim


def test_empty_reductions() -> None:
    x = tg.zeros(0, 3)
    assert (x.sum().item(), x.prod().item(), x.norm().item()) == (0, 1, 0)
    assert x.mean().isnan().item() and x.var(0).isnan().all().item()
    assert (x.any().item(), x.all().item(), x.all(0).tolist()) == (False, True, [True] * 3)
    assert x.logsumexp(0).tolist() == [-inf] * 3
    assert x.amax(1).shape == x.max(1).indices.shape == (0,)
    assert x.sort(0).values.shape == (0, 3)


@pytest.mark.parametrize("name", ["amax", "max", "min", "argmax"])
def test_an_empty_dim_has_no_extreme(name: str) -> None:
    with pytest.raises(IndexError, match="non-zero size"):
        getattr(tg, name)(tg.zeros(0, 3), 0)


@pytest.mark.parametrize("name", ["amax", "max", "amin", "min", "aminmax"])
def test_an_empty_tensor_has_no_extreme(name: str) -> None:
    with pytest.raises(RuntimeError, match="dim"):
        getattr(tg, name)(tg.zeros(0, 3))


@pytest.mark.parametrize(
    "name", ["sum", "amax", "cumsum", "cumprod", "logcumsumexp", "argsort", "logsumexp"]
)
@pytest.mark.parametrize("dim", [0, -1])
def test_a_0_dim_tensor_counts_as_one_element(name: str, dim: int) -> None:
    x = tg.tensor(3.0)
    out = getattr(tg, name)(x, dim)
    assert (out.shape, out.item()) == ((), 0 if name == "argsort" else 3)
    with pytest.raises(IndexError, match="out of range"):
        getattr(tg, name)(x, 1)


@pytest.mark.parametrize("name", ["max", "min", "median", "mode", "sort", "cummax"])
def test_a_0_dim_tensor_has_values_and_indices(name: str) -> None:
    x = tg.tensor(3.0, requires_grad=True)
    values, indices = getattr(tg, name)(x, 0)
    values.backward()
    assert (values.item(), indices.item(), x.grad.item()) == (3, 0, 1)


# dtypes


@pytest.mark.parametrize("name", ["sum", "prod", "nansum"])
@pytest.mark.parametrize("dtype", [tg.bool, tg.uint8, tg.int32])
def test_integers_accumulate_in_int64(name: str, dtype: tg.dtype) -> None:
    assert getattr(tg.ones(3, dtype=dtype), name)().dtype is tg.int64
    assert getattr(tg.ones(3, dtype=dtype), name)(dtype=tg.float32).dtype is tg.float32


def test_half_accumulates_in_single() -> None:
    x = tg.full((70000,), 1.0, dtype=tg.float16)
    assert (x.mean().item(), x.var().item(), x.norm().dtype) == (1, 0, tg.float16)
    assert (x[:3000] + 0.5).sum().item() == 4500


def test_any_and_all_of_uint8_are_uint8() -> None:
    x = tg.tensor([0, 2], dtype=tg.uint8)
    assert (x.any().dtype, x.any().item(), x.all().item()) == (tg.uint8, 1, 0)


@pytest.mark.parametrize(
    ("call", "expected", "dtype"),
    [
        (lambda x: x.sum(dtype=tg.int32), 15, tg.int32),
        (lambda x: x.sum(dtype=tg.bool), True, tg.bool),
        (lambda x: tg.nansum(x * 50.7, dtype=tg.int8), -10, tg.int8),
        (lambda x: (x + 2).prod(dtype=tg.int8), -80, tg.int8),
        (lambda x: (x + 200).prod(0, dtype=tg.uint8), 64, tg.uint8),
        (lambda x: (x * 100).cumsum(0, dtype=tg.int8), [0, 100, 44, 88, -24, -36], tg.int8),
        (lambda x: (x + 7).cumprod(0, dtype=tg.uint8), [7, 56, 248, 176, 144, 192], tg.uint8),
    ],
)
def test_small_integers_wrap(call, expected, dtype: tg.dtype) -> None:
    out = call(tg.arange(6))
    assert (out.tolist(), out.dtype) == (expected, dtype)


def test_the_gradient_of_a_sum_in_another_dtype_has_the_inputs() -> None:
    x = tg.ones(3, requires_grad=True)
    x.sum(dtype=tg.float64).backward()
    assert x.grad.dtype is tg.float32


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda i: i.mean(), RuntimeError),
        (lambda i: i.var(), RuntimeError),
        (lambda i: i.norm(), RuntimeError),
        (lambda i: i.logcumsumexp(0), NotImplementedError),
        (lambda i: i.quantile(0.5), RuntimeError),
        (lambda i: i.bool().argmax(), RuntimeError),
        (lambda i: i.bool().median(), NotImplementedError),
        (lambda i: i.float().bincount(), NotImplementedError),
        (lambda i: tg.searchsorted(i, i.float()), RuntimeError),
    ],
)
def test_dtypes_that_an_op_does_not_take(call, error) -> None:
    with pytest.raises(error):
        call(tg.tensor([1, 2, 3]))


# arguments


@pytest.mark.parametrize(
    "name", ["sum", "mean", "amax", "var", "logsumexp", "any", "count_nonzero"]
)
def test_dims_may_not_repeat_or_leave_the_range(name: str) -> None:
    x = tg.ones(2, 3)
    with pytest.raises(RuntimeError, match="multiple times"):
        getattr(tg, name)(x, (0, -2))
    with pytest.raises(IndexError, match="out of range"):
        getattr(tg, name)(x, 2)


def test_numpys_names_of_arguments() -> None:
    x = tg.arange(6.0).reshape(2, 3)
    assert tg.sum(x, axis=1, keepdims=True).tolist() == [[3], [12]]
    assert x.max(axis=0).values.tolist() == [3, 4, 5]


def test_var_takes_its_arguments_in_three_ways() -> None:
    x = tg.tensor([1.0, 2.0, 4.0])
    biased = x.var(False)
    assert biased.item() == x.var(0, False).item() == x.var(correction=0).item() != x.var().item()
    with pytest.raises(TypeError):
        x.var(unbiased=True, correction=1)


def test_any_of_no_dims_is_elementwise() -> None:
    assert tg.tensor([0.0, 2.0]).any(dim=()).tolist() == [False, True]


def test_results_have_names() -> None:
    x = tg.tensor([3.0, 1.0])
    assert x.sort().values.tolist() == [1, 3]
    assert isinstance(x.max(0), tg.return_types.max)
    assert x.aminmax().max.item() == 3


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.topk(4),
        lambda x: x.kthvalue(0),
        lambda x: x.quantile(1.5),
        lambda x: x.quantile(0.5, interpolation="cubic"),
        lambda x: x.norm("nuc"),
        lambda x: x.renorm(2, 0, 1.0),
        lambda x: x.sum().diff(),
        lambda x: tg.bincount(tg.tensor([-1])),
        lambda x: x.histc(0),
        lambda x: tg.searchsorted(x, x, right=True, side="left"),
        lambda x: tg.bucketize(x, tg.ones(2, 2)),
        lambda x: tg.cov(tg.ones(2, 2, 2)),
        lambda x: tg.zeros(2, 0).unique(dim=0),
    ],
)
def test_arguments_that_do_not_fit(call) -> None:
    with pytest.raises(RuntimeError):
        call(tg.tensor([1.0, 2.0, 3.0]))


# results of several forms


def test_quantiles_of_several_q_come_first() -> None:
    x = tg.arange(10.0).reshape(2, 5)
    out = x.quantile(tg.tensor([0.0, 0.5, 1.0]), dim=1, keepdim=True)
    assert (out.shape, out[1].tolist()) == ((3, 2, 1), [[2], [7]])


def test_unique_with_inverse_and_counts() -> None:
    x = tg.tensor([[3, 1], [1, 3]])
    values, inverse, counts = x.unique(return_inverse=True, return_counts=True)
    assert (values.tolist(), inverse.tolist(), counts.tolist()) == (
        [1, 3],
        [[1, 0], [0, 1]],
        [2, 2],
    )
    rows, counts = tg.tensor([[2, 1], [1, 9], [2, 1]]).unique(dim=0, return_counts=True)
    assert (rows.tolist(), counts.tolist()) == ([[1, 9], [2, 1]], [1, 2])


def test_unique_consecutive_keeps_the_order() -> None:
    values, inverse = tg.tensor([2, 2, 1, 2]).unique_consecutive(return_inverse=True)
    assert (values.tolist(), inverse.tolist()) == ([2, 1, 2], [0, 0, 1, 2])


def test_bincount_sums_weights() -> None:
    out = tg.tensor([0, 2, 2]).bincount(tg.tensor([1.0, 2.0, 3.0]), 4)
    assert (out.tolist(), out.dtype) == ([1, 0, 5, 0], tg.float32)


def test_histogram_takes_edges_and_weights() -> None:
    x, edges = tg.tensor([0.0, 1.0, 2.0, 9.0]), tg.tensor([0.0, 1.0, 2.0])
    assert tg.histogram(x, edges, weight=x + 1).hist.tolist() == [1, 5]


def test_cov_weighs_observations() -> None:
    x = np.random.default_rng(0).standard_normal((2, 4))
    f, a = np.array([1, 2, 1, 3]), np.array([0.5, 1.0, 2.0, 1.0])
    out = tg.cov(tg.tensor(x), fweights=tg.tensor(f), aweights=tg.tensor(a))
    np.testing.assert_allclose(out.numpy(), np.cov(x, fweights=f, aweights=a))


def test_searchsorted_sorts_through_a_sorter() -> None:
    x = tg.tensor([3, 1, 2])
    assert tg.searchsorted(x, tg.tensor([2]), sorter=x.argsort(), out_int32=True).tolist() == [1]


# precision and memory


@pytest.mark.parametrize("shape", [(1000003,), (1000003, 3), (5, 40001, 2), (3, 100000)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_sums_are_as_precise_as_pairwise(shape: tuple[int, ...], order: str) -> None:
    x = np.random.default_rng(0).random(shape, np.float32)
    for dim in range(len(shape)):
        total = tg.from_numpy(np.asarray(x, order=order)).sum(dim).numpy()
        np.testing.assert_allclose(total, x.sum(dim, np.float64), rtol=1e-6)


def test_sum_of_an_expanded_tensor_counts_each_element_as_often_as_it_stands_there() -> None:
    x = tg.tensor([[0.1], [0.2]]).expand(2, 10**7)
    np.testing.assert_allclose(x.sum(1).tolist(), [1e6, 2e6], rtol=1e-6)
    assert x[:, :3].sum(0).tolist() == pytest.approx([0.3] * 3)


@pytest.mark.parametrize(
    "call", [lambda x: x.sum(()), lambda x: x.sum(1), lambda x: x.cumsum(0), lambda x: x.amax(1)]
)
def test_results_have_memory_of_their_own(call) -> None:
    x = tg.ones(1, 1)
    call(x).add_(1)
    assert x.item() == 1


def test_isin_takes_numbers_and_mixed_dtypes() -> None:
    x = tg.tensor([[1, 2], [3, 4]])
    assert tg.isin(x, 3).tolist() == [[False, False], [True, False]]
    assert tg.isin(2, x).tolist() is True
    assert tg.isin(x, tg.tensor([1.0, 3.5])).tolist() == [[True, False], [False, False]]
    assert tg.isin(x, tg.tensor(4), invert=True).tolist() == [[True, True], [True, False]]
    assert tg.isin(x, tg.tensor([])).tolist() == [[False, False]] * 2
    nan = tg.tensor([1.0, tg.nan])
    assert tg.isin(nan, nan).tolist() == [True, False]
    with pytest.raises(TypeError, match="expected a Tensor"):
        tg.isin(1, 2)
    with pytest.raises(RuntimeError, match="Bool"):
        tg.isin(x > 1, x > 2)
