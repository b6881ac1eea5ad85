"""The benchmark cases: `CASES`, by name. Each is data; `Case.build` makes it with a library.

A peer in another language gets a case's op and sizes and makes the same numbers: `inputs.py` says how
operands, weights, classes and tokens come about, the docstrings of `kernels.py`, `models.py` and
`training.py` what is computed.
"""

from . import kernels, training  # which register the ops
from .case import OPS, TOLERANCE, Case, Workload
from .catalogue import CASES

__all__ = ["CASES", "OPS", "TOLERANCE", "Case", "Workload", "kernels", "training"]
