"""A member's side of a run: definitions, parameters, contributions, collective operations.

All is called from one thread and waits. What the hub has not answered when a connection is lost is
said again on the next one, so that whoever uses a Client never hears of it. A hub that refuses for good
ends it with HubError.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

import numpy as np

from tensorgl.distributed.codecs import DTYPES, Feedback, chunk_sizes, decode_bucket, names
from tensorgl.distributed.definitions import digest
from tensorgl.distributed.effects import Share
from tensorgl.distributed.faults import fail_point
from tensorgl.distributed.messages import MOST_CALLS, pack
from tensorgl.distributed.session import Fields, HubError, Session
from tensorgl.distributed.statistics import Statistics, bucket_codecs
from tensorgl.distributed.transport import Connect
from tensorgl.distributed.view import View, hash_of
from tensorgl.distributed.wire import (
    Codec,
    Dtype,
    Frame,
    Kind,
    ProtocolError,
    checksum,
    encode,
    fingerprint,
)

__all__ = ["Call", "Client", "Round"]

Array: TypeAlias = np.ndarray[Any, Any]

_logger = logging.getLogger("tensorgl.distributed")
_dtypes = {array: dtype for dtype, array in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Round:
    """What the hub asks this member for.

    Attributes:
        number: of the round.
        share: samples of the stream of epochs to contribute; None: where no data is defined.
    """

    number: int
    share: Share | None


@dataclass(slots=True)
class _Contribution:
    """What was begun to be sent, and is kept until it is answered."""

    seq: int
    round: int
    share: Share | None
    frames: list[bytes] = field(default_factory=list)
    payloads: list[list[bytes]] = field(default_factory=list)  # of each bucket
    residuals: list[Array | None] = field(
        default_factory=list
    )  # what its error feedback was before
    outcome: str = ""
    reason: str = ""
    counted_in: int = 0  # round


@dataclass(slots=True)
class Call:
    """A collective operation that was begun."""

    frames: list[bytes]
    dtype: Dtype
    parts: dict[int, bytes] = field(default_factory=dict)
    error: str | None = None  # "": it is complete

    def result(self) -> Array:
        """The array that came back.

        Raises:
            HubError: it failed.
        """
        if self.error:
            raise HubError(f"all_reduce, broadcast or barrier: {self.error}")
        data = b"".join(self.parts[chunk] for chunk in sorted(self.parts))
        return np.frombuffer(data, DTYPES[self.dtype])


class Client:
    """A member of a run.

    Args:
        url: of the hub's socket.
        token: that lets it in.
        connect: makes connections.
        timeout: seconds that anything may be waited for.

    Attributes:
        rank: a number below `world`, unless somebody has left; kept over lost connections.
        world: how many members there are, as was heard last.
        view: the parameters, once the model is defined.
        task: the round that this member works on, since `take`.
        local: contributions are changes of the parameters after local steps, not gradients.
        remaining: how many batches of the task's share are to come; None: nobody hands them out.
        metrics: numbers for whoever looks on, sent with each contribution.
        refresh: what to call before work on a round begins, so that it begins with the newest parameters.
        watch: of all clients: what to call with a client and the outcome of a contribution of its.

    Raises:
        HubError: the hub does not let it in.
        ConnectionError: there is none.
    """

    watch: ClassVar[Callable[[Client, str], object]] = lambda client, outcome: None

    def __init__(self, url: str, token: str, connect: Connect, timeout: float) -> None:
        self.rank = self.world = 0
        self.view: View | None = None
        self.task: Round | None = None
        self.local = False
        self.remaining: int | None = None
        self.metrics: dict[str, float] = {}
        self.refresh: Callable[[], None] = lambda: None
        self.defined: dict[str, str] = {}  # part: digest
        self._codec = Codec.RAW
        self._defining: dict[str, bytes] = {}  # part: DEFINE, until it is in force
        self._initial: list[Array] = []
        self._seq = 0
        self._pulling = self._started = False
        self._offer: Round | None = None  # what the hub asks for
        self._work: _Contribution | None = None
        self._calls: dict[int, Call] = {}
        self._feedback: list[Feedback] = []
        self._norms: Statistics = ()
        self._boot = ""
        self._session = Session(url, token, connect, timeout, self._welcomed, self._heard)
        self._session.open()

    @property
    def url(self) -> str:
        """The address of the hub's socket."""
        return self._session.url

    @property
    def transport(self) -> str:
        """The name of the kind of connection."""
        return self._session.transport

    # What a member does

    def define(self, part: str, value: dict[str, Any]) -> None:
        """Have a part of the run's definition in force; all members define the same."""
        mine = digest(value)
        if part not in self.defined:
            self._defining[part] = pack(Kind.DEFINE, seq=self._next(), part=part, value=value)
            self._send(self._defining[part])
            self._wait(lambda: part in self.defined, f"the {part} to be defined")
        if self.defined[part] != mine:
            raise HubError(
                f"this run has another {part} than this script: join with the same script and options, "
                "or begin another run"
            )

    def define_model(self, value: dict[str, Any], initial: list[Array]) -> View:
        """Define the model and take over its parameters, which are `initial` if nobody was before."""
        self._initial = initial
        self.define("model", value)
        self._initial = []
        self.view = View(value["buckets"])
        self._feedback = [Feedback() for _ in value["buckets"]]
        self._norms = value.get("statistics", ())
        self._pull()
        self.settle()
        return self.view

    def settle(self) -> None:
        """Hear what there is, and have parameters that are those of a version."""
        self._wait(lambda: not self._pulling, "the parameters")

    def take(self) -> Round:
        """Wait until the hub asks for a contribution, and begin to work on it; one may be begun already."""
        if self.begun:
            return self.begun
        if self.task is None:
            if not self._started:
                self._started = True
                self._ready()
            self._wait(lambda: self._offer is not None and not self._pulling, "the next round")
            self.task = self._offer
            self.refresh()
        assert self.task
        return self.task

    @property
    def begun(self) -> Round | None:
        """The round that a contribution was begun for, until `commit` has its answer."""
        work = self._work
        return Round(work.round, work.share) if work else None

    def decline(self) -> None:
        """Do not contribute to the round of the task."""
        self.task = self._offer = None
        self._ready()

    def begin(self, version: int, samples: int, lr: list[float]) -> None:
        """Begin a contribution to the round that was offered; anew, if one is not complete.

        Args:
            version: of the parameters that it was computed at.
            samples: of which it is the mean.
            lr: of each group of parameters; none: as the optimizer was defined.
        """
        before = self._work
        if before:
            self._forget(before)
            work = self._work = _Contribution(before.seq, before.round, before.share)
        else:
            task = self.take()
            self.task = None
            work = _Contribution(self._next(), min(version + 1, task.number), task.share)
            self._work = work
            if self._offer is None or self._offer.share != task.share:
                # While this one was away, the share became another member's.
                work.outcome, work.reason = "stale", "others have its share by now"
            self._offer = None
        share = list(work.share) if work.share else None
        header = {"seq": work.seq, "round": work.round}
        self._add(pack(Kind.BEGIN, **header, samples=samples, share=share, lr=lr))
        fail_point("after-begin")

    def put(self, values: Array) -> None:
        """Send the next bucket of the contribution; returns before it is on its way."""
        work = self._work
        assert work
        if work.reason:
            return
        number = len(work.payloads)
        work.residuals.append(self._feedback[number].residual)
        codec = bucket_codecs(self._norms, len(self._feedback), self._codec)[number]
        payloads = self._feedback[number].encode(codec, values)
        work.payloads.append(payloads)
        for chunk, payload in enumerate(payloads):
            place = Frame(
                Kind.PART, payload, work.seq, work.round, number, chunk, len(payloads),
                Dtype.FLOAT32, codec,
            )  # fmt: skip
            self._add(encode(place))
        fail_point("after-bucket")

    def commit(self) -> str:
        """Complete the contribution, and wait until it is in the parameters.

        Returns:
            counted, carried, stale or rejected, as ACK says. What was stale comes with the next one,
            unless it is of a share, which others are given.
        """
        work, view = self._work, self.view
        assert work and view
        fail_point("before-commit")
        sums = fingerprint(map(checksum, work.frames[1:]))  # all but BEGIN
        self._add(
            pack(Kind.COMMIT, seq=work.seq, round=work.round, digest=sums, metrics=self.metrics)
        )
        fail_point("after-commit")
        self._wait(lambda: bool(work.outcome), "the answer to a contribution")
        self._work = None
        if work.outcome == "rejected":
            _logger.warning("a contribution was rejected: %s", work.reason)
        if work.outcome == "stale" and not work.share and not work.reason.startswith("others"):
            self._take_back(work.payloads)
        elif work.outcome in ("stale", "rejected"):
            self._forget(work)
        self._wait(
            lambda: not self._pulling and view.version >= work.counted_in,
            "the parameters after a round",
        )
        Client.watch(self, work.outcome)
        return work.outcome

    def call(self, op: str, values: Array, source: int | None = None, tag: str = "") -> Call:
        """Begin a collective operation; `finish` waits for it. If many are begun, some have to end first.

        Args:
            op: sum, mean, max, min, broadcast or barrier.
            values: flat, of a dtype that DTYPES has.
            source: the rank that a broadcast is from.
            tag: calls of one op and tag belong together, in their order.
        """
        if len(self._calls) >= MOST_CALLS:
            self._wait(lambda: len(self._calls) < MOST_CALLS, "room for another call")
        dtype, seq = _dtypes[values.dtype.newbyteorder("<")], self._next()
        call = Call([], dtype)
        call.frames.append(
            pack(
                Kind.CALL, seq=seq, op=op, tag=tag, dtype=int(dtype), size=len(values), weight=1,
                source=source,
            )
        )  # fmt: skip
        if source is None or source == self.rank:
            call.frames += _raw_frames(seq, 0, values, dtype)
        self._calls[seq] = call
        for frame in call.frames:
            self._send(frame)
        return call

    def completed(self, call: Call) -> bool:
        """Whether a collective operation is over."""
        self._wait(lambda: True, "")
        return call.error is not None

    def finish(self, call: Call) -> Array:
        """What came of a collective operation."""
        self._wait(lambda: call.error is not None, "the other members")
        return call.result()

    def close(self) -> None:
        """Leave the run."""
        self._session.close()

    # What the hub says

    def _welcomed(self, fields: Fields) -> None:
        """Say what the hub has not answered, on a new connection."""
        self.rank, self.world = fields["rank"], fields["world"]
        self._codec, self.defined = names()[fields["codec"]], fields["defined"]
        for part, frame in self._defining.items():
            if part not in self.defined:
                self._send(frame)
        if self._boot != fields["boot"]:
            for call in self._calls.values():
                call.error = "the hub was started again"
            self._calls.clear()
            self._boot = fields["boot"]
        for call in self._calls.values():
            for frame in call.frames:
                self._send(frame)
        work = self._work
        if work and not work.outcome and fields["committed"] >= work.seq:
            work.outcome, work.counted_in = "counted", fields["version"]
        if self.view and (self._pulling or self.view.version != fields["version"]):
            self._pull()
        elif self._started:
            self._ready()
        if work and not work.outcome:
            for frame in work.frames:
                self._send(frame)

    def _heard(self, frame: Frame, fields: Fields) -> None:
        if frame.kind is Kind.RESULT and frame.round:
            if self.view:
                self.view.result(frame)
        elif frame.kind is Kind.RESULT:
            if call := self._calls.get(frame.seq):
                call.parts[frame.chunk] = bytes(frame.payload)
        elif handle := self._HANDLERS.get(frame.kind):
            handle(self, frame, fields)

    def _on_defined(self, frame: Frame, fields: Fields) -> None:
        self.defined[fields["part"]] = fields["digest"]
        self._defining.pop(fields["part"], None)

    def _on_upload(self, frame: Frame, fields: Fields) -> None:
        checksums: list[int] = []
        for number, values in enumerate(self._initial):
            for data in _raw_frames(frame.seq, number, values, Dtype.FLOAT32):
                checksums.append(checksum(data))
                self._send(data)
            fail_point("mid-upload")
        sums = fingerprint(checksums)
        self._send(pack(Kind.COMMIT, seq=frame.seq, digest=sums, metrics={}))

    def _on_parameters(self, frame: Frame, fields: Fields) -> None:
        if self.view is None:
            return
        try:
            data = self._session.fetch(fields["path"])
            if hash_of(data) != fields["hash"]:
                raise OSError("the parameters are not those that the hub spoke of")
        except OSError as error:  # such that are not kept any more, or the connection is lost
            _logger.warning("%s; asking again", error)
            self._pull()
            return
        self.view.replace(fields["version"], data)
        self._pulling = False
        if self._started:
            self._ready()

    def _on_round(self, frame: Frame, fields: Fields) -> None:
        self.world = fields["world"]
        share = tuple(fields["share"]) if fields["share"] else None
        if fields["expected"]:
            self._offer = Round(frame.round, share)

    def _on_ack(self, frame: Frame, fields: Fields) -> None:
        fail_point("at-answer")  # the hub knows, and the member does not
        work = self._work
        if work and work.seq == frame.seq and not work.outcome:
            work.outcome, work.reason = fields["outcome"], fields["reason"]
            if work.outcome in ("counted", "carried"):
                work.counted_in = frame.round
                if self._offer and self._offer.number <= frame.round:
                    self._offer = None  # it was asked for again, and this is what counted
            self._session.goes_well()

    def _on_closed(self, frame: Frame, fields: Fields) -> None:
        view = self.view
        if view is None or self._pulling or fields["version"] <= view.version:
            return
        if not view.close(fields["version"], fields["attempts"], fields["hash"]):
            self._pull()

    def _on_return(self, frame: Frame, fields: Fields) -> None:
        self.world = fields["world"]
        if call := self._calls.pop(frame.seq, None):
            call.error = fields["error"]

    _HANDLERS: ClassVar[dict[Kind, Callable[[Client, Frame, Fields], None]]] = {
        Kind.DEFINED: _on_defined,
        Kind.UPLOAD: _on_upload,
        Kind.PARAMETERS: _on_parameters,
        Kind.ROUND: _on_round,
        Kind.ACK: _on_ack,
        Kind.CLOSED: _on_closed,
        Kind.RETURN: _on_return,
    }

    # What is said

    def _send(self, data: bytes) -> None:
        self._session.send(data)

    def _wait(self, done: Callable[[], bool], what: str) -> None:
        self._session.wait(done, what)

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    def _pull(self) -> None:
        self._pulling = True
        self._send(pack(Kind.PULL))

    def _ready(self) -> None:
        """Say that rounds may count on this member, which has the parameters of a version."""
        assert self.view
        busy = self._offer is not None or (self._work is not None and not self._work.outcome)
        self._send(pack(Kind.READY, version=self.view.version, busy=busy))

    def _add(self, data: bytes) -> None:
        """Send a frame of the contribution, unless that has its answer already."""
        work = self._work
        if work and not work.outcome:
            work.frames.append(data)
            self._send(data)

    def _forget(self, work: _Contribution) -> None:
        """A contribution counts for nothing: what codecs had lost before it is to be sent as ever."""
        for feedback, residual in zip(self._feedback, work.residuals, strict=False):
            feedback.residual = residual

    def _take_back(self, sent: list[list[bytes]]) -> None:
        """What was not counted is sent with the next contribution, but for statistics."""
        assert self.view
        for number, payloads in enumerate(sent[:-1] if self._norms else sent):
            size = len(self.view.bucket(number))
            with suppress(ProtocolError):  # NaN has no scale, and is not to come again
                self._feedback[number].add(decode_bucket(self._codec, payloads, size))


def _raw_frames(seq: int, bucket: int, values: Array, dtype: Dtype) -> list[bytes]:
    sizes = chunk_sizes(len(values), dtype)
    frames: list[bytes] = []
    at = 0
    for chunk, size in enumerate(sizes):
        payload = values[at : at + size].astype(DTYPES[dtype], copy=False).tobytes()
        frames.append(encode(Frame(Kind.PART, payload, seq, 0, bucket, chunk, len(sizes), dtype)))
        at += size
    return frames
