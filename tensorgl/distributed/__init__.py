"""Browsers and native workers train one model together, through a hub.

    import tensorgl.distributed as dist

    dist.init_process_group("wss://hub.example", token="…")  # or "local://4", or TENSORGL_HUB
    net = dist.DistributedDataParallel(net)
    optimizer = dist.HubOptimizer(optim.SGD(net.parameters(), lr=0.1))  # or dist.DiLoCo(…)
    loader = DataLoader(data, batch_sampler=DistributedSampler(data, batch_size=256))

The rest of a script is as for one process. `tensorgl hub` makes a run, and serves it. Members may come
and go, and the hub may be started again.
"""

from tensorgl.distributed.ddp import DistributedDataParallel, HubOptimizer
from tensorgl.distributed.diloco import DiLoCo
from tensorgl.distributed.group import (
    ReduceOp,
    Work,
    all_reduce,
    barrier,
    broadcast,
    destroy_process_group,
    get_rank,
    get_world_size,
    init_process_group,
    is_available,
    is_initialized,
    report,
)
from tensorgl.distributed.session import HubError

__all__ = [
    "DiLoCo",
    "DistributedDataParallel",
    "HubError",
    "HubOptimizer",
    "ReduceOp",
    "Work",
    "all_reduce",
    "barrier",
    "broadcast",
    "destroy_process_group",
    "get_rank",
    "get_world_size",
    "init_process_group",
    "is_available",
    "is_initialized",
    "report",
]
