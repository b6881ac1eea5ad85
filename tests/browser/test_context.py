"""Lost contexts, small GPUs, and tensorgl by micropip alone, in Chromium."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web

from tensorgl.wasm import browsers, server, site
from tests.browser import suite
from tests.gl import REQUIRED

MESA = ("--use-gl=angle", "--use-angle=gl-egl", "--ignore-gpu-blocklist")
LONG = 300
"""Seconds that nothing here takes."""


@pytest.fixture(scope="module")
def folder() -> Path:
    """The built site; without it or a browser, skip these tests or fail them."""
    try:
        browsers.find("chromium")
        return site.cached()
    except RuntimeError as missing:
        (pytest.fail if "webgl" in REQUIRED else pytest.skip)(str(missing))


def test_faults(folder: Path) -> None:
    outcome = suite.run(folder, "chromium", ["tests/browser/faults.py"], args=MESA)
    assert outcome.complaint() == ""
    assert not outcome.skipped
    assert len(outcome.passed) == outcome.selected > 10


CRASH = """
import numpy as np
import tensorgl as tg
from tensorgl import nn

data = np.random.default_rng(0).standard_normal((32, 20)).astype("float32")

def trained(crash):
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 40), nn.ReLU(), nn.Linear(40, 1)).to("gl")
    optimizer = tg.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for k in range(12):
        x = tg.tensor(data, device="gl")
        loss = (model(x) - x[:, :1]).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if crash and k == 6:
            print("kill", flush=True)
            input()  # Python never pauses in between: the tab is not told
        losses.append(loss.item())
    if crash:
        print("kill", flush=True)
        input()
        print((tg.ones(7, device="gl").cumsum(0) * 3).cpu().tolist())  # kernels that are new
    return losses, [p.detach().cpu().tolist() for p in model.parameters()]

expected = trained(False)
found = trained(True)
print(found == expected, expected[0][-1] < expected[0][0])
"""


def gpu_processes(ancestor: int) -> list[int]:
    """Processes that draw for the browser that a process started."""
    parents: dict[int, int] = {}
    drawing: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            number = int(process.name)
            parents[number] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if b"--type=gpu-process" in (process / "cmdline").read_bytes():
                drawing.append(number)
        except OSError:
            continue  # it has ended

    def descends(number: int) -> bool:
        return number == ancestor or (number in parents and descends(parents[number]))

    return [number for number in drawing if descends(number)]


def test_a_crash_of_the_gpu_process(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "crash.py").write_text(CRASH)
    options = [f"--browser-arg={arg}" for arg in MESA]
    with subprocess.Popen(
        [sys.executable, "-m", "tensorgl", "run", "--browser", *options, "crash.py"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            for _ in range(2):
                assert process.stdout.readline() == b"kill\n"
                victims = list(gpu_processes(process.pid))
                assert victims
                for victim in victims:
                    os.kill(victim, signal.SIGKILL)
                process.stdin.write(b"\n")
                process.stdin.flush()
            output, errors = process.communicate(timeout=LONG)
        finally:
            process.terminate()
    assert output.decode() == "[3.0, 6.0, 9.0, 12.0, 15.0, 18.0, 21.0]\nTrue True\n"
    assert (
        errors.decode().count("the browser took the GPU's context away; all that it held is") == 2
    )
    assert process.returncode == 0


BARE = """
import asyncio, micropip
await micropip.install(wheel)

import numpy as np
import tensorgl as tg
from tensorgl.backends import backend_of

tg.manual_seed(0)
model = tg.nn.Linear(8, 3).to("gl")
optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
x = tg.randn(16, 8, device="gl")
losses = []
for _ in range(5):
    loss = (model(x) - x[:, :3]).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
assert losses == sorted(losses, reverse=True), losses

# Readback that is awaited: others work meanwhile, also on the GPU, and orders do not mix.
device = backend_of(tg.device("gl")).device
turns = 0

async def others():
    global turns
    while True:
        turns += 1
        await asyncio.sleep(0)

background = asyncio.ensure_future(others())
large = tg.arange(1 << 20, device="gl").float()
waiting = [asyncio.ensure_future(t.cpu_async()) for t in (large * 2, large.reshape(1024, 1024).T, large[5:9])]
await asyncio.sleep(0)
large.mul_(0)
doubled, turned, part = await asyncio.gather(*waiting)
assert turns > 1, turns
expected = np.arange(1 << 20, dtype="float32")
assert (doubled.numpy() == 2 * expected).all()
assert (turned.numpy() == expected.reshape(1024, 1024).T).all()
assert part.tolist() == [5, 6, 7, 8]
assert (await large.cpu_async()).sum().item() == 0
for kind in ("float16", "int64", "uint8", "bool"):
    value = tg.tensor([0, 1, 3, 1, 0], dtype=getattr(tg, kind))
    assert (await value.to("gl").cpu_async()).tolist() == value.tolist()

# The context is lost meanwhile.
kept = large + 3
waiting = asyncio.ensure_future(kept.cpu_async())
await asyncio.sleep(0)
device.js.gl.getExtension("WEBGL_lose_context").loseContext()
assert ((await waiting).numpy() == 3).all()

# Where a loop pauses, fences tell, and nothing has to wait for the GPU.
waits = device.js.counts.waits
for _ in range(20):
    model(x).sum().backward()
    optimizer.step()
    await asyncio.sleep(0.02)
assert device.js.fences.length <= 3
f"trained, {device.js.counts.waits - waits} waits"
"""
PAGE = """<!doctype html><script type="module">
const tell = (text) => fetch("/bare/result", { method: "POST", body: text });
const work = new URL("/bare/work.js", location.href);
if (location.hash === "#worker") {
    new Worker(work, { type: "module" }).onmessage = ({ data }) => tell(data);
} else {
    globalThis.postMessage = tell;
    await import(work);
}
</script>"""
WORK = """
try {
    const { loadPyodide } = await import("/pyodide/pyodide.mjs");
    const pyodide = await loadPyodide({ packages: ["micropip"] });
    const { source, wheel } = await (await fetch("/bare/spec.json")).json();
    pyodide.globals.set("wheel", new URL(wheel, location.href).href);
    postMessage(String(await pyodide.runPythonAsync(source)));
} catch (error) {
    postMessage(String(error.stack ?? error));
}
"""


@pytest.mark.parametrize("where", ["page", "worker"])
def test_by_micropip_alone(folder: Path, where: str) -> None:
    result = asyncio.run(_bare(folder, where))
    assert result.startswith("trained, ")
    assert int(result.split()[1]) <= 5


async def _bare(folder: Path, where: str) -> str:
    result: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def take(request: web.Request) -> web.Response:
        result.set_result(await request.text())
        return web.Response()

    def given(text: str, kind: str):
        # Anybody's page has no such policy as ours.
        headers = {"Content-Security-Policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval'"}

        async def answer(request: web.Request) -> web.Response:
            return web.Response(text=text, content_type=kind, headers=headers)

        return answer

    async def spec(request: web.Request) -> web.Response:
        (wheel,) = folder.glob("tensorgl-*.whl")
        return web.json_response({"source": BARE, "wheel": f"/{wheel.name}"})

    app = server.application(folder)
    app.router.add_post("/bare/result", take)
    app.router.add_get("/bare/page.html", given(PAGE, "text/html"))
    app.router.add_get("/bare/work.js", given(WORK, "text/javascript"))
    app.router.add_get("/bare/spec.json", spec)
    async with server.serving(app) as url:
        with browsers.launch("chromium", f"{url}bare/page.html#{where}", args=MESA) as tab:
            try:
                return await asyncio.wait_for(result, LONG)
            except TimeoutError:
                return f"the page said nothing\n{tab.said()}"
