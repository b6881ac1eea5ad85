"""Cases of the first ops, as a pattern."""

import numpy as np

from tests.ops.harness import B, F, case

CASES = [
    case("add", F(3, 4), F(4), oracle=np.add, special=True),
    case("mul", F(3, 4), F(3, 1), oracle=np.multiply, special=True),
    case("div", F(3, 4), F(3, 4, low=0.5), oracle=np.divide, special=True),
    case(
        "div",
        F(3, 4, distinct=True),
        1.5,
        kw={"rounding_mode": "floor"},
        oracle=lambda x, y: x // y,
        grad=False,
        note="floor",
    ),
    case("where", B(3, 4), F(3, 4), F(4), oracle=np.where),
    case("sum", F(3, 4, 5), kw={"dim": (0, 2)}, oracle=lambda x: x.sum((0, 2))),
    case("matmul", F(2, 3, 4), F(4, 5), oracle=np.matmul, empty=False),
]
