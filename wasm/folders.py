"""Folders of this machine that a tab may read and write, and nothing outside them.

It knows paths and bytes, not what they are for; wasm/files.js asks.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Sequence
from typing import Any

from aiohttp import web

__all__ = ["MAX_BYTES", "Folders"]

MAX_BYTES = 1 << 30
"""Of a file: a tab has about four times as much memory, and the whole file must fit."""

_CHUNK = 1 << 20


class Folders:
    """Answers requests for files, each for a path as the tab sees it."""

    def __init__(self, roots: Sequence[str]) -> None:
        """Roots are absolute paths, by which the tab sees the folders too."""
        self._roots = {root: os.path.realpath(root) for root in roots}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Do one operation; a failure is the error's name, for the script's OSError."""
        operation = _OPERATIONS.get(request.match_info["operation"])
        if operation is None:
            raise web.HTTPNotFound
        try:
            return await operation(self, request)
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "EIO")
            return web.Response(status=409, headers={"X-Error": name})

    def real(self, shown: str, follow: bool = True) -> str:
        """Where a path of the tab is on this machine.

        Args:
            shown: the path in the tab.
            follow: give what a link leads to; else the link itself.

        Raises:
            PermissionError: it leads out of the folders.
        """
        for root, real in self._roots.items():
            if shown == root:
                return real
            if not shown.startswith(f"{root}/"):
                continue
            parts = shown[len(root) + 1 :].split("/")
            if any(part in ("", ".", "..") or "\0" in part for part in parts):
                break
            folder = os.path.realpath(os.path.join(real, *parts[:-1]))
            path = os.path.join(folder, parts[-1])
            if follow:
                path = os.path.realpath(path)
            if any(path == own or path.startswith(f"{own}/") for own in self._roots.values()):
                return path
        raise PermissionError(errno.EACCES, "outside the folders that the tab may use", shown)

    async def _stat(self, request: web.Request) -> web.Response:
        found = os.stat(self.real(request.query["path"]))
        if not stat.S_ISDIR(found.st_mode):
            _regular(found)
        attributes: dict[str, Any] = {"mode": found.st_mode, "size": found.st_size}
        for name in ("atime", "mtime", "ctime"):
            attributes[name] = getattr(found, f"st_{name}") * 1000
        return web.json_response(attributes)

    async def _list(self, request: web.Request) -> web.Response:
        """The names in a folder, and of each whether it is one. Asking for each would take long."""
        shown = request.query["path"]
        names: dict[str, bool] = {}
        for name in os.listdir(self.real(shown)):
            try:
                names[name] = os.path.isdir(self.real(f"{shown}/{name}"))
            except PermissionError:
                names[name] = False
        return web.json_response(names)

    async def _read(self, request: web.Request) -> web.StreamResponse:
        path = self.real(request.query["path"])
        _regular(os.stat(path))
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise OSError(errno.EFBIG, "too large for a tab", path)
            response = web.StreamResponse()
            await response.prepare(request)
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                await response.write(chunk)
        return response

    async def _write(self, request: web.Request) -> web.Response:
        path = self.real(request.query["path"])
        if (request.content_length or 0) > MAX_BYTES:
            raise OSError(errno.EFBIG, "too large for a tab", path)
        if os.path.exists(path):
            _regular(os.stat(path))
        with open(path, "wb") as file:
            async for chunk in request.content.iter_chunked(_CHUNK):
                await asyncio.to_thread(file.write, chunk)
        return web.Response()

    async def _truncate(self, request: web.Request) -> web.Response:
        path = self.real(request.query["path"])
        size = int(request.query["size"])
        if size > MAX_BYTES:
            raise OSError(errno.EFBIG, "too large for a tab", path)
        if size:
            os.truncate(path, size)
        else:
            open(path, "wb").close()  # anew, where somebody removed it meanwhile
        return web.Response()

    async def _attributes(self, request: web.Request) -> web.Response:
        path, query = self.real(request.query["path"]), request.query
        if "mode" in query:
            os.chmod(path, int(query["mode"]) & 0o777)
        if "mtime" in query:
            os.utime(path, (float(query["atime"]) / 1000, float(query["mtime"]) / 1000))
        return web.Response()

    async def _mkdir(self, request: web.Request) -> web.Response:
        os.mkdir(self.real(request.query["path"]))
        return web.Response()

    async def _rmdir(self, request: web.Request) -> web.Response:
        os.rmdir(self.real(request.query["path"], follow=False))
        return web.Response()

    async def _unlink(self, request: web.Request) -> web.Response:
        os.unlink(self.real(request.query["path"], follow=False))
        return web.Response()

    async def _rename(self, request: web.Request) -> web.Response:
        source = self.real(request.query["path"], follow=False)
        os.replace(source, self.real(request.query["to"], follow=False))
        return web.Response()


_OPERATIONS = {
    "stat": Folders._stat,
    "list": Folders._list,
    "read": Folders._read,
    "write": Folders._write,
    "truncate": Folders._truncate,
    "attributes": Folders._attributes,
    "mkdir": Folders._mkdir,
    "rmdir": Folders._rmdir,
    "unlink": Folders._unlink,
    "rename": Folders._rename,
}


def _regular(found: os.stat_result) -> None:
    """That this is a file with contents: a pipe or a device would make us wait.

    Raises:
        OSError: it is something else.
    """
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "a folder")
    if not stat.S_ISREG(found.st_mode):
        raise PermissionError(errno.EACCES, "neither a file nor a folder")
