"""`tune`: finds the best variants of kernels on the device at hand, and keeps them for it.

A case is run once, which shows the choices that its kernels meet (`Tuning.asked`). For each of them the
search begins at the best variant of every kernel by estimate, and goes along one parameter after the other as
long as that helps (coordinate descent). A variant that computes something else than numpy is left out; one
that is much slower at its first sample is given up; the others are timed in turns with the best so far. What
wins is kept only if it is ahead of the estimate's choice when both are timed again. It is kept at once, and
what was measured before is not measured again: a search can be stopped, and goes on where it was.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import tensorgl as tg
from tensorgl.avals import device
from tensorgl.backends import backend_of
from tensorgl.backends.glsl import GlslBackend
from tensorgl.backends.glsl.device import Limits
from tensorgl.backends.glsl.findings import Finding, Key, Variant, device_name, keep, known, path
from tensorgl.backends.glsl.shader import ShaderError
from tensorgl.backends.glsl.tuning import Choices, Family, Tuning, interface, space

from .cases import CASES
from .cases.case import TOLERANCE, Array, Case
from .local import Local
from .measure import relative_error
from .table import Progress

__all__ = ["Result", "Tuner", "run", "tunable"]

SAMPLE = 0.02  # seconds that a sample lasts at least
PAIRS = 3  # samples of each, of which the smallest counts, in the search
CONFIRM = 9  # and before something is kept
HOPELESS = 1.3  # times the best at the first sample: given up
WORTH = 1.03  # times as fast as the estimate's: kept


@dataclass(frozen=True)
class Result:
    """What became of a choice: what is kept, the estimate's variant, and how many were tried.

    Attributes:
        finding: what is kept.
        estimate: the variant by estimate.
        tried: variants that were timed or given up.
        wrong: those that were wrong or that the driver rejects, with why.
    """

    finding: Finding
    estimate: Variant
    tried: int
    wrong: tuple[str, ...]


class Tuner:
    """A search on the device of a backend, until its seconds are over."""

    def __init__(self, backend: GlslBackend, budget: float) -> None:
        self._backend = backend
        self._end = time.perf_counter() + budget
        self.limits = backend.device.limits
        self.findings = known(self.limits)

    @property
    def over(self) -> bool:
        """Whether its time is over."""
        return time.perf_counter() >= self._end

    def case(self, case: Case, say: Callable[[str], None] = lambda text: None) -> Iterator[Result]:
        """Search the variants of what a case's kernels compute, as far as it was not done before."""
        say("numpy's result")
        with tg.device("cpu"):
            expected = case.build(tg).check()
        before = self._backend.tuning
        self._backend.tuning = tuning = Tuning(self.limits, asked={})
        tuning.use(self._choices())
        try:
            with tg.device("gl"):
                trial = _Trial(Local(tg, "gl", case), tuning, expected, say)
            done = {(f.family, f.key) for f in self.findings}
            for key, (family, problem) in list((tuning.asked or {}).items()):
                options = list(family.variants(problem, self.limits))
                if key in done or len(options) < 2 or self.over:
                    continue
                with tg.device("gl"):
                    result = self._search(trial, family, problem, case.name)
                yield result
        finally:
            self._backend.tuning = before
            before.use({**before.choices, **self._choices()})

    def _choices(self) -> Choices:
        return {(f.family, f.key): f.variant for f in self.findings if f.variant}

    def _search(self, trial: _Trial, family: Family, problem: Any, case: str) -> Result:
        key = family.name, family.key(problem)
        estimate = family.cheapest(problem, self.limits)
        trial.begin(self._choices(), key, estimate)
        for variant in _starts(family, problem, self.limits):
            if not self.over:
                trial.faster(variant)
        while not self.over:
            before = trial.best
            self._descend(trial, family, problem)
            if trial.best == before:
                break
        gain = trial.gain(estimate) if trial.best != estimate else 1.0
        won = gain >= WORTH
        finding = Finding(*key, trial.best if won else None, gain if won else 1.0, case)
        if not self.over:
            self.findings.append(finding)
            keep(self.limits, self.findings)
        return Result(finding, estimate, len(trial.seen), tuple(trial.wrong))

    def _descend(self, trial: _Trial, family: Family, problem: Any) -> None:
        """Go along each parameter of the best variant."""
        for names, rows in space(trial.best.kernel).axes:
            values = dict(trial.best.values)
            at = rows.index(tuple(values[name] for name in names))
            for line in (rows[at + 1 :], rows[:at][::-1]):
                for row in line:
                    values |= dict(zip(names, row, strict=True))
                    variant = Variant.of(trial.best.kernel, **values)
                    if not family.can(variant, problem, self.limits):
                        continue
                    if self.over or (not trial.faster(variant) and len(names) == 1):
                        break  # numbers get worse and worse; those of groups have no order


def _starts(family: Family, problem: Any, limits: Limits) -> list[Variant]:
    """The best of each kernel by estimate; a variant of one begins with what it shares with that."""
    found: dict[str, Variant] = {}
    by_estimate = sorted(
        (v for v in family.variants(problem, limits) if interface(v.kernel) == v.kernel),
        key=lambda v: family.cost(v, problem, limits),
    )
    for variant in by_estimate:
        found.setdefault(variant.kernel, variant)
    for variant in family.variants(problem, limits):
        if interface(variant.kernel) != variant.kernel:
            known = dict(found[interface(variant.kernel)].values)
            alike = sum(known.get(name) == value for name, value in variant.values)
            best = found.get(variant.kernel)
            if best is None or alike > sum(known.get(n) == v for n, v in best.values):
                found[variant.kernel] = variant
    return list(found.values())


class _WrongError(Exception):
    """A variant computes something else than numpy."""


class _Trial:
    """A case of which one choice is varied.

    Attributes:
        best: the best variant so far.
        seen: those that were tried.
        wrong: those that were wrong, or that the driver rejects, and why.
    """

    def __init__(
        self, local: Local, tuning: Tuning, expected: list[Array], say: Callable[[str], None]
    ) -> None:
        self._local = local
        self._tuning = tuning
        self._expected = expected
        self._say = say

    def begin(self, others: Choices, key: tuple[str, Key], estimate: Variant) -> None:
        """Vary the choice of this key, the others as given."""
        self._others, self._key = others, key
        self.best = estimate
        self.seen = {estimate}
        self.wrong: list[str] = []

    def faster(self, variant: Variant) -> bool:
        """Whether a variant that was not seen yet takes less time than the best; then it is the best."""
        if variant in self.seen:
            return False
        self.seen.add(variant)
        self._say(str(variant))
        try:
            self._check(variant)
        except (ShaderError, _WrongError) as error:
            self.wrong.append(f"{variant}: {str(error).splitlines()[0]}")
            return False
        calls = self._calls()
        found: list[float] = []
        known: list[float] = []
        for _ in range(PAIRS):
            known.append(self._seconds(self.best, calls))
            found.append(self._seconds(variant, calls))
            if found[0] > HOPELESS * known[0]:
                return False
        if min(found) >= min(known):
            return False
        self.best = variant
        return True

    def gain(self, estimate: Variant) -> float:
        """How many times the time of the best the estimate's takes: by medians or by minima, what is less."""
        calls = self._calls()
        pairs = [
            (self._seconds(estimate, calls), self._seconds(self.best, calls))
            for _ in range(CONFIRM)
        ]
        theirs, ours = zip(*pairs, strict=True)
        return min(statistics.median(theirs) / statistics.median(ours), min(theirs) / min(ours))

    def _calls(self) -> int:
        return max(1, round(SAMPLE / self._seconds(self.best, 1)))

    def _seconds(self, variant: Variant, calls: int) -> float:
        self._tuning.use({**self._others, self._key: variant})
        return self._local(calls)

    def _check(self, variant: Variant) -> None:
        self._tuning.use({**self._others, self._key: variant})
        error = relative_error(self._local.check(), self._expected)
        if not error <= TOLERANCE:
            raise _WrongError(f"wrong by {error:.0e}")


def tunable(patterns: Sequence[str] = ()) -> list[str]:
    """The cases that have choices to vary, or of them those that patterns name."""
    names = [n for n, c in CASES.items() if c.group != "start" and "captured" not in c.sizes]
    if not patterns:
        return [n for n in names if CASES[n].needs != "gpu"]
    return [n for n in names if any(fnmatchcase(n, pattern) for pattern in patterns)]


def run(names: Sequence[str], budget: float, progress: Progress | None = None) -> int:
    """Tune for cases on device gl, and print a table.

    Args:
        names: of cases.
        budget: seconds.
        progress: what shows it, and itself keeps what is found; the default is a terminal's.

    Returns:
        The exit code: 130 if it was interrupted, 1 if a variant was wrong.
    """
    backend = backend_of(device("gl"))
    assert isinstance(backend, GlslBackend)
    tuner, shown = Tuner(backend, budget), progress or Progress(len(names))
    known, wrong, stopped = len(tuner.findings), 0, False
    with closing(shown):
        shown.print(f"{device_name(tuner.limits)}: {known} choices known")
        head = f"{'case':<24}{'choice':<13}{'gain':>6}{'tried':>7}"
        shown.print(f"{head}   {'by estimate':<42}best")
        try:
            for result in _results(tuner, names, shown):
                for line in _lines(result):
                    shown.print(line)
                wrong += len(result.wrong)
        except KeyboardInterrupt:
            stopped = True
    gains = [f.gain for f in tuner.findings[known:]]
    better = [gain for gain in gains if gain > 1]
    print(f"{len(gains)} choices measured, {len(better)} of them improved" + _mean(better))
    if tuner.over or stopped:
        why = "stopped" if stopped else f"the {budget:g} s are over"
        print(f"{why}; the same again goes on from here")
    if gains and progress is None:
        print(f"kept in {path()}")
    return 130 if stopped else 1 if wrong else 0


def _results(tuner: Tuner, names: Sequence[str], progress: Progress) -> Iterator[Result]:
    for name in names:
        yield from tuner.case(CASES[name], lambda text, n=name: progress.show(f"{n}: {text}"))
        if tuner.over:
            return
        progress.step()


def _mean(gains: Sequence[float]) -> str:
    return f", by {statistics.geometric_mean(gains):.2f}x in geometric mean" if gains else ""


def _lines(result: Result) -> list[str]:
    found = result.finding
    best, gain = (str(found.variant), f"{found.gain:.2f}x") if found.variant else ("the same", "")
    first = found.key[0]
    choice = first if isinstance(first, str) else found.family  # a kind of convolution
    line = f"{found.case:<24}{choice:<13}{gain:>6}{result.tried:>7}"
    line += f"   {result.estimate!s:<42}{best}"
    return [line, *(f"  {text}" for text in result.wrong)]
