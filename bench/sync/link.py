"""A slow link between a hub and all of its members: a relay of so many bytes a second, each way.

    python -m bench.sync.link PORT RATE

prints the port on which it listens, and passes everything on to PORT of this machine. For each line that it
reads it prints how many bytes have passed by then. Connections share the rate, first come, first served, as
they share the one cable of a server.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time

__all__ = ["main"]

PIECE = 16 << 10
AHEAD_S = 0.002
"""How far the link may run ahead of the clock, as sleeping is no finer than that."""


class _Cable:
    """One direction."""

    def __init__(self, rate: float) -> None:
        self.rate, self.free, self.carried = rate, 0.0, 0

    async def carry(self, size: int) -> None:
        """Wait until so many bytes are through, after all that came before."""
        now = time.monotonic()
        self.carried += size
        self.free = max(self.free, now) + size / self.rate
        if self.free - now > AHEAD_S:
            await asyncio.sleep(self.free - now)


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter, cable: _Cable) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(PIECE):
            await cable.carry(len(data))
            sink.write(data)
            await sink.drain()
    with contextlib.suppress(ConnectionError):
        sink.close()


async def _serve(port: int, rate: float) -> None:
    up, down = _Cable(rate), _Cable(rate)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port, limit=PIECE)
        except ConnectionError:
            writer.close()
            return
        await asyncio.gather(_pass(reader, far_writer, up), _pass(far_reader, writer, down))

    server = await asyncio.start_server(connect, "127.0.0.1", 0, limit=PIECE)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(up.carried + down.carried, flush=True)


def main() -> None:
    """Relay until the process is ended."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))


if __name__ == "__main__":
    main()
