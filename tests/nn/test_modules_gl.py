"""Every module of the tables on device "gl": output, gradients and output in eval, as PyTorch's."""

from __future__ import annotations

import pytest

import tensorgl as tg
from tests.nn import test_modules, test_rnn, test_transformer
from tests.nn.reference import Case, check

CASES = [*test_modules.CASES, *test_rnn.CASES, *test_transformer.CASES]


@pytest.mark.usefixtures("gl_target")
@pytest.mark.parametrize("c", CASES, ids=lambda c: c.id)
def test_agrees_with_pytorch(c: Case) -> None:
    check(tg, c, "gl")
