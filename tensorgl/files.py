"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from typing import Any

__all__ = ["read", "write_atomically"]


def write_atomically(target: Any, data: bytes) -> None:
    """Write bytes to a path, or to an object with `write`.

    A path gets a new file beside the old one, which takes its place when it is whole and on disk.
    """
    if hasattr(target, "write"):
        target.write(data)
        return
    path = os.path.realpath(os.fspath(target))
    handle, temporary = tempfile.mkstemp(
        dir=os.path.dirname(path), prefix=f".{os.path.basename(path)}."
    )
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            mode = os.stat(path).st_mode & 0o777
        except FileNotFoundError:
            umask = os.umask(0)
            os.umask(umask)
            mode = 0o666 & ~umask
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read(source: Any) -> bytes:
    """All bytes of a path, or of an object with `read`."""
    if hasattr(source, "read"):
        return source.read()
    with open(source, "rb") as file:
        return file.read()
