"""Showing pictures: in the page that runs the script, or natively with matplotlib.

Knows nothing of pages: who hosts Python says by `viewer` where pictures go.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tensorgl.tensor import Tensor

__all__ = ["png", "show"]

viewer: Callable[[bytes, str], None] | None = None
"""Takes the bytes of a PNG file and its title; None where Python runs natively."""

_CHANNELS = (1, 3, 4)
_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}


def show(image: Any, title: str | None = None) -> None:
    """Show a picture: on the page in a browser, natively in matplotlib's window.

    Where matplotlib draws to files only, the picture is saved in the working folder and its name is
    printed.

    Args:
        image: A tensor or an array of shape (H, W), (C, H, W) or (H, W, C), of 1, 3 or 4 channels; a
            picture of PIL; a figure of matplotlib. Floats mean 0 to 1 and integers 0 to 255; what is
            beyond is clipped. Where channels could be first or last, they are first in a tensor and
            last in an array, as torchvision and matplotlib have them.
        title: What to call it.

    Raises:
        TypeError: it is none of these.
        ValueError: it has another shape, or no pixels.
        ModuleNotFoundError: natively, matplotlib is not installed.
    """
    data = png(image)
    if viewer is not None:
        viewer(data, title or "")
    else:
        _native(data, title)


def png(image: Any) -> bytes:
    """A picture as a PNG file; `show` says what it may be and what is raised."""
    if hasattr(image, "savefig"):
        file = io.BytesIO()
        image.savefig(file, format="png")
        return file.getvalue()
    if isinstance(image, Tensor):
        return _encode(_pixels(image.detach().cpu().numpy(), first=True))
    if isinstance(image, np.ndarray):
        return _encode(_pixels(image, first=False))
    if hasattr(image, "convert") and hasattr(image, "mode"):
        file = io.BytesIO()
        image.save(file, format="png")
        return file.getvalue()
    raise TypeError(
        "show: expected a tensor, a numpy array, a picture of PIL or a figure of matplotlib, given "
        f"{type(image).__name__}"
    )


def _pixels(values: np.ndarray[Any, Any], first: bool) -> np.ndarray[Any, Any]:
    """Values as bytes of shape (H, W, C)."""
    shape = values.shape
    if values.ndim == 2:
        values = values[:, :, None]
    elif values.ndim != 3 or not (shape[0] in _CHANNELS or shape[2] in _CHANNELS):
        raise ValueError(
            "show: expected shape (H, W), (C, H, W) or (H, W, C) with 1, 3 or 4 channels, given "
            f"{tuple(shape)}; show one picture of a batch at a time"
        )
    elif shape[0] in _CHANNELS and (first or shape[2] not in _CHANNELS):
        values = values.transpose(1, 2, 0)
    if not values.size:
        raise ValueError(f"show: expected a picture with pixels, given shape {tuple(shape)}")
    if values.dtype == bool:
        return values * np.uint8(255)
    if np.issubdtype(values.dtype, np.integer):
        return values.clip(0, 255).astype(np.uint8)
    if np.issubdtype(values.dtype, np.floating):
        return (np.nan_to_num(values, nan=0.0).clip(0, 1) * 255 + 0.5).astype(np.uint8)
    raise TypeError(f"show: expected floats, integers or bools, given {values.dtype}")


def _encode(pixels: np.ndarray[Any, Any]) -> bytes:
    """Bytes of shape (H, W, C) as a PNG file.

    Source: Portable Network Graphics (PNG) Specification, third edition, sections 5, 9.2 and 11.2.
    """
    height, width, channels = pixels.shape
    rows = np.zeros(
        (height, 1 + width * channels), np.uint8
    )  # each begins with filter type 0: none
    rows[:, 1:] = pixels.reshape(height, -1)

    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows.tobytes(), 6))
        + chunk(b"IEND", b"")
    )


def _native(data: bytes, title: str | None) -> None:
    try:
        import matplotlib
        import matplotlib.pyplot as plt
    except ModuleNotFoundError as missing:
        if missing.name != "matplotlib":
            raise
        raise ModuleNotFoundError(
            "show: opening a picture needs matplotlib; install it with `pip install matplotlib`",
            name="matplotlib",
        ) from None
    if matplotlib.get_backend().lower() in _file_backends():
        path = _unused(title or "image")
        path.write_bytes(data)
        print(f"picture: {path}")
        return
    figure, axes = plt.subplots()
    axes.imshow(plt.imread(io.BytesIO(data)), cmap="gray", vmin=0, vmax=1)
    axes.set_axis_off()
    axes.set_title(title or "")
    plt.show()
    plt.close(figure)


def _file_backends() -> list[str]:
    from matplotlib.backends.registry import BackendFilter, backend_registry

    return [b.lower() for b in backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE)]


def _unused(title: str) -> Path:
    """The name of a file that is not there yet."""
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in title).strip("-") or "image"
    path, k = Path(f"{name}.png"), 1
    while path.exists():
        path, k = Path(f"{name}-{k}.png"), k + 1
    return path
