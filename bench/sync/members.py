"""A member of a run, with a device that takes its time: what a process of the benchmark does."""

from __future__ import annotations

import time
from typing import Any

import tensorgl as tg
import tensorgl.distributed as dist
from tensorgl import nn, optim
from tensorgl.distributed.group import client
from tensorgl.nn.utils import parameters_to_vector, vector_to_parameters
from tensorgl.utils.data import DataLoader, TensorDataset
from tensorgl.utils.data.distributed import DistributedSampler

from .task import BATCH, LOCAL_LR, LR, Device, accuracy, data, network

__all__ = ["work"]

BUCKET_BYTES = 2 << 10
PASSES = 30


def work(
    url: str, token: str, rounds: int, sample_s: float, local_steps: int, share: int, results: Any
) -> None:
    """Train until so many rounds are over.

    Args:
        url: of the hub, or of the link before it.
        token: for it.
        rounds: after which all leave.
        sample_s: what a sample takes the device.
        local_steps: between rounds; 0: every gradient is sent.
        share: samples of a local step; with local_steps 0 the round's are divided by the hub.
        results: gets (time, accuracy) of the start and of each round, from the first of them.
    """
    train, test = data()
    net = network()
    device = Device(net, sample_s)
    dist.init_process_group(url, token=token)
    # To this network it is what the usual 1 MiB is to one of 11.7 million parameters.
    module = dist.DistributedDataParallel(net, bucket_bytes=BUCKET_BYTES)
    inner = optim.SGD(module.parameters(), lr=LOCAL_LR if local_steps else LR)
    optimizer = dist.DiLoCo(inner, H=local_steps) if local_steps else dist.HubOptimizer(inner)
    # No round goes beyond the end of an epoch: many passes make one, for all members' local steps.
    dataset = TensorDataset(*(tg.cat([part] * (PASSES if local_steps else 1)) for part in train))
    sampler = DistributedSampler(dataset, batch_size=share if local_steps else BATCH)
    rank, done = dist.get_rank(), 0
    dist.barrier()
    seen: list[tuple[float, tg.Tensor]] = []
    if rank == 0:
        results.put((time.monotonic(), 0.0))
    while done < rounds:
        for images, labels in DataLoader(dataset, batch_sampler=sampler):
            optimizer.zero_grad()
            device.forward(len(images))
            nn.functional.cross_entropy(module(images), labels).backward()
            before = _version()
            optimizer.step()
            if _version() == before:
                continue
            done += 1
            if rank == 0:
                seen.append((time.monotonic(), parameters_to_vector(net.parameters()).detach()))
            if done >= rounds:
                break
    dist.destroy_process_group()
    if rank == 0:  # not before: others would wait for who looks how well it goes
        for now, parameters in seen:
            vector_to_parameters(parameters, net.parameters())
            results.put((now, accuracy(net, test)))


def _version() -> int:
    view = client().view
    return view.version if view else 0
