"""Cases of tensors made from a rule."""

import numpy as np

from tests.ops.harness import F, case

CASES = [
    case("zeros", 2, 3, oracle=lambda m, n: np.zeros((m, n)), grad=False, empty=False),
    case("ones", 2, 3, oracle=lambda m, n: np.ones((m, n)), grad=False, empty=False),
    case("empty", 2, 3, oracle=lambda m, n: np.zeros((m, n)), grad=False, empty=False),
    case("full", (2, 3), 1.5, oracle=np.full, grad=False, empty=False),
    case("full", (2, 3), 7, oracle=np.full, grad=False, empty=False, note="int"),
    case("scalar_tensor", 1.5, oracle=np.array, grad=False, empty=False),
    case("zeros_like", F(2, 3), oracle=np.zeros_like, grad=False),
    case("ones_like", F(2, 3), oracle=np.ones_like, grad=False),
    case("empty_like", F(2, 3), oracle=np.zeros_like, grad=False),
    case("full_like", F(2, 3), 1.5, oracle=np.full_like, grad=False),
    case("arange", 1, 10, 3, oracle=np.arange, grad=False, empty=False),
    case("arange", 1, -2.1, -0.5, oracle=np.arange, grad=False, empty=False, note="float"),
    case("linspace", -1, 2.5, 8, oracle=np.linspace, grad=False, empty=False),
    case("logspace", -1, 2, 7, oracle=np.logspace, grad=False, empty=False),
    case(
        "logspace",
        0,
        3,
        4,
        2,
        oracle=lambda a, b, n, base: np.logspace(a, b, n, base=base),
        grad=False,
        empty=False,
        note="base",
    ),
    case("eye", 3, oracle=np.eye, grad=False, empty=False),
    case("eye", 2, 4, oracle=np.eye, grad=False, empty=False, note="wide"),
]
