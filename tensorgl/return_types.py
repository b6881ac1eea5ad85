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
    "linalg_eigh",
    "linalg_lstsq",
    "linalg_qr",
    "linalg_slogdet",
    "linalg_svd",
    "max",
    "median",
    "min",
    "mode",
    "nanmedian",
    "qr",
    "slogdet",
    "sort",
    "svd",
    "topk",
]

aminmax = namedtuple("aminmax", "min max")
cummax = namedtuple("cummax", "values indices")
cummin = namedtuple("cummin", "values indices")
histogram = namedtuple("histogram", "hist bin_edges")
kthvalue = namedtuple("kthvalue", "values indices")
linalg_eigh = namedtuple("linalg_eigh", "eigenvalues eigenvectors")
linalg_lstsq = namedtuple("linalg_lstsq", "solution residuals rank singular_values")
linalg_qr = namedtuple("linalg_qr", "Q R")
linalg_slogdet = namedtuple("linalg_slogdet", "sign logabsdet")
linalg_svd = namedtuple("linalg_svd", "U S Vh")
max = namedtuple("max", "values indices")
median = namedtuple("median", "values indices")
min = namedtuple("min", "values indices")
mode = namedtuple("mode", "values indices")
nanmedian = namedtuple("nanmedian", "values indices")
qr = namedtuple("qr", "Q R")
slogdet = namedtuple("slogdet", "sign logabsdet")
sort = namedtuple("sort", "values indices")
svd = namedtuple("svd", "U S V")
topk = namedtuple("topk", "values indices")
