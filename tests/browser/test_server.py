"""The server of the site and of a run: who may ask for what. Real sockets, no browser."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tensorgl.wasm import folders, server
from tensorgl.wasm import run as runs

TOKEN = "t0ken"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    (site / "pyodide").mkdir(parents=True)
    (site / "index.html").write_text("<!doctype html>home")
    (site / "worker.js").write_text("1")
    (site / "pyodide" / "pyodide.asm.wasm").write_bytes(b"\0asm")
    (site / "pyodide" / "a-1-py3-none-any.whl").write_bytes(b"PK")
    (tmp_path / "secret.txt").write_text("secret")
    return site


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of a script, with a link that leads out of it and one that does not."""
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True)
    (home / "a.txt").write_text("hello")
    (home / "data" / "b.txt").write_text("data")
    (home / "out").symlink_to(tmp_path)
    (home / "within").symlink_to(home / "data")
    (tmp_path / "secret.txt").write_text("secret")
    return home


async def raw(url: str, request: str) -> str:
    """What a server answers to these very bytes, which no client would send."""
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request.replace("\n", "\r\n").encode())
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return answer


def test_files_come_with_headers(site: Path) -> None:
    async def check() -> None:
        async with (
            server.serving(server.application(site)) as url,
            aiohttp.ClientSession() as client,
        ):
            assert url.startswith("http://127.0.0.1:")
            kinds = {
                "": "text/html; charset=utf-8",
                "worker.js": "text/javascript; charset=utf-8",
                "pyodide/pyodide.asm.wasm": "application/wasm",
                "pyodide/a-1-py3-none-any.whl": "application/octet-stream",
            }
            for path, kind in kinds.items():
                async with client.get(url + path) as answer:
                    assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
                    safe(answer.headers)
                    policy = answer.headers["Content-Security-Policy"]
                    assert ("'unsafe-eval'" in policy) == (path == "worker.js")
            async with client.get(url + "nothing") as answer:
                assert answer.status == 404
                safe(answer.headers)
            async with client.get(url) as answer:
                tag = answer.headers["ETag"]
            async with client.get(url, headers={"If-None-Match": tag}) as answer:
                assert answer.status == 304
            async with client.post(url) as answer:
                assert answer.status == 405

    asyncio.run(check())


def safe(headers: Any) -> None:
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "://" not in policy and "*" not in policy


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/pyodide/../../secret.txt",
        "/..%5csecret.txt",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/pyodide",
        "/pyodide/",
        "/secret.txt%00",
    ],
)
def test_nothing_outside_the_site_is_served(site: Path, path: str) -> None:
    async def check() -> None:
        async with server.serving(server.application(site)) as url:
            answer = await raw(url, f"GET {path} HTTP/1.1\nHost: x\nConnection: close\n\n")
            assert answer.split()[1] in ("400", "404")
            assert "secret" not in answer and "root:" not in answer

    asyncio.run(check())


def test_a_taken_port_is_an_error(site: Path) -> None:
    async def check() -> None:
        app = server.application(site)
        async with server.serving(app) as url:
            port = int(url.rstrip("/").rsplit(":", 1)[1])
            with pytest.raises(OSError, match="address already in use"):
                async with server.serving(server.application(site), port=port):
                    pass

    asyncio.run(check())


class Run:
    """The server of a run, and a page that asks it."""

    def __init__(self, url: str, client: aiohttp.ClientSession, session: Any) -> None:
        self.url = url
        self.client = client
        self.session = session

    @property
    def origin(self) -> str:
        return self.url.rstrip("/")

    async def ask(
        self, operation: str, path: str | Path, body: bytes | None = None, **query: str
    ) -> tuple[int, bytes, str]:
        """Status, body and the error's name of an operation on files."""
        url = f"{self.url}{TOKEN}/files/{operation}"
        async with self.client.post(
            url,
            params={"path": str(path), **query},
            data=body and io.BytesIO(body),
            headers={"Origin": self.origin},
        ) as answer:
            return answer.status, await answer.read(), answer.headers.get("X-Error", "")


@asynccontextmanager
async def running(site: Path, *roots: Path) -> AsyncGenerator[Run, None]:
    session = runs._Session({"type": "start"})
    session.begin()
    app = runs._application(site, TOKEN, session, [str(root) for root in roots])
    async with server.serving(app) as url, aiohttp.ClientSession() as client:
        yield Run(url, client, session)


def in_a_run(site: Path, root: Path, check: Callable[[Run], Awaitable[None]], *more: Path) -> None:
    async def body() -> None:
        async with running(site, root, *more) as run:
            await check(run)

    asyncio.run(body())


def test_only_the_own_page_may_ask(site: Path, home: Path) -> None:
    async def check(run: Run) -> None:
        own = {"Origin": run.origin}
        port = run.origin.rsplit(":", 1)[1]
        refused = [
            {},
            {"Origin": "null"},
            {"Origin": "http://evil.example"},
            {"Origin": f"http://localhost:{port}"},
            {**own, "Host": "evil.example"},
            {**own, "Host": f"evil.example:{port}"},
            {"Origin": f"http://evil.example:{port}", "Host": f"evil.example:{port}"},
        ]
        url = f"{run.url}{TOKEN}/"
        for headers in refused:
            async with run.client.post(
                f"{url}files/read", params={"path": str(home / "a.txt")}, headers=headers
            ) as answer:
                assert answer.status == 403
                assert b"hello" not in await answer.read()
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await run.client.ws_connect(f"{url}socket", headers=headers)
        for token in ("", "x", f"{TOKEN}x", "%74oken"):
            async with run.client.post(f"{run.url}{token}/files/list", headers=own) as answer:
                assert answer.status in (404, 405)
        assert (await run.ask("read", home / "a.txt"))[:2] == (200, b"hello")
        async with run.client.ws_connect(f"{url}socket", headers=own) as page:
            assert await page.receive_json() == {"type": "start"}
            with pytest.raises(aiohttp.WSServerHandshakeError, match="409"):
                await run.client.ws_connect(f"{url}socket", headers=own)

    in_a_run(site, home, check)


def test_files_of_the_folder(site: Path, home: Path) -> None:
    async def check(run: Run) -> None:
        new, large = home / "new", bytes(range(256)) * 9000
        listed = json.loads((await run.ask("list", home))[1])
        assert listed == {"a.txt": False, "data": True, "out": False, "within": True}
        found = json.loads((await run.ask("stat", home / "a.txt"))[1])
        assert (found["size"], found["mode"]) == (5, (home / "a.txt").stat().st_mode)
        assert (await run.ask("read", home / "within" / "b.txt"))[1] == b"data"
        assert (await run.ask("mkdir", new))[0] == 200
        assert (await run.ask("write", new / "ö b.bin", large))[0] == 200
        assert (new / "ö b.bin").read_bytes() == large
        assert (await run.ask("rename", new / "ö b.bin", to=str(home / "c")))[0] == 200
        assert (await run.ask("truncate", home / "c", size="3"))[0] == 200
        assert (await run.ask("attributes", home / "c", mode=str(0o100600)))[0] == 200
        assert (await run.ask("attributes", home / "c", atime="5000", mtime="7000"))[0] == 200
        there = (home / "c").stat()
        assert (there.st_size, there.st_mode & 0o777, there.st_mtime) == (3, 0o600, 7)
        assert (await run.ask("rmdir", new))[0] == 200
        assert (await run.ask("unlink", home / "within"))[0] == 200
        assert sorted(p.name for p in home.iterdir()) == ["a.txt", "c", "data", "out"]

    in_a_run(site, home, check)


def test_errors_are_those_of_the_system(
    site: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(home / "pipe")
    monkeypatch.setattr(folders, "MAX_BYTES", 4)

    async def check(run: Run) -> None:
        for operation, path, name in (
            ("read", "none", "ENOENT"),
            ("stat", "none", "ENOENT"),
            ("read", "data", "EISDIR"),
            ("write", "data", "EISDIR"),
            ("list", "a.txt", "ENOTDIR"),
            ("mkdir", "data", "EEXIST"),
            ("rmdir", "data", "ENOTEMPTY"),
            ("read", "pipe", "EACCES"),
            ("stat", "pipe", "EACCES"),
            ("write", "pipe", "EACCES"),
            ("read", "a.txt", "EFBIG"),
        ):
            assert (await run.ask(operation, home / path))[::2] == (409, name)
        assert (await run.ask("write", home / "a.txt", b"too much"))[::2] == (409, "EFBIG")
        assert (home / "a.txt").read_text() == "hello"
        assert (await run.ask("delete", home / "a.txt"))[0] == 404

    in_a_run(site, home, check)


def test_nothing_outside_the_folder_is_there(site: Path, home: Path, tmp_path: Path) -> None:
    (tmp_path / "home2").mkdir()
    (tmp_path / "home2" / "secret.txt").write_text("secret")

    async def check(run: Run) -> None:
        outside = [
            tmp_path / "secret.txt",
            f"{home}/../secret.txt",
            f"{home}/data/../../secret.txt",
            f"{home}/./a.txt",
            f"{home}//a.txt",
            f"{home}2/secret.txt",
            home / "out" / "secret.txt",
            "a.txt",
            "",
            "/etc/passwd",
        ]
        for path in outside:
            for operation in ("stat", "list", "read", "write", "truncate", "unlink", "mkdir"):
                status, body, name = await run.ask(operation, path, b"x", size="0")
                assert (status, body, name) == (409, b"", "EACCES"), (operation, path)
            moved = await run.ask("rename", home / "a.txt", to=str(path))
            assert moved[::2] == (409, "EACCES"), path
        assert (tmp_path / "secret.txt").read_text() == "secret"
        # A link itself belongs to the folder.
        assert (await run.ask("unlink", home / "out"))[0] == 200
        assert (tmp_path / "secret.txt").exists()

    in_a_run(site, home, check)


def test_two_folders(site: Path, home: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "link").symlink_to(home)

    async def check(run: Run) -> None:
        assert (await run.ask("read", tmp_path / "work" / "link" / "a.txt"))[1] == b"hello"
        to = str(tmp_path / "work" / "a.txt")
        assert (await run.ask("rename", home / "a.txt", to=to))[0] == 200

    in_a_run(site, home, check, tmp_path / "work")


class Fake:
    """A browser that does nothing by itself."""

    over = False

    def ended(self) -> bool:
        return self.over

    def said(self) -> str:
        return "its complaint"


def ends(
    site: Path,
    home: Path,
    page: Callable[[Run, aiohttp.ClientWebSocketResponse], Awaitable[None]] | None,
    over: bool = False,
) -> int:
    """The exit code of a run whose page does this."""

    async def body() -> int:
        async with running(site, home) as run:
            browser = Fake()
            browser.over = over
            watching = asyncio.create_task(run.session.watch(browser))
            if page is not None:
                async with run.client.ws_connect(
                    f"{run.url}{TOKEN}/socket", headers={"Origin": run.origin}
                ) as socket:
                    await page(run, socket)
            return await watching

    return asyncio.run(body())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "TICK_S", 0.01)
    for name in ("OPENING_TICKS", "LOADING_TICKS", "SILENT_TICKS"):
        monkeypatch.setattr(runs, name, 5)


@pytest.mark.usefixtures("quick")
def test_what_goes_wrong_is_said(site: Path, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async def hangs(run: Run, socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.send_json({"type": "ready"})
        await run.session._outcome

    async def loads_for_ever(run: Run, socket: aiohttp.ClientWebSocketResponse) -> None:
        while not run.session._outcome.done():
            await socket.send_json({"type": "pong"})
            await asyncio.sleep(0.01)

    async def closes(run: Run, socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.send_json({"type": "ready"})

    async def fails(run: Run, socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.send_json({"type": "failed", "message": "out of memory"})
        await run.session._outcome

    async def talks(run: Run, socket: aiohttp.ClientWebSocketResponse) -> None:
        await socket.send_bytes(b"\1out\xff")
        await socket.send_bytes(b"\2err")
        await socket.send_json({"type": "exit", "code": 7})
        await run.session._outcome

    for page, over, code, said in (
        (None, False, 1, "did not open the page in 0 s\nits complaint"),
        (None, True, 1, "the browser was closed or crashed\nits complaint"),
        (hangs, False, 1, "the tab hangs: no answer in 0 s"),
        (loads_for_ever, False, 1, "Python did not start in the tab"),
        (closes, False, 1, "the tab crashed, or was closed or reloaded"),
        (fails, False, 1, "the tab failed: out of memory"),
    ):
        assert ends(site, home, page, over) == code
        assert said in capfd.readouterr().err
    assert ends(site, home, talks) == 7
    assert capfd.readouterr().err == "err"


def test_what_the_tab_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a")
    monkeypatch.setenv("TENSORGL_TUNING", str(tmp_path / "a" / "b" / "tuning.json"))
    assert runs._roots("b/x.py") == [str(tmp_path / "a")]
    assert runs._roots("../x.py") == [str(tmp_path)]
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert runs._roots(str(tmp_path / "c" / "x.py")) == [
        str(tmp_path / "a" / "b"),
        str(tmp_path / "c"),
    ]
    monkeypatch.chdir("/")
    assert runs._roots(str(tmp_path / "x.py")) == [str(tmp_path)]
    with pytest.raises(RuntimeError, match="a folder / of its own"):
        runs._roots("/x.py")
    monkeypatch.setenv("TENSORGL_DEVICE", "gl")
    monkeypatch.setenv("EPOCHS", "3")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    told = runs._environment()
    assert (told["TENSORGL_DEVICE"], told["EPOCHS"], told["PYTHONHASHSEED"]) == ("gl", "3", "1")
    assert not {"PATH", "HOME", "PYTHONPATH"} & told.keys()
