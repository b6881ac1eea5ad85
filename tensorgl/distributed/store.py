"""The files of a hub: a log of what was decided, and checkpoints that make it short.

    lock                 held by the hub that runs here; says its process and its address
    log-<n>.tgl          records, each on the disk before anybody is told what it says
    checkpoint-<n>.tgl   one record: the state where log n begins

A record is a JSON object and arrays:

    offset  size  field            little-endian
         0     8  magic            "TGLREC01"
         8     4  length of JSON   of {"header": …, "arrays": [[dtype, shape], …]}
        12     8  length of arrays
        20     4  crc32            of the 20 bytes before it
        24     4  crc32            of the 24 bytes before it, the JSON and the arrays
        28        the JSON, then the arrays, little-endian

State is the newest checkpoint that can be read, and all that the logs from its number on say. Only the
end of the last log can be torn, by a hub that died while it wrote there, and nobody was told of that.
The last two checkpoints are kept, with the logs after them: should one be damaged, the other serves.

This module does not know what records mean. It knows files and numpy.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import struct
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tensorgl.distributed.faults import fail_point
from tensorgl.errors import SerializationError

__all__ = ["Record", "Store"]

Record: TypeAlias = tuple[dict[str, Any], list["np.ndarray"]]
"""What was given to append or checkpoint: header and arrays."""

_MAGIC = b"TGLREC01"
_LENGTHS = struct.Struct("<8sIQ")
_HEAD = _LENGTHS.size + 4 + 4
_DTYPES = frozenset({"<f4", "<f8", "<i4", "<i8", "|i1", "|u1", "|b1"})
_NAME = re.compile(r"(log|checkpoint)-(\d{1,9})\.tgl")
_logger = logging.getLogger("tensorgl.distributed")


class Store:
    """The files of one run, in a directory that exists. `recover` comes before all else.

    Raises:
        RuntimeError: another hub runs on the directory.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        self.log_bytes = 0
        self._lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        self._log = -1
        self._number = self._kept = 0  # of the log that is written, of the checkpoint before it
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            other = os.read(self._lock, 1000).decode(errors="replace") or "of unknown address"
            os.close(self._lock)
            raise RuntimeError(
                f"{self.directory}: another hub runs on this directory: {other}"
            ) from None

    def tell(self, text: str) -> None:
        """Write something about this hub into the lock file, for `told`."""
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, text.encode(), 0)

    @staticmethod
    def told(directory: str | os.PathLike[str]) -> str:
        """What the hub that runs on a directory has told; "" if none runs there."""
        try:
            with open(Path(directory) / "lock", "r+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError:
                    return file.read()
        except FileNotFoundError:
            pass
        return ""

    def recover(self) -> tuple[Record | None, list[Record]]:
        """The checkpoint to begin with, if there is one, and the records after it.

        A torn record at the end is cut off.

        Raises:
            SerializationError: a file is damaged, or missing.
        """
        names = self._names()
        state, self._kept = self._newest(sorted(names["checkpoint"], reverse=True))
        logs = [n for n in sorted(names["log"]) if n >= self._kept]
        if (logs or state) and logs != list(range(self._kept, self._kept + max(1, len(logs)))):
            raise SerializationError(
                f"{self.directory}: expected log-{self._kept}.tgl and those that follow it, "
                f"found {logs}; put back what is missing"
            )
        records: list[Record] = []
        for number in logs:
            records += self._records(number, number == logs[-1])
        self._begin(logs[-1] if logs else 0)
        return state, records

    def append(self, header: dict[str, Any], arrays: Sequence[np.ndarray]) -> None:
        """Add a record to the log; it is on the disk when this returns.

        Raises:
            SerializationError: it could not be written. Nothing more may be; the next start of a hub
                cuts off what was.
        """
        try:
            self.log_bytes += _write(self._log, _pieces(header, arrays), "torn-log")
            os.fsync(self._log)
        except OSError as error:
            raise self._failed(f"log-{self._number}.tgl", error) from error

    def checkpoint(self, header: dict[str, Any], arrays: Sequence[np.ndarray]) -> None:
        """Write down the state, and begin a new log. Old files go.

        Raises:
            SerializationError: it could not be written; the log goes on, and it may be tried again.
        """
        number = self._number + 1
        path = self._path("checkpoint", number)
        temporary = path.with_suffix(".tmp")
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                _write(handle, _pieces(header, arrays), "mid-checkpoint")
                os.fsync(handle)
            finally:
                os.close(handle)
            self._begin(number)  # its log is there before it is
            os.rename(temporary, path)
            self._sync()
            fail_point("after-rename")
            before, self._kept = self._kept, number
            names = self._names()
            for old in names["checkpoint"] - {before, number}:
                self._path("checkpoint", old).unlink()
            for old in names["log"]:
                if old < before:
                    self._path("log", old).unlink()
        except OSError as error:
            raise self._failed(path.name, error) from error

    def close(self) -> None:
        """Let go of the files; another hub may run here."""
        for handle in (self._log, self._lock):
            if handle >= 0:
                os.close(handle)
        self._log = self._lock = -1

    def _path(self, kind: str, number: int) -> Path:
        return self.directory / f"{kind}-{number}.tgl"

    def _names(self) -> dict[str, set[int]]:
        names: dict[str, set[int]] = {"log": set(), "checkpoint": set()}
        for path in self.directory.iterdir():
            if match := _NAME.fullmatch(path.name):
                names[match[1]].add(int(match[2]))
        return names

    def _newest(self, numbers: list[int]) -> tuple[Record | None, int]:
        for number in numbers:
            path = self._path("checkpoint", number)
            try:
                record, end = _read(path, path.read_bytes(), 0)
                if end != path.stat().st_size:
                    raise SerializationError(f"{path}: something follows the record")
                return record, number
            except SerializationError as error:
                _logger.warning("%s; the one before it is taken", error)
        if numbers and not self._path("log", 0).exists():
            raise SerializationError(f"{self.directory}: no checkpoint can be read")
        return None, 0

    def _records(self, number: int, last: bool) -> list[Record]:
        path = self._path("log", number)
        data = path.read_bytes()
        records: list[Record] = []
        at = 0
        while at < len(data):
            try:
                record, at = _read(path, data, at)
            except SerializationError:
                if not last or _follows(data, at + 1):
                    raise
                with open(path, "r+b") as file:
                    file.truncate(at)
                    os.fsync(file.fileno())
                _logger.warning("%s: cut off a torn record of %d bytes", path, len(data) - at)
                break
            records.append(record)
        return records

    def _begin(self, number: int) -> None:
        """Write this log from now on."""
        path = self._path("log", number)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._sync()
            size = os.fstat(handle).st_size
        except OSError:
            os.close(handle)
            if self._log >= 0:
                path.unlink()  # the log before is the last one still
            raise
        if self._log >= 0:
            os.close(self._log)
        self._log, self._number, self.log_bytes = handle, number, size

    def _sync(self) -> None:
        """Make the names of files durable."""
        handle = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _failed(self, name: str, error: OSError) -> SerializationError:
        return SerializationError(
            f"{self.directory / name}: could not be written whole: {error.strerror}; make room or "
            "mend the disk, then start the hub again"
        )


def _pieces(header: dict[str, Any], arrays: Sequence[np.ndarray]) -> list[bytes | memoryview]:
    """The bytes of a record."""
    whole = [np.ascontiguousarray(a, a.dtype.newbyteorder("<")) for a in arrays]
    kinds = [[a.dtype.str, list(a.shape)] for a in arrays]
    assert all(kind in _DTYPES for kind, _ in kinds), kinds
    text = json.dumps(
        {"header": header, "arrays": kinds}, separators=(",", ":"), allow_nan=False
    ).encode()
    head = _LENGTHS.pack(_MAGIC, len(text), sum(a.nbytes for a in whole))
    head += zlib.crc32(head).to_bytes(4, "little")
    body: list[bytes | memoryview] = [
        text,
        *(a.reshape(-1).view(np.uint8).data for a in whole if a.size),
    ]
    return [head + _sum([head, *body]), *body]


def _sum(pieces: Iterable[bytes | memoryview]) -> bytes:
    """Against torn and worn bytes; the hash of the parameters, which a replay compares, is stronger."""
    crc = 0
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
    return crc.to_bytes(4, "little")


def _write(handle: int, pieces: list[bytes | memoryview], point: str) -> int:
    """Write a record; a fail point lies in its middle."""
    for k, piece in enumerate(pieces):
        if k == (len(pieces) + 1) // 2:
            fail_point(point)
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(handle, rest) :]
    return sum(map(len, pieces))


def _lengths(data: bytes, at: int) -> tuple[int, int] | None:
    """Of JSON and arrays, if a record's head is there."""
    head = data[at : at + _LENGTHS.size + 4]
    if len(head) < _LENGTHS.size + 4 or not head.startswith(_MAGIC):
        return None
    if zlib.crc32(head[:-4]) != int.from_bytes(head[-4:], "little"):
        return None
    return _LENGTHS.unpack_from(head)[1:]


def _follows(data: bytes, at: int) -> bool:
    """Whether a record begins somewhere from `at` on."""
    while (at := data.find(_MAGIC, at)) >= 0:
        if _lengths(data, at):
            return True
        at += 1
    return False


def _read(path: Path, data: bytes, at: int) -> tuple[Record, int]:
    """The record at an offset, and where it ends."""
    lengths = _lengths(data, at)
    start = at + _HEAD
    end = start + sum(lengths) if lengths else 0
    view = memoryview(data)
    if not lengths or len(data) < end:
        raise SerializationError(f"{path}: expected a whole record at byte {at}")
    if _sum([view[at : start - 4], view[start:end]]) != view[start - 4 : start]:
        raise SerializationError(f"{path}: the record at byte {at} is damaged")
    with contextlib.suppress(KeyError, TypeError, ValueError):
        content = json.loads(data[start : start + lengths[0]])
        arrays: list[np.ndarray] = []
        at = start + lengths[0]
        for kind, shape in content["arrays"]:
            count = int(np.prod(shape, dtype=np.int64))
            dtype = np.dtype(kind if kind in _DTYPES else "")
            arrays.append(np.frombuffer(data, dtype, count, at).reshape(shape).copy())
            at += arrays[-1].nbytes
        return (content["header"], arrays), end
    raise SerializationError(f"{path}: what the record at byte {start - _HEAD} holds is malformed")
