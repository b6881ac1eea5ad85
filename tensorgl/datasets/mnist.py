"""MNIST, from the official idx files or `mnist-10k.npz` in a folder; nothing is downloaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tensorgl.dtypes import float32
from tensorgl.errors import SerializationError
from tensorgl.tensor import Tensor
from tensorgl.utils.data import Dataset
from tensorgl.values import from_numpy

__all__ = ["MNIST"]


class MNIST(Dataset):
    """28 by 28 handwritten digits: item i is (image, float32 (1, 28, 28) in [0, 1], label).

    Args:
        root: the folder; default: what the environment variable TENSORGL_DATA names.
        train: the training part (60,000 images; 10,000 in mnist-10k.npz) or the test part (10,000).
        transform: applied to each image.
        target_transform: applied to each label.

    Raises:
        FileNotFoundError: neither form of the data set is in the folder.
        SerializationError: a file there is corrupt.

    Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", CC BY-SA 3.0.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        train: bool = True,
        transform: Callable[[Tensor], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
    ) -> None:
        folder = root if root is not None else os.environ.get("TENSORGL_DATA")
        images, labels = _read(Path(folder) if folder is not None else None, train)
        self.data, self.targets = from_numpy(images), from_numpy(labels.astype(np.int64))
        self.transform, self.target_transform = transform, target_transform

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image = self.data[index].to(float32).unsqueeze(0) / 255
        label: Any = int(self.targets[index])
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            label = self.target_transform(label)
        return image, label

    def take(self, indices: Sequence[int]) -> list[Tensor] | None:
        """A whole batch at once, where there is no transform."""
        if self.transform is not None or self.target_transform is not None:
            return None
        rows = list(indices)
        return [self.data[rows].to(float32).unsqueeze(1) / 255, self.targets[rows]]


def _read(folder: Path | None, train: bool) -> tuple[Any, Any]:
    part = "train" if train else "t10k"
    if folder is not None:
        for place in (folder, folder / "MNIST" / "raw"):
            images = _find(place, f"{part}-images-idx3-ubyte", f"{part}-images.idx3-ubyte")
            labels = _find(place, f"{part}-labels-idx1-ubyte", f"{part}-labels.idx1-ubyte")
            if images and labels:
                return _idx(images, (28, 28)), _idx(labels, ())
        packed = folder / "mnist-10k.npz"
        if packed.is_file():
            name = "train" if train else "test"
            with np.load(packed, allow_pickle=False) as arrays:
                return arrays[f"{name}_images"], arrays[f"{name}_labels"]
    raise FileNotFoundError(
        f"MNIST: found neither {part}-images-idx3-ubyte with {part}-labels-idx1-ubyte (plain or .gz) "
        f"nor mnist-10k.npz in {folder or 'any folder (none was given)'}. Download the official idx files "
        "(yann.lecun.com/exdb/mnist) into a folder, and give it as root or in the environment variable "
        "TENSORGL_DATA."
    )


def _find(folder: Path, *names: str) -> Path | None:
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    return None


def _idx(path: Path, item: tuple[int, ...]) -> Any:
    """An idx file of bytes: 0, 0, type 8, number of dims, the sizes big-endian, the values."""
    import gzip  # here, as it is slow to import and few need it

    raw = path.read_bytes()
    try:
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError) as error:
        raise SerializationError(f"{path}: not a gzip file, or truncated: {error}") from None
    ndim = 1 + len(item)
    if raw[:4] != bytes((0, 0, 8, ndim)):
        raise SerializationError(f"{path}: not an idx file of bytes in {ndim} dims")
    sizes = tuple(int.from_bytes(raw[4 + 4 * k : 8 + 4 * k], "big") for k in range(ndim))
    body = np.frombuffer(raw, np.uint8, offset=4 + 4 * ndim)
    if sizes[1:] != item or body.size != int(np.prod(sizes)):
        raise SerializationError(f"{path}: expected {sizes} bytes, the file holds {body.size}")
    return body.reshape(sizes).copy()
