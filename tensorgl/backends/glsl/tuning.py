"""Which variant of a kernel computes something: by estimate, or as measurements on a device found.

A kernel's file says in its head what can be varied, and nothing else has to know:

    // tune R: 8 4 1                     a #define of the text, and its values
    // tune BM BN: 64 64, 128 64         several that go together
    // vary LOCAL: 64 128                one that the estimate knows nothing of, and takes the first of
    // only R <= OUTPUTS                 a condition in Python's words, on parameters and on what the
                                         family tells of the problem; there may be several
    // variant of matmul.rows            this file has the interface of that one, and competes with it

A family of kernels that compute the same (`Family`) is told by its lowering, with an estimate of what each
takes. A variant of which the estimate knows nothing is taken where it was measured to be the best. `Tuning`
answers for one device. `python -m bench tune` measures; findings.py keeps what it finds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, count, product
from types import CodeType
from typing import Any

from tensorgl.backends.glsl.device import Limits
from tensorgl.backends.glsl.findings import Key, Variant, device_name, shipped, users
from tensorgl.backends.glsl.shader import heads

__all__ = ["Choices", "Family", "Tuning", "interface", "space"]

KEPT = 4096
"""Estimates that are kept."""
_AXIS = re.compile(r"^// (tune|vary) (.*)", re.MULTILINE)
_ONLY, _OF = (re.compile(rf"^// {word} (.*)", re.MULTILINE) for word in ("only", "variant of"))


Choices = Mapping[tuple[str, Key], Variant]
"""By the family's name and the key of problems that are alike."""


@dataclass(frozen=True)
class Space:
    """What the head of a kernel's file says.

    Attributes:
        kernel: the file's name.
        base: the kernel whose interface it has; itself, if it is no variant of another.
        axes: names of parameters that go together, and their values.
        varied: how many of the axes, the last ones, the estimate knows nothing of.
        only: the conditions.
    """

    kernel: str
    base: str
    axes: tuple[tuple[tuple[str, ...], tuple[tuple[int, ...], ...]], ...]
    varied: int
    only: tuple[CodeType, ...]

    def has(self, variant: Variant) -> bool:
        """Whether a variant's parameters have values that the head names."""
        values = dict(variant.values)
        same = {name for group, _ in self.axes for name in group} == values.keys()
        return same and all(tuple(values[n] for n in group) in rows for group, rows in self.axes)

    def fits(self, variant: Variant, names: Mapping[str, int]) -> bool:
        """Whether a variant of this kernel can serve a problem."""
        known = {**names, **dict(variant.values)}
        return all(eval(test, {"__builtins__": {}}, known) for test in self.only)  # our own files

    def variants(self, names: Mapping[str, int], estimated: bool = False) -> Iterator[Variant]:
        """All that can serve a problem of which this is told; or those among which the estimate decides."""
        keys = [key for group, _ in self.axes for key in group]
        fixed = len(self.axes) - self.varied if estimated else len(self.axes)
        for chosen in product(
            *(values if k < fixed else values[:1] for k, (_, values) in enumerate(self.axes))
        ):
            flat = (value for group in chosen for value in group)
            variant = Variant.of(self.kernel, **dict(zip(keys, flat, strict=True)))
            if self.fits(variant, names):
                yield variant


def _space(kernel: str, head: str) -> Space:
    axes, varied = [], 0
    for word, line in sorted(_AXIS.findall(head), key=lambda axis: axis[0]):
        names, _, values = line.partition(":")
        group = tuple(names.split())
        rows = values.split(",") if len(group) > 1 else values.split()
        axes.append((group, tuple(tuple(map(int, row.split())) for row in rows)))
        varied += word == "vary"
    only = (compile(line, f"{kernel}.glsl", "eval") for line in _ONLY.findall(head))
    base = _OF.search(head)
    return Space(kernel, base[1].strip() if base else kernel, tuple(axes), varied, tuple(only))


@cache
def _spaces() -> dict[str, Space]:
    return {kernel: _space(kernel, head) for kernel, head in heads().items()}


def space(kernel: str) -> Space:
    """What the head of a kernel's file says."""
    return _spaces()[kernel]


def interface(kernel: str) -> str:
    """The kernel whose interface a kernel has: itself, or what it is a variant of."""
    return _spaces()[kernel].base


@cache
def spaces(base: str) -> tuple[Space, ...]:
    """A kernel's space, and those of its variants."""
    return tuple(
        s for s in sorted(_spaces().values(), key=lambda s: s.kernel != base) if s.base == base
    )


@dataclass(frozen=True)
class Family:
    """Kernels that compute the same. `P` is a problem: all that decides what they do, and hashable.

    Attributes:
        name: as what was measured is kept under.
        key: what problems have in common that have the same best variant.
        kernels: those that can compute a problem, without their variants.
        names: what the conditions in the heads may ask of a problem.
        cost: an estimate of what a variant takes, in anything that can be compared.
    """

    name: str
    key: Callable[[Any], Key]
    kernels: Callable[[Any, Limits], tuple[str, ...]]
    names: Callable[[Any, Limits], dict[str, int]]
    cost: Callable[[Variant, Any, Limits], Any]

    def variants(self, problem: Any, limits: Limits) -> Iterator[Variant]:
        """All that can compute a problem."""
        known = self.names(problem, limits) | _about(limits)
        for base in self.kernels(problem, limits):
            for space in spaces(base):
                if _serves(space.kernel, limits):
                    yield from space.variants(known)

    def can(self, variant: Variant, problem: Any, limits: Limits) -> bool:
        """Whether a variant computes a problem."""
        space = _spaces().get(variant.kernel)
        if space is None or space.base not in self.kernels(problem, limits):
            return False
        known = self.names(problem, limits) | _about(limits)
        return space.has(variant) and _serves(space.kernel, limits) and space.fits(variant, known)

    def cheapest(self, problem: Any, limits: Limits) -> Variant:
        """The best by estimate, which knows the kernels but not their variants."""
        known = self.names(problem, limits) | _about(limits)
        able = (k for k in self.kernels(problem, limits) if _serves(k, limits))
        found = chain.from_iterable(space(k).variants(known, estimated=True) for k in able)
        return min(found, key=lambda v: self.cost(v, problem, limits))


def _about(limits: Limits) -> dict[str, int]:
    compute = limits.target == "compute"
    outputs = 8 if compute else limits.draw_buffers  # of an invocation
    return {"COMPUTE": int(compute), "SOFTWARE": int(limits.software), "OUTPUTS": outputs}


def _serves(kernel: str, limits: Limits) -> bool:
    """Whether a file is for a target: those that name one are for that alone."""
    last = kernel.rpartition(".")[2]
    return last not in ("compute", "fragment") or last == limits.target


_NUMBERS = count()


@dataclass
class Tuning:
    """The choices for one device.

    Attributes:
        limits: of the device.
        number: another one whenever other choices are in use: plans depend on it.
        asked: where it is a dict, it gets every problem that is met, by family and key.
    """

    limits: Limits
    number: int = field(default_factory=lambda: next(_NUMBERS))
    asked: dict[tuple[str, Key], tuple[Family, Any]] | None = None
    _choices: Choices = field(default_factory=dict)
    _numbers: dict[frozenset[Any], int] = field(default_factory=dict)
    _estimates: dict[tuple[str, Hashable], Variant] = field(default_factory=dict)

    @classmethod
    def of(cls, limits: Limits) -> Tuning:
        """With what is known of a device: what its user measured goes before what comes with the package."""
        tuning, name = cls(limits), device_name(limits)
        known = [*shipped().get(name, ()), *users().get(name, ())]
        tuning.use({(f.family, f.key): f.variant for f in known if f.variant})
        return tuning

    @property
    def choices(self) -> Choices:
        """Those in use."""
        return self._choices

    def use(self, choices: Choices) -> None:
        """Choose so from now on; captured steps stay as they are."""
        self._choices = choices
        same = frozenset(choices.items())
        if same not in self._numbers:
            self._numbers[same] = next(_NUMBERS)
        self.number = self._numbers[same]

    def choose(self, family: Family, problem: Any) -> Variant:
        """The variant that computes a problem."""
        key = family.name, family.key(problem)
        if self.asked is not None:
            self.asked.setdefault(key, (family, problem))
        best = self._choices.get(key)
        if best is not None and family.can(best, problem, self.limits):
            return best
        exact = family.name, problem
        found = self._estimates.get(exact)
        if found is None:
            if len(self._estimates) >= KEPT:
                self._estimates.clear()
            found = self._estimates[exact] = family.cheapest(problem, self.limits)
        return found
