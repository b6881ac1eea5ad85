"""What runs in the tab: pytest over files that the tests' server gives; each outcome is a line of JSON."""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
import zipfile
from typing import Any

FOLDER = "/home/suite"


def fetched(path: str) -> bytes:
    """A file of the tests' server."""
    request = importlib.import_module("js").XMLHttpRequest.new()
    request.open("GET", path, False)
    request.responseType = "arraybuffer"
    request.send()
    return request.response.to_bytes()


def tell(**what: object) -> None:
    """Send a line, which begins as no line of a test's own output does."""
    out: Any = sys.__stdout__
    out.write(f"\x1e{json.dumps(what)}\n")
    out.flush()


class Reporter:
    """Leaves out the tests that are not for a tab, and tells what becomes of the others."""

    def __init__(self, part: tuple[int, int], left_out: list[str]) -> None:
        self.part = part
        self.left_out = dict.fromkeys(left_out, 0)  # how their names begin, how many there are

    def leaves_out(self, name: str) -> bool:
        found = [start for start in self.left_out if name.startswith(start)]
        for start in found:
            self.left_out[start] += 1
        return bool(found)

    def pytest_ignore_collect(self, collection_path: Any) -> bool | None:
        """A module of which nothing is for a tab need not even be one that can be imported there."""
        return self.leaves_out(collection_path.relative_to(FOLDER).as_posix()) or None

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        part, parts = self.part
        items[:] = [item for item in items if not self.leaves_out(item.nodeid)][part::parts]
        tell(selected=len(items), left_out=self.left_out)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            tell(test=report.nodeid, outcome="failed", text=str(report.longrepr))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        tell(test=nodeid, outcome="started")

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or not report.passed:
            tell(test=report.nodeid, outcome=report.outcome, text=report.longreprtext)


def main() -> int:
    spec = json.loads(sys.argv[1])
    with zipfile.ZipFile(io.BytesIO(fetched("/suite/files.zip"))) as files:
        files.extractall(FOLDER)
    os.chdir(FOLDER)
    sys.path.insert(0, FOLDER)
    # Not by an import statement, for which Pyodide would look among its own packages.
    pytest = importlib.import_module("pytest")
    # They want a terminal, a second thread, signals, or a place to keep notes.
    without = ("cacheprovider", "faulthandler", "terminal", "threadexception")
    options = [f"-pno:{name}" for name in without]
    return pytest.main([*options, *spec["tests"]], [Reporter(spec["part"], spec["left_out"])])


if __name__ == "__main__":
    sys.exit(main())
