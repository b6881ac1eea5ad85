"""How arrays become payloads: as they are, halved, in eight bits, or only the largest elements.

A flat array (a bucket of the model, or what a collective operation is about) travels in chunks of
1 MiB of float32, each encoded by itself, so that one that got lost or is late concerns no other.

    raw      the elements, little-endian
    float16  the elements; beyond its range, the largest that it has
    int8     a float32 scale for each block of 1024 elements, then an int8 for each element:
             element = int8 * scale, with scale = largest magnitude / 127, or 0
    topk     in pieces of 65536 elements, the 1 % of largest magnitude: a float32 scale a piece, then
             their uint16 indices in the piece, ascending, then their int8; all others are 0

The size of a payload follows from the count of its elements. A product of an int8 and a scale is
rounded to float32 once, and so is the same number on every machine and in JavaScript.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from tensorgl.distributed.wire import Codec, Dtype, ProtocolError

__all__ = [
    "CHUNK",
    "DTYPES",
    "Feedback",
    "chunk_sizes",
    "decode",
    "decode_bucket",
    "encode",
    "encode_bucket",
    "names",
    "size",
    "square",
    "weighted_sum",
]

Array: TypeAlias = np.ndarray[Any, Any]
Payload: TypeAlias = bytes | bytearray | memoryview

CHUNK = 1 << 18
"""Elements of a chunk of float32; of a dtype of eight bytes, half as many, as a frame has 1 MiB."""
DTYPES = {
    Dtype.FLOAT32: np.dtype("<f4"),
    Dtype.FLOAT64: np.dtype("<f8"),
    Dtype.INT32: np.dtype("<i4"),
    Dtype.INT64: np.dtype("<i8"),
}
_BLOCK = 1024
_PIECE = 1 << 16  # what uint16 can index; and the scratch memory for it stays in a core's cache
_TOGETHER = 8  # payloads that are summed in one product: their pieces stay in a core's cache, too
_FLOAT32 = DTYPES[Dtype.FLOAT32]
_TINY = np.finfo(np.float32).tiny
_LARGEST_HALF = float(np.finfo(np.float16).max)


def names() -> dict[str, Codec]:
    """The codecs by the names that settings and messages give them."""
    return {codec.name.lower(): codec for codec in Codec}


def chunk_sizes(elements: int, dtype: Dtype = Dtype.FLOAT32) -> list[int]:
    """How many elements each chunk of so many has."""
    whole = CHUNK * 4 // DTYPES[dtype].itemsize
    return [min(whole, elements - start) for start in range(0, elements, whole)]


def size(codec: Codec, elements: int, dtype: Dtype = Dtype.FLOAT32) -> int:
    """The bytes of a chunk's payload; codecs other than raw are for float32."""
    if codec is Codec.RAW:
        return elements * DTYPES[dtype].itemsize
    if codec is Codec.FLOAT16:
        return 2 * elements
    if codec is Codec.INT8:
        return 4 * _blocks(elements) + elements
    kept = _kept(elements)
    return 4 * len(kept) + 3 * sum(kept)


def encode(codec: Codec, values: Array) -> bytes:
    """The payload of a chunk of float32.

    What is not finite comes out as something that is not, which whoever receives it rejects; so may
    what is beyond 1e38.
    """
    if codec is Codec.RAW:
        return values.astype(_FLOAT32, copy=False).tobytes()
    with np.errstate(invalid="ignore", over="ignore"):
        if codec is Codec.FLOAT16:
            half = values.astype("<f2")
            over = np.isinf(half) & np.isfinite(values)
            half[over] = np.copysign(_LARGEST_HALF, values[over])
            return half.tobytes()
        return _int8(values) if codec is Codec.INT8 else _topk(values)


def decode(codec: Codec, payload: Payload, elements: int) -> Array:
    """The float32 values of a chunk's payload; raw ones share its memory.

    Raises:
        ProtocolError: it is no payload of so many elements.
    """
    pieces = _pieces(codec, payload, elements)
    if codec is Codec.RAW:
        return next(pieces)[1]
    values = np.empty(elements, np.float32)
    for start, piece in pieces:
        values[start : start + len(piece)] = piece
    return values


def weighted_sum(
    codec: Codec, payloads: Sequence[Payload], weights: Sequence[float] | Array, elements: int
) -> Array:
    """The sum of the values of payloads of one chunk, each times its weight.

    It is float64, or float32 where values have eight bits each.

    Raises:
        ProtocolError: one is no payload of so many elements.
    """
    if codec is Codec.INT8:
        return _weighted_sum_of_int8(payloads, weights, elements)
    total = np.zeros(elements, np.float64)
    scratch = np.empty(min(_PIECE, elements), np.float64)
    for payload, weight in zip(payloads, weights, strict=True):
        for start, piece in _pieces(codec, payload, elements):
            for at in range(0, len(piece), _PIECE):
                values = piece[at : at + _PIECE]
                product = scratch[: len(values)]
                np.copyto(product, values)
                product *= weight
                total[start + at : start + at + len(values)] += product
    return total


def square(codec: Codec, payload: Payload, elements: int) -> float:
    """The sum of the squares of a chunk's values; infinite or NaN if some are, or are beyond 1e19.

    Raises:
        ProtocolError: it is no payload of so many elements.
    """
    total = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        if codec is Codec.INT8:
            for _, rows, scales in _rows_of_int8(payload, elements):
                total += float(np.dot(np.vecdot(rows, rows), scales * scales))
        else:
            for _, piece in _pieces(codec, payload, elements):
                total += float(np.dot(piece, piece))
    return total


def encode_bucket(codec: Codec, values: Array) -> list[bytes]:
    """The payloads of the chunks of a flat float32 array."""
    return [encode(codec, values[at : at + CHUNK]) for at in range(0, len(values), CHUNK)]


def decode_bucket(codec: Codec, payloads: Sequence[Payload], elements: int) -> Array:
    """The float32 array of its chunks' payloads.

    Raises:
        ProtocolError: they are no payloads of so many elements.
    """
    sizes = chunk_sizes(elements)
    if len(payloads) != len(sizes):
        raise ProtocolError(f"{elements} elements have {len(sizes)} chunks, given {len(payloads)}")
    values = np.empty(elements, np.float32)
    for k, (payload, count) in enumerate(zip(payloads, sizes, strict=True)):
        values[k * CHUNK : k * CHUNK + count] = decode(codec, payload, count)
    return values


class Feedback:
    """What a codec has lost of a bucket so far, which is sent with what comes next.

    Source: Seide et al. 2014, "1-Bit Stochastic Gradient Descent"; Karimireddy et al. 2019, "Error
    Feedback Fixes SignSGD".
    """

    def __init__(self) -> None:
        self.residual: Array | None = None

    def encode(self, codec: Codec, values: Array) -> list[bytes]:
        """The payloads of `values` and the residual; what they lose is the residual from now on."""
        total = values if self.residual is None else values + self.residual
        payloads = encode_bucket(codec, total)
        if codec is Codec.RAW:
            self.residual = None
        elif (
            np.abs(total).max(initial=0) < 1e38
        ):  # if not, it is rejected, and must spoil nothing else
            self.residual = total - decode_bucket(codec, payloads, len(total))
        return payloads

    def add(self, values: Array) -> None:
        """What was sent (the payloads decoded) and was not counted: it comes with what is sent next.

        Not if it is not finite, as it would never count.
        """
        if np.isfinite(values).all():
            self.residual = values.copy() if self.residual is None else self.residual + values


def _blocks(elements: int) -> int:
    return -(-elements // _BLOCK)


def _kept(elements: int) -> list[int]:
    """How many elements topk keeps of each piece."""
    return [-(-min(_PIECE, elements - start) // 100) for start in range(0, elements, _PIECE)]


def _scaled(values: Array, scales: Array) -> Array:
    """Values divided by their scales and rounded; 0 where the scale is."""
    quotients = np.divide(values, np.where(scales == 0, np.float32(np.inf), scales))
    return np.rint(quotients, out=quotients)


def _scale(largest: Array) -> Array:
    """Those of magnitudes. Below float32's normal numbers there is not the precision for any: 0."""
    scales = largest / np.float32(127)
    return np.where(scales < _TINY, np.float32(0), scales)


def _int8(values: Array) -> bytes:
    n = len(values)
    payload = np.empty(size(Codec.INT8, n), np.uint8)
    scales = payload[: 4 * _blocks(n)].view(_FLOAT32)
    numbers = payload[4 * _blocks(n) :].view(np.int8)
    for start in range(0, n, _PIECE):
        piece = values[start : start + _PIECE]
        count = len(piece)
        if count % _BLOCK:
            piece = np.concatenate([piece, np.zeros(-count % _BLOCK, np.float32)])
        rows = piece.reshape(-1, _BLOCK)
        scale = _scale(np.maximum(rows.max(1), -rows.min(1)))
        scales[start // _BLOCK : start // _BLOCK + len(rows)] = scale
        numbers[start : start + count] = _scaled(rows, scale[:, None]).reshape(-1)[:count]
    return payload.tobytes()


def _topk(values: Array) -> bytes:
    scales: list[Any] = []
    indices: list[Array] = []
    numbers: list[Array] = []
    for start, k in zip(range(0, len(values), _PIECE), _kept(len(values)), strict=True):
        piece = values[start : start + _PIECE]
        sizes = np.abs(piece)
        # By a threshold, and of equal ones the first: which ones a partition puts first may be
        # another on another machine, and a hub must come to the same result after a restart.
        threshold = np.partition(sizes, -k)[-k]
        index = np.flatnonzero(sizes > threshold)
        equal = np.flatnonzero(sizes == threshold)[: k - len(index)]
        index = np.sort(np.concatenate([index, equal]))
        scale = _scale(sizes.max())
        if len(index) < k:  # there is a NaN, and so the scale is one
            index = np.arange(k)
        scales.append(scale)
        indices.append(index.astype("<u2"))
        numbers.append(_scaled(piece[index], scale).astype(np.int8))
    return b"".join(
        [np.array(scales, _FLOAT32).tobytes(), *(a.tobytes() for a in (*indices, *numbers))]
    )


def _pieces(codec: Codec, payload: Payload, elements: int) -> Iterator[tuple[int, Array]]:
    """The values of a chunk, in pieces, each with where it starts; the next may overwrite one."""
    _check_size(codec, payload, elements)
    if codec is Codec.RAW:
        yield 0, np.frombuffer(payload, _FLOAT32)
    elif codec is Codec.FLOAT16:
        halves = np.frombuffer(payload, "<f2")
        for start in range(0, elements, _PIECE):
            yield start, halves[start : start + _PIECE].astype(np.float32)
    elif codec is Codec.INT8:
        for start, rows, scales in _rows_of_int8(payload, elements):
            rows *= scales[:, None]
            yield start, rows.reshape(-1)[: elements - start]
    else:
        yield from _pieces_of_topk(payload, elements)


def _rows_of_int8(payload: Payload, elements: int) -> Iterator[tuple[int, Array, Array]]:
    """The numbers as float32, a row for each scale, with zeros after the last one; and the scales."""
    numbers, scales = _int8s(payload, elements)
    scratch = np.empty((min(_PIECE // _BLOCK, len(scales)), _BLOCK), np.float32)
    for start in range(0, elements, _PIECE):
        rows = _widened(numbers[start : start + _PIECE], scratch)
        yield start, rows, scales[start // _BLOCK :][: len(rows)]


def _weighted_sum_of_int8(
    payloads: Sequence[Payload], weights: Sequence[float] | Array, elements: int
) -> Array:
    """For each block a product of matrices: the scales times the weights by the numbers."""
    total = np.zeros((_blocks(elements), 1, _BLOCK), np.float32)
    scratch = np.empty((_TOGETHER, min(_PIECE // _BLOCK, len(total)), _BLOCK), np.float32)
    for first in range(0, len(payloads), _TOGETHER):
        some = [_int8s(payload, elements) for payload in payloads[first : first + _TOGETHER]]
        factors = np.stack([scales for _, scales in some], 1)[:, None]
        factors *= np.array(weights[first : first + _TOGETHER], np.float32)
        for start in range(0, elements, _PIECE):
            blocks = slice(start // _BLOCK, (start + _PIECE) // _BLOCK)
            out = total[blocks]
            for (numbers, _), rows in zip(some, scratch, strict=False):
                _widened(numbers[start : start + _PIECE], rows)
            out += factors[blocks] @ scratch[: len(some), : len(out)].transpose(1, 0, 2)
    return total.reshape(-1)[:elements]


def _int8s(payload: Payload, elements: int) -> tuple[Array, Array]:
    """The numbers, and the scale of each block of them."""
    _check_size(Codec.INT8, payload, elements)
    scales = _checked(np.frombuffer(payload, _FLOAT32, _blocks(elements)))
    return np.frombuffer(payload, np.int8, elements, 4 * len(scales)), scales


def _widened(numbers: Array, rows: Array) -> Array:
    """Numbers as float32 in the first of `rows`, one a block, with zeros after the last number."""
    rows = rows[: _blocks(len(numbers))]
    flat = rows.reshape(-1)
    np.copyto(flat[: len(numbers)], numbers)  # apart from a multiplication it takes less time
    flat[len(numbers) :] = 0
    return rows


def _pieces_of_topk(payload: Payload, elements: int) -> Iterator[tuple[int, Array]]:
    kept = _kept(elements)
    scales = _checked(np.frombuffer(payload, _FLOAT32, len(kept)))
    indices = np.frombuffer(payload, "<u2", sum(kept), 4 * len(kept))
    numbers = np.frombuffer(payload, np.int8, sum(kept), 4 * len(kept) + 2 * len(indices))
    at = 0
    for start, k, scale in zip(range(0, elements, _PIECE), kept, scales, strict=True):
        index = indices[at : at + k].astype(np.int64)
        values = np.zeros(min(_PIECE, elements - start), np.float32)
        if index[-1] >= len(values) or (np.diff(index) <= 0).any():
            raise ProtocolError("topk: the indices are not ascending, or beyond the end")
        values[index] = numbers[at : at + k] * scale
        at += k
        yield start, values


def _check_size(codec: Codec, payload: Payload, elements: int) -> None:
    expected = size(codec, elements)
    if len(payload) != expected:
        raise ProtocolError(
            f"{codec.name.lower()}: {elements} elements have {expected} bytes, given {len(payload)}"
        )


def _checked(scales: Array) -> Array:
    if not (np.isfinite(scales) & (scales >= 0)).all():
        raise ProtocolError("the scales are not all finite and positive or 0")
    return scales
