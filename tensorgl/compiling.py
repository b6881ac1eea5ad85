"""`compile`: a training step that runs again as one recorded plan, without its Python.

On a lazy backend the function is called as it is the first time (so that optimizers make their
state), recorded the second time, and from then on replayed: as long as the arguments' structure,
shapes, dtypes and values (of what is no tensor), numbers that the function's own code finds by name, grad
mode, modules, training flags, what is trained, gradients and optimizers are as they were. Anything
else is called and recorded anew. On cpu the function is simply called.

What is not an op does not run at a replay, but for what goes through `effects.effect`: step counts,
learning-rate schedules and random offsets. Who does work that cannot be repeated says so by
`effects.once`.
"""

# The core is several modules of one design: they see each other's underscored state.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import dis
import functools
import inspect
import warnings
from collections.abc import Callable
from operator import is_
from types import CodeType
from typing import Any

from tensorgl import effects
from tensorgl.autograd import graph
from tensorgl.autograd.graph import TensorBase, mode
from tensorgl.backends import backend_of, loaded
from tensorgl.errors import CaptureError
from tensorgl.nn.module import Module, changes

__all__ = ["compile"]

VARIANTS = 32
"""Recordings that one function keeps; a step whose arguments never repeat is not worth recording."""
MISSES = 4
"""Recordings in a row that cannot be replayed, after which a function is called as it is."""


def compile(
    model: Callable[..., Any] | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: str | Callable[..., Any] = "inductor",
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
) -> Any:
    """A function that runs as one plan from its third call on; a Module is returned as it is.

    Give it a whole training step: forward, backward and `optimizer.step()`. A Module's calls are part of a
    larger step, whose plan is found again by itself. Options but `disable` are PyTorch's and have
    no meaning here. Without a model, a decorator.

    Raises:
        TypeError: `model` cannot be called.
        CaptureError: when called: the function reads the value of a tensor.
    """
    if model is None:
        return functools.partial(compile, disable=disable)
    if not callable(model):
        raise TypeError(f"compile: expected a Module or a function, given {type(model).__name__}")
    if disable or isinstance(model, Module):
        return model
    return functools.wraps(model)(_Compiled(model))


class _Variant:
    """A recording, and what must hold for it to be replayed."""

    def __init__(self) -> None:
        self.effects: list[tuple[Callable[[], Any], int]] = []
        self.guards: list[tuple[Callable[[], Any], Any]] = []  # and what they gave
        self.leaves: list[tuple[Any, Any, Any, Any]] = []  # leaf, handle, gradient before, after
        self.result: Any = None  # what is returned, with places instead of tensors
        self.avals: list[Any] = []
        self.captured: Any = None

    def holds(self, nodes: list[Any]) -> bool:
        """Whether parameters, gradients and memory are as they were."""
        for leaf, handle, before, _ in self.leaves:
            if leaf._data is not handle or not leaf._requires_grad:
                return False
            if before is not _CLEARED and leaf._grad is not before:
                return False
        return all(f() == given for f, given in self.guards) and self.captured.fits(nodes)

    def values(self) -> list[Any] | None:
        """What the effects give this time; None if it is of another form than before."""
        values: list[Any] = []
        for function, count in self.effects:
            given = function()
            if len(given) != count:
                return None
            values.extend(given)
        return values

    def replay(self, nodes: list[Any], values: list[Any]) -> Any:
        """Run the plan with the effects' numbers; what the function would return."""
        handles = self.captured.replay(nodes, values)
        for leaf, _, _, after in self.leaves:
            leaf._grad = after
        tensors = [graph.make_tensor(h, a) for h, a in zip(handles, self.avals, strict=True)]
        return _filled(self.result, tensors)


_CLEARED = object()
"""The gradient before a step that does not depend on it."""


class _Compiled:
    """The function, and its recordings by what its arguments are."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.modules = _Modules(_modules_of(function))
        self.numbers = _Numbers(function)
        self.variants: dict[Any, list[_Variant]] = {}
        self.seen: dict[Any, list[Any]] = {}  # the leaves that got gradients in the first call
        self.misses = 0
        self.full = False

    @property
    def plans(self) -> list[Any]:
        """The plan of each recording: plain data, which `print` shows."""
        return [v.captured.plan for known in self.variants.values() for v in known]

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tensors: list[Any] = []
        shape = _structure((args, kwargs), tensors) if args or kwargs else ()
        recording = _recording(tensors)
        if recording is None or self.full or effects.recorder is not None:
            return self.function(*args, **kwargs)
        key = shape, self.modules.state(), self.numbers.values(), mode.grad, mode.inference
        known = self.variants.get(key)
        if key not in self.seen:
            if len(self.seen) == 2 * VARIANTS:
                return self._too_many(args, kwargs)
            return self._first(key, args, kwargs)
        nodes = recording.arguments([t._data for t in tensors], [t._aval for t in tensors])
        for variant in known or ():
            if variant.holds(nodes):
                values = variant.values()
                if values is None:
                    self.variants.clear()
                    raise CaptureError(
                        "an optimizer's options, or what else gives a compiled step its numbers, changed "
                        "since it was recorded; this call did nothing to tensors, the next one records anew"
                    )
                self.misses = 0
                return variant.replay(nodes, values)
        if sum(map(len, self.variants.values())) >= VARIANTS:
            return self._too_many(args, kwargs)
        return self._record(key, recording, nodes, tensors, args, kwargs)

    def _too_many(self, args: Any, kwargs: Any) -> Any:
        self.full = True
        warnings.warn(
            f"compile: {self.function} was recorded {VARIANTS} times, or differed more often, and is now "
            "called as it is; its arguments, or the tensors and numbers that it uses, change at every call",
            stacklevel=3,
        )
        return self.function(*args, **kwargs)

    def _first(self, key: Any, args: Any, kwargs: Any) -> Any:
        """Call the function as it is, and note which leaves get gradients."""
        watch = _Watch([])
        mode.observer, before = watch, mode.observer
        try:
            result = self.function(*args, **kwargs)
        finally:
            mode.observer = before
        self.seen[key] = list(watch.leaves.values())
        return result

    def _record(
        self, key: Any, recording: Any, nodes: list[Any], tensors: list[Any], args: Any, kwargs: Any
    ) -> Any:
        variant = _Variant()
        count = 0

        def run_effect(function: Callable[[], Any]) -> Any:
            nonlocal count
            given = function()
            variant.effects.append((function, len(given)))
            made = tuple([recording.live(x, count + k) for k, x in enumerate(given)])
            count += len(given)
            return made

        watch, notes = _Watch(self.seen[key]), effects.Notes()
        stand_ins = [graph.make_tensor(n, t._aval) for n, t in zip(nodes, tensors, strict=True)]
        new_args, new_kwargs = _filled(_structure_of((args, kwargs)), stand_ins)
        recording.begin(nodes)
        mode.observer, before = watch, mode.observer
        effects.recorder, effects.notes = run_effect, notes
        try:
            result = self.function(*new_args, **new_kwargs)
        except BaseException:
            recording.abandon()
            raise
        finally:
            effects.recorder = effects.notes = None
            mode.observer = before
        returned: list[Any] = []
        _structure(result, returned)
        lives_on = any(t._requires_grad and not watch.consumed(t) for t in returned)
        if lives_on or not recording.covers([t._data for t in (*returned, *watch.leaves.values())]):
            recording.abandon()  # the graph, or work on another device, must be done each time
            self.full = True
            return result
        if not notes.repeats or any(id(t) not in watch.leaves for t in notes.read):
            recording.abandon()
            self._missed()
            return result
        variant.result = _structure_of(result)
        variant.avals = [t._aval for t in returned]
        variant.captured = recording.finish([t._data for t in returned])
        variant.guards = [(f, f()) for f in notes.guards]
        reads = variant.captured.reads
        for leaf in watch.leaves.values():
            entry = watch.entries.get(id(leaf))
            used = entry is None or reads(entry._data)
            variant.leaves.append((leaf, leaf._data, entry if used else _CLEARED, leaf._grad))
        self.variants.setdefault(key, []).append(variant)
        return result

    def _missed(self) -> None:
        """Note that a recording cannot be replayed; after some in a row none is made any more."""
        self.misses += 1
        if self.misses == MISSES:
            self.full = True
            warnings.warn(
                f"compile: {self.function} is called as it is: it uses gradients that were made outside of "
                "it, or makes or replaces tensors that it goes on with, at every call",
                stacklevel=4,
            )


class _Modules:
    """The modules under some roots; what they own is read again when it has changed."""

    def __init__(self, roots: list[Module]) -> None:
        self._roots = roots
        self._count = 0  # how often it was read
        self._all: list[Any] = []
        self._owners: list[dict[str, Any]] = []
        self._owned: list[Any] = []
        self._params: list[Any] = []

    def state(self) -> tuple[Any, ...]:
        """What a step depends on: which modules and tensors there are, who trains and is trained, hooks."""
        owned = [x for owner in self._owners for x in owner.values()]
        if (
            len(owned) != len(self._owned)
            or not all(map(is_, owned, self._owned))
            or not self._count
        ):
            self._walk()
        trained = tuple([p._requires_grad for p in self._params])
        hooks = tuple([h.ids() for m in self._all if (h := m._hooks) is not None])
        return self._count, changes(), tuple([m.training for m in self._all]), trained, hooks

    def _walk(self) -> None:
        waiting: list[Any] = list(self._roots)
        self._all = []
        while waiting:
            module = waiting.pop()
            if module is not None:
                self._all.append(module)
                waiting += module._modules.values()
        own = [owner for m in self._all for owner in (m._modules, m._parameters, m._buffers)]
        self._owners = [owner for owner in own if owner]
        self._owned = [x for owner in self._owners for x in owner.values()]
        self._params = [p for m in self._all for p in m._parameters.values() if p is not None]
        self._count += 1


class _Numbers:
    """The plain values that a function's code finds by name: outside of it, or in what it is a method of.

    Those that it writes itself, counters, are a side effect that a replay does not have.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        plain = inspect.unwrap(function)
        if isinstance(plain, functools.partial):
            plain = plain.func
        owner: Any = getattr(plain, "__self__", None)
        plain = getattr(plain, "__func__", plain)
        code = getattr(plain, "__code__", None)
        names = _names(code) if code else set[str]()
        cells = zip(code.co_freevars, plain.__closure__ or (), strict=False) if code else ()
        self._cells = [
            cell for name, cell in cells if name in names and type(_held(cell)) in _PLAIN
        ]
        self._spaces: list[tuple[dict[str, Any], list[str]]] = []
        for space in (getattr(plain, "__globals__", {}), getattr(owner, "__dict__", {})):
            found = [n for n in names if n in space and type(space[n]) in _PLAIN]
            if found:
                self._spaces.append((space, found))

    def values(self) -> tuple[Any, ...]:
        """What they are now; None for those that are something else."""
        found = [_held(cell) for cell in self._cells]
        for space, names in self._spaces:
            found += [space.get(name) for name in names]
        return tuple([x if type(x) in _PLAIN else None for x in found])


def _held(cell: Any) -> Any:
    """What is in a closure's cell; None where nothing is yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


_PLAIN = frozenset((bool, int, float, str, type(None)))


_OWN = frozenset(("LOAD_CONST", "LOAD_FAST", "LOAD_FAST_LOAD_FAST"))


def _names(code: CodeType) -> set[str]:
    """Names that some code, and functions that it defines, read from elsewhere and do not write."""
    read: set[str] = set()
    written: set[str] = set()
    waiting = [code]
    while waiting:
        code = waiting.pop()
        waiting += [c for c in code.co_consts if isinstance(c, CodeType)]
        for step in dis.get_instructions(code):
            if step.opname in ("STORE_GLOBAL", "STORE_DEREF", "STORE_ATTR"):
                written.add(step.argval)
            elif step.opname.startswith("LOAD_") and step.opname not in _OWN:
                read.add(step.argval)
    return read - written


def _recording(tensors: list[Any]) -> Any:
    """That of the arguments' one backend; without tensors, of a backend in use. None: it is eager."""
    backends = {backend_of(t._aval.device) for t in tensors} if tensors else loaded()
    if tensors and len(backends) > 1:
        return None  # what a step does by values that Python has at hand may be another each time
    return next((r for b in backends if (r := b.recording()) is not None), None)


class _Watch:
    """Sees backward passes: which leaves get gradients, and which graphs are used up."""

    def __init__(self, expected: list[Any]) -> None:
        self.leaves: dict[int, Any] = {}
        self.entries: dict[int, Any] = {id(leaf): leaf._grad for leaf in expected}
        self._roots: set[int] = set()
        self._kept: list[Any] = []

    def __call__(self, roots: Any, leaves: Any) -> None:
        for root in roots:
            self._roots.add(id(root._node))
            self._kept.append(root._node)
        for leaf in leaves:
            self.leaves[id(leaf)] = leaf

    def consumed(self, tensor: Any) -> bool:
        """Whether nobody can call backward on it again."""
        node = tensor._node
        return node is not None and (id(node) in self._roots or node.saved is None)


class _Place:
    """Where a tensor stands in a structure: the k-th of them."""

    __slots__ = ("k",)

    def __init__(self, k: int) -> None:
        self.k = k


def _structure(x: Any, tensors: list[Any]) -> Any:
    """A hashable description of nested containers; tensors are appended and described by their aval."""
    if isinstance(x, TensorBase):
        tensors.append(x)
        return x._aval, x._requires_grad
    if isinstance(x, tuple | list):
        return type(x), tuple([_structure(v, tensors) for v in x])
    if isinstance(x, dict):
        return dict, tuple([(k, _structure(v, tensors)) for k, v in x.items()])
    try:
        hash(x)
    except TypeError:
        return type(x), id(x)
    return type(x), x


def _structure_of(x: Any) -> Any:
    """The same containers with places instead of tensors."""
    count = 0

    def walk(x: Any) -> Any:
        nonlocal count
        if isinstance(x, TensorBase):
            count += 1
            return _Place(count - 1)
        if isinstance(x, tuple | list):
            items = [walk(v) for v in x]
            return type(x)(*items) if hasattr(x, "_fields") else type(x)(items)
        if isinstance(x, dict):
            return {k: walk(v) for k, v in x.items()}
        return x

    return walk(x)


def _filled(x: Any, tensors: list[Any]) -> Any:
    """A structure with tensors in their places."""
    if isinstance(x, _Place):
        return tensors[x.k]
    if isinstance(x, tuple | list):
        items = [_filled(v, tensors) for v in x]
        return type(x)(*items) if hasattr(x, "_fields") else type(x)(items)
    if isinstance(x, dict):
        return {k: _filled(v, tensors) for k, v in x.items()}
    return x


def _modules_of(function: Callable[..., Any]) -> list[Module]:
    """The modules that a function can reach by name, whose `training` it may depend on."""
    found: list[Any] = []
    plain = inspect.unwrap(function)
    if isinstance(plain, functools.partial):
        found += [*plain.args, *plain.keywords.values()]
        plain = plain.func
    if inspect.ismethod(plain):
        found.append(plain.__self__)
        plain = plain.__func__
    if inspect.isfunction(plain):
        names = inspect.getclosurevars(plain)
        found += [*names.nonlocals.values(), *names.globals.values()]
    owners = [
        v for x in found if not isinstance(x, Module) for v in getattr(x, "__dict__", {}).values()
    ]
    return [x for x in (*found, *owners) if isinstance(x, Module)]
