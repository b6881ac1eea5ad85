"""A member in a browser's tab: its connection to a hub, and training together with a native member."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from tensorgl.distributed import config, tokens
from tensorgl.distributed.hub import Hub
from tensorgl.wasm import browsers, server
from tensorgl.wasm import run as runs
from tests.browser.conftest import MESA
from tests.browser.test_run import command

LONG = 120
"""Seconds that nothing here takes."""

SCRIPT = """
import os
from tensorgl.distributed import transport_browser

hub = os.environ["TENSORGL_HUB"]
url = hub + "/v1/socket"
t = transport_browser.connect(url, b"beat", 0.05)
print(t.name)

def asked(path, answer):
    while t.fetch(path, {}) != answer:
        pass

# Frames of all sizes come back in order; many of the largest do not fit into memory at once.
frames = [bytes([k % 251]) * size for k, size in enumerate([0, 1, 7, 5000] * 20 + [(1 << 20) + 48] * 12)]
for frame in frames:
    t.send(frame)
assert [t.receive(None) for _ in frames] == frames
assert t.receive(0) is None and t.receive(0.1) is None
t.send(memoryview(b"a view"))
assert t.receive(60) == b"a view"
print("frames")

# What is sent goes out, and heartbeats do, while Python keeps the tab's event loop from turning.
t.send(b"note 1")
asked("/noted", b"1")
asked("/beaten", b"yes")
print("beats")

assert t.fetch("/v1/parameters/" + "0" * 32, {"Authorization": "Bearer key"}) == bytes(range(256)) * 9000
for path, headers in (("/nothing", {}), ("/elsewhere", {"Authorization": "Bearer key"})):
    try:
        t.fetch(path, headers)
    except OSError as error:
        print(str(error).replace(hub.replace("ws", "http"), "HUB"))

# A lost connection gives all that came before.
t.send(b"drop")
assert [t.receive(None) for _ in range(3)] == [b"0", b"1", b"2"]
for call in (lambda: t.receive(None), lambda: t.receive(0), lambda: t.send(b"more")):
    try:
        call()
    except ConnectionError as error:
        print(error)
t = transport_browser.connect(url, b"beat", 0.05)
t.send(b"again")
assert t.receive(None) == b"again"

for other in ("ws://127.0.0.1:1/v1/socket", hub + "/nothing", "no address"):
    try:
        transport_browser.connect(other, b"beat", 1)
    except ConnectionError as error:
        print(str(error).replace(hub, "HUB").split(": the")[0])
transport_browser.OPENING_S = 0.1
try:
    transport_browser.connect(hub + "/silent", b"beat", 1)
except ConnectionError as error:
    print(str(error).replace(hub, "HUB"))

# What was sent goes out before it is closed.
t = transport_browser.connect(url, b"beat", 1)
for _ in range(8):
    t.send(bytes(1 << 20))
t.send(b"note 2")
t.close()
asked("/noted", b"2")
try:
    t.receive(None)
except ConnectionError as error:
    print(error)
asked("/closed", b"yes")
t = transport_browser.connect(url, b"beat", 1)
print("done")
"""

SAID = """{name}
frames
beats
GET HUB/nothing: the page got status 404
GET HUB/elsewhere: the page got nothing that it may read
the connection ended: code 1006
the connection ended: code 1006
the connection ended: code 1006
no connection to ws://127.0.0.1:1/v1/socket
no connection to HUB/nothing
no connection to no address
no connection to HUB/silent: no answer in 0 s
the connection was closed
done
"""


class Echo:
    """Something like a hub: sends frames back, and tells what it has noticed."""

    def __init__(self) -> None:
        self.beats = 0
        self.noted = ""
        self.open = 0
        self.closed = asyncio.Event()

    def application(self) -> web.Application:
        app = web.Application()
        app.on_response_prepare.append(_allow)
        app.router.add_options("/{path:.*}", self.preflight)
        app.router.add_get("/v1/socket", self.socket)
        app.router.add_get("/silent", self.silent)
        app.router.add_post("/v1/exchange", self.silent)
        app.router.add_get("/{what}", self.tell)
        app.router.add_get("/v1/parameters/{hash}", self.parameters)
        return app

    async def tell(self, request: web.Request) -> web.Response:
        told = {
            "noted": self.noted,
            "beaten": "yes" if self.beats > 2 else "no",
            "closed": "yes" if not self.open else "no",
            "elsewhere": "",
        }
        if request.match_info["what"] not in told:
            raise web.HTTPNotFound
        return web.Response(text=told[request.match_info["what"]])

    async def preflight(self, request: web.Request) -> web.Response:
        return web.Response()

    async def silent(self, request: web.Request) -> web.Response:
        await asyncio.sleep(LONG)
        raise web.HTTPNotFound

    async def parameters(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer key":
            raise web.HTTPUnauthorized
        return web.Response(body=bytes(range(256)) * 9000)

    async def flood(self, socket: web.WebSocketResponse) -> None:
        with suppress(ConnectionError):
            while not socket.closed:
                await socket.send_bytes(bytes(1 << 20))

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=2 << 20, compress=False)
        await socket.prepare(request)
        self.open += 1
        self.closed.clear()
        flood: asyncio.Task[None] | None = None
        async for message in socket:
            assert message.type == WSMsgType.BINARY
            if message.data == b"beat":
                self.beats += 1
            elif message.data.startswith(b"note "):
                self.noted = message.data[5:].decode()
            elif message.data == b"drop":
                for k in range(3):
                    await socket.send_bytes(b"%d" % k)
                assert request.transport
                request.transport.close()
            elif message.data == b"flood":
                flood = asyncio.create_task(self.flood(socket))
            elif message.data.count(0) < 1 << 20:
                await socket.send_bytes(message.data)
        if flood:
            await flood
        self.open -= 1
        if not self.open:
            self.closed.set()
        return socket


async def _allow(request: web.Request, response: web.StreamResponse) -> None:
    """Let pages of other origins read everything but one path, as a hub does for those on its list."""
    if request.path != "/elsewhere":
        response.headers["Access-Control-Allow-Origin"] = request.headers.get("Origin", "")
        response.headers["Access-Control-Allow-Headers"] = "Authorization"


@asynccontextmanager
async def running(
    *command: str, cwd: Path, **env: str
) -> AsyncGenerator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=pipe, stderr=pipe, env=os.environ | env
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


WAITING = """
import os
from tensorgl.distributed import transport_browser

t = transport_browser.connect(os.environ["TENSORGL_HUB"] + "/v1/socket", b"beat", 1)
print("waiting", flush=True)
try:
    t.receive(None)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("name", ["chromium", "firefox"])
def test_shared_memory(name: str, built: Path, tmp_path: Path) -> None:
    async def check() -> None:
        async with server.serving(Echo().application()) as url:
            env = {"TENSORGL_HUB": url.rstrip("/").replace("http", "ws")}
            run = command("script.py", options=("--browser-name", name))
            async with running(*run, cwd=tmp_path, **env) as process:
                assert process.stdout
                assert await asyncio.wait_for(process.stdout.readline(), LONG) == b"waiting\n"
                process.send_signal(signal.SIGINT)
                out, errors = await asyncio.wait_for(process.communicate(), LONG)
        assert errors.decode() == ""
        assert out.decode() == "interrupted\n" + SAID.format(name="websocket+sab")
        assert process.returncode == 0

    (tmp_path / "script.py").write_text(WAITING + SCRIPT)
    asyncio.run(check())


PAGE = """
import { TensorGL } from "/tensorgl.js";

const { source, env } = await (await fetch("/page.json")).json();
let said = "";
try {
  const tg = await TensorGL.start({ env });
  await tg.run(source, { onOutput: (text) => (said += text) });
} catch (error) {
  said += error;
}
await fetch("/said", { method: "POST", body: said });
"""
ISOLATION = ("Cross-Origin-Opener-Policy", "Cross-Origin-Embedder-Policy")


@asynccontextmanager
async def page(
    site: Path, name: str, hub: str, script: str, isolated: bool, jspi: bool = True, **env: str
) -> AsyncGenerator[str]:
    """What a script prints in somebody's page, which stays open meanwhile."""
    said: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def expose(request: web.Request, response: web.StreamResponse) -> None:
        for header in () if isolated else ISOLATION:
            del response.headers[header]

    def given(text: str, kind: str = "text/javascript", policy: str = "") -> web.Handler:
        headers = {"Content-Security-Policy": policy} if policy else {}

        async def answer(request: web.Request) -> web.Response:
            return web.Response(text=text, content_type=kind, headers=headers)

        return answer

    async def hear(request: web.Request) -> web.Response:
        said.set_result(await request.text())
        return web.Response()

    app = server.application(site, [hub, hub.replace("ws", "http")])
    app.on_response_prepare.append(expose)
    html = '<!doctype html><script type="module" src="/page.js"></script>'
    app.router.add_get("/page.html", given(html, "text/html"))
    app.router.add_get("/page.js", given(PAGE))
    spec = json.dumps({"source": script, "env": env})
    app.router.add_get("/page.json", given(spec, "application/json"))
    app.router.add_post("/said", hear)
    if not jspi:
        worker = f"delete WebAssembly.Suspending;\n{(site / 'worker.js').read_text()}"
        policy = "default-src * 'unsafe-eval'"
        app.router.add_get("/worker.js", given(worker, policy=policy))
    args = MESA if name == "chromium" else ()
    async with server.serving(app) as url:
        with browsers.launch(name, f"{url}page.html", args=args):
            yield await asyncio.wait_for(said, LONG)


@pytest.mark.parametrize("name", ["chromium", "firefox"])
def test_suspended(name: str, built: Path) -> None:
    async def check() -> None:
        echo = Echo()
        async with server.serving(echo.application()) as url:
            hub = url.rstrip("/").replace("http", "ws")
            script = f"import os; os.environ['TENSORGL_HUB'] = {hub!r}\n{SCRIPT}"
            async with page(built, name, hub, script, isolated=False) as said:
                assert said == SAID.format(name="websocket+jspi")
                # The script has ended and left its last connection open; the page is still there.
                await asyncio.wait_for(echo.closed.wait(), LONG)

    asyncio.run(check())


FLOODED = """
from tensorgl.distributed import transport_browser
count = 0
try:
    t = transport_browser.connect("{}/v1/socket", b"beat", 1)
    t.send(b"flood")
    while t.fetch("/closed", {{}}) != b"yes":
        pass
    count = 0
    while t.receive(None):
        count += 1
except ConnectionError as error:
    print(error, count > 200)
transport_browser.ANSWER_S = 0.2
transport_browser._worker = None
t = transport_browser.connect("{}/v1/socket", b"beat", 1)
try:
    t.receive(None)
except ConnectionError as error:
    print(t.name, error)
"""


def test_a_hub_that_says_too_much_or_nothing(built: Path) -> None:
    async def check() -> None:
        async with server.serving(Echo().application()) as url:
            hub = url.rstrip("/").replace("http", "ws")
            script = FLOODED.format(hub, hub)
            async with page(
                built, "chromium", hub, script, isolated=True, jspi=False, TENSORGL_HUB=hub
            ) as said:
                flooded, silent = said.splitlines()
                assert "bytes came that the script did not take True" in flooded
                assert silent == (
                    f"xhr the connection ended: POST {url}v1/exchange: the page got nothing that it may read"
                )

    asyncio.run(check())


TRAINING = """
import sys
import tensorgl as tg
import tensorgl.distributed as dist
from tensorgl import nn, optim
from tensorgl.datasets import digits
from tensorgl.distributed.group import client
from tensorgl.distributed.view import hash_of
from tensorgl.utils.data import DataLoader, DistributedSampler

device = sys.argv[1]
dist.init_process_group()
tg.manual_seed(dist.get_rank())
data = digits()
net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).to(device)
net = dist.DistributedDataParallel(net)
optimizer = dist.HubOptimizer(optim.SGD(net.parameters(), lr=0.1, momentum=0.9))
sampler = DistributedSampler(data, batch_size=256)
seen, losses = 0, []
for epoch in range(5):
    sampler.set_epoch(epoch)
    for x, y in DataLoader(data, batch_sampler=sampler):
        loss = nn.functional.cross_entropy(net(x.to(device)), y.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        seen += len(x)
dist.barrier()
view = client().view
print(client().transport, view.version, hash_of(view.values.tobytes()), seen, losses[0], losses[-1])
"""


def test_a_tab_and_a_program_train_one_model(built: Path, tmp_path: Path) -> None:
    async def check() -> None:
        config.create(tmp_path / "run", least_members=2)
        hub = Hub(tmp_path / "run")
        url = await hub.start()
        token = tokens.sign(hub.secret, hub.config.run, "worker", time.time() + 3600)
        env = {"TENSORGL_HUB": url, "TENSORGL_TOKEN": token}
        async with (
            running(*command("train.py", "gl"), cwd=tmp_path, **env) as tab,
            running(sys.executable, "train.py", "cpu", cwd=tmp_path, **env) as program,
        ):
            both = asyncio.gather(tab.communicate(), program.communicate())
            async with asyncio.timeout(LONG):
                while hub.core.version < 10:
                    await asyncio.sleep(0.05)
                await hub.stop()
                hub = Hub(tmp_path / "run")
                await hub.start(port=int(url.rsplit(":", 1)[1]))
                results = await both
        await hub.stop()
        words = [out.decode().split() for out, _ in results]
        assert [w[:1] for w in words] == [["websocket+sab"], ["native"]], results
        for _, version, hash, seen, first, last in words:
            assert (int(version), hash) == (hub.core.version, hub.core.hash)
            assert int(seen) > 0
            assert float(last) < 0.5 * float(first)
        # All of five epochs, and perhaps a share anew that was not counted when the hub went.
        assert sum(int(w[3]) for w in words) >= 5 * 1797

    (tmp_path / "train.py").write_text(TRAINING)
    asyncio.run(check())


@pytest.mark.parametrize(
    ("name", "isolated", "early"),
    [
        ("chromium", False, True),
        # The worker that holds a socket cannot start while a script runs.
        ("firefox", True, False),
    ],
)
def test_a_tab_that_can_only_make_requests(
    name: str, isolated: bool, early: bool, built: Path, tmp_path: Path
) -> None:
    """It can neither share memory nor suspend Python, and trains with a program."""

    async def check() -> None:
        config.create(tmp_path / "run", least_members=2)
        hub = Hub(tmp_path / "run")
        url = await hub.start()
        token = tokens.sign(hub.secret, hub.config.run, "worker", time.time() + 3600)
        env = {"TENSORGL_HUB": url, "TENSORGL_TOKEN": token}
        script = TRAINING.replace("sys.argv[1]", "'cpu'")
        if not early:
            script = f"import os; os.environ.update({env!r})\n{script}"
        given = env if early else {}
        async with (
            running(sys.executable, "train.py", "cpu", cwd=tmp_path, **env) as program,
            page(built, name, url, script, isolated, jspi=False, **given) as said,
        ):
            out, errors = await asyncio.wait_for(program.communicate(), LONG)
        await hub.stop()
        words = [text.splitlines()[-1].split() for text in (said, out.decode())]
        assert [w[:1] for w in words] == [["xhr"], ["native"]], (said, out, errors)
        for _, version, hash, seen, first, last in words:
            assert (int(version), hash) == (hub.core.version, hub.core.hash)
            assert int(seen) > 0
            assert float(last) < 0.5 * float(first)
        assert sum(int(w[3]) for w in words) == 5 * 1797
        assert hub.metrics.get("sessions_total") == 2
        assert not hub.core.members  # both have said goodbye

    (tmp_path / "train.py").write_text(TRAINING)
    asyncio.run(check())


@pytest.mark.parametrize(
    ("hub", "origins"),
    [
        ("", ""),
        ("ws://127.0.0.1:8765", " ws://127.0.0.1:8765 http://127.0.0.1:8765"),
        ("http://127.0.0.1:8765/", " ws://127.0.0.1:8765 http://127.0.0.1:8765"),
        ("wss://hub.example.org/v1/socket", " wss://hub.example.org https://hub.example.org"),
        ("local://4", ""),
        ("ws://a; script-src *", ""),
        ("ws://*", ""),
        ("ws://a\nX-B: c", ""),
        ("ftp://a", ""),
    ],
)
def test_the_page_may_speak_to_its_hub_only(
    hub: str, origins: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        app = runs._application(tmp_path, "token", runs._Session({}), [])
        async with server.serving(app) as url, aiohttp.ClientSession() as client:
            for name in ("worker.js", "sync.js", "nothing"):
                async with client.get(url + name) as answer:
                    policy = answer.headers["Content-Security-Policy"]
                    assert f" connect-src 'self'{origins};" in policy

    for name in ("worker.js", "sync.js"):
        (tmp_path / name).write_text("1")
    monkeypatch.setenv("TENSORGL_HUB", hub)
    asyncio.run(check())


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://127.0.0.1:34567", True),
        ("http://localhost:8000", True),
        ("https://example.org", True),
        ("https://example.org:444", False),
        ("http://127.0.0.1.example.org", False),
        ("http://localhost.example.org:80", False),
        ("http://192.168.0.1:8000", False),
        ("null", False),
        ("", False),
    ],
)
def test_a_hub_allows_pages_of_the_browsers_own_machine(
    origin: str, allowed: bool, tmp_path: Path
) -> None:
    config.create(tmp_path)
    hub = Hub(tmp_path, ["https://example.org"])
    assert hub.allows(origin) == allowed
    hub.run.close()
