"""Cases of linear algebra. Matrices come in batches of 2, so that the empty case is an empty batch."""

import numpy as np

import tensorgl as tg
from tests.ops.harness import F, I, case

la, linalg = np.linalg, tg.linalg
M = F(2, 3, 3)


def t(x):
    return x.swapaxes(-1, -2)


def eye(x):
    return np.eye(3) if isinstance(x, np.ndarray) else tg.eye(3, dtype=x.dtype, device=x.device)


def well(x):
    """A well-conditioned square matrix."""
    return x + 5 * eye(x)


def spd(x):
    """A symmetric positive definite matrix."""
    return x @ t(x) + eye(x)


def symmetric(x):
    return x + t(x)


def on(prepare, function):
    """Call a function on its first argument prepared, and on the others as they are."""
    return lambda x, *rest: function(prepare(x), *rest)


def both(op, prepare, function, oracle, *inputs, **options):
    """A case in which op and oracle both get their first argument prepared."""
    return case(op, *inputs, function=on(prepare, function), oracle=on(prepare, oracle), **options)


def einsum(equation, *inputs, **options):
    """A case of einsum, whose first argument is no tensor."""
    return case("einsum", *inputs, function=lambda *x: tg.einsum(equation, *x), oracle=lambda *x: np.einsum(equation, *x), note=equation, **options)  # fmt: skip


def distances(p):
    return lambda x, y: la.norm(x[..., :, None, :] - y[..., None, :, :], p, -1)


def lower_product(x):
    """The matrix that has the lower triangle of `well(x)` as its Cholesky factor."""
    factor = np.tril(well(x))
    return factor @ t(factor)


def exponential(x):
    """By eigenvalues, which numpy has in complex numbers."""
    values, vectors = la.eig(x)
    return (vectors * np.exp(values)[..., None, :] @ la.inv(vectors)).real


CASES = [
    # products
    case("matmul", F(2, 3, 4), F(4, 5), oracle=np.matmul, note="fold"),
    case("matmul", F(3, 4), F(2, 4, 5), oracle=np.matmul, note="left"),
    case("matmul", F(2, 3, 4), F(2, 4, 5), oracle=np.matmul, note="batch"),
    case("matmul", F(2, 1, 3, 4), F(5, 4, 2), oracle=np.matmul, note="broadcast"),
    case("matmul", F(2, 70, 8), F(2, 8, 70), oracle=np.matmul, note="large"),
    case("matmul", F(4), F(4), oracle=np.matmul, note="vectors"),
    case("matmul", F(2, 3, 4), F(4), oracle=np.matmul, note="vector"),
    case("matmul", F(3), F(2, 3, 4), oracle=np.matmul, empty=False, note="row"),
    case("matmul", I(2, 3, 4), I(4, 5), oracle=np.matmul, grad=False, note="integers"),
    case("mm", F(3, 4), F(4, 5), oracle=np.matmul),
    case("bmm", F(2, 3, 4), F(2, 4, 5), oracle=np.matmul),
    case("mv", F(3, 4), F(4), oracle=np.matmul),
    case("dot", F(4), F(4), oracle=np.dot),
    case("vdot", F(4), F(4), oracle=np.vdot),
    case("inner", F(2, 3, 4), F(5, 4), oracle=np.inner),
    case("outer", F(3), F(4), oracle=np.outer),
    case("ger", F(3), F(4), oracle=np.outer),
    case("kron", F(3, 4), F(2, 5), oracle=np.kron),
    case("kron", F(3), F(2, 5), oracle=np.kron, note="dims"),
    case("trace", F(3, 4), oracle=np.trace),
    case("addmm", F(4), F(3, 2), F(2, 4), oracle=lambda x, a, b: x + a @ b, empty=False),
    case("addmm", F(3, 4), F(3, 2), F(2, 4), kw={"beta": 0.5, "alpha": 2}, oracle=lambda x, a, b: 0.5 * x + 2 * a @ b, note="scaled"),
    case("addmv", F(3), F(3, 2), F(2), kw={"alpha": 3}, oracle=lambda x, a, b: x + 3 * a @ b, empty=False),
    case("addr", F(3, 4), F(3), F(4), kw={"beta": 2}, oracle=lambda x, a, b: 2 * x + np.outer(a, b), empty=False),
    case("baddbmm", F(2, 3, 4), F(2, 3, 5), F(2, 5, 4), oracle=lambda x, a, b: x + a @ b),
    case("addbmm", F(3, 4), F(2, 3, 5), F(2, 5, 4), oracle=lambda x, a, b: x + (a @ b).sum(0), empty=False),
    case("tensordot", F(2, 3, 4), F(3, 4, 5), oracle=np.tensordot),
    case("tensordot", F(2, 3, 4), F(4, 5, 3), kw={"dims": ([1, -1], [2, 0])}, oracle=lambda a, b: np.tensordot(a, b, ([1, 2], [2, 0])), note="dims"),
    case("chain_matmul", F(3, 4), F(4, 5), F(5, 2), oracle=lambda a, b, c: a @ b @ c),
    case("linalg.multi_dot", (F(3, 4), F(4, 5), F(5, 2)), oracle=la.multi_dot, empty=False),
    case("linalg.multi_dot", (F(4), F(4, 5), F(5, 2), F(2)), oracle=la.multi_dot, empty=False, note="vectors"),
    case("linalg.vecdot", F(3, 4), F(4), oracle=lambda a, b: (a * b).sum(-1)),
    case("linalg.cross", F(4, 3), F(1, 3), oracle=np.cross),
    case("cross", F(4, 3), F(4, 3), oracle=np.cross),
    case("cdist", F(2, 3, 4), F(2, 5, 4), oracle=distances(2)),
    case("cdist", F(26, 4), F(3, 4), oracle=distances(2), note="product"),
    case("cdist", F(3, 4), F(5, 4), kw={"p": 1}, oracle=distances(1), note="1"),
    case("cdist", F(3, 4), F(5, 4), kw={"p": 3}, oracle=distances(3), note="3"),
    case("cdist", F(3, 4), F(5, 4), kw={"p": np.inf}, oracle=distances(np.inf), note="inf"),
    # einsum
    einsum("ij,jk->ik", F(3, 4), F(4, 5)),
    einsum("bhqd,bhkd->bhqk", F(2, 3, 4, 5), F(2, 3, 6, 5)),
    einsum("bqhd,bkhd->bhqk", F(2, 4, 3, 5), F(2, 6, 3, 5)),
    einsum("ij", F(3, 4)),
    einsum("ba", F(3, 4)),
    einsum("ii->i", F(3, 3), empty=False),
    einsum("iji->j", F(3, 4, 3), empty=False),
    einsum("ij->", F(3, 4)),
    einsum("i,j->ij", F(3), F(4)),
    einsum("i,i", F(4), F(4)),
    einsum("...ij,...jk", F(2, 1, 3, 4), F(5, 4, 2)),
    einsum("i...,i...->...", F(3, 4), F(3, 1), empty=False),
    einsum("ij,kl,jl->ik", F(3, 4), F(5, 2), F(4, 2)),
    einsum("ij,jk,k,l->il", F(3, 4), F(4, 5), F(5), F(2)),
    einsum("ij,j->ij", F(3, 4), F(4)),
    # equations, inverses and determinants
    both("linalg.inv", well, linalg.inv, la.inv, M),
    both("inverse", well, tg.inverse, la.inv, M),
    both("linalg.solve", well, linalg.solve, la.solve, M, F(2, 3, 4)),
    both("linalg.solve", well, linalg.solve, lambda a, b: la.solve(a, b[..., None])[..., 0], M, F(2, 3), empty=False, note="vector"),
    both("linalg.solve", well, lambda a, b: linalg.solve(a, b, left=False), lambda a, b: b @ la.inv(a), M, F(4, 3), note="right"),
    both("linalg.solve_triangular", well, lambda a, b: linalg.solve_triangular(a, b, upper=False), lambda a, b: la.solve(np.tril(a), b), M, F(2, 3, 4)),
    case("linalg.solve_triangular", M, F(4, 3), kw={"upper": True, "left": False, "unitriangular": True}, oracle=lambda a, b: b @ la.inv(np.triu(a, 1) + np.eye(3)), note="right"),
    case("linalg.solve_triangular", F(40, 40, low=-0.1, high=0.1), F(40, 2), kw={"upper": True, "unitriangular": True}, oracle=lambda a, b: la.solve(np.triu(a, 1) + np.eye(40), b), empty=False, note="large"),
    both("cholesky_solve", well, lambda a, b: tg.cholesky_solve(b, a), lambda a, b: la.solve(np.tril(a) @ t(np.tril(a)), b), M, F(2, 3, 4)),
    case("cholesky_inverse", M, function=on(well, tg.cholesky_inverse), oracle=lambda a: la.inv(lower_product(a))),
    case("linalg.tensorinv", F(4, 2, 2), kw={"ind": 1}, oracle=lambda a: la.tensorinv(a, 1), empty=False, tolerance=1e-4),
    case("linalg.tensorsolve", F(2, 2, 4), F(2, 2), oracle=la.tensorsolve, empty=False, tolerance=1e-4),
    case("linalg.det", M, oracle=la.det),
    case("det", M, oracle=la.det),
    case("linalg.slogdet", M, oracle=la.slogdet),
    case("slogdet", M, oracle=la.slogdet),
    both("logdet", spd, tg.logdet, lambda a: la.slogdet(a)[1], M),
    # rank
    case("linalg.pinv", F(2, 4, 3), oracle=la.pinv),
    case("linalg.pinv", F(2, 3, 4), oracle=la.pinv, note="wide"),
    both("linalg.pinv", symmetric, lambda a: linalg.pinv(a, hermitian=True), la.pinv, M, note="hermitian"),
    case("pinverse", F(4, 3), oracle=la.pinv, empty=False),
    case("linalg.lstsq", F(4, 3), F(4, 2), function=lambda a, b: linalg.lstsq(a, b).solution, oracle=lambda a, b: la.lstsq(a, b)[0], empty=False),
    case("linalg.lstsq", F(4, 3), F(4, 2), kw={"driver": "gelsd"}, oracle=la.lstsq, grad=False, empty=False, note="gelsd"),
    case("linalg.matrix_rank", F(2, 4, 3), oracle=la.matrix_rank, grad=False),
    # decompositions
    both("linalg.cholesky", spd, linalg.cholesky, la.cholesky, M),
    both("linalg.cholesky", spd, lambda a: linalg.cholesky(a, upper=True), lambda a: t(la.cholesky(a)), M, note="upper"),
    both("cholesky", spd, tg.cholesky, la.cholesky, M),
    case("linalg.qr", F(2, 4, 3), oracle=la.qr),
    case("linalg.qr", F(2, 3, 4), oracle=la.qr, note="wide"),
    case("linalg.qr", F(2, 4, 3), kw={"mode": "complete"}, oracle=lambda a: la.qr(a, "complete"), grad=False, note="complete"),
    case("linalg.qr", F(2, 4, 3), function=lambda a: linalg.qr(a, "r").R, oracle=lambda a: la.qr(a, "r"), note="r"),
    case("qr", F(2, 4, 3), oracle=la.qr),
    case("linalg.svd", F(2, 4, 3), kw={"full_matrices": False}, oracle=lambda a: la.svd(a, False)),
    case("linalg.svd", F(2, 3, 4), kw={"full_matrices": False}, oracle=lambda a: la.svd(a, False), note="wide"),
    case("linalg.svd", F(2, 4, 3), oracle=la.svd, grad=False, note="full"),
    case("svd", F(2, 4, 3), function=lambda a: tg.svd(a)[1:], oracle=lambda a: (la.svd(a)[1], t(la.svd(a)[2]))),
    case("linalg.svdvals", F(2, 4, 3), oracle=la.svdvals),
    both("linalg.eigh", symmetric, linalg.eigh, la.eigh, M),
    both("linalg.eigvalsh", symmetric, linalg.eigvalsh, la.eigvalsh, M),
    # norms
    case("linalg.vector_norm", F(3, 4, 5), kw={"dim": (0, 2)}, oracle=lambda a: np.sqrt((a * a).sum((0, 2)))),
    case("linalg.vector_norm", F(3, 4), kw={"ord": 3, "dim": 1}, oracle=lambda a: la.norm(a, 3, 1), note="3"),
    *(case("linalg.matrix_norm", F(2, 4, 3), kw={"ord": order}, oracle=lambda a, order=order: la.norm(a, order, (-2, -1)), note=str(order)) for order in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)),
    case("linalg.norm", F(3, 4), oracle=la.norm),
    case("linalg.norm", F(3, 4), kw={"ord": 1}, oracle=lambda a: la.norm(a, 1), empty=False, note="matrix"),
    case("linalg.norm", F(3, 4), kw={"ord": np.inf, "dim": 1}, oracle=lambda a: la.norm(a, np.inf, 1), note="vector"),
    case("linalg.cond", M, oracle=la.cond, tolerance=1e-3),
    both("linalg.cond", well, lambda a: linalg.cond(a, 1), lambda a: la.cond(a, 1), M, note="1"),
    # functions of matrices
    case("linalg.diagonal", F(2, 3, 4), kw={"offset": 1}, oracle=lambda a: np.diagonal(a, 1, -2, -1)),
    case("linalg.matrix_power", M, kw={"n": 5}, oracle=lambda a: la.matrix_power(a, 5)),
    both("linalg.matrix_power", well, lambda a: linalg.matrix_power(a, -2), lambda a: la.matrix_power(a, -2), M, note="inverse"),
    case("matrix_power", M, kw={"n": 2}, oracle=lambda a: a @ a),
    case("linalg.matrix_exp", M, oracle=exponential),
    case("matrix_exp", M, oracle=exponential),
]  # fmt: skip
