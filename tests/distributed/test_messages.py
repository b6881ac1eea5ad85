"""Messages: good ones pass unchanged, and of all others nothing comes but ProtocolError."""

from __future__ import annotations

import json
import os
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorgl.distributed import messages, wire
from tensorgl.distributed.codecs import size
from tensorgl.distributed.staging import Staging
from tensorgl.distributed.wire import Codec, Dtype, Frame, Kind, ProtocolError

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("golden.json").read_text())
EXAMPLES = {entry["kind"]: entry for entry in GOLDEN["messages"]}
DIGEST = "0123456789abcdef" * 2


def parsed(kind: Kind, text: bytes | str) -> dict[str, Any]:
    payload = text.encode() if isinstance(text, str) else text
    return messages.parse(wire.decode(wire.encode(Frame(kind, payload))))


@pytest.mark.parametrize("entry", GOLDEN["messages"], ids=lambda e: e["kind"] + str(e["seq"]))
def test_golden_messages(entry: dict[str, Any]) -> None:
    kind = Kind[entry["kind"]]
    data = bytes.fromhex(entry["bytes"])
    packed = messages.pack(kind, seq=entry["seq"], round=entry["round"], **entry["fields"])
    assert packed == data
    frame = wire.decode(data)
    assert (frame.kind, frame.seq, frame.round) == (kind, entry["seq"], entry["round"])
    assert messages.parse(frame) == entry["fields"]


@pytest.mark.parametrize("entry", EXAMPLES.values(), ids=lambda e: e["kind"])
def test_fields_that_lack_or_are_unknown(entry: dict[str, Any]) -> None:
    kind, fields = Kind[entry["kind"]], entry["fields"]
    with pytest.raises(ProtocolError, match="expected the fields"):
        parsed(kind, json.dumps({**fields, "more": 1}))
    for name in fields:
        left = {k: v for k, v in fields.items() if k != name}
        with pytest.raises(ProtocolError, match="expected the fields"):
            parsed(kind, json.dumps(left))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (Kind.HELLO, {"token": ""}),
        (Kind.HELLO, {"token": "a b"}),
        (Kind.HELLO, {"member": DIGEST.upper()}),
        (Kind.HELLO, {"agent": "line\nbreak"}),
        (Kind.HELLO, {"agent": "\u00e9"}),
        (Kind.BEGIN, {"samples": 0}),
        (Kind.BEGIN, {"samples": True}),
        (Kind.BEGIN, {"samples": 1.0}),
        (Kind.BEGIN, {"samples": 2**53}),
        (Kind.BEGIN, {"share": [1]}),
        (Kind.BEGIN, {"share": [1, 2, 3]}),
        (Kind.BEGIN, {"share": [-1, 2]}),
        (Kind.BEGIN, {"lr": [-0.1]}),
        (Kind.BEGIN, {"lr": [0.1] * 65}),
        (Kind.BEGIN, {"lr": [float("nan")]}),
        (Kind.BEGIN, {"lr": [float("inf")]}),
        (Kind.BEGIN, {"lr": [10**400]}),
        (Kind.COMMIT, {"digest": DIGEST[1:]}),
        (Kind.COMMIT, {"metrics": {"": 1}}),
        (Kind.COMMIT, {"metrics": {"<b>": 1}}),
        (Kind.COMMIT, {"metrics": {"loss": 10**400}}),
        (Kind.COMMIT, {"metrics": {"loss": float("-inf")}}),
        (Kind.COMMIT, {"metrics": {"loss": 1e300}}),  # whose weighted sum might be infinite
        (Kind.COMMIT, {"metrics": {"loss": "1"}}),
        (Kind.COMMIT, {"metrics": {f"m{k}": 1 for k in range(33)}}),
        (Kind.DEFINE, {"part": "weights"}),
        (Kind.DEFINE, {"part": "model"}),
        (Kind.DEFINE, {"value": []}),
        (Kind.DEFINE, {"value": {"size": 0, "batch": 1, "seed": 1}}),
        (Kind.DEFINE, {"value": {"size": 1, "batch": 1, "seed": -1}}),
        (Kind.CALL, {"op": "xor"}),
        (Kind.CALL, {"dtype": 5}),
        (Kind.CALL, {"source": -1}),
    ],
    ids=lambda v: v.name if isinstance(v, Kind) else str(v)[:30],
)
def test_values_out_of_bounds(kind: Kind, change: dict[str, Any]) -> None:
    fields = {**EXAMPLES[kind.name]["fields"], **change}
    with pytest.raises(ProtocolError):
        parsed(kind, json.dumps(fields))


OPTIMIZER: dict[str, Any] = {"name": "SGD", "options": [{}], "groups": [0], "local_steps": 0}


@pytest.mark.parametrize(
    "option",
    [
        10**400,
        -(10**400),
        float("nan"),
        "text",
        {},
        [1, 2, 3, 4, 5],
        [[1]],
        [float("nan")],
        [10**400],
    ],
    ids=lambda v: str(v)[:20],
)
def test_options_that_are_no_numbers(option: Any) -> None:
    value = {**OPTIMIZER, "options": [{"lr": option}]}
    with pytest.raises(ProtocolError):
        parsed(Kind.DEFINE, json.dumps({"part": "optimizer", "value": value}))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf{}",
        b"null",
        b"[]",
        b'"{}"',
        b"{} {}",
        b"{'a': 1}",
        b'{"outcome":"counted","outcome":"stale","reason":""}',
        b'{"outcome":"counted","reason":"\\ud800"}',
        b'{"outcome":"counted","reason":' + b"9" * 5000 + b"}",
        b"[" * 16000,
        b'{"a":' * 3000,
        b'{"outcome":[[[[[[[[[[]]]]]]]]]],"reason":""}',
    ],
    ids=lambda text: repr(text[:30]),
)
def test_texts_that_are_no_message(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        parsed(Kind.ACK, text)


def test_brackets_in_strings_are_no_nesting() -> None:
    reason = "[{" * 60 + '\\"['
    assert parsed(Kind.ERROR, json.dumps({"reason": reason})) == {"reason": reason}


def test_what_would_be_refused_is_not_sent() -> None:
    with pytest.raises(ProtocolError, match="reason"):
        messages.pack(Kind.ERROR, reason="\n")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.data())
@settings(max_examples=400)
def test_any_json_in_place_of_a_value(data: st.DataObject) -> None:
    entry = EXAMPLES[data.draw(st.sampled_from(sorted(EXAMPLES)))]
    fields = json.loads(json.dumps(entry["fields"]))
    value = data.draw(JSON)
    if fields:
        fields[data.draw(st.sampled_from(sorted(fields)))] = value
    else:
        fields = value
    try:
        result = parsed(Kind[entry["kind"]], json.dumps(fields))
    except ProtocolError:
        return
    assert result == fields
    assert parsed(Kind[entry["kind"]], json.dumps(result)) == result


# Byte mutation: from good frames, through all that stands between a socket and the core.


def corpus() -> list[bytes]:
    found = [bytes.fromhex(e["bytes"]) for e in (*GOLDEN["messages"], *GOLDEN["frames"])]
    for seq, codec in enumerate(Codec):
        for bucket, elements in enumerate(SIZES):
            payload = random.Random(bucket).randbytes(size(codec, elements))
            found.append(
                wire.encode(Frame(Kind.PART, payload, seq, 0, bucket, 0, 1, Dtype.FLOAT32, codec))
            )
    return found


SIZES = [1, 30, 2]
MEMORY = 20_000


def mutated(data: bytes, draw: random.Random) -> bytes:
    """Some bytes of a frame changed, cut or doubled; mostly with a checksum that is right again."""
    changed = bytearray(data)
    for _ in range(draw.choice((0, 1, 1, 2, 4))):
        at = draw.randrange(len(changed)) if changed else 0
        how = draw.randrange(6)
        if how == 0:
            changed[at : at + 1] = draw.randbytes(draw.randrange(3))
        elif how == 1:
            del changed[at : at + draw.randrange(1, 20)]
        elif how == 2 and changed:
            changed[at] ^= 1 << draw.randrange(8)
        elif how == 3 and changed:
            changed[at] = draw.choice(b'"\\[]{}0:,\xff\x00-eE')
        elif how == 4:
            changed[at:at] = changed[at : at + draw.randrange(1, 40)]
        elif changed:
            changed[at] = draw.randrange(256)
    if len(changed) >= wire.HEADER and draw.random() < 0.9:
        changed[40:44] = (len(changed) - wire.HEADER).to_bytes(4, "little")
        crc = zlib.crc32(changed[wire.HEADER :], zlib.crc32(changed[:44]))
        changed[44:48] = crc.to_bytes(4, "little")
    return bytes(changed)


def test_mutated_frames_raise_nothing_else() -> None:
    count = int(os.environ.get("TENSORGL_FUZZ_FRAMES", "100_000"))
    draw = random.Random(0)
    seeds = corpus()
    staging = Staging(MEMORY)
    outcomes = {"frame": 0, "message": 0, "whole": 0, "sound": 0, "refused": 0}
    for _ in range(count):
        data = mutated(draw.choice(seeds), draw)
        try:
            frame = wire.decode(data)
            outcomes["frame"] += 1
            if frame.kind <= wire.DATA:
                fields = messages.parse(frame)
                outcomes["message"] += 1
                if frame.kind is Kind.BEGIN:
                    codec = Codec(fields["samples"] % 4)
                    staging.open(str(frame.round % 3), int(codec), SIZES, codec)
                elif frame.kind is Kind.COMMIT:
                    staging.finish(str(frame.round % 3), frame.seq, fields["digest"])
            else:
                for member in map(str, range(3)):
                    if draw.random() < 0.02:
                        staging.open(member, int(frame.codec), SIZES, frame.codec)
                    bucket = staging.put(member, frame)
                    if bucket is not None:
                        outcomes["whole"] += 1
                        outcomes["sound"] += not staging.check(member, frame.seq, bucket)[0]
                        staging.chunks(member, frame.seq, bucket)
        except ProtocolError:
            outcomes["refused"] += 1
        assert 0 <= staging.reserved <= MEMORY
    # It gets past every check, so that what lies behind them is tried, too.
    assert min(outcomes.values()) > count / 500, outcomes
