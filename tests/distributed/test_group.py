"""The process group: who takes part, and operations of all members on arrays of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgl as tg
from tensorgl import distributed as dist
from tensorgl.distributed import ReduceOp, group
from tensorgl.distributed.session import HubError
from tests.distributed.running import Trainer, joined, running, together


class TestCollectives:
    def members(self, hub: Any, count: int) -> list[Any]:
        return [hub.client() for _ in range(count)]

    def test_reductions(self, tmp_path: Path) -> None:
        values = [np.array([1.5, -2, 3]), np.array([4, 5, -6.5]), np.array([0, 1, 2.0])]
        expected = {
            "sum": sum(values), "mean": sum(values) / 3,
            "max": np.max(values, axis=0), "min": np.min(values, axis=0),
        }  # fmt: skip
        with running(tmp_path) as hub:
            clients = self.members(hub, 3)
            for dtype in ("float32", "float64", "int32", "int64"):
                for op, wanted in expected.items():
                    if dtype.startswith("int") and op == "mean":
                        continue
                    arrays = [v.astype(dtype) for v in values]
                    if dtype.startswith("int"):
                        wanted = {"sum": sum, "max": np.maximum.reduce, "min": np.minimum.reduce}[
                            op
                        ](arrays)
                    results = together(
                        [
                            lambda c=c, a=a, op=op: c.finish(c.call(op, a))
                            for c, a in zip(clients, arrays, strict=True)
                        ]
                    )
                    for result in results:
                        assert result.dtype == dtype
                        np.testing.assert_allclose(result, wanted, rtol=1e-6)
            for client in clients:
                client.close()

    def test_large_arrays_broadcasts_and_barriers(self, tmp_path: Path) -> None:
        with running(tmp_path) as hub:
            clients = self.members(hub, 2)
            arrays = [np.arange(300_000.0), np.zeros(300_000)]
            for call in (
                lambda c, a: c.call("broadcast", a, 0),
                lambda c, a: c.call("max", a),
            ):
                for result in together(
                    [
                        lambda c=c, a=a, call=call: c.finish(call(c, a))
                        for c, a in zip(clients, arrays, strict=True)
                    ]
                ):
                    np.testing.assert_array_equal(result, arrays[0])
            together(
                [lambda c=c: c.finish(c.call("barrier", np.empty(0, np.float32))) for c in clients]
            )
            for client in clients:
                client.close()

    def test_sizes_that_differ(self, tmp_path: Path) -> None:
        with running(tmp_path) as hub:
            clients = self.members(hub, 2)

            def call(k: int) -> str:
                with pytest.raises(HubError) as error:
                    clients[k].finish(clients[k].call("sum", np.zeros(3 + k, np.float32)))
                return str(error.value)

            for text in together([lambda: call(0), lambda: call(1)]):
                assert "expected" in text and "elements" in text
            for client in clients:
                client.close()

    def test_tensors(self, tmp_path: Path) -> None:
        with running(tmp_path) as hub, joined(hub.client()) as client:
            x = tg.arange(6, dtype=tg.float32).reshape(2, 3)
            group.all_reduce(x, ReduceOp.MAX)
            group.broadcast(x.t(), 0)
            assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
            work = group.all_reduce(x, async_op=True)
            assert work is not None and work.wait() and work.is_completed()
            group.barrier()
            assert group.get_rank() == 0 and group.get_world_size() == 1
            with pytest.raises(
                TypeError, match="expected a tensor of float32, float64, int32 or int64"
            ):
                group.all_reduce(tg.zeros(2) > 1)
            client.close()


class TestProcessGroup:
    def test_addresses(self, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
        monkeypatch.delenv("TENSORGL_HUB", raising=False)
        monkeypatch.delenv("TENSORGL_TOKEN", raising=False)
        with pytest.raises(ValueError, match="TENSORGL_HUB in the environment"):
            group.init_process_group()
        with pytest.raises(ValueError, match="TENSORGL_TOKEN in the environment"):
            group.init_process_group("ws://127.0.0.1:1")
        with pytest.raises(ValueError, match="expected the address of a hub, such as wss://"):
            group.init_process_group("tcp://127.0.0.1:1", token="x")
        with running(tmp_path) as hub:
            monkeypatch.setenv("TENSORGL_HUB", hub.address.replace("ws://", "http://"))
            monkeypatch.setenv("TENSORGL_TOKEN", hub.token)
            group.init_process_group(timeout=10)
            try:
                line = f"tensorgl.distributed: rank 0 of 1 at {hub.url} (native)\n"
                assert capsys.readouterr().err == line
                with pytest.raises(RuntimeError, match="call destroy_process_group first"):
                    group.init_process_group()
            finally:
                group.destroy_process_group()
            assert not group.is_initialized()
            with pytest.raises(RuntimeError, match="takes part in no run"):
                group.get_rank()


def test_what_is_told_goes_with_contributions(tmp_path: Path) -> None:
    with running(tmp_path) as hub:
        member = Trainer(hub.client())
        with joined(member.client):
            dist.report(loss=0.5, accuracy=1)
            for wrong in (
                {"loss": float("nan")},
                {"lo ss": 1.0},
                {f"m{k}": 0.0 for k in range(32)},
            ):
                with pytest.raises(ValueError, match="report: expected"):
                    dist.report(**wrong)
            x, y = tg.randn(4, 6), tg.zeros(4, dtype=tg.int64)
            member.step(x, y)
        told = hub.hub.said
        assert told == {"loss": 0.5, "accuracy": 1.0}
        member.client.close()
