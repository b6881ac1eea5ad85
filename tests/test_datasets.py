"""The data sets."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

import tensorgl as tg
from tensorgl.datasets import MNIST, digits
from tensorgl.errors import SerializationError


def test_digits() -> None:
    images, labels = digits().tensors
    assert (images.shape, images.dtype) == ((1797, 1, 8, 8), tg.float32)
    assert (labels.shape, labels.dtype) == ((1797,), tg.int64)
    assert (images.min().item(), images.max().item()) == (0, 1)
    assert np.bincount(labels.numpy()).tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]


def write_idx(
    folder: Path, part: str, images: np.ndarray, labels: np.ndarray, zipped: bool
) -> None:
    def head(array: np.ndarray) -> bytes:
        sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
        return bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes()

    for name, array in (
        (f"{part}-images-idx3-ubyte", images),
        (f"{part}-labels-idx1-ubyte", labels),
    ):
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(head(array)))
        else:
            (folder / name).write_bytes(head(array))


IMAGES = np.arange(3 * 28 * 28, dtype=np.int64).reshape(3, 28, 28).astype(np.uint8)
LABELS = np.array([7, 2, 1], np.uint8)


@pytest.mark.parametrize("zipped", [True, False])
def test_mnist_from_idx_files(tmp_path: Path, zipped: bool) -> None:
    write_idx(tmp_path, "t10k", IMAGES, LABELS, zipped)
    data = MNIST(tmp_path, train=False)
    image, label = data[1]
    assert (len(data), label, image.shape) == (3, 2, (1, 28, 28))
    np.testing.assert_allclose(image.numpy()[0], IMAGES[1] / 255, rtol=1e-6)
    batch, labels = next(iter(tg.utils.data.DataLoader(data, 2)))
    assert (batch.shape, labels.tolist()) == ((2, 1, 28, 28), [7, 2])
    flipped = MNIST(tmp_path, False, lambda x: 1 - x, lambda y: -y)
    assert flipped[0][1] == -7
    np.testing.assert_allclose(flipped[0][0].numpy(), 1 - data[0][0].numpy(), rtol=1e-6)


def test_mnist_from_the_packed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(
        tmp_path / "mnist-10k.npz",
        train_images=IMAGES,
        train_labels=LABELS,
        test_images=IMAGES[:1],
        test_labels=LABELS[:1],
    )
    monkeypatch.setenv("TENSORGL_DATA", str(tmp_path))
    assert (len(MNIST()), len(MNIST(train=False))) == (3, 1)


def test_mnist_says_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENSORGL_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="TENSORGL_DATA"):
        MNIST()
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
        MNIST(tmp_path)


def test_mnist_refuses_a_damaged_file(tmp_path: Path) -> None:
    write_idx(tmp_path, "train", IMAGES, LABELS, zipped=False)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(SerializationError, match="expected"):
        MNIST(tmp_path)
