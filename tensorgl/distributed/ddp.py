"""Training in step: all members' gradients become one, and the hub's optimizer makes the step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

from tensorgl.autograd.graph import mode
from tensorgl.distributed import group
from tensorgl.distributed.batch_norms import BatchNorms
from tensorgl.distributed.model import check_optimizer
from tensorgl.distributed.overlap import Overlap
from tensorgl.distributed.passes import Pass, Passes
from tensorgl.distributed.replica import Replica
from tensorgl.distributed.session import HubError
from tensorgl.distributed.wire import ProtocolError
from tensorgl.nn.module import Module
from tensorgl.nn.normalization import Batch, batches_apart
from tensorgl.optim import Optimizer
from tensorgl.tensor import Tensor

__all__ = ["DistributedDataParallel", "HubOptimizer", "Wrapper"]

BUCKET_BYTES = 1 << 20

_NOT_SENT = {"fused"}  # how a member computes; the hub does as it likes
_ONE = "a run has one optimizer: give a single one the parameters of all modules, in groups"
_modules: WeakKeyDictionary[DistributedDataParallel, None] = WeakKeyDictionary()  # the newest last


class DistributedDataParallel(Module):
    """A module that all members of a run train together.

    Its gradients go to the hub while backward still computes others (on device cpu; else with the step),
    and the HubOptimizer around its optimizer makes the step. Those in `grad` are this member's own; if they
    are clipped or accumulated, see `no_sync`. From the time when that is made on, its parameters are those
    of the run, and so are the running statistics of its batch norms: a step moves them by the mean and
    variance of all members' batches together, as in one process that sees all of these, while in a forward
    pass each member normalises by its own batch. Other buffers stay each member's own. A batch counts if a
    backward has reached what the module returned for it, and no zero_grad came after that.

    Args:
        module: what is run. Its parameters get names that begin with `module.`, as in PyTorch.
        device_ids: ignored, as there is one device.
        output_device: ignored.
        bucket_bytes: how much of a gradient is sent and summed up at once.

    Attributes:
        optimizer: what makes its steps at the hub, if there is one yet.
        syncing: gradients are to be sent as they are made.
        prepare: called before a forward pass that trains.
        around: makes the context in which that runs, given where what batch norms see is to go.
        passes: those that its gradients are of.
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
        self.passes = Passes()
        self.optimizer: Wrapper | None = None
        self.syncing = True
        self.prepare: Callable[[], object] = lambda: None
        self.around: Callable[[list[Batch]], AbstractContextManager[object]] = nullcontext
        _modules[self] = None

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """Run the module.

        Raises:
            RuntimeError: it trains, and no HubOptimizer makes its steps.
        """
        if mode.grad and self.training:
            if self.optimizer is None:
                raise RuntimeError(
                    "DistributedDataParallel: no optimizer makes this module's steps at the hub; wrap one "
                    "that has its parameters, after the module: "
                    "optimizer = tensorgl.distributed.HubOptimizer(optimizer)"
                )
            self.prepare()
            tensors = [x for x in (*inputs, *kwargs.values()) if isinstance(x, Tensor) and x.ndim]
            one = Pass(len(tensors[0]) if tensors else 1)
            with self.around(one.batches):
                outputs = self.module(*inputs, **kwargs)
            self.passes.watch(one, outputs)
            return outputs
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

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        super().zero_grad(set_to_none)
        self.passes.forget()


class Wrapper(Optimizer):
    """What optimizers share that are around another one, and whose parameters are a run's model.

    Groups, state and hooks are the same objects, so that whoever changes them changes both.

    Args:
        optimizer: the other one.
        together: all its groups are one to the hub.

    Raises:
        RuntimeError: the run has another optimizer, of other parameters.
    """

    _fixed = False

    def __init__(self, optimizer: Optimizer, together: bool = False) -> None:
        super().__init__(optimizer.param_groups, optimizer.defaults)
        self.param_groups, self.state = optimizer.param_groups, optimizer.state
        self._pre_hooks, self._post_hooks = optimizer._pre_hooks, optimizer._post_hooks
        self._fixed = True
        self.optimizer = optimizer
        self._client = group.client()
        self._replaced = self._warned = False
        self._modules, names = _modules_of(optimizer)
        groups: list[list[tuple[str, Tensor]]] = []
        for number, g in enumerate(optimizer.param_groups):
            groups.append([])
            for k, p in enumerate(g["params"]):
                name = g["param_names"][k] if "param_names" in g else f"{number}.{k}"
                groups[-1].append((names.pop(p, name), p))
        if together:
            groups = [[pair for members in groups for pair in members]]
        rest = [(name, p) for p, name in names.items()]
        self._trained = [(name, p, p.requires_grad) for each in (*groups, rest) for name, p in each]
        size = max((m.bucket_bytes for m in self._modules), default=BUCKET_BYTES)
        norms = BatchNorms((prefix, m.module) for m, prefix in self._modules.items())
        former = getattr(self._client.refresh, "__self__", None)  # an optimizer, or there was none
        try:
            self._replica = Replica(self._client, groups, rest, norms, size)
        except HubError as error:
            if isinstance(former, Wrapper):
                raise RuntimeError(
                    f"{type(self).__name__}: an optimizer was wrapped before, and {_ONE}. "
                    f"If this is to take its place: {error}"
                ) from error
            raise
        for before in {former, *(m.optimizer for m in self._modules)}:
            if isinstance(before, Wrapper):
                before._replace()
        for m in self._modules:
            m.optimizer = self
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
        self._forget()

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

    def _check(self) -> None:
        """Before a step: the run has this optimizer, and these parameters.

        Raises:
            RuntimeError: it has not, or others are to be trained than when this was made.
        """
        if self._replaced:
            raise RuntimeError(f"{type(self).__name__}: another one was made since, and {_ONE}")
        for name, p, trained in self._trained:
            if p.requires_grad != trained:
                raise RuntimeError(
                    f"{type(self).__name__}: {name}: requires_grad was {trained} when the optimizer was "
                    f"wrapped, and is {p.requires_grad}: a run trains the same parameters from first to "
                    "last; freeze or unfreeze before that, and begin another run for each choice"
                )

    def _replace(self) -> None:
        """Another one makes the run's steps from now on."""
        self._replaced = True

    def _forget(self) -> None:
        """What was run through the modules is done with."""
        for m in self._modules:
            m.passes.forget()

    def _given(self) -> int:
        """How many samples the script says that the next contribution is of; 0: nothing."""
        return max((m.samples or 0 for m in self._modules), default=0)

    def _share(self) -> int:
        """How many samples are in the share of the data that is worked on; 0: there is none."""
        task = self._client.begun or self._client.task
        return task.share[1] - task.share[0] if task and task.share else 0

    def _counted(self) -> int:
        """How many samples the gradients are of, as far as the modules saw them."""
        return max((m.passes.samples for m in self._modules), default=0)

    def _refresh(self) -> None:
        """Take over the run's parameters, if they are others by now."""
        if self._replica.version != self._replica.view.version:
            if self._replica.written and not self._warned:
                self._warned = True
                warnings.warn(
                    f"{type(self).__name__}: the parameters were written to between steps (as by "
                    "load_state_dict or clamp_), which is lost: each step takes over the run's. Load what a "
                    "run is to begin with before the optimizer is wrapped; limits belong in the loss or in "
                    "forward",
                    stacklevel=2,
                )
            self._replica.load()


class HubOptimizer(Wrapper):
    """An optimizer whose steps the hub makes, with the gradients of all members.

    `step()` sends the gradients, and returns when the parameters are those after the round. The hub
    has an optimizer of the same class and options; learning rates are what `param_groups` say now, so
    that schedules work as ever (of several members', it takes the median of those who joined first;
    with the rules that bear liars, of all).

    Args:
        optimizer: one whose update treats all elements alike (not LBFGS, not Muon). It makes no steps
            itself, and keeps no state.

    Raises:
        TypeError: a hub cannot make its steps, or an option of it is no plain value.
        RuntimeError: the run has another optimizer, of other parameters.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__(optimizer)
        self._options = [_options(optimizer, g) for g in optimizer.param_groups]
        self._define(type(optimizer).__name__, self._options, 0)
        self._overlap: Overlap | None = None
        self._samples = 1  # of what was begun to be sent
        for m in self._modules:
            m.around = batches_apart
        if self._modules and self._replica.on_cpu:
            for m in self._modules:  # the parameters are those of the round that gradients are for
                m.prepare = self._client.take
            self._overlap = Overlap(
                self._client,
                self._replica,
                self._begin,
                lambda: all(m.syncing for m in self._modules),
            )

    def update_all(self) -> None:
        """Contribute the gradients to the round, and take over the parameters after it.

        Raises:
            HubError: the hub refuses it for good.
            RuntimeError: something was changed since this was made that a run keeps.
        """
        self._check()
        if self._overlap:
            self._overlap.complete()
        else:
            self._begin()
            for values in self._replica.gradients():
                self._client.put(values)
        if self._replica.norms.definition:
            batches = [batch for m in self._modules for batch in m.passes.batches]
            self._client.put(self._replica.norms.of_batches(batches, self._samples))
        self._client.commit()
        self._forget()
        self._refresh()

    def _check(self) -> None:
        super()._check()
        for number, (g, before) in enumerate(zip(self.param_groups, self._options, strict=True)):
            now = _options(self.optimizer, g)
            for name in before:
                if name != "lr" and now[name] != before[name]:
                    raise RuntimeError(
                        f"HubOptimizer: {name} of group {number} was {before[name]} when the optimizer was "
                        f"wrapped, and is {now[name]}: of a run only lr can change; leave it alone "
                        "(OneCycleLR and CyclicLR: cycle_momentum=False), or begin another run"
                    )

    def _replace(self) -> None:
        super()._replace()
        if self._overlap:
            self._overlap.close()

    def _begin(self) -> None:
        """Begin to send; anew, if something was sent."""
        lr = [float(g["lr"]) for g in self.param_groups]
        self._samples = self._given() or self._share() or self._counted() or 1
        self._client.begin(self._replica.version, self._samples, lr)


def _modules_of(
    optimizer: Optimizer,
) -> tuple[dict[DistributedDataParallel, str], dict[Tensor, str]]:
    """The modules that have parameters of an optimizer, and what belongs to these.

    Returns:
        What names in each module begin with, nothing if it is the only one; and the name of each parameter.
    """
    owners = {p: (m, name) for m in _modules for name, p in m.module.named_parameters()}
    given = [p for g in optimizer.param_groups for p in g["params"] if p in owners]
    own = list(dict.fromkeys(owners[p][0] for p in given))
    prefixes = {m: f"{k}." if len(own) > 1 else "" for k, m in enumerate(own)}
    names: dict[Tensor, str] = {
        p: prefixes[m] + name for p, (m, name) in owners.items() if m in prefixes
    }
    for m in _modules:  # which were made of the same parameters before
        if m not in prefixes and any(owners[p][0] in prefixes for p in m.module.parameters()):
            prefixes[m] = ""
    return prefixes, names


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
