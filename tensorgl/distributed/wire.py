"""The bytes between a hub and its members: one WebSocket message is one frame, a header and a payload.

    offset  size  field        little-endian
         0     4  magic        "TGL1"
         4     1  version      of the protocol; any other is refused
         5     1  kind         a Kind
         6     2  flags        reserved, 0
         8     8  seq          of the sender; with the member's name it makes a contribution unique
        16     8  round        the round, or the version of the parameters, that it is about
        24     4  bucket       which part of the flat vector
        28     4  chunk        which part of the bucket
        32     4  chunks       how many parts there are; 0 in a message
        36     1  dtype        a Dtype, of what the payload decodes to
        37     1  codec        a Codec, of the payload
        38     2  reserved     0
        40     4  length       of the payload in bytes
        44     4  crc32        of the 44 bytes before it and of the payload

Kinds up to DATA are messages: a JSON object of at most 16 KiB, or 1 MiB for DEFINE, whose fields
messages.py lists. The others carry arrays, at most 1 MiB a frame. tests/distributed/golden.json holds
some of both, for those who write another end of it.

This module knows only bytes: standard library, no sockets, no arrays.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

__all__ = [
    "DATA",
    "HEADER",
    "LARGEST_DEFINITION",
    "LARGEST_MESSAGE",
    "LARGEST_PAYLOAD",
    "VERSION",
    "Codec",
    "Dtype",
    "Frame",
    "Kind",
    "ProtocolError",
    "checksum",
    "decode",
    "encode",
    "fingerprint",
]

VERSION = 1
LARGEST_PAYLOAD = 1 << 20
LARGEST_DEFINITION = 1 << 20
LARGEST_MESSAGE = 16 << 10
_MAGIC = b"TGL1"
_FIELDS = struct.Struct("<4sBBHQQIIIBBHI")
HEADER = _FIELDS.size + 4
DATA = 0x40


class ProtocolError(ValueError):
    """Bytes or messages that no sender of this protocol sends. The sender is told, and dropped."""


class Kind(IntEnum):
    """What a frame is. M: from a member, H: from the hub."""

    HELLO = 1  # M: who it is, and the token that lets it in; the first frame
    WELCOME = 2  # H: rank, settings, what is defined so far
    DEFINE = 3  # M: the model, the optimizer or the data set
    DEFINED = 4  # H: a definition is in force, from now on and for all
    READY = 5  # M: has the parameters of this version; counts from the next round on
    PULL = 6  # M: wants the parameters of now
    PARAMETERS = 7  # H: where those are
    ROUND = 8  # H: a round begins: its members and their shares of the data
    BEGIN = 9  # M: a contribution begins: to which round, of how many samples
    COMMIT = 10  # M: it is complete
    ACK = 11  # H: it is counted for good, or not and why
    CLOSED = 12  # H: the round is over and durable: new version, hash, who was counted
    CALL = 13  # M: a collective operation begins
    RETURN = 14  # H: one is complete, or failed
    HEARTBEAT = 16  # both: alive
    BYE = 17  # M: leaves
    ERROR = 18  # H: what was wrong; the connection closes
    UPLOAD = 19  # H: asks who defined the model for its first parameters
    SWAP = 20  # reserved for the asynchronous mode: a member's parameters for a peer's
    PEER = 21
    PART = DATA + 1  # M: an array of a contribution, of a definition or of a call
    RESULT = DATA + 2  # H: an array of a round's update, or of a call


class Dtype(IntEnum):
    """Of the array that a payload decodes to."""

    FLOAT32 = 1
    FLOAT64 = 2
    INT32 = 3
    INT64 = 4


class Codec(IntEnum):
    """How a payload holds its array; codecs.py has the formats."""

    RAW = 0  # little-endian
    FLOAT16 = 1
    INT8 = 2  # blocks of 1024, a scale each
    TOPK = 3


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of a WebSocket; `crc` is the checksum that came with it."""

    kind: Kind
    payload: bytes | memoryview = b""
    seq: int = 0
    round: int = 0
    bucket: int = 0
    chunk: int = 0
    chunks: int = 0
    dtype: Dtype = Dtype.FLOAT32
    codec: Codec = Codec.RAW
    crc: int = field(default=0, compare=False)


def checksum(data: bytes | memoryview) -> int:
    """That of a frame, as it is in its bytes."""
    return int.from_bytes(data[HEADER - 4 : HEADER], "little")


def fingerprint(checksums: Iterable[int]) -> str:
    """What COMMIT says of the frames of an array: 128 bits of their checksums, by bucket and chunk."""
    data = b"".join(crc.to_bytes(4, "little") for crc in checksums)
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _limit(kind: Kind) -> int:
    if kind > DATA:
        return LARGEST_PAYLOAD
    return LARGEST_DEFINITION if kind is Kind.DEFINE else LARGEST_MESSAGE


def encode(frame: Frame) -> bytes:
    """The bytes of a frame.

    Raises:
        ProtocolError: its payload is too long.
    """
    length = len(frame.payload)
    if length > _limit(frame.kind):
        raise ProtocolError(
            f"{frame.kind.name}: expected at most {_limit(frame.kind)} bytes of payload, given {length}"
        )
    head = _FIELDS.pack(
        _MAGIC, VERSION, frame.kind, 0, frame.seq, frame.round, frame.bucket, frame.chunk,
        frame.chunks, frame.dtype, frame.codec, 0, length,
    )  # fmt: skip
    crc = zlib.crc32(frame.payload, zlib.crc32(head))
    return b"".join((head, crc.to_bytes(4, "little"), frame.payload))


def decode(data: bytes | bytearray | memoryview) -> Frame:
    """The frame of some bytes; its payload is a view of them.

    Raises:
        ProtocolError: they are none. Nothing else is raised, whatever they are.
    """
    view = memoryview(data)
    if len(view) < HEADER:
        raise ProtocolError(f"a frame has at least {HEADER} bytes, given {len(view)}")
    magic, version, kind, flags, seq, round, bucket, chunk, chunks, dtype, codec, zero, length = (
        _FIELDS.unpack_from(view)
    )
    if magic != _MAGIC:
        raise ProtocolError("not a frame of tensorgl")
    if version != VERSION:
        raise ProtocolError(f"expected version {VERSION} of the protocol, given {version}")
    try:
        kind, dtype, codec = Kind(kind), Dtype(dtype), Codec(codec)
    except ValueError as error:
        raise ProtocolError(f"frame: {error}") from None
    if flags or zero:
        raise ProtocolError("frame: reserved bits are set")
    if length != len(view) - HEADER or length > _limit(kind):
        raise ProtocolError(f"{kind.name}: the length of the payload is wrong")
    if (chunk >= chunks) if kind > DATA else (bucket or chunk or chunks):
        raise ProtocolError(f"{kind.name}: expected a chunk below the count of them")
    payload = view[HEADER:]
    crc = checksum(view)
    if zlib.crc32(payload, zlib.crc32(view[: HEADER - 4])) != crc:
        raise ProtocolError(f"{kind.name}: the checksum is wrong")
    return Frame(kind, payload, seq, round, bucket, chunk, chunks, dtype, codec, crc)
