"""What a hub computes and keeps: the model, contributions that wait, the files. It knows no sockets.

A hub calls what takes long (`check`, `reduce`, `log`, `checkpoint`) in a thread of its own, one after
the other, in the order in which the core asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from tensorgl.distributed import codecs
from tensorgl.distributed.config import Config
from tensorgl.distributed.effects import Answer, Combine, Log, Reduce, Snapshot
from tensorgl.distributed.faults import fail_point
from tensorgl.distributed.messages import pack
from tensorgl.distributed.model import Model
from tensorgl.distributed.staging import Staging
from tensorgl.distributed.statistics import Statistics
from tensorgl.distributed.store import Record, Store
from tensorgl.distributed.wire import Frame, Kind, encode
from tensorgl.errors import SerializationError

__all__ = ["Run"]

_VIEWS = 3


class Run:
    """The state of a run, as its files say to begin with.

    Attributes:
        definitions: the value of each part that is defined.
        snapshot: what the core is to know; as of the last Log.
        version: rounds that are over.
        hash: of the parameters as all replicas have them.

    Raises:
        RuntimeError: another hub runs on the directory.
        SerializationError: its files are damaged.
    """

    ROUNDS = 100
    """After so many records a checkpoint is due, or after LOG_BYTES of them."""
    LOG_BYTES = 64 << 20
    """Of a large model it is more: a checkpoint is as long as the records of three rounds or so."""

    def __init__(self, directory: str | os.PathLike[str], config: Config) -> None:
        self.up, self.down = codecs.names()[config.up], codecs.names()[config.down]
        self.rule = config.rule
        self.staging = Staging(config.memory)
        self.definitions: dict[str, dict[str, Any]] = {}
        self.snapshot = Snapshot()
        self.model: Model | None = None
        self.version, self.hash = 0, ""
        self._uploaded: tuple[Model, list[np.ndarray]] | None = None
        self._views: dict[str, bytes] = {}
        self._records = 0
        self.store = Store(directory)
        try:
            self._recover(*self.store.recover())
        except BaseException:
            self.store.close()
            raise

    @property
    def sizes(self) -> list[int]:
        """The elements of each bucket of the model."""
        return self.definitions["model"]["buckets"]

    @property
    def norms(self) -> Statistics:
        """The batch norms of the model, if it is defined."""
        return self.definitions.get("model", {}).get("statistics", ())

    @property
    def groups(self) -> int:
        """How many groups of parameters the optimizer has; 0 before it is defined."""
        optimizer = self.definitions.get("optimizer")
        return len(optimizer["options"]) if optimizer else 0

    def check(self, member: str, seq: int, bucket: int) -> tuple[str, bool] | None:
        """As Staging.check, of a bucket of a contribution; None if it is there no more."""
        try:
            return self.staging.check(member, seq, bucket)
        except KeyError:  # its member has begun anew
            return None

    def reduce(self, effect: Reduce) -> list[bytes]:
        """The RESULT frames of a bucket."""
        assert self.model
        if self.model.compares and effect.bucket == 0:  # then all of them come, in order
            buckets = range(len(self.sizes))
            self.model.compare(
                [
                    (p.weight, [self.staging.chunks(p.member, p.seq, b) for b in buckets])
                    for p in effect.parts
                ],
                self.up,
            )
        parts = [
            (p.weight, self.staging.chunks(p.member, p.seq, effect.bucket)) for p in effect.parts
        ]
        payloads = self.model.trial(effect.bucket, parts, self.up, effect.lr)
        return [
            encode(
                Frame(
                    Kind.RESULT, payload, seq=effect.attempt, round=effect.round,
                    bucket=effect.bucket, chunk=chunk, chunks=len(payloads),
                    codec=self.model.codecs[effect.bucket],
                )
            )
            for chunk, payload in enumerate(payloads)
        ]  # fmt: skip

    def upload(self, member: str, seq: int, definition: dict[str, Any]) -> None:
        """Make the model of the first parameters, which are there; Log puts it in force.

        Raises:
            ProtocolError: they are not sound.
        """
        arrays: list[np.ndarray] = []
        for bucket in range(len(definition["buckets"])):
            data = b"".join(self.staging.chunks(member, seq, bucket))
            arrays.append(np.frombuffer(data, "<f4"))
        self.staging.discard(member, seq)
        self._uploaded = Model(definition, arrays, self.down, self.rule), arrays

    def combine(self, effect: Combine) -> tuple[bytes, ...]:
        """The result of a collective operation, as payloads.

        Sums are of float64 or int64, whatever the dtype, and in the order given.
        """
        arrays = [self.staging.chunks(p.member, p.seq, 0) for p in effect.parts]
        weights = [p.weight for p in effect.parts]
        dtype = codecs.DTYPES[effect.dtype]
        payloads: list[bytes] = []
        for chunks in zip(*arrays, strict=True):
            rows = [np.frombuffer(chunk, dtype) for chunk in chunks]
            payloads.append(_combined(effect.op, rows, weights).astype(dtype).tobytes())
        return tuple(payloads)

    def log(self, effect: Log) -> str:
        """Make a state durable; the hash of the parameters from now on.

        Raises:
            SerializationError: it could not be written. Nobody may be told anything more.
        """
        fail_point("before-log")
        arrays: Sequence[np.ndarray] = ()
        if effect.definition:
            arrays = self._define(*effect.definition)
        elif effect.round is not None:
            assert self.model
            arrays = self.model.gradients()
            self.hash, self.version = self.model.commit(), effect.round
        self.snapshot = effect.snapshot
        header = {
            "snapshot": asdict(effect.snapshot),
            "round": effect.round,
            "parts": [[p.member, p.seq, p.weight] for p in effect.parts],
            "lr": list(effect.lr),
            "definition": list(effect.definition) if effect.definition else None,
            "hash": self.hash,
        }
        self.store.append(header, arrays)
        self._records += 1
        self.staging.learn([(part.member, part.seq) for part in effect.parts])
        for part in effect.parts:
            self.staging.discard(part.member, part.seq)
        fail_point("after-log")
        return self.hash

    @property
    def long(self) -> bool:
        """Whether a checkpoint is due."""
        most = max(self.LOG_BYTES, 10 * 4 * sum(self.sizes)) if self.model else self.LOG_BYTES
        return self._records >= self.ROUNDS or self.store.log_bytes >= most

    def checkpoint(self) -> None:
        """Write down all, if anything is new.

        Raises:
            SerializationError: it could not be written.
        """
        if not self._records:
            return
        header: dict[str, Any] = {
            "snapshot": asdict(self.snapshot),
            "definitions": self.definitions,
            "hash": self.hash,
            "model": None,
        }
        arrays: list[np.ndarray] = []
        if self.model:
            header["model"], arrays = self.model.state()
        self.store.checkpoint(header, arrays)
        self._records = 0

    def keep_view(self) -> None:
        """Keep the parameters as they are now for `parameters`."""
        assert self.model
        if self.hash not in self._views:
            self._views[self.hash] = self.model.parameters()
            while len(self._views) > _VIEWS:
                del self._views[next(iter(self._views))]

    def parameters(self, hash: str) -> bytes | None:
        """All buckets, float32, of a view that was kept lately."""
        return self._views.get(hash)

    def close(self) -> None:
        """Let go of the files."""
        self.store.close()

    def _recover(self, state: Record | None, records: list[Record]) -> None:
        header: dict[str, Any] = {}
        if state:
            header, arrays = state
            self.definitions = header["definitions"]
            self.hash = header["hash"]
            if header["model"] is not None:
                self.model = Model.restore(header["model"], arrays, self.rule)
        for header, arrays in records:
            if header["definition"]:
                part, value = header["definition"]
                self._put(part, value, arrays)
            elif header["round"] is not None:
                assert self.model
                self.hash = self.model.replay(arrays, tuple(header["lr"]))
            if self.hash != header["hash"]:
                raise SerializationError(
                    f"{self.store.directory}: round {header['round']} gives other parameters than it "
                    "did; was numpy changed, or the optimizer? Go on with the versions of before"
                )
        if header:
            self.snapshot = _snapshot(header["snapshot"])
        self.version = self.snapshot.version
        self._records = len(records)

    def _define(self, part: str, value: dict[str, Any]) -> Sequence[np.ndarray]:
        if part != "model":
            self._put(part, value, ())
            return ()
        assert self._uploaded
        (self.model, arrays), self._uploaded = self._uploaded, None
        self.definitions[part], self.hash = value, self.model.hash
        return arrays

    def _put(self, part: str, value: dict[str, Any], arrays: Sequence[np.ndarray]) -> None:
        if part == "model":
            self.model = Model(value, arrays, self.down, self.rule)
            self.hash = self.model.hash
        elif part == "optimizer":
            assert self.model
            self.model.define_optimizer(value)
        self.definitions[part] = value


def answer(effect: Answer) -> list[bytes]:
    """The frames that tell the result of a collective operation."""
    frames = [
        encode(
            Frame(
                Kind.RESULT, payload, seq=effect.seq, chunk=chunk, chunks=len(effect.payloads),
                dtype=effect.dtype,
            )
        )
        for chunk, payload in enumerate(effect.payloads)
    ]  # fmt: skip
    return [*frames, pack(Kind.RETURN, seq=effect.seq, error="", world=effect.world)]


def _combined(op: str, rows: list[np.ndarray], weights: list[float]) -> np.ndarray:
    if op in ("max", "min"):
        return (np.maximum if op == "max" else np.minimum).reduce(rows)
    if op == "mean":
        total = sum(weights)
        return np.sum(
            [row * np.float64(w / total) for row, w in zip(rows, weights, strict=True)], 0
        )
    wide = np.float64 if rows[0].dtype.kind == "f" else np.int64
    return np.add.reduce([row.astype(wide) for row in rows])


def _snapshot(value: dict[str, Any]) -> Snapshot:
    """A Snapshot from the JSON of one, where tuples are lists."""
    known: dict[str, Any] = dict(value)
    for name in ("leftover", "banned"):
        known[name] = tuple(tuple(v) if isinstance(v, list) else v for v in value[name])
    for name in ("members", "tasks"):
        known[name] = {k: tuple(v) for k, v in value[name].items()}
    return Snapshot(**known)
