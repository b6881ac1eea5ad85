"""The handwritten digits that ship with the package."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from tensorgl.utils.data import TensorDataset
from tensorgl.values import from_numpy

__all__ = ["digits"]


def digits() -> TensorDataset:
    """1797 handwritten digits of 8 by 8 pixels.

    Returns:
        Images, float32 (1797, 1, 8, 8) in [0, 1], and labels, int64 (1797,).

    Source: UCI "Optical Recognition of Handwritten Digits", Alpaydin and Kaynak 1998, CC BY 4.0.
    """
    with (
        (files("tensorgl.datasets") / "digits-8x8.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        images = arrays["images"].astype(np.float32)[:, None] / np.float32(16)
        labels = arrays["labels"].astype(np.int64)
    return TensorDataset(from_numpy(images), from_numpy(labels))
