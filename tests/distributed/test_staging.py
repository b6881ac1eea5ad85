"""Staging: what comes in whole, in whatever order, what is refused, and how much memory it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tensorgl.distributed.codecs import CHUNK, DTYPES, chunk_sizes, encode_bucket, size
from tensorgl.distributed.rules import Norms
from tensorgl.distributed.staging import BusyError, Staging
from tensorgl.distributed.wire import (
    Codec,
    Dtype,
    Frame,
    Kind,
    ProtocolError,
    decode,
    encode,
    fingerprint,
)

PLENTY = 1 << 30
A, B = "a" * 32, "b" * 32


def normal(elements: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(elements).astype(np.float32)


def parts(sizes: list[int], codec: Codec, seq: int = 1) -> list[Frame]:
    """The frames of a contribution, in order."""
    frames: list[Frame] = []
    for bucket, elements in enumerate(sizes):
        payloads = encode_bucket(codec, normal(elements, bucket))
        for chunk, payload in enumerate(payloads):
            frame = Frame(
                Kind.PART, payload, seq, 1, bucket, chunk, len(payloads), Dtype.FLOAT32, codec
            )
            frames.append(decode(encode(frame)))
    return frames


def digest(frames: list[Frame]) -> str:
    return fingerprint(f.crc for f in frames)


SIZES = [5, 1, CHUNK + 3]


@given(st.sampled_from(Codec), st.permutations(range(4)))
@settings(max_examples=12)
def test_a_contribution_in_any_order(codec: Codec, order: list[int]) -> None:
    staging = Staging(PLENTY)
    frames = parts(SIZES, codec)
    staging.open(A, 1, SIZES, codec)
    whole = [staging.put(A, frames[k]) for k in order]
    assert sorted(b for b in whole if b is not None) == [0, 1, 2]
    assert whole[-1] is not None
    assert [staging.check(A, 1, bucket)[0] for bucket in range(3)] == ["", "", ""]
    staging.finish(A, 1, digest(frames))
    kept = [bytes(c) for bucket in range(3) for c in staging.chunks(A, 1, bucket)]
    assert kept == [f.payload for f in frames]


def test_several_members_and_numbers_are_apart() -> None:
    staging = Staging(PLENTY)
    frame = parts([5], Codec.RAW)[0]
    for member, seq in ((A, 1), (A, 2), (B, 1)):
        staging.open(member, seq, [5], Codec.RAW)
    assert staging.put(A, frame) == 0
    for member, seq in ((A, 2), (B, 1)):
        with pytest.raises(KeyError):
            staging.chunks(member, seq, 0)
    staging.discard(A, 1)
    assert staging.put(A, frame) is None
    assert staging.put(B, frame) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codec": Codec.INT8}, "expected RAW"),
        ({"dtype": Dtype.FLOAT64}, "expected RAW"),
        ({"bucket": 1}, "not expected"),
        ({"bucket": 2**32 - 1}, "not expected"),
        ({"chunks": 2}, "not expected"),
        ({"payload": bytes(19)}, "20 bytes"),
        ({"payload": b""}, "20 bytes"),
    ],
    ids=str,
)
def test_parts_of_something_else(change: dict[str, Any], message: str) -> None:
    staging = Staging(PLENTY)
    staging.open(A, 1, [5], Codec.RAW)
    fields: dict[str, Any] = {"kind": Kind.PART, "payload": bytes(20), "seq": 1, "chunks": 1}
    with pytest.raises(ProtocolError, match=message):
        staging.put(A, Frame(**{**fields, **change}))
    assert staging.put(A, Frame(**fields)) == 0


def test_a_part_that_comes_twice() -> None:
    staging = Staging(PLENTY)
    staging.open(A, 1, [5, 5], Codec.RAW)
    first = parts([5], Codec.RAW)[0]
    assert staging.put(A, first) == 0
    assert staging.put(A, first) is None  # so that a bucket is whole only once
    with pytest.raises(ProtocolError, match="another payload"):
        staging.put(A, Frame(Kind.PART, bytes(20), 1, chunks=1))
    assert bytes(staging.chunks(A, 1, 0)[0]) == first.payload


def test_commit_of_what_is_not_complete_or_another() -> None:
    staging = Staging(PLENTY)
    frames = parts(SIZES, Codec.INT8)
    staging.open(A, 1, SIZES, Codec.INT8)
    for frame in frames[1:]:
        staging.put(A, frame)
    with pytest.raises(ProtocolError, match="missing"):
        staging.finish(A, 1, digest(frames))
    staging.put(A, frames[0])
    with pytest.raises(ProtocolError, match="digest"):
        staging.finish(A, 1, digest(frames[1:]))
    staging.finish(A, 1, digest(frames))
    staging.finish(B, 1, "")  # which the core knows to be over


def test_opening_again_begins_anew() -> None:
    staging = Staging(PLENTY)
    staging.open(A, 1, [5], Codec.RAW)
    staging.put(A, parts([5], Codec.RAW)[0])
    reserved = staging.reserved
    staging.open(A, 1, [5], Codec.RAW)
    assert staging.reserved == reserved
    assert staging.put(A, Frame(Kind.PART, bytes(20), 1, chunks=1)) == 0


def test_room_is_reserved_and_given_back() -> None:
    staging = Staging(3 * size(Codec.RAW, CHUNK))
    staging.open(A, 1, [CHUNK, CHUNK], Codec.RAW)
    with pytest.raises(BusyError, match="try again later"):
        staging.open(B, 1, [CHUNK], Codec.RAW)
    staging.open(B, 1, [CHUNK], Codec.TOPK)
    with pytest.raises(BusyError):
        staging.open(B, 2, [1] * 100_000, Codec.RAW)  # nearly no bytes, but many objects
    staging.discard(A, 1)
    staging.open(B, 2, [CHUNK], Codec.RAW)
    for member, seq in ((B, 1), (B, 2), (B, 3)):
        staging.discard(member, seq)
    assert staging.reserved == 0


@pytest.mark.parametrize("dtype", Dtype)
def test_arrays_of_calls(dtype: Dtype) -> None:
    staging = Staging(PLENTY)
    values = np.arange(CHUNK, dtype=DTYPES[dtype])
    sizes = chunk_sizes(CHUNK, dtype)
    staging.open(A, 7, [CHUNK], Codec.RAW, dtype)
    at, whole = 0, []
    for chunk, elements in enumerate(sizes):
        payload = values[at : at + elements].tobytes()
        at += elements
        whole.append(staging.put(A, Frame(Kind.PART, payload, 7, 0, 0, chunk, len(sizes), dtype)))
    assert whole == [None] * (len(sizes) - 1) + [0]
    got = np.frombuffer(b"".join(staging.chunks(A, 7, 0)), DTYPES[dtype])
    np.testing.assert_array_equal(got, values)


def test_only_float32_is_compressed() -> None:
    with pytest.raises(ProtocolError, match="float32"):
        Staging(PLENTY).open(A, 1, [4], Codec.INT8, Dtype.INT64)


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_sound(codec: Codec, bad: float) -> None:
    staging = Staging(PLENTY)
    values = normal(2000)
    values[1234] = bad
    staging.open(A, 1, [2000], codec)
    payload = encode_bucket(codec, values)[0]
    assert staging.put(A, Frame(Kind.PART, payload, 1, chunks=1, codec=codec)) == 0
    reason, strike = staging.check(A, 1, 0)
    assert reason.startswith("bucket 0: ") and strike


def test_what_is_out_of_all_proportion_is_not_sound() -> None:
    staging = Staging(PLENTY)

    def check(seq: int, factor: float, counts: bool = False) -> tuple[str, bool]:
        payload = (normal(50, seq) * np.float32(factor)).tobytes()
        staging.open(A, seq, [50], Codec.RAW)
        staging.put(A, Frame(Kind.PART, payload, seq, chunks=1))
        checked = staging.check(A, seq, 0)
        if counts:
            staging.learn([(A, seq)])
        return checked

    assert check(0, 1e9) == ("", False)  # nothing is known yet
    for seq in range(1, Norms.FIRST + 1):
        assert check(seq, 1, True) == ("", False)
    assert check(100, 10) == ("", False)
    reason, strike = check(101, 1e6)
    assert "times the usual" in reason
    assert not strike  # nobody is locked out for it
    assert check(102, 1) == ("", False)


def test_what_was_not_counted_teaches_nothing() -> None:
    """Or a member that begins again and again would say what is usual, and lock all others out."""
    staging = Staging(PLENTY)

    def check(member: str, factor: float) -> str:
        staging.open(member, 1, [50], Codec.RAW)
        payload = (normal(50) * np.float32(factor)).tobytes()
        staging.put(member, Frame(Kind.PART, payload, 1, chunks=1))
        return staging.check(member, 1, 0)[0]

    for _ in range(100):
        assert check(A, 1e-15) == ""
    assert check(B, 1) == ""
    for _ in range(Norms.FIRST):
        staging.learn([(A, 1), (B, 1)])
    assert check(B, 1) == ""  # whose are half of what counted
    assert check(A, 1e6)


class Interleaved(RuleBasedStateMachine):
    """Whatever members send, what is reserved is what is open, and never more than the limit."""

    LIMIT = 60_000

    @initialize()
    def begin(self) -> None:
        self.staging = Staging(self.LIMIT)
        self.open: dict[tuple[str, int], tuple[list[int], Codec]] = {}

    @rule(
        member=st.sampled_from([A, B]),
        seq=st.integers(1, 3),
        sizes=st.lists(st.integers(1, 3000), max_size=4),
        codec=st.sampled_from(Codec),
    )
    def opens(self, member: str, seq: int, sizes: list[int], codec: Codec) -> None:
        self.open.pop((member, seq), None)
        try:
            self.staging.open(member, seq, sizes, codec)
        except BusyError:
            return
        self.open[member, seq] = sizes, codec

    @precondition(lambda self: self.open)
    @rule(data=st.data(), good=st.booleans())
    def sends(self, data: st.DataObject, good: bool) -> None:
        member, seq = data.draw(st.sampled_from(sorted(self.open)))
        sizes, codec = self.open[member, seq]
        if not sizes:
            return
        frame = data.draw(st.sampled_from(parts(sizes, codec, seq)))
        payload = frame.payload if good else bytes(data.draw(st.integers(0, 9)))
        sent = Frame(
            Kind.PART, payload, seq, 1, frame.bucket, frame.chunk, frame.chunks, codec=codec
        )
        try:
            bucket = self.staging.put(member, sent)
        except ProtocolError:
            return
        if bucket is not None:
            chunks = self.staging.chunks(member, seq, bucket)
            assert [len(c) for c in chunks] == [size(codec, n) for n in chunk_sizes(sizes[bucket])]

    @rule(member=st.sampled_from([A, B]), seq=st.integers(1, 3))
    def discards(self, member: str, seq: int) -> None:
        self.open.pop((member, seq), None)
        self.staging.discard(member, seq)

    @invariant()
    def bounded(self) -> None:
        if hasattr(self, "staging"):
            least = sum(size(codec, n) for sizes, codec in self.open.values() for n in sizes)
            assert least <= self.staging.reserved <= self.LIMIT
            assert self.open or not self.staging.reserved


TestInterleaved = Interleaved.TestCase
TestInterleaved.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
