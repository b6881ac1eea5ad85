"""A member that speaks the protocol frame by frame, so that tests can say and hear just what they want."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from tensorgl.distributed import config, tokens
from tensorgl.distributed.codecs import DTYPES, chunk_sizes
from tensorgl.distributed.hub import Hub
from tensorgl.distributed.messages import pack, parse
from tensorgl.distributed.wire import (
    DATA,
    HEADER,
    LARGEST_PAYLOAD,
    Dtype,
    Frame,
    Kind,
    checksum,
    decode,
    encode,
    fingerprint,
)

MODEL: dict[str, Any] = {"parameters": [["w", [3]], ["b", [300_000]]], "buckets": [3, 300_000]}
"""The second bucket has two chunks."""
SGD: dict[str, Any] = {"name": "SGD", "options": [{"lr": 0.5}], "groups": [0, 0], "local_steps": 0}
PATIENCE = 20.0


class LostError(Exception):
    """The hub closed the connection; the message is the reason that it gave."""


def first() -> list[np.ndarray]:
    """The parameters that members define."""
    return [np.ones(3, np.float32), np.linspace(-1, 1, 300_000, dtype=np.float32)]


def gradient(round: int, member: int = 0) -> list[np.ndarray]:
    """What a member contributes to a round, always the same."""
    return [np.full(n, (round + 1) * (member + 1) / 64, np.float32) for n in (3, 300_000)]


class Member:
    """One connection at a time, and a replica of the parameters; the codec of updates is raw."""

    def __init__(self, url: str, token: str, number: int = 0) -> None:
        self.url, self.token, self.number = url, token, number
        self.name, self.resume = secrets.token_hex(16), ""
        self.seq = self.version = self.committed = 0
        self.values: list[np.ndarray] = []
        self.hash = ""
        self.heard: list[tuple[Frame, dict[str, Any]]] = []
        self._results: dict[tuple[int, int, int, int], np.ndarray] = {}
        self._http: aiohttp.ClientSession | None = None
        self.socket: Any = None

    async def connect(self, origin: str | None = None) -> None:
        await self.close()
        self._http = aiohttp.ClientSession()
        headers = {"Origin": origin} if origin else {}
        self.socket = await self._http.ws_connect(
            self.url + "/v1/socket", compress=0, max_msg_size=HEADER + LARGEST_PAYLOAD + 1,
            headers=headers,
        )  # fmt: skip

    async def hello(self) -> dict[str, Any]:
        await self.connect()
        await self.say(
            Kind.HELLO, token=self.token, member=self.name, resume=self.resume, agent="test"
        )
        _, fields = await self.hear(Kind.WELCOME)
        self.resume, self.committed = fields["resume"], fields["committed"]
        return fields

    async def say(self, kind: Kind, seq: int = 0, round: int = 0, **fields: Any) -> None:
        await self.socket.send_bytes(pack(kind, seq=seq, round=round, **fields))

    async def hear(self, *kinds: Kind) -> tuple[Frame, dict[str, Any]]:
        """The next message of one of these kinds; others are passed over."""
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await self.socket.receive()
                if message.type is not aiohttp.WSMsgType.BINARY:
                    raise LostError("")
                frame = decode(message.data)
                if frame.kind > DATA:
                    key = (frame.round, frame.bucket, frame.seq, frame.chunk)
                    dtype = DTYPES[frame.dtype]
                    self._results[key] = np.frombuffer(frame.payload, dtype)
                    continue
                fields = parse(frame)
                self.heard.append((frame, fields))
                if frame.kind is Kind.CLOSED:
                    self._close_round(frame.round, fields)
                if frame.kind in kinds:
                    return frame, fields
                if frame.kind is Kind.ERROR:
                    raise LostError(fields["reason"])

    async def parts(self, seq: int, arrays: list[np.ndarray], dtype: Dtype = Dtype.FLOAT32) -> str:
        """Send arrays raw; their digest."""
        checksums: list[int] = []
        for bucket, values in enumerate(arrays):
            at, sizes = 0, chunk_sizes(len(values), dtype)
            for chunk, size in enumerate(sizes):
                payload = values[at : at + size].tobytes()
                at += size
                data = encode(Frame(Kind.PART, payload, seq, 0, bucket, chunk, len(sizes), dtype))
                checksums.append(checksum(data))
                await self.socket.send_bytes(data)
        return fingerprint(checksums)

    async def define(
        self, optimizer: dict[str, Any] | None = SGD, values: list[np.ndarray] | None = None
    ) -> None:
        """Define the model, and upload it if asked to; then the optimizer."""
        self.seq += 1
        await self.say(Kind.DEFINE, self.seq, part="model", value=MODEL)
        frame, _ = await self.hear(Kind.UPLOAD, Kind.DEFINED)
        if frame.kind is Kind.UPLOAD:
            digest = await self.parts(frame.seq, values or first())
            await self.say(Kind.COMMIT, frame.seq, digest=digest, metrics={})
            await self.hear(Kind.DEFINED)
        if optimizer:
            self.seq += 1
            await self.say(Kind.DEFINE, self.seq, part="optimizer", value=optimizer)
            await self.hear(Kind.DEFINED)

    async def pull(self) -> None:
        """Fetch the parameters."""
        await self.say(Kind.PULL)
        _, fields = await self.hear(Kind.PARAMETERS)
        data = await self.fetch(fields["path"], self.resume)
        assert hashlib.blake2b(data, digest_size=16).hexdigest() == fields["hash"]
        flat = np.frombuffer(data, "<f4").copy()
        self.values = np.split(flat, np.cumsum(MODEL["buckets"])[:-1])
        self.version, self.hash = fields["version"], fields["hash"]

    async def fetch(self, path: str, key: str, method: str = "GET", **headers: str) -> bytes:
        assert self._http
        headers["Authorization"] = f"Bearer {key}"
        async with self._http.request(
            method, self.url.replace("ws", "http", 1) + path, headers=headers
        ) as answer:
            answer.raise_for_status()
            return await answer.read()

    async def ready(self, busy: bool = False) -> None:
        await self.say(Kind.READY, version=self.version, busy=busy)

    async def join(self) -> None:
        """All that comes before the first round."""
        await self.hello()
        await self.define()
        await self.pull()
        await self.ready()

    async def asked(self) -> tuple[int, list[int] | None]:
        """The round that the hub asks to contribute to, and the share."""
        while True:
            frame, fields = await self.hear(Kind.ROUND)
            if fields["expected"]:
                return frame.round, fields["share"]

    async def contribute(
        self, round: int, arrays: list[np.ndarray], samples: int = 1, seq: int = 0, **more: Any
    ) -> int:
        """Send a contribution; its seq."""
        if not seq:
            self.seq += 1
            seq = self.seq
        fields = {"samples": samples, "share": None, "lr": [], **more}
        await self.say(Kind.BEGIN, seq, round, **fields)
        digest = await self.parts(seq, arrays)
        await self.say(Kind.COMMIT, seq, round, digest=digest, metrics={"loss": 0.5})
        return seq

    async def take_part(self, rounds: int) -> None:
        """Contribute the usual gradients until this member is at a version."""
        while self.version < rounds:
            round, _ = await self.asked()
            await self.contribute(round, gradient(round, self.number))
            await self.hear(Kind.CLOSED)

    async def survive(self, rounds: int) -> None:
        """As take_part, from the beginning, and whatever becomes of the hub meanwhile."""
        pending: tuple[int, int] | None = None  # round and seq of what is not answered
        while self.version < rounds:
            try:
                welcome = await self.hello()
                if pending and welcome["committed"] >= pending[1]:
                    pending = None
                await self.define()
                if not self.values or welcome["version"] != self.version:
                    await self.pull()
                await self.ready(pending is not None)
                while self.version < rounds:
                    if pending:  # any ROUND says that it can be sent again
                        await self.hear(Kind.ROUND)
                    else:
                        round, _ = await self.asked()
                        pending = round, self.seq + 1
                    self.seq = max(self.seq, pending[1])
                    await self.contribute(
                        pending[0], gradient(pending[0], self.number), seq=pending[1]
                    )
                    _, answer = await self.hear(Kind.ACK)
                    assert answer["outcome"] == "counted"
                    pending = None
                    await self.hear(Kind.CLOSED)
            except (LostError, aiohttp.ClientError, OSError):
                await asyncio.sleep(0.05)

    async def call(self, op: str, values: np.ndarray, **more: Any) -> np.ndarray | str:
        """A collective operation: what comes of it, or the error."""
        self.seq += 1
        seq, dtype = self.seq, next(d for d, n in DTYPES.items() if n == values.dtype)
        fields = {"tag": "", "weight": 1, "source": None, **more}
        await self.say(Kind.CALL, seq, op=op, dtype=int(dtype), size=len(values), **fields)
        if op != "broadcast" or fields["source"] == self.number:
            await self.parts(seq, [values] if len(values) else [], dtype)
        _, answer = await self.hear(Kind.RETURN)
        chunks = sorted(k for k in self._results if k[0] == 0 and k[2] == seq)
        if answer["error"]:
            return answer["error"]
        return np.concatenate([self._results.pop(k) for k in chunks] or [values[:0]])

    async def close(self) -> None:
        if self.socket:
            await self.socket.close()
            self.socket = None
        if self._http:
            await self._http.close()
            self._http = None

    def _close_round(self, round: int, fields: dict[str, Any]) -> None:
        if fields["version"] != self.version + 1 or not self.values:
            return
        attempts = [*fields["attempts"], *[0] * len(self.values)]
        for bucket, values in enumerate(self.values):
            chunks = len(chunk_sizes(len(values)))
            keys = [(round, bucket, attempts[bucket], chunk) for chunk in range(chunks)]
            values[:] = np.concatenate([self._results[key] for key in keys])
        self._results.clear()
        self.version, self.hash = fields["version"], fields["hash"]
        assert self.mine == self.hash

    @property
    def mine(self) -> str:
        """The hash of the replica."""
        data = b"".join(v.astype("<f4").tobytes() for v in self.values)
        return hashlib.blake2b(data, digest_size=16).hexdigest()


def token(directory: Path, role: str = "worker", seconds: float = 1000) -> str:
    run = config.read(directory).run
    return tokens.sign(tokens.read_secret(directory), run, role, time.time() + seconds)


@asynccontextmanager
async def serving(directory: Path, **values: Any) -> AsyncIterator[Hub]:
    """A hub of a run, which is made if there is none."""
    if not (directory / "hub.json").exists():
        config.create(directory, **{"up": "raw", "down": "raw", **values})
    hub = Hub(directory, ["https://example.org"])
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()


@asynccontextmanager
async def members(hub: Hub, count: int) -> AsyncIterator[list[Member]]:
    """Members that are not connected yet."""
    secret = tokens.sign(hub.secret, hub.config.run, "worker", time.time() + 1000)
    made = [Member(hub.url, secret, number) for number in range(count)]
    try:
        yield made
    finally:
        for member in made:
            await member.close()
