"""Members that begin more collective operations than may be open."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from tensorgl.distributed.messages import MOST_CALLS
from tests.distributed.running import running, together

COUNT = MOST_CALLS + 44


@pytest.mark.parametrize("waits", [True, False])
def test_many_asynchronous_calls(tmp_path: Path, waits: bool) -> None:
    """Who is ahead waits for the other as soon as too many are open, or for their results."""
    with running(tmp_path) as hub:
        clients = [hub.client() for _ in range(2)]
        full = Event()

        def work(k: int) -> list[float]:
            if k and waits:
                assert full.wait(10)
            calls: list[Any] = []
            for number in range(COUNT):
                if not k and number == MOST_CALLS:
                    full.set()
                calls.append(clients[k].call("sum", np.full(2, number + k, np.float32)))
            return [clients[k].finish(call)[0] for call in reversed(calls)]

        expected = [2.0 * number + 1 for number in reversed(range(COUNT))]
        assert together([lambda k=k: work(k) for k in range(2)]) == [expected] * 2
        assert not hub.hub.core.calls._taken
        for client in clients:
            client.close()
