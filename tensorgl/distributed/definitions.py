"""What a run is about: its model, its optimizer, its data. The first to define one wins.

Who defines the model is asked for its first parameters, and if it leaves before they are there, the
next one who gave the same definition. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from tensorgl.distributed.wire import ProtocolError

__all__ = ["Definitions", "Proposal", "digest"]


def digest(value: Any) -> str:
    """128 bits that tell definitions apart."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@dataclass(slots=True)
class Proposal:
    """A definition that is not in force yet."""

    value: dict[str, Any]
    digest: str
    members: dict[str, int]  # who gave it, and with which seq; of the model, the first one uploads
    complete: bool  # what it needs is there

    @property
    def uploader(self) -> tuple[str, int] | None:
        """Whose parameters are waited for, and with which seq."""
        return None if self.complete else next(iter(self.members.items()), None)


class Definitions:
    """What is in force, and what is proposed.

    Args:
        digests: by part, of what is in force.
        buckets: how many the model has; 0 if there is none.
        data: size and batch, if there is data.
        local_steps: of the optimizer.
        statistics: the last bucket is of batch norms, which no optimizer steps.
    """

    def __init__(
        self,
        digests: Mapping[str, str],
        buckets: int,
        data: Mapping[str, int] | None,
        local_steps: int,
        statistics: bool,
    ) -> None:
        self.digests = dict(digests)
        self.buckets, self.data, self.local_steps = buckets, data, local_steps
        self.statistics = statistics
        self.proposals: dict[str, Proposal] = {}

    @property
    def enough(self) -> bool:
        """Whether rounds can be held, and nothing is about to change."""
        complete = {"model", "optimizer"} <= self.digests.keys()
        return complete and not any(p.complete for p in self.proposals.values())

    def known(self, part: str, mine: str) -> bool:
        """Whether a definition with this digest is in force or proposed.

        Raises:
            ProtocolError: another one is.
        """
        proposal = self.proposals.get(part)
        known = self.digests.get(part) or (proposal and proposal.digest)
        if known and known != mine:
            raise ProtocolError(f"this run has another {part} than the one that is given")
        return bool(known)

    def propose(self, member: str, seq: int, part: str, value: dict[str, Any]) -> bool:
        """Take a definition; whether it is in force already.

        Raises:
            ProtocolError: it is another one than this run's, or it makes no sense.
        """
        mine = digest(value)
        known = self.known(part, mine)
        if part in self.digests:
            return True
        if known:
            self.proposals[part].members[member] = seq
            return False
        if part == "model":
            sizes = [prod(shape) for _, shape in value["parameters"]]
            last = sum(2 * features + 1 for _, features, _ in value.get("statistics", ()))
            if not sum(sizes):
                raise ProtocolError("model: it has no parameters")
            if sum(sizes) + last != sum(value["buckets"]):
                raise ProtocolError(
                    "model: the buckets have not as many elements as the parameters"
                )
            if last and value["buckets"][-1] != last:
                raise ProtocolError(f"model: the last bucket has not the {last} statistics")
        elif part == "optimizer" and (
            "model" not in self.digests
            or len(value["groups"]) != self.buckets - self.statistics
            or max(value["groups"]) >= len(value["options"])
        ):
            raise ProtocolError("optimizer: its groups are not those of the model")
        self.proposals[part] = Proposal(value, mine, {member: seq}, part != "model")
        return False

    def withdraw(self, member: str) -> None:
        """A member is not there any more."""
        for part, proposal in list(self.proposals.items()):
            proposal.members.pop(member, None)
            if not proposal.members and not proposal.complete:
                del self.proposals[part]

    def settle(self, part: str) -> str:
        """A proposal is in force from now on; its digest."""
        proposal = self.proposals.pop(part)
        self.digests[part] = proposal.digest
        if part == "model":
            self.buckets = len(proposal.value["buckets"])
            self.statistics = bool(proposal.value.get("statistics"))
        elif part == "data":
            self.data = proposal.value
        else:
            self.local_steps = proposal.value["local_steps"]
        return proposal.digest

    @property
    def uploader(self) -> tuple[str, int] | None:
        """Whose first parameters are waited for, and with which seq."""
        model = self.proposals.get("model")
        return model.uploader if model else None
