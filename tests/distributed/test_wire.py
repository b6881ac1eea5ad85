"""Frames: what is written is read back, what was changed is refused, and the bytes are the golden ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorgl.distributed import wire
from tensorgl.distributed.wire import Codec, Dtype, Frame, Kind, ProtocolError

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("golden.json").read_text())


def frames() -> st.SearchStrategy[Frame]:
    number = st.integers(0, 2**32 - 1)

    def build(kind: Kind, payload: bytes, seq: int, round: int, rest: Any) -> Frame:
        bucket, chunk, chunks, dtype, codec = rest
        if kind <= wire.DATA:
            bucket = chunk = chunks = 0
        else:
            chunks = max(chunks, 1)
            chunk %= chunks
        return Frame(kind, payload, seq, round, bucket, chunk, chunks, dtype, codec)

    return st.builds(
        build,
        st.sampled_from(Kind),
        st.binary(max_size=100),
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**64 - 1),
        st.tuples(number, number, number, st.sampled_from(Dtype), st.sampled_from(Codec)),
    )


@given(frames())
def test_what_is_written_is_read_back(frame: Frame) -> None:
    data = wire.encode(frame)
    assert len(data) == wire.HEADER + len(frame.payload)
    assert wire.decode(data) == frame
    assert wire.decode(memoryview(bytearray(data))) == frame


@given(frames(), st.data())
def test_a_changed_bit_is_noticed(frame: Frame, data: st.DataObject) -> None:
    changed = bytearray(wire.encode(frame))
    bit = data.draw(st.integers(0, 8 * len(changed) - 1))
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ProtocolError):
        wire.decode(changed)


@given(frames(), st.data())
def test_a_part_of_a_frame_is_none(frame: Frame, data: st.DataObject) -> None:
    whole = wire.encode(frame)
    with pytest.raises(ProtocolError):
        wire.decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


@pytest.mark.parametrize("entry", GOLDEN["frames"], ids=lambda e: e["kind"] + str(e["seq"]))
def test_golden_frames(entry: dict[str, Any]) -> None:
    frame = Frame(
        Kind[entry["kind"]],
        bytes.fromhex(entry["payload"]),
        *(entry[name] for name in ("seq", "round", "bucket", "chunk", "chunks")),
        Dtype[entry["dtype"]],
        Codec[entry["codec"]],
    )
    data = bytes.fromhex(entry["bytes"])
    assert wire.encode(frame) == data
    assert wire.decode(data) == frame


@pytest.mark.parametrize("entry", GOLDEN["refused"], ids=lambda e: e["why"])
def test_refused_frames(entry: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        wire.decode(bytes.fromhex(entry["bytes"]))


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        (Kind.HELLO, wire.LARGEST_MESSAGE),
        (Kind.DEFINE, wire.LARGEST_DEFINITION),
        (Kind.PART, wire.LARGEST_PAYLOAD),
    ],
)
def test_payloads_have_a_limit(kind: Kind, limit: int) -> None:
    chunks = int(kind > wire.DATA)
    data = wire.encode(Frame(kind, bytes(limit), chunks=chunks))
    assert len(wire.decode(data).payload) == limit
    with pytest.raises(ProtocolError, match="at most"):
        wire.encode(Frame(kind, bytes(limit + 1), chunks=chunks))


def test_a_payload_is_not_copied() -> None:
    data = bytearray(wire.encode(Frame(Kind.PART, bytes(8), chunks=1)))
    payload = wire.decode(data).payload
    data[wire.HEADER] = 7
    assert payload[0] == 7
