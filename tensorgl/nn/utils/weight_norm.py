"""A weight as its length times its direction, which train separately."""

from __future__ import annotations

from typing import Any, TypeVar

from tensorgl.nn.hooks import find_pre_hook
from tensorgl.nn.module import Module
from tensorgl.nn.parameter import Parameter
from tensorgl.tensor import Tensor

__all__ = ["remove_weight_norm", "weight_norm"]

_M = TypeVar("_M", bound=Module)


def _norm(v: Tensor, dim: int | None) -> Tensor:
    """The norm over all dims but `dim`; over all for None or -1."""
    if dim is None or dim == -1:
        return v.norm()
    dims = tuple(k for k in range(v.ndim) if k != dim % v.ndim)
    return v.norm(2, dims, keepdim=True) if dims else v.abs()


class _WeightNorm:
    """The pre-forward hook that computes the weight."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = dim

    def weight(self, module: Any) -> Tensor:
        """`g v / |v|`."""
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        return v * (g / _norm(v, self.dim))

    def __call__(self, module: Any, args: Any) -> None:
        setattr(module, self.name, self.weight(module))


def weight_norm(module: _M, name: str = "weight", dim: int | None = 0) -> _M:
    """Replace a parameter by `name_g`, its norms along `dim`, and `name_v`, its direction.

    Raises:
        RuntimeError: it has weight norm already.

    Source: Salimans and Kingma, Weight normalization.
    """
    if find_pre_hook(module, _WeightNorm, name) is not None:
        raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
    hook = _WeightNorm(name, dim)
    weight = getattr(module, name)
    delattr(module, name)
    module.register_parameter(f"{name}_g", Parameter(_norm(weight, dim).detach()))
    module.register_parameter(f"{name}_v", Parameter(weight.detach()))
    setattr(module, name, hook.weight(module))
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: _M, name: str = "weight") -> _M:
    """Make the weight a plain parameter again.

    Raises:
        ValueError: it has no weight norm.
    """
    key = find_pre_hook(module, _WeightNorm, name)
    if key is None:
        raise ValueError(f"weight_norm of '{name}' not found in {module}")
    assert module._hooks is not None
    hook, _ = module._hooks.forward_pre.pop(key)
    weight = hook.weight(module).detach()
    for part in (name, f"{name}_g", f"{name}_v"):
        delattr(module, part)
    module.register_parameter(name, Parameter(weight))
    return module
