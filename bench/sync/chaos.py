"""`python -m bench sync --chaos RUNS`: runs that are killed, stopped, cut off and lied to.

Each run has accidents that its number decides: the hub or a worker ends at a named fail point, is killed
at any time, or is stopped for a while; the disk is full; connections fall silent; frames are replayed,
corrupted, reordered and forged. In two of three runs it does not depend on when things happen who is in
which round, and the parameters in the end have to be those of a run without accidents. In all of them,
what the hub has logged is held against what the workers had sent: each sample counted exactly once, for
what it is, and the rounds, computed again, give the same parameters.
"""

from __future__ import annotations

import sys
from collections import Counter
from random import Random

from tqdm import tqdm

from ..records import write_json
from .accidents import FORMS, KINDS, ROUNDS, plan, play

__all__ = ["run"]

ENOUGH = 100
"""In so many runs, every kind of accident has to happen."""


def run(runs: int, save: str | None) -> int:
    """Do so many runs; an exit code: 1 if one came out wrong, or many are without some kind of accident."""
    expected = {name: play(form, []).hash for name, form in FORMS.items() if form.same}
    counts = Counter(dict.fromkeys(KINDS, 0))
    wrong: dict[int, list[str]] = {}
    growth = 0
    for seed in tqdm(range(runs), desc="runs", leave=False):
        name = list(FORMS)[seed % len(FORMS)]
        accidents = plan(FORMS[name], Random(seed))
        outcome = play(FORMS[name], accidents, seed)
        counts.update(outcome.happened)
        growth = max(growth, outcome.growth)
        found = [*outcome.wrong]
        if name in expected and not found and outcome.hash != expected[name]:
            found.append(f"the parameters are {outcome.hash}, not {expected[name]}")
        if found:
            wrong[seed] = found
            tqdm.write(f"run {seed}, {name}: {accidents}: {'; '.join(found)}", file=sys.stderr)
    for kind, count in counts.items():
        print(f"{count:6} {kind}")
    missing = [kind for kind, count in counts.items() if not count]
    print(
        f"{runs} runs of {ROUNDS} rounds with {counts.total()} accidents: {len(wrong)} went wrong"
    )
    print(f"hubs grew by {growth / 2**20:.0f} MiB at most")
    if missing:
        print("what never happened:", ", ".join(missing))
    if save:
        about = {"runs": runs, "rounds": ROUNDS, "accidents": counts, "wrong": wrong}
        print("written:", write_json(save, about | {"hub_growth_bytes": growth}))
    return int(bool(wrong or (missing and runs >= ENOUGH)))
