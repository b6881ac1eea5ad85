"""Places where a hub or a member can be made to end as if it had crashed, for tests of what follows."""

from __future__ import annotations

import os

__all__ = ["fail_point"]


def fail_point(name: str) -> None:
    """End this process as a crash would, if TENSORGL_FAIL_POINT says so.

    The variable is name or name:count; the count-th pass ends it.
    """
    point, _, count = os.environ.get("TENSORGL_FAIL_POINT", "").partition(":")
    if point != name:
        return
    _passed[name] = _passed.get(name, 0) + 1
    if _passed[name] == int(count or 1):
        os._exit(137)


_passed: dict[str, int] = {}
