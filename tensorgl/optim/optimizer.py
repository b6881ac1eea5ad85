"""What every optimizer shares: parameter groups, state, hooks and their dictionaries."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from tensorgl import dispatch
from tensorgl.autograd.graph import Handle
from tensorgl.autograd.modes import enable_grad, no_grad
from tensorgl.effects import guard, once, reads
from tensorgl.tensor import Tensor

__all__ = ["Optimizer", "check"]


def check(name: str, value: Any, ok: bool) -> None:
    """Raise PyTorch's ValueError for a hyperparameter out of its range."""
    if not ok:
        raise ValueError(f"Invalid {name}: {value}")


class Optimizer:
    """The base of all optimizers. A subclass gives `update`, for one parameter.

    Args:
        params: tensors, pairs (name, tensor), or dicts of a group: {"params": …, option: value}.
        defaults: the options of a group that does not set them.

    Attributes:
        param_groups: a list of dicts, each with its "params" and options.
        state: what the updates keep for each parameter.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, "
                f"but got {type(params).__name__}"
            )
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._pre_hooks: dict[int, Callable[..., Any]] = {}
        self._post_hooks: dict[int, Callable[..., Any]] = {}
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Optimize more parameters, with options of their own."""
        group = dict(param_group)
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        if params and isinstance(params[0], tuple):
            group["param_names"] = [name for name, _ in params]
            params = [p for _, p in params]
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}"
                )
            if not p.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
        taken = {id(p) for g in self.param_groups for p in g["params"]}
        if taken & {id(p) for p in params}:
            raise ValueError("some parameters appear in more than one parameter group")
        if len({id(p) for p in params}) != len(params):
            raise ValueError("optimizer contains a parameter group with duplicate parameters")
        group["params"] = params
        for name, value in self.defaults.items():
            group.setdefault(name, value)
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget every parameter's gradient, or make it zero in place."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none or p.grad is None:
                    p.grad = None
                else:
                    p.grad.detach_()
                    p.grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: clears the gradients, computes the loss and its gradient, and returns the loss.

        Returns:
            What the closure returned, or None.
        """
        for hook in tuple(self._pre_hooks.values()):
            hook(self, (), {})
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        state, count = self.state, len(self.state)
        with no_grad():
            self.update_all()
        if len(self.state) != count:
            once()
        reads(p for g in self.param_groups for p in g["params"] if p._grad is not None)
        guard(partial(_standing, self, state, next(iter(state.values()), None)))
        for group in self.param_groups:
            if group["params"]:
                dispatch.start(group["params"][0])
                break
        for hook in tuple(self._post_hooks.values()):
            hook(self, (), {})
        return loss

    def form(self) -> Any:
        """What makes an update another one, besides numbers; compared where one is to be repeated."""
        return [len(group["params"]) for group in self.param_groups]

    def update_all(self) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    g = -p.grad if group.get("maximize") else p.grad
                    self.update(p, g, self.state[p], group)

    def update(self, p: Tensor, g: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """Change `p` in place by its gradient `g`; `state` is empty the first time."""
        raise NotImplementedError(f"{type(self).__name__} must define update or step")

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(optimizer, args, kwargs)` before every step."""
        return Handle(self._pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(optimizer, args, kwargs)` after every step."""
        return Handle(self._post_hooks, hook)

    def state_dict(self) -> dict[str, Any]:
        """The state and the groups, with parameters given as their numbers."""
        number: dict[int, int] = {}
        for group in self.param_groups:
            for p in group["params"]:
                number[id(p)] = len(number)
        return {
            "state": {number[id(p)]: dict(s) for p, s in self.state.items()},
            "param_groups": [
                {**g, "params": [number[id(p)] for p in g["params"]]} for g in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state that `state_dict` gave; the next steps continue it bit for bit.

        Raises:
            ValueError: its groups or their parameters are of another number.
        """
        saved = state_dict["param_groups"]
        if len(saved) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        sizes = [
            (len(a["params"]), len(b["params"]))
            for a, b in zip(saved, self.param_groups, strict=True)
        ]
        if any(a != b for a, b in sizes):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of "
                "optimizer's group"
            )
        by_number = {}
        for old, new in zip(saved, self.param_groups, strict=True):
            by_number.update(zip(old["params"], new["params"], strict=True))
            options = {k: copy.deepcopy(v) for k, v in old.items() if k != "params"}
            params = new["params"]
            new.clear()
            new.update(options, params=params)
        self.state = defaultdict(dict)
        for number, values in state_dict["state"].items():
            p = by_number[number]
            self.state[p] = {k: _on(p, v) for k, v in values.items()}

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for k, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {k}")
            lines += [
                f"    {n}: {group[n]}" for n in sorted(group) if n not in ("params", "param_names")
            ]
        return "\n".join([*lines, ")"])


def _standing(optimizer: Optimizer, state: Any, first: Any) -> Any:
    """What a repeated step depends on, besides numbers: `first` is the state of the first parameter."""
    own = optimizer.state
    kept = own is state and next(iter(own.values()), None) is first
    return kept, len(own), optimizer.form()


def _on(p: Tensor, value: Any) -> Any:
    """A copy of saved state as `p` needs it: its device, and its dtype if floating-point."""
    if not isinstance(value, Tensor):
        return copy.deepcopy(value)
    if value.is_floating_point() and value.ndim:
        return value.to(device=p.device, dtype=p.dtype).clone()
    return value.to(device=p.device).clone()
