"""What switches recording on and off, and anomaly mode, each for the thread that calls it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from typing import Any

from tensorgl.autograd.graph import mode

__all__ = [
    "detect_anomaly",
    "enable_grad",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]


def is_grad_enabled() -> bool:
    """Whether this thread records ops for differentiation."""
    return mode.grad


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside `inference_mode`."""
    return mode.inference


class _ModeContext:
    """A context manager and decorator that sets the recording mode and puts it back."""

    _grad = True
    _inference = False

    def __enter__(self) -> None:
        # A stack, so that one object may be entered again inside itself.
        self.__dict__.setdefault("_previous", []).append((mode.grad, mode.inference))
        mode.grad, mode.inference = self._grad, self._inference or mode.inference

    def __exit__(self, *exc: object) -> None:
        mode.grad, mode.inference = self.__dict__["_previous"].pop()

    def _again(self) -> _ModeContext:
        """A context of its own for each call of a decorated function, as threads may call it."""
        context = _ModeContext()
        context._grad, context._inference = self._grad, self._inference
        return context

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
                with self._again():
                    inner = function(*args, **kwargs)
                value: Any = None
                while True:
                    try:
                        with self._again():
                            item = inner.send(value)
                    except StopIteration as stop:
                        return stop.value
                    value = yield item

            return generator

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return wrapper


class _PlainModeContext(_ModeContext):
    """Also works as a decorator without parentheses: `@no_grad`."""

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        context = super().__new__(cls)
        return context if function is None else context(function)


class no_grad(_PlainModeContext):
    """Turn recording off: `with no_grad():` or `@no_grad()`."""

    _grad = False


class enable_grad(_PlainModeContext):
    """Turn recording on inside `no_grad`."""


class inference_mode(_ModeContext):
    """Turn recording off for code that will never be differentiated."""

    def __new__(cls, mode: Any = True) -> Any:
        """A context, or a decorated function for `@inference_mode` without parentheses."""
        context = super().__new__(cls)
        if callable(mode):
            context.__init__()
            return context(mode)
        return context

    def __init__(self, mode: bool = True) -> None:
        self._grad = not mode
        self._inference = bool(mode)


class set_grad_enabled(_ModeContext):
    """Turn recording on or off: at once as a function, or for a `with` block."""

    def __init__(self, mode: bool) -> None:
        self._grad = bool(mode)
        self._outer = _set_grad(self._grad)

    def __enter__(self) -> None:
        self.__dict__.setdefault("_previous", []).append((self._outer, mode.inference))
        mode.grad = self._grad

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """As a decorator it acts only inside the function."""
        mode.grad = self._outer
        return super().__call__(function)


def _set_grad(on: bool) -> bool:
    """Set the mode; the mode before."""
    previous, mode.grad = mode.grad, on
    return previous


class set_detect_anomaly:
    """Let backward raise at the first node that makes NaN: at once, or for a `with` block.

    PyTorch also shows where the forward call was; here the error names the node only.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._outer = _set_anomaly(mode and check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        _set_anomaly(self._outer)


class detect_anomaly(set_detect_anomaly):
    """`with detect_anomaly():` lets backward raise at the first node that makes NaN."""

    def __init__(self, check_nan: bool = True) -> None:
        super().__init__(True, check_nan)


def _set_anomaly(on: bool) -> bool:
    """Set the mode; the mode before."""
    previous, mode.anomaly = mode.anomaly, on
    return previous
