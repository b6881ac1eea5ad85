"""The run that this process takes part in, with the names of torch.distributed."""

from __future__ import annotations

import atexit
import logging
import os
import re
import sys
from datetime import timedelta
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from tensorgl.autograd.modes import no_grad
from tensorgl.dispatch import to_host
from tensorgl.distributed.client import Call, Client
from tensorgl.distributed.codecs import DTYPES
from tensorgl.distributed.transport import connect
from tensorgl.tensor import Tensor
from tensorgl.values import from_numpy

__all__ = [
    "ReduceOp",
    "Work",
    "all_reduce",
    "barrier",
    "broadcast",
    "client",
    "destroy_process_group",
    "get_rank",
    "get_world_size",
    "init_process_group",
    "is_available",
    "is_initialized",
    "report",
]

TIMEOUT_S = 1800.0
_MOST_METRICS, _LARGEST_METRIC = 32, 1e200
_logger = logging.getLogger("tensorgl.distributed")
_client: Client | None = None


class ReduceOp(Enum):
    """How all_reduce combines what the members have."""

    SUM = "sum"
    AVG = "mean"
    MAX = "max"
    MIN = "min"


class Work:
    """A collective operation that was begun."""

    def __init__(self, call: Call, tensor: Tensor | None) -> None:
        self._call, self._tensor = call, tensor

    def wait(self) -> bool:
        """Wait until it is done; the tensor has the result then.

        Raises:
            HubError: it failed, at all members.
        """
        result = client().finish(self._call)
        tensor, self._tensor = self._tensor, None
        if tensor is not None:
            with no_grad():
                value = np.array(result, result.dtype.newbyteorder("="))
                tensor.copy_(from_numpy(value.reshape(tensor.shape)))
        return True

    def is_completed(self) -> bool:
        """Whether `wait` would return at once."""
        return client().completed(self._call)


def is_available() -> bool:
    """Always true: in a browser, too."""
    return True


def is_initialized() -> bool:
    """Whether this process takes part in a run."""
    return _client is not None


def client() -> Client:
    """The connection to the hub.

    Raises:
        RuntimeError: init_process_group was not called.
    """
    if _client is None:
        raise RuntimeError(
            "this process takes part in no run; call tensorgl.distributed.init_process_group first"
        )
    return _client


def init_process_group(
    init_method: str | None = None,
    *,
    token: str | None = None,
    timeout: float | timedelta = TIMEOUT_S,
) -> None:
    """Take part in a run.

    Args:
        init_method: the address of a hub, such as wss://hub.example; or local://4 for a hub and three
            more processes on this machine, which all go on from here. By default the environment's
            TENSORGL_HUB.
        token: what `tensorgl hub token` printed. By default the environment's TENSORGL_TOKEN.
        timeout: seconds, or a timedelta, after which whoever waits for the hub or for others gives up.

    Raises:
        RuntimeError: it does so already; or the hub does not let it in.
        ValueError: there is no address, or none of a hub.
        ConnectionError: there is no hub.
    """
    global _client
    if _client is not None:
        raise RuntimeError("this process takes part in a run; call destroy_process_group first")
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    url = init_method or os.environ.get("TENSORGL_HUB", "")
    if not url:
        raise ValueError(
            "expected the address of a hub: init_process_group('wss://…'), or TENSORGL_HUB in the environment"
        )
    if url.startswith("local://"):
        from tensorgl.distributed.local import fork  # no browser has what it needs

        ring = fork(url)
        with ring:
            _client = Client(_socket(ring.url), ring.token, connect, seconds)
        _client.world = ring.count
    else:
        token = token or os.environ.get("TENSORGL_TOKEN", "")
        if not token:
            raise ValueError(
                "expected a token: init_process_group(…, token=…), or TENSORGL_TOKEN in the environment; "
                "`tensorgl hub token` makes one"
            )
        _client = Client(_socket(url), token, connect, seconds)
    atexit.register(destroy_process_group)
    line = f"rank {_client.rank} of {_client.world} at {_client.url} ({_client.transport})"
    _logger.info("%s", line)
    print(f"tensorgl.distributed: {line}", file=sys.stderr)


def destroy_process_group() -> None:
    """Leave the run. Others go on."""
    global _client
    left, _client = _client, None
    atexit.unregister(destroy_process_group)
    if left is not None:
        left.close()


def get_rank() -> int:
    """The number of this process, below the world size unless somebody has left."""
    return client().rank


def get_world_size() -> int:
    """How many processes take part, as was last heard."""
    return client().world


def all_reduce(tensor: Tensor, op: ReduceOp = ReduceOp.SUM, async_op: bool = False) -> Work | None:
    """Combine the tensors of all processes, in place.

    Args:
        tensor: float32, float64, int32 or int64, of the same shape and dtype everywhere.
        op: how.
        async_op: return at once; the result is there after `wait()` of what is returned.
    """
    work = Work(client().call(op.value, _flat(tensor)), tensor)
    if async_op:
        return work
    work.wait()
    return None


def broadcast(tensor: Tensor, src: int, async_op: bool = False) -> Work | None:
    """Give all processes the tensor that the one of rank `src` has, in place."""
    work = Work(client().call("broadcast", _flat(tensor), src), tensor)
    if async_op:
        return work
    work.wait()
    return None


def barrier() -> None:
    """Wait until all processes are here."""
    Work(client().call("barrier", np.empty(0, np.float32)), None).wait()


def report(**values: float) -> None:
    """Tell the hub numbers, such as the loss, which its page draws: the mean of all members, each round.

    They go with the next contribution, and with those after it until they are told anew.

    Args:
        values: finite numbers, at most 32 names.
    """
    told = {name: float(value) for name, value in values.items()}
    for name, value in told.items():
        if not re.fullmatch(r"\w{1,60}", name, re.ASCII) or not abs(value) <= _LARGEST_METRIC:
            raise ValueError(
                f"report: expected short names and finite numbers, given {name}={value}"
            )
    metrics = client().metrics
    if len(metrics | told) > _MOST_METRICS:
        raise ValueError(f"report: expected at most {_MOST_METRICS} names in all")
    metrics.update(told)


def _flat(tensor: Tensor) -> np.ndarray[Any, Any]:
    array = np.ascontiguousarray(to_host(tensor.detach())).reshape(-1)
    if array.dtype.newbyteorder("<") not in DTYPES.values():
        raise TypeError(
            f"expected a tensor of float32, float64, int32 or int64, given {tensor.dtype}"
        )
    return array


def _socket(url: str) -> str:
    """The address of a hub's socket."""
    schemes = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.netloc:
        raise ValueError(f"expected the address of a hub, such as wss://hub.example, given {url!r}")
    path = parts.path if parts.path.strip("/") else "/v1/socket"
    return parts._replace(scheme=schemes[parts.scheme], path=path).geturl()
