"""One module of each class on device "gl": output, gradients, and output in eval are PyTorch's.

For a tab, where test_suite.py runs it; natively the ops that modules are made of are tested there.
"""

from __future__ import annotations

import pytest

import tensorgl as tg
from tests.nn import test_modules, test_rnn, test_transformer
from tests.nn.reference import Case, check

CASES = {c.name: c for c in [*test_modules.CASES, *test_rnn.CASES, *test_transformer.CASES]}


@pytest.mark.usefixtures("gl_target")
@pytest.mark.parametrize("c", CASES.values(), ids=CASES)
def test_agrees_with_pytorch(c: Case) -> None:
    check(tg, c, "gl")
