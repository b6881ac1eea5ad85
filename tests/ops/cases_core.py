"""Cases of the first ops, as a pattern."""

import numpy as np

from tests.ops.harness import F, case

CASES = [
    case("sum", F(3, 4, 5), kw={"dim": (0, 2)}, oracle=lambda x: x.sum((0, 2))),
]
