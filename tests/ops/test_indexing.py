"""`x[...]` in all its forms against numpy, and what index ops refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tensorgl as tg

RNG = np.random.default_rng(3)


def random_key(shape: tuple[int, ...]) -> tuple[object, ...]:
    """A key on which numpy and PyTorch agree: no int beside index arrays."""
    advanced = RNG.random() < 0.6
    key: list[object] = []
    dim = 0
    while dim < len(shape):
        n, kind = shape[dim], RNG.integers(5)
        if kind == 0 and not advanced:
            key.append(int(RNG.integers(-n, n)))
        elif kind == 1 and advanced:
            key.append(RNG.integers(-n, n, (2, 1)[RNG.integers(2) :]))
        elif kind == 2 and advanced:
            mask = np.zeros(n, bool)
            mask[RNG.integers(n)] = True  # one True broadcasts with any index
            key.append(mask)
        elif kind == 3:
            key.append(None)
            continue
        else:
            a, b = RNG.integers(-n - 1, n + 2, 2)
            key.append(slice(int(a), int(b), int(RNG.integers(1, 4))))
        dim += 1
        if RNG.random() < 0.1:
            break
    if RNG.random() < 0.3 and len(key) < len(shape):
        key.append(...)
    return tuple(key)


def as_tensors(key: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(tg.from_numpy(k) if isinstance(k, np.ndarray) else k for k in key)


@pytest.mark.parametrize("shape", [(5,), (4, 3), (3, 4, 2), (2, 3, 2, 4)])
def test_random_keys_against_numpy(shape: tuple[int, ...]) -> None:
    for _ in range(150):
        key = random_key(shape)
        array = RNG.standard_normal(shape)
        np.testing.assert_array_equal(
            tg.from_numpy(array)[as_tensors(key)].numpy(), array[key], str(key)
        )
        places = np.arange(array.size).reshape(shape)[key]
        if np.unique(places).size == places.size:  # else it is open which value is left
            value = RNG.standard_normal(places.shape)
            written = tg.from_numpy(array.copy())
            written[as_tensors(key)] = tg.from_numpy(value)
            array[key] = value
            np.testing.assert_array_equal(written.numpy(), array, str(key))


def test_an_int_beside_an_index_tensor_takes_no_part_in_its_placement() -> None:
    x = tg.arange(24).view(2, 3, 4)
    assert x[0, :, [1, 2]].tolist() == x[0][:, [1, 2]].tolist()


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ([0, 2], [0, 2]),
        ((tg.tensor([True, False, True]),), [0, 2]),
        ([True, False, True], [0, 2]),
        (range(2), [0, 1]),
        (np.array([1, -1]), [1, 2]),
        (np.int64(1), 1),
        (tg.tensor(2), 2),
        (tg.tensor([1], dtype=tg.int32), [1]),
        (slice(tg.tensor(1), None), [1, 2]),
        (True, [[0, 1, 2]]),
        (False, []),
        ((None, 1), [1]),
        ((..., 1), 1),
        ([], []),
    ],
)
def test_every_kind_of_key(key: object, expected: object) -> None:
    assert tg.arange(3)[key].tolist() == expected


def test_older_forms_of_keys_warn() -> None:
    x = tg.arange(6).view(2, 3)
    with pytest.warns(UserWarning, match="uint8 is now deprecated"):
        assert x[tg.tensor([0, 1], dtype=tg.uint8)].tolist() == [[3, 4, 5]]
    with pytest.warns(UserWarning, match="non-tuple sequence"):
        assert x[[[1, 0], [2, 2]]].tolist() == [5, 2]


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        (3, IndexError, "index 3 is out of bounds for dimension 0 with size 3"),
        ((0, -3), IndexError, "index -3 is out of bounds for dimension 1 with size 2"),
        ([0, 3], IndexError, "index 3 is out of bounds for dimension 0 with size 3"),
        (([0], [2]), IndexError, "index 2 is out of bounds for dimension 1 with size 2"),
        ((0, 0, 0), IndexError, "too many indices for tensor of dimension 2"),
        (1.0, IndexError, "only integers"),
        (slice(None, None, -1), ValueError, "step must be greater than zero"),
        (tg.tensor([1.0]), IndexError, "must be long, int, byte or bool"),
        (tg.tensor([True, False]), IndexError, r"mask \[2\] at index 0 does not match"),
        (
            ([0, 1], [0, 1, 1]),
            IndexError,
            r"could not be broadcast together with shapes \[2\], \[3\]",
        ),
    ],
)
def test_keys_that_do_not_fit(key: object, error: type[Exception], message: str) -> None:
    x = tg.zeros(3, 2)
    with pytest.raises(error, match=message):
        x[key]
    with pytest.raises(error, match=message):
        x[key] = 1


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ([1, 2], TypeError),
        (np.ones(2), TypeError),
        ("a", TypeError),
        (None, TypeError),
        (tg.ones(3), RuntimeError),
    ],
)
def test_values_that_do_not_fit(value: object, error: type[Exception]) -> None:
    for key in (0, [0], tg.tensor([True, False, False])):
        with pytest.raises(error):
            tg.zeros(3, 2)[key] = value


def test_what_float16_cannot_hold() -> None:
    h = tg.zeros(3, dtype=tg.float16)
    h[0], h[tg.tensor([False, True, False])] = 70000.0, -1e9
    assert h.tolist() == [math.inf, -math.inf, 0]
    mask = h > 0
    assert h.masked_fill(mask, -math.inf)[0].item() == -math.inf
    with pytest.raises(RuntimeError, match="without overflow"):
        h.masked_fill(mask, -1e9)


def test_index_tensors_want_a_value_of_the_same_dtype() -> None:
    x = tg.zeros(3)
    x[1] = tg.tensor(1.5, dtype=tg.float64)
    assert x.tolist() == [0, 1.5, 0]
    with pytest.raises(RuntimeError, match="dtypes match"):
        x[[1]] = tg.tensor([1.5], dtype=tg.float64)


def test_a_write_goes_to_the_memory_and_the_history() -> None:
    x = tg.arange(6, dtype=tg.float32).view(3, 2).requires_grad_()
    value = tg.tensor([10.0, 20.0], requires_grad=True)
    base = x * 1
    column = base[:, 1]
    base[[2, 0]] = value
    assert column.tolist() == [20, 3, 20]
    (column * tg.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad is not None and value.grad is not None
    assert x.grad.tolist() == [[0, 0], [0, 2], [0, 0]]
    assert value.grad.tolist() == [0, 4]


def test_augmented_assignment_on_an_element() -> None:
    x = tg.ones(3, requires_grad=True)
    y = x * 2
    y[1] += x[0] * 5
    y[1:] *= 3
    y.sum().backward()
    assert y.tolist() == [2, 21, 6]
    assert x.grad is not None
    assert x.grad.tolist() == [17, 6, 6]


def test_iteration_and_membership() -> None:
    x = tg.arange(6).view(3, 2)
    assert [row.tolist() for row in x] == [[0, 1], [2, 3], [4, 5]]
    assert 5 in x
    assert 6 not in x
    with pytest.raises(TypeError, match="0-d"):
        iter(tg.tensor(1))
    with pytest.raises(RuntimeError, match="__contains__"):
        "a" in x  # noqa: B015


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("dtype", [tg.int64, tg.int32])
def test_an_index_out_of_range_raises_and_writes_nothing(dim: int, dtype: tg.dtype) -> None:
    x = tg.zeros(3, 4, 2)
    n = x.shape[dim]
    for bad in (n, -1):
        index = tg.tensor([0, bad], dtype=dtype)
        places = index.view([-1 if k == dim % 3 else 1 for k in range(3)])
        with pytest.raises(IndexError):
            x.index_select(dim, index)
        with pytest.raises(IndexError):
            x.index_add_(dim, index, tg.ones_like(x.narrow(dim, 0, 2)))
        with pytest.raises(RuntimeError):
            x.gather(dim, places)
        with pytest.raises(RuntimeError):
            x.scatter_(dim, places, 1.0)
        with pytest.raises(RuntimeError):
            x.scatter_add_(dim, places, tg.ones(*places.shape))
    assert not x.any()


def test_embedding_gradient_is_exact_for_repeated_rows() -> None:
    table = tg.zeros(5, 3, dtype=tg.float64, requires_grad=True)
    index = tg.tensor([[1, 4], [1, 1]])
    g = tg.arange(12, dtype=tg.float64).view(2, 2, 3)
    table[index].backward(g)
    expected = np.zeros((5, 3))
    np.add.at(expected, index.numpy(), g.numpy())
    assert table.grad is not None
    np.testing.assert_array_equal(table.grad.numpy(), expected)


def test_equal_extremes_share_the_gradient() -> None:
    x = tg.tensor([3.0, 0.0], requires_grad=True)
    src = tg.tensor([3.0, 3.0, -1.0], requires_grad=True)
    out = x.scatter_reduce(0, tg.tensor([0, 0, 1]), src, "amax")
    out.sum().backward()
    assert x.grad is not None and src.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), [1 / 3, 1])
    np.testing.assert_allclose(src.grad.numpy(), [1 / 3, 1 / 3, 0])


def test_products_with_zeros_have_gradients() -> None:
    x = tg.tensor([2.0], requires_grad=True, dtype=tg.float64)
    src = tg.tensor([0.0, 3.0], requires_grad=True, dtype=tg.float64)
    x.scatter_reduce(0, tg.tensor([0, 0]), src, "prod").sum().backward()
    assert x.grad is not None and src.grad is not None
    assert (x.grad.tolist(), src.grad.tolist()) == ([0.0], [6.0, 0.0])


def test_masked_fill_keeps_the_dtype() -> None:
    mask = tg.tensor([True, False])
    assert tg.zeros(2, dtype=tg.int64).masked_fill(mask, 2.9).tolist() == [2, 0]
    assert tg.zeros(2, dtype=tg.bool).masked_fill(mask, 5).tolist() == [True, False]
    with pytest.raises(RuntimeError, match="BoolTensor"):
        tg.zeros(2).masked_fill(tg.tensor([1, 0]), 0)
    with pytest.raises(RuntimeError, match="0-dimensional value"):
        tg.zeros(2).masked_fill(mask, tg.ones(1))


def test_sources_must_have_the_dtype_of_the_input() -> None:
    x, index = tg.zeros(3), tg.tensor([0])
    src = tg.ones(1, dtype=tg.float64)
    for call in (x.scatter, x.scatter_add, x.index_add, x.index_copy):
        with pytest.raises(RuntimeError, match="to be equal to src"):
            call(0, index, src)


def test_indices_must_be_integers() -> None:
    x = tg.zeros(3)
    for call in (x.gather, x.index_select):
        with pytest.raises(RuntimeError, match="Expected dtype int32/int64 for index"):
            call(0, tg.tensor([1.0]))


def test_take_along_dim_broadcasts_and_wraps() -> None:
    x = tg.arange(6).view(2, 3)
    assert x.take_along_dim(tg.tensor([[-1]]), 1).tolist() == [[2], [5]]
    assert x.take_along_dim(tg.tensor([5])).tolist() == [5]
