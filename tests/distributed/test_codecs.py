"""Codecs: sizes, bounds of their errors, what they refuse, feedback, and the golden bytes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tensorgl.distributed import codecs
from tensorgl.distributed.codecs import CHUNK, Feedback, decode, encode, size
from tensorgl.distributed.wire import LARGEST_PAYLOAD, Codec, Dtype, ProtocolError

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("golden.json").read_text())
LOSSY = [Codec.FLOAT16, Codec.INT8, Codec.TOPK]
# Around what a block, a piece and a chunk hold.
COUNTS = [1, 2, 99, 100, 101, 1023, 1024, 1025, 65535, 65536, 65537, 70_000, CHUNK - 1, CHUNK]


def normal(elements: int, seed: int = 0, scale: float = 1.0) -> Any:
    values = np.random.default_rng(seed).standard_normal(elements) * scale
    return values.astype(np.float32)


def counts() -> st.SearchStrategy[int]:
    return st.sampled_from(COUNTS) | st.integers(1, 3000)


def generated(elements: int) -> Any:
    x, values = 1, np.empty(elements, np.float32)
    for k in range(elements):
        x = (1664525 * x + 1013904223) % 2**32
        values[k] = x / 2**32 - 0.5
    return values


def error_bound(codec: Codec, values: Any) -> Any:
    """How far a decoded element may be from the one that was encoded."""
    sizes = np.abs(values.astype(np.float64))
    if codec is Codec.RAW:
        return np.zeros(len(values))
    if codec is Codec.FLOAT16:
        return np.where(sizes <= 65504, np.maximum(sizes / 2048, 2.0**-25), sizes - 65504)
    bound = np.empty(len(values))
    step = 1024 if codec is Codec.INT8 else 65536
    for start in range(0, len(values), step):
        part = sizes[start : start + step]
        half = part.max() / 127 / 2 * 1.00001 + 1e-36
        if codec is Codec.TOPK:  # all but the k largest are lost altogether
            k = -(-len(part) // 100)
            threshold = np.sort(part)[-k]
            bound[start : start + step] = np.where(part > threshold, half, np.maximum(part, half))
        else:
            bound[start : start + step] = half
    return bound


@given(
    st.sampled_from(Codec), counts(), st.integers(0, 9), st.sampled_from([1e-42, 1e-30, 1, 1e30])
)
@settings(max_examples=150)
def test_errors_have_a_bound(codec: Codec, elements: int, seed: int, scale: float) -> None:
    values = normal(elements, seed, scale)
    payload = encode(codec, values)
    assert len(payload) == size(codec, elements) <= LARGEST_PAYLOAD
    decoded = decode(codec, payload, elements)
    assert decoded.dtype == np.float32 and decoded.shape == (elements,)
    error = np.abs(decoded.astype(np.float64) - values)
    assert (error <= error_bound(codec, values)).all()


@given(st.sampled_from(Codec), st.lists(st.floats(width=32), min_size=1, max_size=300))
@example(Codec.TOPK, [float("nan")] * 150)
@example(Codec.FLOAT16, [float("inf"), 1.0])
@example(Codec.INT8, [float("-inf"), float("nan"), 0.0])
@settings(max_examples=200)
def test_what_is_not_finite_never_looks_as_if_it_was(codec: Codec, given: list[float]) -> None:
    values = np.array(given, np.float32)
    payload = encode(codec, values)
    assert len(payload) == size(codec, len(values))
    try:
        decoded = decode(codec, payload, len(values))
    except ProtocolError:
        assert not np.isfinite(values).all()
        return
    if not (np.abs(values) < 1e38).all():
        assert np.isfinite(values).all() or not np.isfinite(decoded).all()
    else:
        assert np.isfinite(decoded).all()


@pytest.mark.parametrize("codec", LOSSY)
def test_what_was_decoded_encodes_to_the_same(codec: Codec) -> None:
    values = decode(codec, encode(codec, normal(70_000)), 70_000)
    again = decode(codec, encode(codec, values), 70_000)
    np.testing.assert_allclose(again, values, rtol=2e-7, atol=0)


def test_topk_keeps_the_largest_and_of_equal_ones_the_first() -> None:
    values = np.full(1000, -2.0, np.float32)
    values[[7, 999]] = 127.0, -64.0
    decoded = decode(Codec.TOPK, encode(Codec.TOPK, values), 1000)
    assert list(np.flatnonzero(decoded)) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 999]
    assert list(decoded[[7, 999, 0]]) == [127, -64, -2]


def test_int8_keeps_zeros_and_what_is_too_small_for_a_scale() -> None:
    values = np.zeros(2048, np.float32)
    values[1024:] = 1e-39
    assert not decode(Codec.INT8, encode(Codec.INT8, values), 2048).any()


@pytest.mark.parametrize("codec", Codec)
def test_wrong_lengths_are_refused(codec: Codec) -> None:
    payload = encode(codec, normal(2000))
    for wrong in (payload[:-1], payload + b"\0", b""):
        with pytest.raises(ProtocolError, match="bytes"):
            decode(codec, wrong, 2000)


@pytest.mark.parametrize("codec", [Codec.INT8, Codec.TOPK])
@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf"), -0.0, 0.0])
def test_scales(codec: Codec, scale: float) -> None:
    payload = bytearray(encode(codec, normal(1500)))
    payload[:4] = np.float32(scale).tobytes()
    if scale == 0:
        assert np.isfinite(decode(codec, payload, 1500)).all()
    else:
        with pytest.raises(ProtocolError, match="scales"):
            decode(codec, payload, 1500)


@pytest.mark.parametrize("indices", [[5, 5], [6, 5], [0, 150], [65535, 1]])
def test_indices_out_of_order(indices: list[int]) -> None:
    payload = np.float32(1).tobytes() + np.array(indices, "<u2").tobytes() + b"\1\1"
    assert len(payload) == size(Codec.TOPK, 150)
    with pytest.raises(ProtocolError, match="ascending"):
        decode(Codec.TOPK, payload, 150)


@given(st.sampled_from(Codec), counts(), st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=19))
@settings(max_examples=60)
def test_a_weighted_sum(codec: Codec, elements: int, weights: list[float]) -> None:
    payloads = [encode(codec, normal(elements, seed)) for seed in range(len(weights))]
    expected = np.zeros(elements)
    for payload, weight in zip(payloads, weights, strict=True):
        expected += decode(codec, payload, elements).astype(np.float64) * weight
    total = codecs.weighted_sum(codec, payloads, weights, elements)
    if codec is Codec.INT8:
        assert total.dtype == np.float32
        np.testing.assert_allclose(total, expected, rtol=1e-6, atol=2e-6 * sum(weights))
    else:
        np.testing.assert_array_equal(total, expected)


@pytest.mark.parametrize("codec", Codec)
def test_what_is_summed_has_the_size_that_it_should(codec: Codec) -> None:
    payload = encode(codec, normal(1500, 1))
    with pytest.raises(ProtocolError, match="1500 elements have"):
        codecs.weighted_sum(codec, [payload, payload + b"1234"], [1.0, 2.0], 1500)
    with pytest.raises(ProtocolError, match="1500 elements have"):
        codecs.square(codec, payload[:-4], 1500)


@given(st.sampled_from(Codec), counts())
@settings(max_examples=60)
def test_the_square_of_a_payload(codec: Codec, elements: int) -> None:
    payload = encode(codec, normal(elements, 1))
    values = decode(codec, payload, elements).astype(np.float64)
    assert codecs.square(codec, payload, elements) == pytest.approx(values @ values, rel=1e-5)


@pytest.mark.parametrize("codec", [Codec.RAW, Codec.INT8])
def test_the_square_of_what_is_too_large(codec: Codec) -> None:
    assert codecs.square(codec, encode(codec, np.full(1500, 1e30, np.float32)), 1500) == np.inf


@pytest.mark.parametrize("codec", Codec)
def test_a_bucket_is_its_chunks(codec: Codec) -> None:
    elements = CHUNK + 1500
    values = normal(elements)
    payloads = codecs.encode_bucket(codec, values)
    sizes = codecs.chunk_sizes(elements)
    assert sizes == [CHUNK, 1500]
    assert [len(p) for p in payloads] == [size(codec, n) for n in sizes]
    decoded = codecs.decode_bucket(codec, payloads, elements)
    np.testing.assert_array_equal(decoded[CHUNK:], decode(codec, payloads[1], 1500))
    with pytest.raises(ProtocolError, match="2 chunks"):
        codecs.decode_bucket(codec, payloads[:1], elements)


@given(st.sampled_from(Dtype), st.integers(0, 3 * CHUNK))
def test_chunks_fit_into_frames(dtype: Dtype, elements: int) -> None:
    sizes = codecs.chunk_sizes(elements, dtype)
    assert sum(sizes) == elements and all(sizes)
    assert all(size(Codec.RAW, n, dtype) == LARGEST_PAYLOAD for n in sizes[:-1])
    assert all(size(Codec.RAW, n, dtype) <= LARGEST_PAYLOAD for n in sizes)


@given(st.sampled_from(Codec), st.integers(1, 2000), st.integers(1, 12), st.integers(0, 99))
@settings(max_examples=60)
def test_feedback_loses_nothing(codec: Codec, elements: int, rounds: int, seed: int) -> None:
    feedback = Feedback()
    given, sent = np.zeros(elements), np.zeros(elements)
    for k in range(rounds):
        values = normal(elements, seed + k)
        given += values
        sent += codecs.decode_bucket(codec, feedback.encode(codec, values), elements)
    left = np.zeros(elements) if feedback.residual is None else feedback.residual
    np.testing.assert_allclose(sent + left, given, atol=rounds * rounds * 1e-5)
    if codec is not Codec.TOPK:  # whose residual may grow for a hundred rounds
        assert np.abs(left).max() <= 0.05


def test_feedback_sends_everything_in_the_end() -> None:
    feedback = Feedback()
    values = normal(500)
    sent = codecs.decode_bucket(Codec.TOPK, feedback.encode(Codec.TOPK, values), 500)
    for _ in range(250):
        sent += codecs.decode_bucket(
            Codec.TOPK, feedback.encode(Codec.TOPK, np.zeros(500, np.float32)), 500
        )
    np.testing.assert_allclose(sent, values, atol=1e-3)


@pytest.mark.parametrize("codec", Codec)
def test_what_was_not_counted_comes_again(codec: Codec) -> None:
    feedback = Feedback()
    values = normal(300)
    feedback.add(codecs.decode_bucket(codec, feedback.encode(codec, values), 300))
    assert feedback.residual is not None
    np.testing.assert_allclose(feedback.residual, values, rtol=1e-6)
    sent = codecs.decode_bucket(codec, feedback.encode(codec, values), 300)
    left = np.zeros(300) if feedback.residual is None else feedback.residual
    np.testing.assert_allclose(sent + left, 2 * values, rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, np.finfo(np.float32).max])
@pytest.mark.parametrize("codec", Codec)
def test_one_bad_gradient_does_not_spoil_the_next(codec: Codec, value: float) -> None:
    feedback = Feedback()
    good = normal(200)
    feedback.encode(codec, good)
    bad = np.where(good > 1, np.float32(value), good)
    feedback.encode(codec, bad)
    if not np.isfinite(value):
        feedback.add(bad)
    assert np.isfinite(codecs.decode_bucket(codec, feedback.encode(codec, good), 200)).all()


@pytest.mark.parametrize("entry", GOLDEN["codecs"], ids=lambda e: f"{e['codec']}-{e['of']}")
def test_golden_payloads(entry: dict[str, Any]) -> None:
    codec = Codec[entry["codec"]]
    if "values" in entry:
        values = np.frombuffer(bytes.fromhex(entry["values"]), "<f4")
    else:
        values = generated(entry["elements"])
    payload = encode(codec, values)
    decoded = decode(codec, payload, len(values)).astype("<f4").tobytes()
    if "values" in entry:
        assert payload.hex() == entry["payload"]
        assert decoded.hex() == entry["decoded"]
    else:
        assert hashlib.blake2b(payload, digest_size=16).hexdigest() == entry["payload"]
        assert hashlib.blake2b(decoded, digest_size=16).hexdigest() == entry["decoded"]


def test_names_are_those_of_settings() -> None:
    assert sorted(codecs.names()) == ["float16", "int8", "raw", "topk"]
    assert codecs.names()["int8"] is Codec.INT8
