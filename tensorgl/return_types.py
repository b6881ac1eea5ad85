"""Named tuples that ops of several results return, under PyTorch's names: `return_types.max`.

Knows nothing of tensors.
"""

from __future__ import annotations

from collections import namedtuple

__all__ = [
    "aminmax",
    "cummax",
    "cummin",
    "histogram",
    "kthvalue",
    "max",
    "median",
    "min",
    "mode",
    "nanmedian",
    "sort",
    "topk",
]

aminmax = namedtuple("aminmax", "min max")
cummax = namedtuple("cummax", "values indices")
cummin = namedtuple("cummin", "values indices")
histogram = namedtuple("histogram", "hist bin_edges")
kthvalue = namedtuple("kthvalue", "values indices")
max = namedtuple("max", "values indices")
median = namedtuple("median", "values indices")
min = namedtuple("min", "values indices")
mode = namedtuple("mode", "values indices")
nanmedian = namedtuple("nanmedian", "values indices")
sort = namedtuple("sort", "values indices")
topk = namedtuple("topk", "values indices")
