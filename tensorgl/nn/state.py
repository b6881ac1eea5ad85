"""A module's state: how it is read and loaded, and what is said of keys that do not fit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from tensorgl.autograd import no_grad
from tensorgl.nn.parameter import Parameter
from tensorgl.tensor import Tensor

__all__ = ["IncompatibleKeys", "StateMethods"]


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


class StateMethods:
    """The part of Module that gives its state as a dict, and takes it back.

    Every module saves and loads what is its own; a subclass may do so in its own way.
    """

    _version = 1
    _parameters: dict[str, Any]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Any]
    _non_persistent_buffers_set: set[str]

    def get_extra_state(self) -> Any:
        """What else `state_dict` holds of this module; a subclass that has it defines this."""
        raise RuntimeError(f"{type(self).__name__} defines no get_extra_state")

    def set_extra_state(self, state: Any) -> None:
        """Take over what `get_extra_state` gave."""
        raise RuntimeError(f"{type(self).__name__} defines no set_extra_state")

    def _own_state(self) -> dict[str, Tensor]:
        """This module's own parameters and persistent buffers by name."""
        state = {**self._parameters, **self._buffers}
        skip = self._non_persistent_buffers_set
        return {k: v for k, v in state.items() if v is not None and k not in skip}

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        """Put this module's own state into `destination`."""
        for name, value in self._own_state().items():
            destination[prefix + name] = value if keep_vars else value.detach()
        if type(self).get_extra_state is not StateMethods.get_extra_state:
            destination[prefix + _EXTRA] = self.get_extra_state()

    def state_dict(
        self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """All parameters and persistent buffers by dotted path, sharing the module's memory.

        Args:
            destination: a dict to fill instead of a new one.
            prefix: what every path begins with.
            keep_vars: give the parameters themselves instead of detached tensors.
        """
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = {"version": self._version}
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(
                    destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
                )
        return destination

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Copy this module's own state out of `state_dict`; note in the lists what does not fit.

        Args:
            state_dict: what of the whole state is of this module and those under it.
            prefix: what the keys of this module begin with.
            local_metadata: the "version" of the module that was saved, if known.
            strict: note keys that are missing or unexpected.
            missing_keys: filled.
            unexpected_keys: filled.
            error_msgs: filled.
        """
        own = self._own_state()
        for name, target in own.items():
            key = prefix + name
            if key in state_dict:
                error = _mismatch(key, target, state_dict[key])
                if error:
                    error_msgs.append(error)
                elif local_metadata.get("assign_to_params_buffers"):
                    _assign(self, name, target, state_dict[key])
                else:
                    with no_grad():
                        target.copy_(state_dict[key])
            elif strict:
                missing_keys.append(key)
        known = set(own)
        if type(self).set_extra_state is not StateMethods.set_extra_state:
            known.add(_EXTRA)
            if prefix + _EXTRA in state_dict:
                self.set_extra_state(state_dict[prefix + _EXTRA])
            elif strict:
                missing_keys.append(prefix + _EXTRA)
        if strict:
            for key in state_dict:
                name, dot, _ = key.removeprefix(prefix).partition(".")
                if key.startswith(prefix) and name not in (self._modules if dot else known):
                    unexpected_keys.append(key)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy a `state_dict` into this module.

        Args:
            state_dict: tensors by dotted path.
            strict: raise where keys are missing or unexpected.
            assign: make the given tensors this module's own instead of copying their values.

        Returns:
            The missing and the unexpected keys.

        Raises:
            RuntimeError: shapes differ, or keys do and `strict` is true; names every one.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        metadata: Mapping[str, Any] = getattr(state_dict, "_metadata", None) or {}
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []

        def load(module: Any, state: dict[str, Any], prefix: str) -> None:
            local = {**metadata.get(prefix[:-1], {}), "assign_to_params_buffers": assign}
            module._load_from_state_dict(state, prefix, local, True, missing, unexpected, errors)
            for name, child in module._modules.items():
                if child is not None:
                    path = f"{prefix}{name}."
                    load(child, {k: v for k, v in state.items() if k.startswith(path)}, path)

        load(self, OrderedDict(state_dict), "")
        if strict:
            complaints = (("Missing", missing), ("Unexpected", unexpected))
            errors[:0] = [
                f"{what} key(s) in state_dict: " + ", ".join(f'"{k}"' for k in keys) + ". "
                for what, keys in complaints
                if keys
            ]
        if errors:
            raise RuntimeError(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t"
                + "\n\t".join(errors)
            )
        return IncompatibleKeys(missing, unexpected)


_EXTRA = "_extra_state"


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
