"""What training together was measured to do, as Markdown; from the records of `python -m bench sync`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .markdown import table

__all__ = ["together_table"]


def together_table(folder: Path) -> str:
    """A table and some lines of what is in sync-*.json of a folder."""
    parts: list[str] = []
    for name, part in _PARTS.items():
        paths = sorted(folder.glob(f"sync-{name}*.json"))
        records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        if records:
            made = ", ".join(
                dict.fromkeys(f"{r['date'][:10]}, commit {r['commit'][:7]}" for r in records)
            )
            rows = [row for record in records for row in record.get("rows", ())]
            parts.append(f"{part(records[0] | {'rows': rows})} ({made})")
    return "\n\n".join(parts)


def _scaling(record: dict[str, Any]) -> str:
    intro = (
        f"Emulated are devices that take {record['device_step_s']:g} s for a batch of 64 and a link of "
        f"{record['link_bytes_s'] / 1e6:.1f} MB/s each way, on which DistML.js's protocol has its published "
        f"2.4x; the hub, the sockets, {record['parameters']:,} parameters and the digits are real."
    )
    rows = [
        [
            str(row["members"]),
            row["name"],
            f"{row['speedup']:.1f}x",
            f"{row['to_accuracy_s']:.0f} s" if row["to_accuracy_s"] else "-",
            f"{row['accuracy']:.1%} after {row['rounds']} rounds",
            f"{row['bytes_a_step'] / 1e3:,.0f} KB",
            f"{row['computing']:.0%}",
        ]
        for row in sorted(record["rows"], key=_place)
    ]
    head = ["members", "how", "speed-up", "to 97 %", "accuracy", "traffic a batch", "cores busy"]
    return f"{intro}\n\n{table(head, rows)}\n\nMeasured"


def _place(row: dict[str, Any]) -> tuple[bool, int, int]:
    """Where a row stands: first what others do."""
    return row["codec"] != "distml", row["local_steps"], row["members"]


def _hub(record: dict[str, Any]) -> str:
    made, idle = record["contributions"], record["idle"]
    return (
        f"A core of a hub takes {made['a_second_a_core']:.1f} int8 contributions of {made['parameters']:,} "
        f"parameters a second with {made['members']} members, and {idle['connections']:,} idle connections "
        f"take {idle['bytes_a_connection'] / 1024:.1f} KiB each"
    )


def _chaos(record: dict[str, Any]) -> str:
    kinds = ", ".join(f"{count} x {kind}" for kind, count in record["accidents"].items())
    return (
        f"{record['runs']} runs with {sum(record['accidents'].values())} accidents ({kinds}): "
        f"{len(record['wrong'])} lost or counted anything twice, or had other parameters"
    )


def _real(record: dict[str, Any]) -> str:
    there = [m for m in record["members"] if m["accuracy"] is not None]
    killed, worst = len(record["members"]) - len(there), min(m["accuracy"] for m in there)
    return (
        f"Browsers and native workers, {len(record['members'])} in all, of which {killed} was killed on the "
        f"way, read {worst:.1%} of the test digits after {record['rounds']} rounds; a process alone reads "
        f"{record['alone']['accuracy']:.1%}"
    )


_PARTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "scaling": _scaling,
    "hub": _hub,
    "chaos": _chaos,
    "real": _real,
}
