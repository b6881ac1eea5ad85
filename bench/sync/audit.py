"""What a chaos run's hub has written, against what its workers have: nothing lost, nothing twice.

The log says whose contributions each round was of, and which share each was of is known from what the
workers wrote before they completed it. The rounds are then computed again, without any accident.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from tensorgl.distributed import codecs, config
from tensorgl.distributed.model import Model
from tensorgl.distributed.store import Record, Store
from tensorgl.distributed.wire import Codec

from .actors import contribution
from .tap import Entry, entries

__all__ = ["audit"]


def audit(folder: Path, told: list[tuple[int, str]]) -> tuple[dict[int, str], list[str]]:
    """Look at the files of a run whose hub has ended.

    Args:
        folder: with the hub's directory `run` and the workers' `journal-*`.
        told: version and hash of the parameters that each worker had in the end.

    Returns:
        The hash of the parameters after each round, and all that is not as it has to be.
    """
    known: dict[tuple[str, int], Entry] = {}
    wrong: list[str] = []
    for entry in entries(sorted(folder.glob("journal-*"))):
        before = known.setdefault((entry.member, entry.seq), entry)
        if before != entry:
            wrong.append(f"contribution {entry.seq} of {entry.member} was sent with other contents")
    settings = config.read(folder / "run")
    records = _records(folder / "run")
    wrong += _uncovered(records, known)
    hashes, different = _again(records, known, settings)
    for version, hash in told:
        if hashes.get(version) != hash:
            wrong.append(f"a worker had other parameters than the hub after round {version}")
    return hashes, wrong + different


def _records(directory: Path) -> list[Record]:
    """All of them, from the run's beginning."""
    for path in directory.glob("log-*.tgl"):
        kept = directory / "kept" / path.name
        if not kept.exists():
            os.link(path, kept)
    store = Store(directory / "kept")
    try:
        return store.recover()[1]
    finally:
        store.close()


def _uncovered(records: list[Record], known: dict[tuple[str, int], Entry]) -> list[str]:
    """Samples that did not count once: of the stream that was given out, or twice."""
    snapshot = records[-1][0]["snapshot"]
    shares = [tuple(share) for share in snapshot["leftover"]]
    shares += [(first, last) for _, first, last in snapshot["tasks"].values()]
    for header, _ in records:
        for member, seq, _ in header["parts"]:
            if (member, seq) in known:
                shares.append(known[member, seq].share)
    at = 0
    for first, last in sorted(shares):
        if first != at:
            return [f"samples {min(at, first)} to {max(at, first)} did not count once"]
        at = last
    cursor = snapshot["cursor"]
    return [] if at == cursor else [f"samples {at} to {cursor} did not count once"]


def _again(
    records: list[Record], known: dict[tuple[str, int], Entry], settings: config.Config
) -> tuple[dict[int, str], list[str]]:
    """The hash after each round, computed of what the workers sent; where the log differs from it."""
    up, down = codecs.names()[settings.up], codecs.names()[settings.down]
    hashes: dict[int, str] = {}
    wrong: list[str] = []
    model: Model | None = None
    for header, arrays in records:
        part, value = header["definition"] or ("", {})
        number: int | None = header["round"]
        if part == "model":
            model = Model(value, arrays, down)
        elif part == "optimizer":
            assert model
            model.define_optimizer(value)
        if number is None:
            continue
        assert model
        parts: list[tuple[float, Entry]] = []
        for member, seq, weight in header["parts"]:
            entry = known.get((member, seq))
            if entry is None:
                return hashes, [*wrong, f"round {number}: nobody sent {seq} of {member}"]
            wrong += _misjudged(entry, number, weight, up)
            parts.append((weight, entry))
        if number in hashes:
            wrong.append(f"round {number} comes twice")
        for bucket in range(len(model.sizes)):
            sent: Any = [(weight, entry.payloads[bucket]) for weight, entry in parts]
            model.trial(bucket, sent, up, tuple(header["lr"]))
        hashes[number] = model.commit()
        if hashes[number] != header["hash"]:
            return hashes, [*wrong, f"round {number} gave other parameters than it must"]
    if list(hashes) != list(range(1, len(hashes) + 1)):
        wrong.append(f"rounds are {list(hashes)}")
    return hashes, wrong


def _misjudged(entry: Entry, number: int, weight: float, up: Codec) -> list[str]:
    """Whether a contribution counted for something else than it is."""
    wrong: list[str] = []
    if weight != entry.samples / (1 + number - entry.round):
        wrong.append(f"round {number}: {entry.samples} samples weighed {weight}")
    if up is Codec.RAW:  # others add what they lost before
        for bucket, values in enumerate(contribution(entry.share)):
            sent = np.frombuffer(b"".join(entry.payloads[bucket]), "<f4")
            if not np.array_equal(sent, values):
                wrong.append(f"round {number}: samples {entry.share} came with those of others")
    return wrong
