"""The parameters as all members of a run have them: one flat vector, and what changes it.

A member never computes the new parameters, it takes them over: the hub sends what each round changes,
and which of what it has sent is valid; a hash tells that the vector is the same bit for bit everywhere.
This module knows arrays and frames, and no connection.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np

from tensorgl.distributed.codecs import chunk_sizes, decode
from tensorgl.distributed.wire import Codec, Frame, ProtocolError

__all__ = ["View", "hash_of"]

Array: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]


def hash_of(data: bytes | memoryview) -> str:
    """128 bits that tell parameters apart."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


class View:
    """A flat float32 vector in buckets.

    Args:
        sizes: elements of each bucket, in the order of the vector.

    Attributes:
        values: the vector.
        version: how many rounds have changed it; -1 while there is none.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.starts = [0, *accumulate(sizes)]
        self.values: Array = np.zeros(self.starts[-1], np.float32)
        self.version = -1
        self._results: dict[tuple[int, int, int], dict[int, Frame]] = {}  # round, bucket, attempt

    def bucket(self, number: int, values: Array | None = None) -> Array:
        """The slice of a bucket, of this vector or of another one like it."""
        whole = self.values if values is None else values
        return whole[self.starts[number] : self.starts[number + 1]]

    def buckets(self, values: Array) -> list[Array]:
        """All slices of a vector like this one."""
        return [self.bucket(number, values) for number in range(len(self.starts) - 1)]

    def result(self, frame: Frame) -> None:
        """Keep a RESULT of a round until that is over."""
        if frame.round > self.version:
            key = frame.round, frame.bucket, frame.seq
            self._results.setdefault(key, {})[frame.chunk] = frame

    def replace(self, version: int, data: bytes) -> None:
        """Take over all parameters, as raw bytes."""
        if len(data) != self.values.nbytes:
            raise ProtocolError(
                f"expected parameters of {self.values.nbytes} bytes, given {len(data)}"
            )
        self.values = np.frombuffer(data, "<f4").astype(np.float32)
        self._at(version)

    def close(self, version: int, attempts: Sequence[int], hash: str) -> bool:
        """Apply the results of a round, which is over.

        Returns:
            Whether these are the parameters of `version` now. If not, they have to be replaced.
        """
        valid = [*attempts, *[0] * (len(self.starts) - 1 - len(attempts))]
        chunks = [self._results.get((version, b, attempt)) for b, attempt in enumerate(valid)]
        if version != self.version + 1 or not all(
            c and len(c) == len(chunk_sizes(len(self.bucket(b)))) for b, c in enumerate(chunks)
        ):
            return False
        for number, frames in enumerate(chunks):
            start = self.starts[number]
            count = chunk_sizes(len(self.bucket(number)))
            for chunk, elements in enumerate(count):
                assert frames
                frame = frames[chunk]
                values = decode(frame.codec, frame.payload, elements)
                target = self.values[start : start + elements]
                if frame.codec is Codec.RAW:
                    target[:] = values
                else:  # the difference to what everybody has
                    target += values
                start += elements
        self._at(version)
        return hash_of(self.values.astype("<f4", copy=False).data) == hash

    def _at(self, version: int) -> None:
        self.version = version
        self._results = {key: f for key, f in self._results.items() if key[0] > version}
