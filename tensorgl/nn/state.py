"""Loading a module's state: what is copied where, and what is said of keys that do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tensorgl.autograd import no_grad
from tensorgl.nn.parameter import Parameter
from tensorgl.tensor import Tensor

__all__ = ["IncompatibleKeys", "load"]


class IncompatibleKeys(NamedTuple):
    """The keys that a module has and a state does not, and the other way round."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"_IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )


def load(module: Any, state: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """Copy `state` into `module` and all under it; see `Module.load_state_dict`."""
    if not isinstance(state, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state)}.")
    known: set[str] = set()
    missing: list[str] = []
    errors: list[str] = []
    for path, owner in module.named_modules(remove_duplicate=False):
        for name, target in _own_state(owner).items():
            key = f"{path}.{name}" if path else name
            known.add(key)
            if key not in state:
                missing.append(key)
                continue
            error = _mismatch(key, target, state[key])
            if error:
                errors.append(error)
            elif assign:
                _assign(owner, name, target, state[key])
            else:
                with no_grad():
                    target.copy_(state[key])
    unexpected = [key for key in state if key not in known]
    if strict:
        complaints = (("Missing", missing), ("Unexpected", unexpected))
        errors[:0] = [
            f"{what} key(s) in state_dict: " + ", ".join(f'"{k}"' for k in keys) + ". "
            for what, keys in complaints
            if keys
        ]
    if errors:
        raise RuntimeError(
            f"Error(s) in loading state_dict for {type(module).__name__}:\n\t" + "\n\t".join(errors)
        )
    return IncompatibleKeys(missing, unexpected)


def _own_state(module: Any) -> dict[str, Tensor]:
    """The module's own parameters and persistent buffers by name."""
    state = {**module._parameters, **module._buffers}
    skip = module._non_persistent_buffers_set
    return {k: v for k, v in state.items() if v is not None and k not in skip}


def _mismatch(key: str, target: Tensor, value: Any) -> str | None:
    if not isinstance(value, Tensor):
        return (
            f'While copying the parameter named "{key}", expected tensorgl.Tensor or Tensor-like '
            f"object from checkpoint but received {type(value)}"
        )
    if value.shape != target.shape:
        return (
            f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, "
            f"the shape in current model is {target.shape}."
        )
    return None


def _assign(owner: Any, name: str, target: Tensor, value: Tensor) -> None:
    if isinstance(target, Parameter) and not isinstance(value, Parameter):
        value = Parameter(value, requires_grad=target.requires_grad)
    setattr(owner, name, value)
