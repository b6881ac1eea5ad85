"""Optimizers whose update treats every element alike, and flat buffers to do it for all at once.

An update is written once, as a rule of ops on tensors and numbers. It runs for one parameter after
the other; or, where a launch costs more than the arithmetic, once for a `FlatSet`: parameters of one
dtype become slices of one flat tensor, and so does each tensor of their state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from math import prod
from operator import attrgetter, is_
from typing import Any

from tensorgl import primitives
from tensorgl.autograd.graph import Memory
from tensorgl.dispatch import call1, call2, calln, source
from tensorgl.effects import effect, once
from tensorgl.ops.movement import strides_of
from tensorgl.optim.optimizer import Optimizer
from tensorgl.tensor import Tensor

__all__ = ["Elementwise", "FlatSet"]

Group = dict[str, Any]
State = dict[str, Any]
Member = tuple[Tensor, Group]
Structure = tuple[Any, ...]
Numbers = tuple[Any, ...]

_data_of: Callable[[Any], Any] = attrgetter("_data")
_grad_of: Callable[[Any], Any] = attrgetter("_grad")
_ALIGNMENT = 4  # elements; what a GPU reads and writes at once


class Elementwise(Optimizer):
    """The base of optimizers whose update is elementwise. A subclass gives the five methods below.

    The option `fused` of a group says whether its parameters are kept in flat sets; None: on a GPU.
    """

    counts: tuple[str, ...] = ("step",)
    """The entries of a parameter's state that are numbers; `numbers` advances them."""

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self._plan: _Plan | None = None
        self._seen: list[Tensor] = []  # the parameters with a gradient when they last changed
        super().__init__(params, defaults)

    def structure(self, group: Group) -> Structure:
        """The options that change the formula, but for `maximize`; not the numbers in it."""
        raise NotImplementedError

    def numbers(self, group: Group, state: State) -> Numbers:
        """All numbers of one step, after advancing the counts in `state`; as many at every step.

        Nothing else of an update may depend on what changes from step to step. `state` has no
        tensors yet at a parameter's first step.
        """
        raise NotImplementedError

    def kept(self, structure: Structure) -> tuple[str, ...]:
        """The names of the tensors in a parameter's state."""
        raise NotImplementedError

    def begin(self, name: str, p: Tensor, group: Group) -> Tensor:
        """A tensor of the state before the first step."""
        return p.new_zeros(p.shape)

    def rule(
        self, p: Tensor, g: Tensor, state: State, structure: Structure, numbers: Numbers
    ) -> None:
        """Change `p` and the tensors of `state` in place by the gradient `g`.

        The tensors are those of one parameter, or flat ones; a number may be a vector of them.
        """
        raise NotImplementedError

    def formula(self, group: Group) -> Structure:
        """All options that change the formula; parameters that agree in them share a flat set."""
        return bool(group["maximize"]), self.structure(group)

    @property
    def flat_sets(self) -> list[FlatSet]:
        """The flat sets of the last step."""
        return [] if self._plan is None else self._plan.sets

    def form(self) -> list[Any]:
        """Of each group how many parameters it has, its formula, whether it is flat, and what differs.

        What differs from the first group decides how many numbers a step of a flat set has.
        """
        first, *others = self.param_groups
        return [
            *self._formulas(),
            *([k for k, v in g.items() if k != "params" and v != first.get(k)] for g in others),
        ]

    def _formulas(self) -> list[Any]:
        groups = self.param_groups
        return [(len(g["params"]), self.formula(g), g["fused"]) for g in groups]

    def members(self) -> list[Member]:
        """Every parameter that has a gradient, with its group."""
        groups = self.param_groups
        return [(p, group) for group in groups for p in group["params"] if p._grad is not None]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget every parameter's gradient, or make it zero in place."""
        super().zero_grad(set_to_none)
        for flat in self.flat_sets:
            flat.gradient = None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state that `state_dict` gave, be it of flat sets or not.

        PyTorch's has counts that are 0-dim tensors, and None for a tensor that is not there yet.
        """
        fused = [group["fused"] for group in self.param_groups]
        super().load_state_dict(state_dict)
        for group, own in zip(self.param_groups, fused, strict=True):
            group["fused"] = own
        self._plan = None
        for p, state in self.state.items():
            self.state[p] = {
                k: v.item() if k in self.counts and isinstance(v, Tensor) else v
                for k, v in state.items()
                if v is not None
            }

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_plan": None, "_seen": []}

    def update_all(self) -> None:
        """Update every parameter that has a gradient: flat sets in one go, others one by one.

        A flat set is made for the parameters that have a gradient. Where others have one than
        before, all are updated one by one, and gathered anew if the next step has the same ones.
        """
        key = self._formulas()
        members = [p for g in self.param_groups for p in g["params"] if p._grad is not None]
        if not members:
            return
        plan = self._plan
        if plan is not None and not _same(members, plan.members) and not _same(members, self._seen):
            self._seen = members
            self._update_each(self.members())
            return
        self._seen = []
        if plan is None or not plan.holds(self, key, members):
            once()
            plan = self._plan = _Plan(self, key, members, plan)
        for flat in plan.sets:
            flat.step(self)
        self._update_each(plan.loose)

    def runs(self, members: Iterable[Member]) -> list[Run]:
        """Stretches of members with equal numbers."""
        runs: list[Run] = []
        counts, states = self.counts, self.state
        last: Any = None
        run: Any = None
        for p, group in members:
            state = states[p]
            key = (id(group), len(state), *map(state.get, counts))
            if key != last:
                run, last = Run(self, group), key
                runs.append(run)
            run.params.append(p)
            run.states.append(state)
        return runs

    def _update_each(self, members: list[Member]) -> None:
        for run in self.runs(members):
            numbers = effect(partial(run.numbers, self))
            maximize, structure = run.formula
            names = self.kept(structure)
            for p, state in zip(run.params, run.states, strict=True):
                for name in names:
                    if name not in state:
                        once()
                        state[name] = self.begin(name, p, run.group)
                g: Any = p._grad
                self.rule(p, -g if maximize else g, state, structure, numbers)


class Run:
    """Parameters of one group that have made equally many steps, and so share their numbers.

    Like a flat set it does not keep its optimizer, which keeps it, so that both are freed at once.
    """

    __slots__ = ("formula", "group", "params", "states")

    def __init__(self, optimizer: Elementwise, group: Group) -> None:
        self.group = group
        self.formula = optimizer.formula(group)
        self.params: list[Tensor] = []
        self.states: list[State] = []

    def is_even(self, counts: tuple[str, ...]) -> bool:
        """Whether they still have made equally many steps."""
        return all(len({state.get(name) for state in self.states}) == 1 for name in counts)

    def numbers(self, optimizer: Elementwise) -> Numbers:
        """Those of the next step."""
        states = self.states
        first = states[0]
        numbers = tuple(map(float, optimizer.numbers(self.group, first)))
        for name in optimizer.counts:
            value = first[name]
            for state in states:
                state[name] = value
        return numbers


class FlatSet:
    """Parameters of one dtype, device and formula as slices of a flat tensor, and so their state.

    Each begins at a multiple of four elements; what lies between them belongs to nobody. A parameter
    keeps its identity, history and version counter; only its memory is another.

    Attributes:
        params: the parameters.
        param: the flat tensor whose slices they are.
        gradient: the flat gradient, from a step to the next or to `zero_grad`.
        state: flat tensors by the names they have in each parameter's state; None before a step.
        runs: stretches of parameters with equal numbers.
    """

    def __init__(self, optimizer: Elementwise, formula: Any, members: list[Member]) -> None:
        self._maximize, self._structure = formula
        self.params = [p for p, _ in members]
        self._groups = [group for _, group in members]
        self._sizes = tuple(map(_room, self.params))
        self._flattenings = [_flattening(p) for p in self.params]
        self.param = self._gathered(self.params)
        self._handles: list[Any] = []
        for p, part in zip(self.params, self._parts(self.param), strict=True):
            p._data = part._data
            self._handles.append(part._data)
        self.states = [optimizer.state[p] for p in self.params]
        self.state: dict[str, Tensor] | None = None
        self._state_handles: dict[str, list[Any]] = {}
        self.gradient: Tensor | None = None
        self.runs: list[Run] = []
        self._varying: set[int] = set()

    def _gathered(self, tensors: Iterable[Any]) -> Any:
        """One flat tensor of tensors that are shaped as the parameters."""
        pieces: list[Any] = []
        for x, (shape, strides, widths) in zip(tensors, self._flattenings, strict=True):
            if shape is not None:
                # A dense one needs no view that shares versions, which takes twice as long.
                dense = strides_of(x) == strides
                x = call1(primitives.reshape, x, shape) if dense else x.reshape(*shape)
            if widths is not None:
                x = call2(primitives.pad, x, 0, widths)
            pieces.append(x)
        return calln(primitives.cat, pieces, (0, self._sizes))

    def _parts(self, flat: Tensor) -> list[Tensor]:
        """The slice of each parameter, in its shape."""
        parts: list[Tensor] = []
        start = 0
        for p, size in zip(self.params, self._sizes, strict=True):
            parts.append(flat.narrow(0, start, p.numel()).view(p.shape).detach())
            start += size
        return parts

    def holds(self, optimizer: Elementwise) -> bool:
        """Whether parameters and state still are the slices that they were made."""
        if not all(map(is_, map(_data_of, self.params), self._handles)):
            return False
        if not all(map(is_, map(optimizer.state.get, self.params), self.states)):
            return False
        return all(
            _same([s[name]._data for s in self.states if name in s], handles)
            for name, handles in self._state_handles.items()
        )

    def release(self, but: set[int]) -> None:
        """Give each parameter memory of its own again, as one slice would keep all of it.

        `but` has the ids of those that get another memory anyway.
        """
        for k, (p, state) in enumerate(zip(self.params, self.states, strict=True)):
            if id(p) in but:
                continue
            if p._data is self._handles[k]:
                p._data = p.detach().clone()._data
            for name, handles in self._state_handles.items():
                if name in state and state[name]._data is handles[k]:
                    state[name] = state[name].clone()

    def step(self, optimizer: Elementwise) -> None:
        """One update of all parameters."""
        if not self.runs or not all(run.is_even(optimizer.counts) for run in self.runs):
            self.runs = optimizer.runs(zip(self.params, self._groups, strict=True))
            self._varying = set()
        numbers = effect(partial(self.numbers, optimizer))
        if self.state is None:
            once()
            self.state = self._gathered_state(optimizer)
        g = self.gradient = self._gathered(map(_grad_of, self.params))
        optimizer.rule(
            self.param,
            -g if self._maximize else g,
            self.state,
            self._structure,
            self._operands(numbers),
        )
        for p in self.params:
            memory = p._memory
            if memory is None:
                memory = p._memory = Memory()
            memory.version += 1

    def _gathered_state(self, optimizer: Elementwise) -> dict[str, Tensor]:
        flat: dict[str, Tensor] = {}
        for name in optimizer.kept(self._structure):
            parts: list[Tensor] = []
            for p, group, state in zip(self.params, self._groups, self.states, strict=True):
                if name not in state:
                    state[name] = optimizer.begin(name, p, group)
                elif state[name].shape != p.shape:
                    raise RuntimeError(
                        f"optimizer: {name} has shape {list(state[name].shape)}, but its parameter "
                        f"{list(p.shape)}; clear the optimizer's state for it"
                    )
                parts.append(state[name].to(p.device, p.dtype))
            flat[name] = self._gathered(parts)
            parts = self._parts(flat[name])
            for state, part in zip(self.states, parts, strict=True):
                state[name] = part
            self._state_handles[name] = [part._data for part in parts]
        return flat

    def numbers(self, optimizer: Elementwise) -> Numbers:
        """The numbers of the next step: each once, or once for every run if runs differ in it.

        A number in which runs once differed is counted for every run from then on, so that the count
        tells which they are.
        """
        rows = [run.numbers(optimizer) for run in self.runs]
        if len(rows) == 1:
            return rows[0]
        numbers: list[float] = []
        for k, column in enumerate(zip(*rows, strict=True)):
            if k in self._varying or len(set(column)) > 1:
                self._varying.add(k)
                numbers += column
            else:
                numbers.append(column[0])
        return tuple(numbers)

    def _operands(self, numbers: Numbers) -> Structure:
        """The operands of the rule: a vector, never stored on a GPU, where runs differ."""
        if not self._varying:
            return numbers
        a = self.param._aval
        sizes = tuple(sum(map(_room, run.params)) for run in self.runs)
        left = iter(numbers)
        operands: list[Any] = []
        for value in left:
            if len(operands) in self._varying:
                values = [value, *(next(left) for _ in sizes[1:])]
                pieces = [
                    source(primitives.full, (x,), ((n,), a.dtype), a.device)
                    for x, n in zip(values, sizes, strict=True)
                ]
                operands.append(calln(primitives.cat, pieces, (0, sizes)))
            else:
                operands.append(value)
        return tuple(operands)


class _Plan:
    """Which parameters with a gradient are in which flat set, and which are in none."""

    __slots__ = ("avals", "key", "loose", "members", "sets")

    def __init__(
        self, optimizer: Elementwise, key: Any, members: list[Tensor], old: _Plan | None
    ) -> None:
        self.key = key
        self.members = members
        self.avals = [p._aval for p in members]
        self.loose: list[Member] = []
        owners = Counter(id(p._memory) for p in members if p._memory is not None)
        together: dict[Any, list[Member]] = {}
        for p, group in optimizer.members():
            a, fused = p._aval, group["fused"]
            flat = a.device.type == "gl" if fused is None else fused
            # What shares memory with something else must stay where it is.
            alone = p._base is None and owners[id(p._memory)] < 2
            if flat and alone and a.size:
                place = optimizer.formula(group), a.dtype, a.device
                together.setdefault(place, []).append((p, group))
            else:
                self.loose.append((p, group))
        if old is not None:
            gathered = {id(p) for members in together.values() for p, _ in members}
            for flat_set in old.sets:
                flat_set.release(gathered)
        self.sets = [FlatSet(optimizer, k[0], members) for k, members in together.items()]

    def holds(self, optimizer: Elementwise, key: Any, members: list[Tensor]) -> bool:
        """Whether nothing has changed that it was made for."""
        return (
            key == self.key
            and _same(members, self.members)
            and _same([p._aval for p in members], self.avals)
            and all(flat.holds(optimizer) for flat in self.sets)
        )


def _same(a: list[Any], b: list[Any]) -> bool:
    """Whether they hold the same objects; tensors have an `==` of their own."""
    return len(a) == len(b) and all(map(is_, a, b))


def _room(p: Tensor) -> int:
    """How many elements it takes in a flat tensor."""
    return -(-p.numel() // _ALIGNMENT) * _ALIGNMENT


def _flattening(p: Tensor) -> tuple[Any, Any, Any]:
    """Parameters of reshape (with the strides of dense memory) and pad; None where not needed."""
    n = p.numel()
    shape = strides = widths = None
    if p.ndim != 1:
        shape = ((n,),)
        strides = tuple(prod(p.shape[k + 1 :]) for k in range(p.ndim))
    if n % _ALIGNMENT:
        widths = (((0, -n % _ALIGNMENT),),)
    return shape, strides, widths
