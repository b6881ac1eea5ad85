"""The table on the screen: a line a case, ratios against each peer, and their geometric means."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from statistics import geometric_mean
from typing import Any

from .cases.case import Case
from .measure import Outcome
from .timing import Timing

__all__ = ["Progress", "Table"]


class Progress:
    """A bar on the standard error while cases run; only on a terminal, and only with tqdm."""

    def __init__(self, cases: int) -> None:
        self._bar: Any = None
        if cases > 1 and sys.stderr.isatty():
            with suppress(ModuleNotFoundError):
                self._bar = import_module("tqdm").tqdm(total=cases, leave=False, unit="case")

    def show(self, text: str) -> None:
        """Say what is being done."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    def step(self) -> None:
        """A case is done."""
        if self._bar is not None:
            self._bar.update()

    def print(self, line: str) -> None:
        """Print a line above the bar."""
        if self._bar is not None:
            self._bar.clear()
        print(line, flush=True)
        if self._bar is not None:
            self._bar.refresh()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


class Table:
    """Lines of a table about some cases on some sides, of which the first is ours."""

    def __init__(self, names: Sequence[str], sides: Sequence[str]) -> None:
        self._sides = sides
        self._width = max(len("geometric mean"), *map(len, names)) + 2
        self._side_width = max(18, *(len(side) + 2 for side in sides))
        self._ratios: dict[str, list[float]] = {side: [] for side in sides[1:]}
        self._devices: dict[str, str] = {}

    def head(self) -> str:
        """The names of the columns."""
        line = f"{'case':<{self._width}}"
        line += "".join(f"{side:>{self._side_width}}" for side in self._sides)
        line += "".join(f"{'vs ' + side:>{_ratio_width(side)}}" for side in self._ratios)
        return f"{line}{'GPU time':>11}{'GFLOP/s':>9}{'launches':>10}{'error':>9}   bar"

    def lines(self, case: Case, outcomes: Mapping[str, Outcome]) -> list[str]:
        """A case's line, and what else is to be said of it."""
        ours = outcomes[self._sides[0]]
        line = f"{case.name:<{self._width}}"
        line += "".join(f"{_state(o):>{self._side_width}}" for o in outcomes.values())
        for side, ratios in self._ratios.items():
            text = "-"
            theirs = outcomes[side].timing
            if ours.timing and theirs:
                ratios.append(theirs.median / ours.timing.median)
                text = f"{ratios[-1]:.2f}x"
            line += f"{text:>{_ratio_width(side)}}"
        gpu = ours.about.get("gpu_s")
        rate = case.flops / ours.timing.median * 1e-9 if case.flops and ours.timing else None
        errors = [o.error for o in outcomes.values() if o.error is not None]
        line += f"{'' if gpu is None else _seconds(gpu):>11}"
        line += f"{'' if rate is None else f'{rate:.1f}':>9}{ours.about.get('launches') or '':>10}"
        line += f"{f'{max(errors):.0e}' if errors else '':>9}   {_bar(case, outcomes)}"
        self._devices |= {s: o.about["renderer"] for s, o in outcomes.items() if _renderer(o)}
        said = [
            f"  not supported by {s}: {o.unsupported}" for s, o in outcomes.items() if o.unsupported
        ]
        said += [f"  {s} {_short(o.fault)}" for s, o in outcomes.items() if o.fault]
        return [line.rstrip(), *self._memory(outcomes), *said]

    def foot(self) -> list[str]:
        """The geometric means, and what the columns mean."""
        lines: list[str] = []
        if any(len(ratios) > 1 for ratios in self._ratios.values()):
            line = f"{'geometric mean':<{self._width}}" + " " * self._side_width * len(self._sides)
            for side, ratios in self._ratios.items():
                text = f"{geometric_mean(ratios):.2f}x" if ratios else "-"
                line += f"{text:>{_ratio_width(side)}}"
            lines.append(line)
        if self._ratios:
            ours = self._sides[0]
            lines.append(f"vs: a peer's time over that of {ours}; above 1x {ours} is faster")
        return lines + [f"{side}: {renderer}" for side, renderer in self._devices.items()]

    def _memory(self, outcomes: Mapping[str, Outcome]) -> list[str]:
        peaks = [o.about.get("peak_bytes") for o in outcomes.values()]
        if not any(peaks):
            return []
        texts = ["-" if p is None else f"{p / 2**20:.1f} MiB" for p in peaks]
        return [
            f"{'  peak memory':<{self._width}}" + "".join(f"{t:>{self._side_width}}" for t in texts)
        ]


def _ratio_width(side: str) -> int:
    return max(10, len(side) + 5)


def _short(fault: str) -> str:
    """What it is, and the last line of why."""
    kind, _, why = fault.partition(": ")
    return f"{kind}: {why.strip().splitlines()[-1]}"


def _renderer(outcome: Outcome) -> str:
    return outcome.about.get("renderer", "")


def _state(outcome: Outcome) -> str:
    """The time, or why there is none."""
    if outcome.timing:
        return _text(outcome.timing)
    return outcome.fault.partition(":")[0] or "-"


def _text(t: Timing) -> str:
    return f"{_seconds(t.median)} ±{100 * t.iqr / t.median:.0f}%"


def _seconds(value: float) -> str:
    unit, scale = ("us", 1e6) if value < 1e-3 else ("ms", 1e3)
    return f"{value * scale:.2f} {unit}"


def _bar(case: Case, outcomes: Mapping[str, Outcome]) -> str:
    """Whether tensorgl on the CPU meets the case's bars."""
    ours = outcomes["tensorgl"].timing if "tensorgl" in outcomes else None
    torch = outcomes["torch"].timing if "torch" in outcomes else None
    texts: list[str] = []
    if ours and torch and case.limit is not None:
        met = ours.median <= case.limit * torch.median
        texts.append(f"{'met' if met else 'MISSED'} (at most {case.limit}x torch's time)")
    if ours and case.absolute is not None:
        met = ours.median <= case.absolute
        texts.append(f"{'met' if met else 'MISSED'} (at most {case.absolute * 1e6:g} us)")
    return ", ".join(texts)
