"""The protocol of DistML.js, for comparison: all weights down and all gradients up, in float32, each step.

As its `distributed/` does (github.com/mil-tokyo/distmljs): the server divides a batch of fixed size, sends
everybody the weights and the samples to use, waits for all gradients, weighs them by their samples, and makes
a step of SGD. Here the samples are indices, and one WebSocket carries what are two connections there.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
from aiohttp import ClientSession, WSMsgType, web

import tensorgl as tg
from tensorgl import nn
from tensorgl.nn.utils import parameters_to_vector, vector_to_parameters

from .task import LR, Device, accuracy, data, network, order

__all__ = ["serve", "work"]


async def serve(members: int, steps: int, port: Any, results: Any) -> None:
    """Train with so many members; each step puts (seconds since the first one, accuracy) into `results`.

    Args:
        members: to wait for.
        steps: to make.
        port: a queue, which gets the number of the port that it listens on.
        results: a queue.
    """
    train, test = data()
    net = network()
    weights = parameters_to_vector(net.parameters()).detach().numpy().copy()
    sockets: list[web.WebSocketResponse] = []
    complete, over = asyncio.Event(), asyncio.Event()

    async def join(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, max_msg_size=0)
        await socket.prepare(request)
        sockets.append(socket)
        if len(sockets) == members:
            complete.set()
        await over.wait()
        return socket

    app = web.Application()
    app.router.add_get("/", join)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port.put(runner.addresses[0][1])
    await complete.wait()
    batches, start = order(len(train[0])), time.monotonic()
    for _ in range(steps):
        pieces = np.array_split(next(batches).astype(np.int32), members)

        async def turn(socket: web.WebSocketResponse, piece: Any, now: Any) -> Any:
            await socket.send_bytes(now.tobytes() + piece.tobytes())
            message = await socket.receive()
            return len(piece) * np.frombuffer(message.data, np.float32)

        gradients = await asyncio.gather(
            *(turn(s, p, weights) for s, p in zip(sockets, pieces, strict=True))
        )
        weights -= LR * sum(gradients) / sum(map(len, pieces))
        taken = time.monotonic() - start
        vector_to_parameters(tg.from_numpy(weights), net.parameters())
        results.put((taken, accuracy(net, test)))
    over.set()
    for socket in sockets:
        await socket.close()
    await runner.cleanup()


async def work(port: int, sample_s: float) -> None:
    """Be a member, until the server closes."""
    (images, labels), _ = data()
    net = network()
    device = Device(net, sample_s)
    size = sum(p.numel() for p in net.parameters())

    def gradient(message: bytes) -> bytes:
        weights = np.frombuffer(message, np.float32, size)
        indices = tg.from_numpy(np.frombuffer(message, np.int32, offset=4 * size).astype(np.int64))
        vector_to_parameters(tg.from_numpy(weights.copy()), net.parameters())
        net.zero_grad()
        device.forward(len(indices))
        nn.functional.cross_entropy(net(images[indices]), labels[indices]).backward()
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        return parameters_to_vector(gradients).numpy().tobytes()

    async with (
        ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{port}/", compress=0, max_msg_size=0) as socket,
    ):
        async for message in socket:
            if message.type is not WSMsgType.BINARY:
                break
            await socket.send_bytes(await asyncio.to_thread(gradient, message.data))
