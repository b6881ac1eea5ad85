"""What the table of cases cannot say of linear algebra: errors, layouts, edges, singular matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorgl as tg

SINGULAR = [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]]


def rand(*shape: int, seed: int = 0, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def leaf(*shape: int, seed: int = 0) -> tg.Tensor:
    return tg.from_numpy(rand(*shape, seed=seed)).requires_grad_()


# Shapes and dtypes that do not fit


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tg.zeros(()) @ tg.zeros(2), "at least 1D, but they are 0D and 1D"),
        (lambda: tg.zeros(2, 3) @ tg.zeros(4, 5), r"cannot be multiplied \(2x3 and 4x5\)"),
        (lambda: tg.zeros(2, 3, 4) @ tg.zeros(3, 4, 5), "must match the size of tensor b"),
        (lambda: tg.zeros(2, 3) @ tg.zeros(3, 4).double(), "m1 and m2 to have the same dtype"),
        (lambda: tg.mm(tg.zeros(2, 3), tg.zeros(3)), "mm: expected 2D tensors"),
        (lambda: tg.bmm(tg.zeros(2, 3, 4), tg.zeros(3, 4, 5)), "first two dimensions of batch2"),
        (lambda: tg.dot(tg.zeros(2), tg.zeros(3)), "same number of elements"),
        (lambda: tg.inner(tg.zeros(2, 3), tg.zeros(4)), "last dimension must match"),
        (lambda: tg.addmm(tg.zeros(2), tg.zeros(2, 3), tg.zeros(3, 4)), "expanded size"),
        (lambda: tg.tensordot(tg.zeros(2, 3), tg.zeros(4, 5), 1), "contracted dimensions"),
        (lambda: tg.tensordot(tg.zeros(2, 3), tg.zeros(3, 5), ([1], [0, 1])), "same length"),
        (lambda: tg.cross(tg.zeros(2), tg.zeros(2)), "no dimension of size 3"),
        (lambda: tg.cdist(tg.zeros(2, 3), tg.zeros(2, 4)), "same number of columns"),
        (lambda: tg.linalg.inv(tg.zeros(2, 3)), "square matrices, but they are 2 by 3"),
        (lambda: tg.linalg.inv(tg.zeros(3)), "at least 2 dimensions"),
        (lambda: tg.linalg.det(tg.ones(2, 2).long()), "linalg.det: Expected a floating point"),
        (lambda: tg.linalg.svd(tg.ones(2, 2).half()), "Low precision dtypes not supported"),
        (lambda: tg.linalg.solve(tg.zeros(3, 3), tg.zeros(4, 2)), "AX = B .3x3 and 4x2"),
        (lambda: tg.linalg.matrix_norm(tg.zeros(2, 2), 3), "Order 3 not supported"),
        (lambda: tg.linalg.norm(tg.zeros(2, 2, 2), 2), "must be 1D or 2D"),
        (lambda: tg.linalg.vector_norm(tg.zeros(2).double(), dtype=tg.float32), "narrowing"),
        (lambda: tg.linalg.multi_dot([tg.zeros(2, 3), tg.zeros(4, 5)]), "tensors 0 and 1"),
        (lambda: tg.linalg.qr(tg.zeros(2, 2), "q"), "unrecognized mode 'q'"),
        (lambda: tg.linalg.eigh(tg.zeros(2, 2), "X"), "'L' or 'U', but got X"),
    ],
)
def test_what_does_not_fit_raises(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        call()


def test_wrong_types_raise() -> None:
    with pytest.raises(TypeError, match="must be Tensor, not int"):
        tg.matmul(tg.zeros(2), 3)
    with pytest.raises(TypeError, match="must be Number"):
        tg.linalg.vector_norm(tg.zeros(2), "fro")
    with pytest.raises(NotImplementedError, match="Bool"):
        tg.mm(tg.zeros(2, 2) == 0, tg.zeros(2, 2) == 0)
    with pytest.raises(ValueError, match="compute_mode"):
        tg.cdist(tg.zeros(2, 2), tg.zeros(2, 2), compute_mode="fast")


# matmul


def test_matmul_of_any_layout() -> None:
    """Transposed, broadcast, strided and folded operands give what plain ones give."""
    x, y = tg.from_numpy(rand(6, 64, 96)), tg.from_numpy(rand(6, 96, 64, seed=1))
    layouts: list[Callable[[Any], Any]] = [
        lambda a: a,
        lambda a: a.mT.contiguous().mT,
        lambda a: a.permute(1, 2, 0).contiguous().permute(2, 0, 1),
        lambda a: a.repeat(1, 2, 2)[:, ::2, ::2],
        lambda a: a[:1].expand(a.shape),
        lambda a: a[:, :1, :1].expand(a.shape),
    ]
    for first in layouts:
        for second in layouts:
            a, b = first(x), second(y)
            left, right = a.contiguous().numpy(), b.contiguous().numpy()
            np.testing.assert_allclose((a @ b).numpy(), left @ right, rtol=1e-10, atol=1e-9)
            np.testing.assert_allclose((a @ b[0]).numpy(), left @ right[0], rtol=1e-10, atol=1e-9)


@given(st.lists(st.integers(0, 3), max_size=4), st.lists(st.integers(0, 3), max_size=4))
def test_matmul_follows_numpy(first: list[int], second: list[int]) -> None:
    a, b = rand(*first), rand(*second, seed=1)
    try:
        expected = np.matmul(a, b)
    except ValueError:
        with pytest.raises(RuntimeError):
            tg.from_numpy(a) @ tg.from_numpy(b)
        return
    got = tg.from_numpy(a) @ tg.from_numpy(b)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-12)


def test_half_matmul_adds_up_in_single() -> None:
    a = tg.full((1, 4096), 1.0, dtype=tg.float16)
    assert (a @ a.t()).item() == 4096  # in half precision, 2048 + 1 is 2048
    assert (a @ a.t()).dtype is tg.float16


def test_integer_matmul_keeps_its_dtype() -> None:
    a = tg.tensor([[1, 2], [3, 4]])
    assert (a @ a).tolist() == [[7, 10], [15, 22]]
    assert (a @ a).dtype is tg.int64
    assert tg.trace(a).item() == 5


def test_matmul_result_is_no_view() -> None:
    out = leaf(3, 4) @ leaf(4, seed=1)
    out.add_(1)
    assert out._base is None


def test_addmm_with_beta_zero_ignores_nan() -> None:
    nothing = tg.full((2,), float("nan"))
    out = tg.addmm(nothing, tg.ones(2, 3), tg.ones(3, 2), beta=0)
    assert out.tolist() == [[3, 3], [3, 3]]


def test_addmm_in_place() -> None:
    x = tg.ones(2, 2)
    x.addmm_(tg.ones(2, 3), tg.ones(3, 2), beta=2)
    assert x.tolist() == [[5, 5], [5, 5]]


# einsum


def test_einsum_sublists_and_lists() -> None:
    a, b = tg.from_numpy(rand(2, 3)), tg.from_numpy(rand(3, 4, seed=1))
    product = (a @ b).tolist()
    assert tg.einsum(a, [0, 1], b, [1, 2]).tolist() == product
    assert tg.einsum(a, [..., 1], b, [1, 30], [..., 30]).tolist() == product
    assert tg.einsum(a, [0, 1], b, [1, 2], [2, 0]).t().tolist() == product
    assert tg.einsum("i j, j k -> i k", [a, b]).tolist() == product


def test_einsum_orders_capitals_first() -> None:
    assert tg.einsum("bA", tg.zeros(2, 3)).shape == (3, 2)
    assert tg.einsum("i...", tg.zeros(2, 3)).shape == (3, 2)


def test_einsum_diagonal_is_a_view() -> None:
    x = tg.zeros(2, 2)
    tg.einsum("ii->i", x).add_(1)
    assert x.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("equation", "shapes", "message"),
    [
        ("ij,jk", [(2, 3)], "fewer operands"),
        ("ij", [(2, 3), (2, 3)], "more operands"),
        ("i1", [(2, 3)], "invalid subscript '1'"),
        ("i..", [(2, 3)], "invalid subscript '.'"),
        ("...i...", [(2, 3)], "at most one ellipsis"),
        ("ijk", [(2, 3)], "does not match the number of dimensions"),
        ("ij->ijk", [(2, 3)], "does not appear in the equation"),
        ("ij->ii", [(2, 3)], "appears more than once"),
        ("ii", [(2, 3)], "repeated for operand 0 but the sizes don't match"),
        ("ij,jk->ik", [(2, 3), (4, 5)], "does not broadcast with previously seen size 3"),
    ],
)
def test_einsum_rejects(equation: str, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        tg.einsum(equation, *map(tg.zeros, shapes))


def test_einsum_without_operands_raises() -> None:
    with pytest.raises(ValueError, match="at least one operand"):
        tg.einsum("ij")
    with pytest.raises(ValueError, match=r"valid range \[0, 52\)"):
        tg.einsum(tg.zeros(2), [52])


# Singular matrices


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (tg.linalg.inv, "linalg.inv: The diagonal element 3 is zero"),
        (lambda a: tg.linalg.solve(a, a), "linalg.solve: The solver failed"),
        (lambda a: tg.linalg.matrix_power(a, -1), "input matrix is singular"),
        (tg.linalg.cholesky, "the leading minor of order 2 is not positive-definite"),
        (lambda a: tg.linalg.cholesky(a * float("nan")), "minor of order 1"),
        (lambda a: tg.linalg.svd(a * float("nan")), "contained non-finite values"),
    ],
)
def test_singular_raises(call: Callable[..., Any], message: str) -> None:
    with pytest.raises(tg.linalg.LinAlgError, match=message):
        call(tg.tensor(SINGULAR))


@pytest.mark.parametrize("call", [tg.linalg.inv, lambda a: tg.linalg.solve(a, a)])
def test_singular_in_a_batch_is_named(call: Callable[..., Any]) -> None:
    batch = tg.from_numpy(np.stack([np.eye(3), np.array(SINGULAR), np.eye(3)]))
    with pytest.raises(tg.linalg.LinAlgError, match=r"\(Batch element 1\)"):
        call(batch)


def test_singular_without_error() -> None:
    a = tg.tensor(SINGULAR)
    assert tg.linalg.det(a).item() == 0
    assert tg.linalg.slogdet(a).logabsdet.item() == -np.inf
    assert tg.logdet(-tg.eye(3)).isnan().item()
    assert tg.linalg.matrix_rank(a).item() == 2
    assert tg.linalg.cond(a, 1).item() == np.inf
    x = tg.linalg.solve_triangular(tg.zeros(2, 2), tg.ones(2, 1), upper=True)
    assert not x.isfinite().any()


def test_det_gradient_of_singular_matrices() -> None:
    """It is the matrix of cofactors, also for one matrix of a batch."""
    a = tg.from_numpy(np.stack([np.array(SINGULAR), np.diag([1.0, 2, 3])])).requires_grad_()
    tg.linalg.det(a).sum().backward()
    expected = [[[4, 4, -4], [-2, -2, 2], [0, 0, 0]], [[6, 0, 0], [0, 3, 0], [0, 0, 2]]]
    np.testing.assert_allclose(a.grad.numpy(), expected, atol=1e-12)


# Decompositions


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (2, 5, 3), (0, 3), (3, 0), (2, 0, 3)])
@pytest.mark.parametrize("full", [True, False])
def test_factors_give_the_matrix_back(shape: tuple[int, ...], full: bool) -> None:
    a = rand(*shape)
    x = tg.from_numpy(a)
    q, r = tg.linalg.qr(x, "complete" if full else "reduced")
    np.testing.assert_allclose((q @ r).numpy(), a, atol=1e-12)
    u, s, vh = tg.linalg.svd(x, full)
    k = s.shape[-1]
    rebuilt = u.numpy()[..., :k] * s.numpy()[..., None, :] @ vh.numpy()[..., :k, :]
    np.testing.assert_allclose(rebuilt, a, atol=1e-12)
    for basis in (q, u, vh.mT):
        n = basis.shape[-1]
        gram = (basis.mT @ basis).numpy()
        np.testing.assert_allclose(gram, np.broadcast_to(np.eye(n), gram.shape), atol=1e-12)


def test_results_have_names() -> None:
    a = tg.eye(2)
    assert tg.linalg.qr(a)._fields == ("Q", "R")
    assert tg.linalg.svd(a)._fields == ("U", "S", "Vh")
    assert tg.svd(a)._fields == ("U", "S", "V")
    assert tg.linalg.eigh(a)._fields == ("eigenvalues", "eigenvectors")
    assert tg.linalg.slogdet(a)._fields == ("sign", "logabsdet")
    assert tg.linalg.lstsq(a, a)._fields == ("solution", "residuals", "rank", "singular_values")


def test_only_one_triangle_is_read() -> None:
    a = rand(3, 3)
    a = a @ a.T + np.eye(3)
    low, high = tg.from_numpy(np.tril(a)), tg.from_numpy(np.triu(a))
    full = tg.from_numpy(a)
    expected = tg.linalg.cholesky(full).numpy()
    np.testing.assert_allclose(tg.linalg.cholesky(low).numpy(), expected)
    np.testing.assert_allclose(tg.linalg.cholesky(high, upper=True).mT.numpy(), expected)
    values = tg.linalg.eigvalsh(full).numpy()
    np.testing.assert_allclose(tg.linalg.eigvalsh(low).numpy(), values)
    np.testing.assert_allclose(tg.linalg.eigvalsh(high, "U").numpy(), values)


def test_eigh_gradient_is_symmetric() -> None:
    a = leaf(3, 3)
    _, vectors = tg.linalg.eigh(a)
    (vectors**2)[0].sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), a.grad.numpy().T)


def test_complete_qr_of_tall_matrices_has_no_gradient() -> None:
    q, _ = tg.linalg.qr(leaf(4, 3), "complete")
    with pytest.raises(RuntimeError, match="not differentiable when mode='complete'"):
        q.sum().backward()


def test_qr_without_q() -> None:
    q, r = tg.linalg.qr(leaf(4, 3), "r")
    assert q.shape == (0,)
    assert r.shape == (3, 3)


def test_lstsq_results_by_driver() -> None:
    a, b = tg.from_numpy(rand(5, 4, 3)), tg.from_numpy(rand(5, 4, 2, seed=1))
    shapes = {
        driver: [tuple(x.shape) for x in tg.linalg.lstsq(a, b, driver=driver)]
        for driver in ("gels", "gelsy", "gelsd")
    }
    assert shapes == {
        "gels": [(5, 3, 2), (5, 2), (0,), (0,)],
        "gelsy": [(5, 3, 2), (0,), (5,), (0,)],
        "gelsd": [(5, 3, 2), (5, 2), (5,), (5, 3)],
    }


def test_tolerances_of_rank() -> None:
    a = tg.tensor([[[1.0, 0.0], [0.0, 0.1]], [[10.0, 0.0], [0.0, 0.1]]])
    assert tg.linalg.matrix_rank(a).tolist() == [2, 2]
    assert tg.linalg.matrix_rank(a, rtol=0.05).tolist() == [2, 1]
    assert tg.linalg.matrix_rank(a, atol=0.2).tolist() == [1, 1]
    assert tg.linalg.matrix_rank(a, tg.tensor([0.2, 0.05])).tolist() == [1, 2]
    assert tg.linalg.pinv(a, rtol=0.05)[1].tolist() == [[pytest.approx(0.1), 0], [0, 0]]


def test_matrix_exp_of_large_and_odd_matrices() -> None:
    a = tg.tensor([[0.0, 100.0], [-100.0, 0.0]], dtype=tg.float64)
    c, s = np.cos(100), np.sin(100)
    np.testing.assert_allclose(tg.linalg.matrix_exp(a).numpy(), [[c, s], [-s, c]], atol=1e-9)
    assert tg.linalg.matrix_exp(tg.zeros(2, 2)).tolist() == [[1, 0], [0, 1]]
    assert tg.linalg.matrix_exp(tg.full((2, 2), float("nan"))).isnan().all()


def test_matrix_power_zero_and_one() -> None:
    a = tg.tensor([[1, 2], [3, 4]])
    assert tg.linalg.matrix_power(a, 0).tolist() == [[1, 0], [0, 1]]
    once = tg.linalg.matrix_power(a, 1)
    once.zero_()
    assert a.tolist() == [[1, 2], [3, 4]]


# Gradients at edges


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, 3.0, float("inf")])
def test_cdist_gradient_at_distance_zero(p: float) -> None:
    x = tg.tensor([[1.0, 2.0], [1.0, 2.0], [3.0, 5.0]], requires_grad=True)
    tg.cdist(x, x.detach(), p)[:2, :2].sum().backward()
    assert x.grad.tolist() == [[0, 0], [0, 0], [0, 0]]


def test_norm_gradient_at_zero() -> None:
    x = tg.zeros(2, 2, requires_grad=True)
    tg.linalg.norm(x).backward()
    assert x.grad.tolist() == [[0, 0], [0, 0]]


def test_solve_triangular_leaves_the_other_triangle_without_gradient() -> None:
    a = tg.from_numpy(rand(3, 3) + 3 * np.eye(3)).requires_grad_()
    tg.linalg.solve_triangular(a, tg.ones(3, 1).double(), upper=True).sum().backward()
    assert (a.grad.numpy()[np.tril_indices(3, -1)] == 0).all()
    assert (a.grad.numpy()[np.triu_indices(3)] != 0).all()


def test_multi_dot_takes_the_cheapest_order() -> None:
    """From the right, these vectors and matrices never make a matrix of 64 x 64."""
    shapes = [(64, 2), (2, 64), (64, 1)]
    matrices = [tg.from_numpy(rand(*s)).requires_grad_() for s in shapes]
    out = tg.linalg.multi_dot(matrices)
    last = out.grad_fn
    while last is not None and last.name() != "MatmulBackward0":
        last = last.next_functions[0][0]
    edges = [e for e, _ in last.next_functions]
    assert edges[0] is matrices[0]
    assert [tuple(e._aval.shape) for e in edges] == [(64, 2), (2, 1)]
