"""A weight divided by its largest singular value, which power iteration tracks."""

from __future__ import annotations

from typing import Any, TypeVar

from tensorgl.autograd import no_grad
from tensorgl.nn import functional as F
from tensorgl.nn.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from tensorgl.nn.hooks import find_pre_hook
from tensorgl.nn.module import Module
from tensorgl.nn.parameter import Parameter
from tensorgl.tensor import Tensor

__all__ = ["remove_spectral_norm", "spectral_norm"]

_M = TypeVar("_M", bound=Module)


class _SpectralNorm:
    """The pre-forward hook that computes the weight; u and v are buffers of the module."""

    def __init__(self, name: str, dim: int, iterations: int, eps: float) -> None:
        self.name = name
        self.dim = dim
        self.iterations = iterations
        self.eps = eps

    def matrix(self, weight: Tensor) -> Tensor:
        """The weight with `dim` as its rows and all other dims as its columns."""
        return weight.movedim(self.dim, 0).flatten(1)

    def iterate(self, module: Any) -> None:
        """Bring u and v closer to the singular vectors."""
        u, v = getattr(module, f"{self.name}_u"), getattr(module, f"{self.name}_v")
        with no_grad():
            m = self.matrix(getattr(module, f"{self.name}_orig"))
            for _ in range(self.iterations):
                v.copy_(F.normalize(m.t() @ u, dim=0, eps=self.eps))
                u.copy_(F.normalize(m @ v, dim=0, eps=self.eps))

    def weight(self, module: Any) -> Tensor:
        """`W / (u @ W @ v)`."""
        # Copies, as the next call writes over the buffers that this one's gradient needs.
        u = getattr(module, f"{self.name}_u").clone()
        v = getattr(module, f"{self.name}_v").clone()
        original = getattr(module, f"{self.name}_orig")
        return original / u.dot(self.matrix(original) @ v)

    def __call__(self, module: Any, args: Any) -> None:
        if module.training:
            self.iterate(module)
        setattr(module, self.name, self.weight(module))


def spectral_norm(
    module: _M,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> _M:
    """Replace a parameter by `name_orig`, of which forward divides out the largest singular value.

    Every forward in training takes `n_power_iterations` steps of power iteration on the buffers `name_u`
    and `name_v`. `dim` is that of the outputs: 1 for transposed convolutions, else 0.

    Raises:
        RuntimeError: it has spectral norm already.

    Source: Miyato et al., Spectral normalization for generative adversarial networks.
    """
    if find_pre_hook(module, _SpectralNorm, name) is not None:
        raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
    if n_power_iterations <= 0:
        raise ValueError(
            "Expected n_power_iterations to be positive, but got "
            f"n_power_iterations={n_power_iterations}"
        )
    if dim is None:
        dim = int(isinstance(module, ConvTranspose1d | ConvTranspose2d | ConvTranspose3d))
    hook = _SpectralNorm(name, dim, n_power_iterations, eps)
    weight = getattr(module, name)
    delattr(module, name)
    module.register_parameter(f"{name}_orig", weight)
    rows, columns = hook.matrix(weight.detach()).shape
    for suffix, size in (("u", rows), ("v", columns)):
        start = weight.detach().new_empty(size).normal_()
        module.register_buffer(f"{name}_{suffix}", F.normalize(start, dim=0, eps=eps))
    setattr(module, name, weight.detach())
    module.register_forward_pre_hook(hook)
    return module


def remove_spectral_norm(module: _M, name: str = "weight") -> _M:
    """Make the weight, as it is now, a plain parameter again.

    Raises:
        ValueError: it has no spectral norm.
    """
    key = find_pre_hook(module, _SpectralNorm, name)
    if key is None:
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    assert module._hooks is not None
    hook, _ = module._hooks.forward_pre.pop(key)
    weight = hook.weight(module).detach()
    for part in (name, f"{name}_orig", f"{name}_u", f"{name}_v"):
        delattr(module, part)
    module.register_parameter(name, Parameter(weight))
    return module
