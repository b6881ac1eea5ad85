"""Training in step: all members' gradients become one, and the hub's optimizer makes the step."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from weakref import WeakSet

from tensorgl.autograd.graph import mode
from tensorgl.distributed import group
from tensorgl.distributed.batch_norms import BatchNorms
from tensorgl.distributed.model import check_optimizer
from tensorgl.distributed.overlap import Overlap
from tensorgl.distributed.replica import Replica
from tensorgl.distributed.wire import ProtocolError
from tensorgl.nn.module import Module
from tensorgl.optim import Optimizer
from tensorgl.tensor import Tensor

__all__ = ["DistributedDataParallel", "HubOptimizer", "Wrapper"]

BUCKET_BYTES = 1 << 20

_NOT_SENT = {"fused"}  # how a member computes; the hub does as it likes
_modules: WeakSet[DistributedDataParallel] = WeakSet()


class DistributedDataParallel(Module):
    """A module that all members of a run train together.

    Its gradients go to the hub while backward still computes others (on device cpu; else with the step),
    and the HubOptimizer around its optimizer makes the step. Those in `grad` are this member's own; if they
    are clipped or accumulated, see `no_sync`. From the time when that is made on, its parameters are those
    of the run, and so are the running statistics of its batch norms: a step moves them by the mean and
    variance of all members' batches together, as in one process that sees all of these, while in a forward
    pass each member normalises by its own batch. Other buffers stay each member's own.

    Args:
        module: what is run. Its parameters get names that begin with `module.`, as in PyTorch.
        device_ids: ignored, as there is one device.
        output_device: ignored.
        bucket_bytes: how much of a gradient is sent and summed up at once.

    Attributes:
        joined: there is an optimizer that makes its steps at the hub.
        syncing: gradients are to be sent as they are made.
        prepare: called before a forward pass that trains.
        around: makes the context in which that runs.
        samples: how many the gradient is the mean of; None: the share of data that DistributedSampler
            was given for it, or else the length of the first tensor of each call that records gradients.
    """

    def __init__(
        self,
        module: Module,
        device_ids: Any = None,
        output_device: Any = None,
        *,
        bucket_bytes: int = BUCKET_BYTES,
    ) -> None:
        super().__init__()
        group.client()  # raises where there is no run
        self.module = module
        self.bucket_bytes = bucket_bytes
        self.samples: int | None = None
        self._counted = 0
        self.joined = False
        self.syncing = True
        self.prepare: Callable[[], object] = lambda: None
        self.around: Callable[[], AbstractContextManager[object]] = nullcontext
        _modules.add(self)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """Run the module.

        Raises:
            RuntimeError: it trains, and no HubOptimizer makes its steps.
        """
        if mode.grad and self.training:
            if not self.joined:
                raise RuntimeError(
                    "DistributedDataParallel: no optimizer makes this module's steps at the hub; wrap it: "
                    "optimizer = tensorgl.distributed.HubOptimizer(optimizer)"
                )
            self.prepare()
            tensors = [x for x in (*inputs, *kwargs.values()) if isinstance(x, Tensor) and x.ndim]
            self._counted += len(tensors[0]) if tensors else 1
            with self.around():
                return self.module(*inputs, **kwargs)
        return self.module(*inputs, **kwargs)

    @contextmanager
    def no_sync(self) -> Generator[None]:
        """Gradients of a backward in here are sent with the optimizer's step, not before.

        For all but the last backward, where a step has several; and where they are clipped before the step.
        Without it the step is the same, but they travel twice.
        """
        before, self.syncing = self.syncing, False
        try:
            yield
        finally:
            self.syncing = before

    def count(self) -> int | None:
        """How many samples were run through it since the last call, if any."""
        counted, self._counted = self._counted, 0
        return counted or None


class Wrapper(Optimizer):
    """What optimizers share that are around another one, and whose parameters are a run's model.

    Groups, state and hooks are the same objects, so that whoever changes them changes both.

    Args:
        optimizer: the other one.
        together: all its groups are one to the hub.
    """

    _fixed = False

    def __init__(self, optimizer: Optimizer, together: bool = False) -> None:
        super().__init__(optimizer.param_groups, optimizer.defaults)
        self.param_groups, self.state = optimizer.param_groups, optimizer.state
        self._pre_hooks, self._post_hooks = optimizer._pre_hooks, optimizer._post_hooks
        self._fixed = True
        self.optimizer = optimizer
        self._client = group.client()
        known = {id(p): (name, m) for m in _modules for name, p in m.module.named_parameters()}
        groups: list[list[tuple[str, Tensor]]] = []
        self._module: DistributedDataParallel | None = None
        for number, g in enumerate(optimizer.param_groups):
            groups.append([])
            for k, p in enumerate(g["params"]):
                name = g["param_names"][k] if "param_names" in g else f"{number}.{k}"
                if id(p) in known:
                    name, self._module = known[id(p)]
                groups[-1].append((name, p))
        if together:
            groups = [[pair for members in groups for pair in members]]
        size = self._module.bucket_bytes if self._module else BUCKET_BYTES
        norms = BatchNorms(self._module.module if self._module else None)
        self._replica = Replica(self._client, groups, norms, size)
        if self._module:
            self._module.joined = True
        self._client.refresh = self._refresh

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Only before: a run's model stays as it is."""
        if self._fixed:
            raise RuntimeError(
                f"{type(self).__name__}: a run's model cannot get more parameters; add them to the "
                "optimizer before it is wrapped"
            )
        super().add_param_group(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget every parameter's gradient, or make it zero in place."""
        self.optimizer.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """That of the optimizer inside."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state of the optimizer inside."""
        self.optimizer.load_state_dict(state_dict)

    def _define(self, name: str, options: list[dict[str, Any]], local_steps: int) -> None:
        value = {
            "name": name,
            "options": options,
            "groups": self._replica.groups,
            "local_steps": local_steps,
        }
        try:
            check_optimizer(value)
        except ProtocolError as error:
            raise TypeError(f"{type(self).__name__}: {error}") from None
        self._client.define("optimizer", value)

    def _samples(self) -> int | None:
        """How many the next contribution is of, as far as is known."""
        given = self._module.samples if self._module else None
        counted = self._module.count() if self._module else None
        share = self._client.task.share if self._client.task else None
        return given or (share[1] - share[0] if share else counted)

    def _refresh(self) -> None:
        """Take over the run's parameters, if they are others by now."""
        if self._replica.version != self._replica.view.version:
            self._replica.load()


class HubOptimizer(Wrapper):
    """An optimizer whose steps the hub makes, with the gradients of all members.

    `step()` sends the gradients, and returns when the parameters are those after the round. The hub
    has an optimizer of the same class and options; learning rates are what `param_groups` say now, so
    that schedules work as ever (of several members', it takes the median).

    Args:
        optimizer: one whose update treats all elements alike (not LBFGS, not Muon). It makes no steps
            itself, and keeps no state.

    Raises:
        TypeError: a hub cannot make its steps, or an option of it is no plain value.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        options = [_options(optimizer, g) for g in optimizer.param_groups]
        self._define(type(optimizer).__name__, options, 0)
        self._overlap: Overlap | None = None
        self._counted: int | None = None  # samples of what was begun
        self._whole = False  # that is all of them
        self._norms = self._replica.norms
        if self._module:
            self._module.around = self._norms.collecting
        if self._module and self._replica.on_cpu:
            module = self._module
            module.prepare = self._prepare
            self._overlap = Overlap(
                self._client, self._replica, self._begin, lambda: module.syncing
            )

    def update_all(self) -> None:
        """Contribute the gradients to the round, and take over the parameters after it.

        Raises:
            HubError: the hub refuses it for good.
        """
        if self._overlap:
            self._overlap.complete()
        else:
            self._begin()
            for values in self._replica.gradients():
                self._client.put(values)
        if self._norms.definition:
            self._client.put(self._norms.of_batches(self._counted or 1))
        self._client.commit()
        self._norms.forget()
        self._counted = None
        if self._module:
            self._module.count()  # those are done with
        self._refresh()

    def _prepare(self) -> None:
        """Before the parameters are used, have those of the round that the gradients will be for."""
        if self._counted is None:
            self._client.take()

    def _begin(self) -> None:
        lr = [float(g["lr"]) for g in self.param_groups]
        if self._counted is None:
            share = self._client.task.share if self._client.task else None
            self._whole = bool(share or (self._module and self._module.samples))
            self._counted = self._samples() or 0
        elif not self._whole:  # begun anew, it is of what was run through since, too
            self._counted += self._samples() or 0
        self._client.begin(self._replica.version, self._counted or 1, lr)


def _options(optimizer: Optimizer, g: dict[str, Any]) -> dict[str, Any]:
    """The options of a group as the hub is told them."""
    options: dict[str, Any] = {}
    for name in optimizer.defaults:
        if name in _NOT_SENT:
            continue
        value = g[name]
        if isinstance(value, Tensor):
            value = value.item()
        if isinstance(value, tuple):
            value = list(value)
        if not (value is None or isinstance(value, bool | int | float | list)):
            raise TypeError(
                f"HubOptimizer: {type(optimizer).__name__}: {name}: expected a number, given {value!r}"
            )
        options[name] = value
    return options
