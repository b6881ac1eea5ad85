"""DataParallel, for scripts that wrap their model in it: there is one device, which gets all work.

DistributedDataParallel is here, too, as in PyTorch; tensorgl.distributed has it.
"""

from __future__ import annotations

from typing import Any

from tensorgl.nn.module import Module

__all__ = ["DataParallel"]


class DataParallel(Module):
    """Runs `module` on whole batches, as PyTorch does where there are no GPUs to share them.

    Its parameters have names that begin with `module.`, as in checkpoints of wrapped models.
    """

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


def __getattr__(name: str) -> Any:
    if name == "DistributedDataParallel":
        from tensorgl.distributed.ddp import DistributedDataParallel  # which stands above nn

        return DistributedDataParallel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
