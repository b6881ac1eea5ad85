"""Every op, one line each; a file for each family of them."""

from tests.ops import (
    cases_conv,
    cases_creation,
    cases_elementwise,
    cases_indexing,
    cases_linalg,
    cases_movement,
    cases_nn,
    cases_reduction,
)

CASES = [
    *cases_conv.CASES,
    *cases_creation.CASES,
    *cases_elementwise.CASES,
    *cases_indexing.CASES,
    *cases_linalg.CASES,
    *cases_movement.CASES,
    *cases_nn.CASES,
    *cases_reduction.CASES,
]
