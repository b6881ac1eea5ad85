"""Connections of a chaos run that are not a worker's: who has listened, and who has a token and lies."""

from __future__ import annotations

import asyncio
import secrets
import socket
from contextlib import suppress
from random import Random

import aiohttp

from tensorgl.distributed.messages import pack
from tensorgl.distributed.wire import HEADER, LARGEST_PAYLOAD, Frame, Kind, encode

from .tap import Entry

__all__ = ["forge", "replay"]

_PATIENCE_S = 2.0


def replay(port: int, recorded: bytes) -> None:
    """Send what somebody sent on another connection, byte for byte, and hear what comes of it."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), _PATIENCE_S) as stream:
        stream.sendall(recorded)
        stream.settimeout(0.2)
        while stream.recv(1 << 16):
            pass


def forge(port: int, token: str, entries: list[Entry], version: int, draw: Random) -> None:
    """Be a member of one's own that contributes what others were asked for, and rounds that are not."""

    def begin(seq: int, round: int, samples: int, share: tuple[int, int] | None) -> bytes:
        held = list(share) if share else None
        return pack(Kind.BEGIN, seq=seq, round=round, samples=samples, share=held, lr=[])

    talks: list[list[bytes]] = [
        [begin(1, version + 1, 2**40, None)],
        [begin(1, version + 1 + draw.randint(2, 2**40), 1, None)],
        [begin(2**53, 1, 1, None)],
        [pack(Kind.READY, version=version + 10**6, busy=False)],
        [pack(Kind.COMMIT, seq=1, round=version + 1, digest="0" * 32, metrics={})],
        [
            pack(
                Kind.CALL, seq=1, op="broadcast", tag="", dtype=1, size=1, weight=1,
                source=draw.randrange(3),
            )
        ],
    ]  # fmt: skip
    for entry in entries[-3:]:
        frames = [begin(entry.seq, version + 1, entry.samples, entry.share)]
        for bucket, payloads in entry.payloads.items():
            for chunk, payload in enumerate(payloads):
                part = Frame(
                    Kind.PART, payload, entry.seq, version + 1, bucket, chunk, len(payloads)
                )
                frames.append(encode(part))
        digest = secrets.token_hex(16)
        frames.append(
            pack(Kind.COMMIT, seq=entry.seq, round=version + 1, digest=digest, metrics={})
        )
        talks.append(frames)
    with suppress(OSError, aiohttp.ClientError, TimeoutError):
        asyncio.run(_talk(port, token, draw.sample(talks, 4)))


async def _talk(port: int, token: str, talks: list[list[bytes]]) -> None:
    async with aiohttp.ClientSession() as session:
        for frames in talks:
            async with session.ws_connect(
                f"ws://127.0.0.1:{port}/v1/socket", max_msg_size=HEADER + LARGEST_PAYLOAD + 1
            ) as stream:
                member = secrets.token_hex(16)
                await stream.send_bytes(
                    pack(Kind.HELLO, token=token, member=member, resume="", agent="liar")
                )
                await stream.receive(_PATIENCE_S)
                for data in [*frames, pack(Kind.BYE)]:
                    await stream.send_bytes(data)
                with suppress(TimeoutError):
                    while (await stream.receive(0.2)).type is aiohttp.WSMsgType.BINARY:
                        pass
