"""The exceptions that are tensorgl's own; everything else is the built-in type that PyTorch raises.

    RuntimeError
    ├── CaptureError          a step cannot be captured; the message says what in it prevents that
    ├── UnsupportedError      a backend cannot do this op with this dtype; the message names the remedy
    ├── ContextLostError      the browser took the GPU away; the message says what cannot be restored
    ├── OutOfMemoryError      a device has no memory left; the message says what is live
    ├── LinAlgError           a matrix is singular, or not positive definite
    └── SerializationError    a file is corrupt, truncated or not safe to read; nothing was written

This module imports nothing of tensorgl.
"""

__all__ = [
    "CaptureError",
    "ContextLostError",
    "LinAlgError",
    "OutOfMemoryError",
    "SerializationError",
    "UnsupportedError",
]


class CaptureError(RuntimeError):
    """A function given to `compile` does what a captured step cannot do."""


class ContextLostError(RuntimeError):
    """The browser took the GPU away, and what was on it could not be restored."""


class UnsupportedError(RuntimeError):
    """A backend has no kernel for this op and dtype."""


class OutOfMemoryError(RuntimeError):
    """A device has no memory left."""


class LinAlgError(RuntimeError):
    """A linear-algebra routine could not finish: singular, or not positive definite."""


class SerializationError(RuntimeError):
    """A file could not be read safely, or could not be written whole."""
