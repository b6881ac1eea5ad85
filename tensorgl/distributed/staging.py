"""Arrays that members are sending: contributions, first parameters, and what collectives are about.

Whatever comes in is checked against what was announced before it is kept, and room for all of it is
reserved at once, so that a hub's memory is bounded whatever its members send. Payloads stay as they
came, encoded; a member and its number (seq) name them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import isfinite, sqrt

from tensorgl.distributed.codecs import chunk_sizes, decode_bucket, size, square
from tensorgl.distributed.rules import Norms
from tensorgl.distributed.statistics import Statistics, bucket_codecs, unsound
from tensorgl.distributed.wire import Codec, Dtype, Frame, ProtocolError, fingerprint

__all__ = ["BusyError", "Staging"]

_OVERHEAD = 512  # bytes that a chunk takes beside its payload


class BusyError(ProtocolError):
    """There is no memory for it now.

    Attributes:
        room: bytes that it takes.
    """

    def __init__(self, room: int, reserved: int, limit: int) -> None:
        super().__init__(
            f"no memory for {room} bytes: {reserved} of {limit} are taken; try again later"
        )
        self.room = room


@dataclass(slots=True)
class _Arrays:
    codecs: list[Codec]  # of each bucket
    dtype: Dtype
    norms: Statistics  # the last bucket is theirs
    chunks: list[list[int]]  # elements of each, by bucket
    first: list[int]  # where a bucket's chunks begin among all
    room: int
    payloads: list[memoryview | None]
    missing: list[int]  # chunks of each bucket
    checksums: list[int]  # of the frames that they came in
    lengths: dict[int, float] = field(default_factory=dict[int, float])  # of checked buckets


class Staging:
    """What is being received, of all members.

    Args:
        limit_bytes: of all payloads together.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.reserved = 0
        self._arrays: dict[tuple[str, int], _Arrays] = {}
        self._norms = Norms()

    def open(
        self,
        member: str,
        seq: int,
        sizes: Sequence[int],
        codec: Codec,
        dtype: Dtype = Dtype.FLOAT32,
        norms: Statistics = (),
    ) -> None:
        """Expect arrays of these sizes, in place of what was received under this name.

        With `norms` the last one is of their statistics, which are of no codec.

        Raises:
            BusyError: there is no room for them.
            ProtocolError: the codec is not for the dtype.
        """
        if codec is not Codec.RAW and dtype is not Dtype.FLOAT32:
            raise ProtocolError(f"{codec.name.lower()} is for float32, given {dtype.name.lower()}")
        self.discard(member, seq)
        chunks = [chunk_sizes(elements, dtype) for elements in sizes]
        codecs = bucket_codecs(norms, len(chunks), codec)
        room = sum(
            _OVERHEAD + size(codec, n, dtype)
            for codec, bucket in zip(codecs, chunks, strict=True)
            for n in bucket
        )
        if self.reserved + room > self.limit_bytes:
            raise BusyError(room, self.reserved, self.limit_bytes)
        self.reserved += room
        counts = [len(bucket) for bucket in chunks]
        first = [0, *accumulate(counts)]
        payloads: list[memoryview | None] = [None] * first[-1]
        self._arrays[member, seq] = _Arrays(
            codecs, dtype, norms, chunks, first, room, payloads, counts, [0] * first[-1]
        )  # fmt: skip

    def put(self, member: str, frame: Frame) -> int | None:
        """Take a PART in.

        Returns:
            The bucket that is whole with it, or None; None, too, if nothing such is expected any more.

        Raises:
            ProtocolError: it is not a part of what is expected, or another than it was before.
        """
        arrays = self._arrays.get((member, frame.seq))
        if arrays is None:
            return None
        bucket, chunk = frame.bucket, frame.chunk
        if bucket >= len(arrays.chunks) or frame.chunks != len(arrays.chunks[bucket]):
            raise ProtocolError(f"PART: bucket {bucket} of {frame.chunks} chunks is not expected")
        codec = arrays.codecs[bucket]
        if frame.codec is not codec or frame.dtype is not arrays.dtype:
            raise ProtocolError(
                f"PART: expected {codec.name} of {arrays.dtype.name}, "
                f"given {frame.codec.name} of {frame.dtype.name}"
            )
        expected = size(codec, arrays.chunks[bucket][chunk], arrays.dtype)
        if len(frame.payload) != expected:
            raise ProtocolError(f"PART: expected {expected} bytes, given {len(frame.payload)}")
        at = arrays.first[bucket] + chunk
        before = arrays.payloads[at]
        if before is not None:
            if before != frame.payload:
                raise ProtocolError("PART: it was sent before, with another payload")
            return None
        arrays.payloads[at] = memoryview(frame.payload)
        arrays.missing[bucket] -= 1
        arrays.checksums[at] = frame.crc
        return None if arrays.missing[bucket] else bucket

    def taken(self, by: Callable[[str, int], bool]) -> int:
        """Bytes reserved for those arrays whose member and number satisfy something."""
        return sum(arrays.room for name, arrays in self._arrays.items() if by(*name))

    def check(self, member: str, seq: int, bucket: int) -> tuple[str, bool]:
        """Why a whole bucket is not sound, or "" if it is: finite numbers of a credible size.

        It and `learn` may be called in another thread than all else.

        Returns:
            The reason, and whether no honest member sends such: a large norm may have other causes.

        Raises:
            KeyError: it is not there any more, or not whole.
        """
        arrays = self._arrays[member, seq]
        payloads, codec = _whole(arrays, bucket), arrays.codecs[bucket]
        if arrays.norms and bucket == len(arrays.chunks) - 1:
            values = decode_bucket(codec, payloads, sum(arrays.chunks[bucket]))
            return unsound(arrays.norms, values), True
        total = 0.0
        try:
            for payload, n in zip(payloads, arrays.chunks[bucket], strict=True):
                total += square(codec, payload, n)
        except ProtocolError as error:
            return f"bucket {bucket}: {error}", True
        norm = sqrt(total)
        if not isfinite(norm):
            return f"bucket {bucket}: not all numbers are finite", True
        arrays.lengths[bucket] = norm
        return self._norms.check(bucket, norm), False

    def learn(self, contributions: Sequence[tuple[str, int]]) -> None:
        """A round is over that counted these, by member and number; what is credible follows them."""
        norms: dict[int, list[float]] = {}
        for name in contributions:
            for bucket, norm in self._arrays[name].lengths.items():
                norms.setdefault(bucket, []).append(norm)
        for bucket, row in norms.items():
            self._norms.learn(bucket, row)

    def finish(self, member: str, seq: int, digest: str) -> None:
        """All of it was sent, says the member.

        Raises:
            ProtocolError: parts are missing, or are not those that the digest (wire.fingerprint) is of.
        """
        arrays = self._arrays.get((member, seq))
        if arrays is None:
            return
        if any(arrays.missing):
            raise ProtocolError("COMMIT: parts are missing")
        if fingerprint(arrays.checksums) != digest:
            raise ProtocolError("COMMIT: the digest is another one than that of what came in")

    def discard(self, member: str, seq: int) -> None:
        """Forget what was received of it."""
        arrays = self._arrays.pop((member, seq), None)
        if arrays:
            self.reserved -= arrays.room

    def chunks(self, member: str, seq: int, bucket: int) -> list[memoryview]:
        """The payloads of a whole bucket.

        Raises:
            KeyError: it is not there, or not whole.
        """
        return _whole(self._arrays[member, seq], bucket)


def _whole(arrays: _Arrays, bucket: int) -> list[memoryview]:
    payloads = arrays.payloads[arrays.first[bucket] : arrays.first[bucket + 1]]
    whole = [payload for payload in payloads if payload is not None]
    if len(whole) != len(payloads):
        raise KeyError(f"bucket {bucket} is not whole")
    return whole
