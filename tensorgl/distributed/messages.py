"""What the messages between a hub and its members say: their fields, and what is a value of each.

Standard library only. Whoever receives a message has it checked here before anything else sees it:
every field is there, none else is, and each is of its type and within its bounds.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from tensorgl.distributed.wire import Frame, Kind, ProtocolError, encode

__all__ = ["FIELDS", "LARGEST_INTEGER", "MOST_CALLS", "pack", "parse"]

Check = Callable[[Any], bool]
LARGEST_INTEGER = 2**53 - 1
"""As JavaScript counts."""
MOST_MEMBERS = 100_000
MOST_CALLS = 256
"""Collective operations of a member that are not answered."""
_LARGEST = sys.float_info.max
_DEEPEST = 8


def _integer(low: int = 0, high: int = LARGEST_INTEGER) -> Check:
    return lambda v: type(v) is int and low <= v <= high


def _number(low: float = -_LARGEST, high: float = _LARGEST) -> Check:
    # Compared as it is: an integer may be too large to become a float, and NaN is within no bounds.
    return lambda v: type(v) in (int, float) and low <= v <= high


def _text(pattern: str) -> Check:
    expression = re.compile(pattern, re.ASCII)
    return lambda v: type(v) is str and expression.fullmatch(v) is not None


def _list(item: Check, longest: int) -> Check:
    return lambda v: type(v) is list and len(v) <= longest and all(map(item, v))


def _row(*items: Check) -> Check:
    return lambda v: (
        type(v) is list
        and len(v) == len(items)
        and all(check(x) for check, x in zip(items, v, strict=True))
    )


def _map(key: Check, value: Check, longest: int) -> Check:
    return lambda v: (
        type(v) is dict and len(v) <= longest and all(key(k) and value(x) for k, x in v.items())
    )


def _object(fields: Mapping[str, Check], optional: frozenset[str] = frozenset()) -> Check:
    return lambda v: (
        type(v) is dict
        and fields.keys() - optional <= v.keys() <= fields.keys()
        and all(fields[k](x) for k, x in v.items())
    )


def _or_null(check: Check) -> Check:
    return lambda v: v is None or check(v)


_NAME = _text(r"[\x20-\x7e]{0,200}")
_WORD = _text(r"[a-z0-9_-]{1,40}")
_HASH = _text(r"[0-9a-f]{32}")  # 128 bits
_MEMBER = _text(r"[0-9a-f]{32}")
_COUNT = _integer()
_RANK = _integer(0, MOST_MEMBERS)
_SHARE = _row(_COUNT, _COUNT)  # from, up to: samples of the endless stream of epochs
_ANY_NUMBER = _number()
_METRIC = _text(r"[\w./-]{1,60}")
_METRICS = _map(_METRIC, _ANY_NUMBER, 32)
_OWN_METRICS = _map(_METRIC, _number(-1e200, 1e200), 32)  # a member's; weighted sums stay finite

_MODEL = _object(
    {
        # name, shape; in the order of the flat vector
        "parameters": _list(_row(_NAME, _list(_integer(0, 2**40), 16)), 20_000),
        "buckets": _list(_integer(1, 2**32), 2000),  # elements of each, all of them in order
        # name, features and momentum of each batch norm; the last bucket is theirs (statistics.py)
        "statistics": _list(_row(_NAME, _integer(1, 2**32), _or_null(_number(0, 1))), 20_000),
        "frozen": _HASH,  # of the values of parameters that are not trained
    },
    optional=frozenset({"statistics", "frozen"}),
)
_OPTIMIZER = _object(
    {
        "name": _text(r"[A-Za-z]{1,40}"),  # a class of tensorgl.optim
        # one a group of parameters, and which buckets are of which group
        "options": _list(_map(_WORD, lambda v: v is None or _scalar(v), 40), 64),
        "groups": _list(_integer(0, 63), 2000),  # not of that of statistics
        "local_steps": _integer(0, 1_000_000),  # 0: every gradient is contributed; else changes of
        # the parameters after so many local steps
    }
)
_DATA = _object(
    {
        "size": _integer(1, 2**48),  # samples
        "batch": _integer(1, 2**32),  # of a round, or of a member's local step
        "seed": _COUNT,
    }
)


def _scalar(v: Any) -> bool:
    return (
        type(v) is bool
        or _ANY_NUMBER(v)
        or (type(v) is list and len(v) <= 4 and all(map(_ANY_NUMBER, v)))
    )


_DEFINITIONS: dict[str, Check] = {"model": _MODEL, "optimizer": _OPTIMIZER, "data": _DATA}

FIELDS: dict[Kind, dict[str, Check]] = {
    Kind.HELLO: {
        "token": _text(r"[\w.=-]{1,2000}"),
        "member": _MEMBER,  # made up by the member, and kept over reconnections
        "resume": _text(r"[0-9a-f]{0,64}"),  # what WELCOME gave it before; "" the first time
        "agent": _NAME,  # for people: backend, system or browser
    },
    Kind.WELCOME: {
        "boot": _HASH,  # another one each time that the hub starts
        "rank": _RANK,
        "world": _RANK,
        "resume": _text(r"[0-9a-f]{64}"),  # which proves that the name is its own
        "lease": _number(0.01, 86_400),  # seconds of silence after which a member is gone
        "committed": _COUNT,  # the highest seq of the member's contributions that is counted for good
        "defined": _map(_WORD, _HASH, 3),  # part: digest of its JSON
        "codec": _WORD,  # of contributions: raw, float16, int8 or topk
        "version": _COUNT,
    },
    Kind.DEFINE: {"part": _WORD, "value": lambda v: type(v) is dict},
    Kind.DEFINED: {"part": _WORD, "digest": _HASH},
    # busy: it is at work on a contribution, or has one that was not answered
    Kind.READY: {"version": _COUNT, "busy": lambda v: type(v) is bool},
    Kind.PULL: {},
    Kind.PARAMETERS: {
        "version": _COUNT,
        "hash": _HASH,
        "path": _text(r"/v1/parameters/[0-9a-f]{32}"),
    },
    Kind.ROUND: {
        "share": _or_null(
            _SHARE
        ),  # its own; null: it is not asked to contribute, or no data is defined
        "expected": lambda v: type(v) is bool,  # whether it is asked to contribute
        "world": _RANK,
        "version": _COUNT,  # of the parameters that gradients are to be taken at
    },
    Kind.BEGIN: {
        "samples": _integer(1, 2**40),
        "share": _or_null(_SHARE),  # the one it is of
        "lr": _list(_number(0, 1e6), 64),  # of each group, now; [] as defined
    },
    Kind.COMMIT: {
        "digest": _HASH,  # wire.fingerprint of its parts
        "metrics": _OWN_METRICS,
    },
    Kind.ACK: {
        "outcome": _text("counted|carried|stale|rejected"),
        "reason": _NAME,  # of a rejection
    },
    Kind.CLOSED: {
        "version": _COUNT,
        "hash": _HASH,  # of the parameters as all replicas have them
        "samples": _number(0),
        # which attempt at each bucket is the one that counts; shorter if all that follow are the first
        "attempts": _list(_integer(0, 1_000_000), 2000),
        "metrics": _METRICS,
    },
    Kind.CALL: {
        "op": _text("sum|mean|max|min|broadcast|barrier"),
        "tag": _text(
            r"[\w:,.()\[\] -]{0,100}"
        ),  # calls of members with equal op and tag belong together
        "dtype": _integer(1, 4),
        "size": _integer(0, 2**32),  # elements
        "weight": _number(0, 2**40),
        "source": _or_null(_RANK),  # of a broadcast
    },
    Kind.RETURN: {"error": _NAME, "world": _RANK},
    Kind.UPLOAD: {},
    Kind.HEARTBEAT: {},
    Kind.BYE: {},
    Kind.ERROR: {"reason": _NAME},
}


def pack(kind: Kind, *, seq: int = 0, round: int = 0, **fields: Any) -> bytes:
    """The bytes of a message. What parse would refuse is a mistake of the sender, and raises here."""
    _check(kind, fields)
    text = json.dumps(fields, separators=(",", ":"), allow_nan=False)
    return encode(Frame(kind, text.encode(), seq, round))


def parse(frame: Frame) -> dict[str, Any]:
    """The fields of a message.

    Raises:
        ProtocolError: they are not those that FIELDS lists for its kind. Nothing else is raised.
    """
    text = bytes(frame.payload)
    if _depth(text) > _DEEPEST:
        raise ProtocolError(f"{frame.kind.name}: nested too deeply")
    try:
        fields = json.loads(text, object_pairs_hook=_unique)
    except ValueError as error:  # of Unicode, too
        raise ProtocolError(f"{frame.kind.name}: not JSON: {error}") from None
    _check(frame.kind, fields)
    return fields


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name occurs twice")
    return fields


def _depth(text: bytes) -> int:
    """How deeply brackets are nested, those in strings left out."""
    depth = deepest = 0
    for sign in re.findall(rb'"(?:\\.|[^"\\])*"?|[\[\]{}]', text):
        depth += (sign in b"[{") - (sign in b"]}")
        deepest = max(deepest, depth)
    return deepest


def _check(kind: Kind, fields: Any) -> None:
    known = FIELDS.get(kind)
    if known is None or type(fields) is not dict or fields.keys() != known.keys():
        expected = "no message of this kind" if known is None else ", ".join(known) or "(none)"
        raise ProtocolError(f"{kind.name}: expected the fields {expected}")
    for name, check in known.items():
        if not check(fields[name]):
            raise ProtocolError(f"{kind.name}: {name} is not what it has to be")
    if kind is Kind.DEFINE:
        check = _DEFINITIONS.get(fields["part"])
        if check is None or not check(fields["value"]):
            raise ProtocolError(f"DEFINE: {fields['part']} is not what it has to be")
