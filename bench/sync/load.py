"""`python -m bench sync --hub`: what contributions and idle connections cost a hub.

The hub is a process of its own; its processor time and memory are read from /proc. Members here send
bytes that were encoded once, so that the hub's work is what is measured.
"""

from __future__ import annotations

import asyncio
import os
import resource
import secrets
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from tqdm import tqdm

from tensorgl.distributed import codecs
from tensorgl.distributed.messages import pack, parse
from tensorgl.distributed.wire import (
    HEADER,
    LARGEST_PAYLOAD,
    Codec,
    Frame,
    Kind,
    checksum,
    decode,
    encode,
    fingerprint,
)

from ..records import write_json
from .process import hub

__all__ = ["run"]

PARAMETERS, BUCKET = 11_700_000, 1 << 20
MEMBERS, ROUNDS = 16, 4
CONNECTIONS = 5000


def run(save: str | None) -> int:
    """Measure, and print; returns an exit code."""
    contributions = asyncio.run(_contributions())
    print(
        f"{contributions['contributions']} int8 contributions of {PARAMETERS / 1e6:.1f} M parameters: "
        f"{contributions['a_second_a_core']:.1f} a second and core ({contributions['bytes'] / 1e6:.0f} MB in)"
    )
    idle = asyncio.run(_idle())
    print(
        f"{idle['connections']} idle connections held: {idle['bytes_a_connection'] / 1024:.1f} KiB each"
    )
    if save:
        print("written:", write_json(save, {"contributions": contributions, "idle": idle}))
    return 0


def _seconds(pid: int) -> float:
    """Processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    """Bytes of a process's memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class _Member:
    """Speaks the protocol, and knows nothing of what is in the arrays."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def say(self, kind: Kind, seq: int = 0, round: int = 0, **fields: Any) -> None:
        await self._socket.send_bytes(pack(kind, seq=seq, round=round, **fields))

    async def hear(self, kind: Kind) -> Frame:
        """The next message of a kind; all before it is passed over."""
        while True:
            message = await self._socket.receive()
            if message.type is not aiohttp.WSMsgType.BINARY:
                raise ConnectionError("the hub has closed the connection")
            frame = decode(message.data)
            if frame.kind is kind:
                return frame
            if frame.kind is Kind.ERROR:
                raise ConnectionError(parse(frame)["reason"])

    async def parts(self, codec: Codec, buckets: list[list[bytes]], seq: int, round: int) -> str:
        """Send arrays; their digest."""
        checksums: list[int] = []
        for bucket, payloads in enumerate(buckets):
            for chunk, payload in enumerate(payloads):
                frame = Frame(
                    Kind.PART, payload, seq, round, bucket, chunk, len(payloads), codec=codec
                )
                data = encode(frame)
                checksums.append(checksum(data))
                await self._socket.send_bytes(data)
        return fingerprint(checksums)


async def _join(
    stack: AsyncExitStack, session: aiohttp.ClientSession, url: str, token: str
) -> _Member:
    socket = await stack.enter_async_context(
        session.ws_connect(
            f"{url}/v1/socket", compress=0, max_msg_size=HEADER + LARGEST_PAYLOAD + 1
        )
    )
    member = _Member(socket)
    await member.say(
        Kind.HELLO, token=token, member=secrets.token_hex(16), resume="", agent="bench"
    )
    await member.hear(Kind.WELCOME)
    return member


async def _contributions() -> dict[str, Any]:
    sizes = [BUCKET] * (PARAMETERS // BUCKET) + [PARAMETERS % BUCKET]
    random = np.random.default_rng(0)
    values = [random.standard_normal(n, np.float32) * np.float32(1e-3) for n in sizes]
    coded = [codecs.encode_bucket(Codec.INT8, v) for v in values]
    plain = [codecs.encode_bucket(Codec.RAW, v) for v in values]
    bytes_each = sum(len(p) for payloads in coded for p in payloads)
    model = {"parameters": [["w", [PARAMETERS]]], "buckets": sizes}
    optimizer = {
        "name": "SGD", "options": [{"lr": 0.01}], "groups": [0] * len(sizes), "local_steps": 0,
    }  # fmt: skip
    with hub(least_members=MEMBERS, quorum=1.0, grace=600.0, lease=600.0) as (url, token, pid):
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            members = [await _join(stack, session, url, token) for _ in range(MEMBERS)]
            first = members[0]
            await first.say(Kind.DEFINE, 1, part="model", value=model)
            await first.hear(Kind.UPLOAD)
            digest = await first.parts(Codec.RAW, plain, 1, 0)
            await first.say(Kind.COMMIT, 1, digest=digest, metrics={})
            await first.hear(Kind.DEFINED)
            await first.say(Kind.DEFINE, 2, part="optimizer", value=optimizer)
            await first.hear(Kind.DEFINED)

            async def take_part(member: _Member) -> None:
                await member.say(Kind.READY, version=0, busy=False)
                for turn in range(ROUNDS + 1):
                    number = (await member.hear(Kind.ROUND)).round
                    if member is first and turn == 1:  # the first one warms up
                        started.append(_seconds(pid))
                    seq = 10 + turn
                    await member.say(Kind.BEGIN, seq, number, samples=8, share=None, lr=[])
                    digest = await member.parts(Codec.INT8, coded, seq, number)
                    await member.say(Kind.COMMIT, seq, number, digest=digest, metrics={})
                    await member.hear(Kind.ACK)
                    if member is first:
                        bar.update()

            started: list[float] = []
            with tqdm(total=ROUNDS + 1, desc="rounds", leave=False) as bar:
                await asyncio.gather(*map(take_part, members))
            spent = _seconds(pid) - started[0]
    count = MEMBERS * ROUNDS
    return {
        "parameters": PARAMETERS, "members": MEMBERS, "contributions": count, "cpu_s": spent,
        "a_second_a_core": count / spent, "bytes": count * bytes_each,
    }  # fmt: skip


async def _idle() -> dict[str, Any]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # inherited by the hub
    try:
        with hub(most_members=CONNECTIONS, lease=600.0) as (url, token, pid):
            async with AsyncExitStack() as stack:
                connector = aiohttp.TCPConnector(limit=0)
                session = await stack.enter_async_context(
                    aiohttp.ClientSession(connector=connector)
                )
                for _ in range(50):  # what is made once
                    await _join(stack, session, url, token)
                before = _resident(pid)
                for _ in tqdm(range(CONNECTIONS - 50), desc="connections", leave=False):
                    await _join(stack, session, url, token)
                after = _resident(pid)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    each = (after - before) / (CONNECTIONS - 50)
    return {"connections": CONNECTIONS, "bytes_a_connection": each}
