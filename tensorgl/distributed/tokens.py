"""Who may do what with a run: tokens that its hub signs, and keys by which members prove their names.

    token = base64url(claims) . base64url(HMAC-SHA256(secret, "token " + base64url(claims)))

Claims are a JSON object: run, role, exp (seconds since 1970) and id. Standard library only.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "ROLES",
    "Claims",
    "TokenError",
    "make_secret",
    "read_secret",
    "resume_key",
    "sign",
    "ttl",
    "verify",
]

ROLES = ("worker", "observer", "admin")
"""worker: takes part; observer: sees status and metrics; admin: also stops the hub."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class TokenError(ValueError):
    """A token that does not let in. The message says why, and nothing of what would."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says."""

    run: str
    role: str
    exp: int
    id: str


def make_secret(directory: str | os.PathLike[str]) -> None:
    """Write a new secret of 256 bits, for its owner's eyes only.

    Raises:
        FileExistsError: there is one.
    """
    handle = os.open(Path(directory) / "secret", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(32) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_secret(directory: str | os.PathLike[str]) -> bytes:
    """The secret of a run.

    Raises:
        ValueError: the file is none, or others may read it.
    """
    path = Path(directory) / "secret"
    if path.stat().st_mode & 0o077:
        raise ValueError(f"{path}: others may read it; say: chmod 600 {path}")
    text = path.read_text().strip()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError(f"{path}: expected 64 hexadecimal digits")
    return bytes.fromhex(text)


def sign(secret: bytes, run: str, role: str, exp: float) -> str:
    """A token for a role, until a time."""
    if role not in ROLES:
        raise ValueError(f"expected a role of {', '.join(ROLES)}; given {role}")
    claims = {"run": run, "role": role, "exp": int(exp), "id": secrets.token_hex(8)}
    body = _encode(json.dumps(claims, separators=(",", ":")).encode())
    return f"{body}.{_encode(_mac(secret, body))}"


def verify(secret: bytes, token: str, run: str, now: float) -> Claims:
    """What a token says, once it is proved to be this run's and of now.

    Raises:
        TokenError: it is not.
    """
    body, _, signature = token.partition(".")
    if not hmac.compare_digest(_encode(_mac(secret, body)).encode(), signature.encode()):
        raise TokenError("the token is not of this run; ask its owner for one")
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    if claims["run"] != run:
        raise TokenError("the token is of another run")
    if now >= claims["exp"]:
        raise TokenError("the token is over; ask the run's owner for a new one")
    return Claims(**claims)


def resume_key(secret: bytes, member: str) -> str:
    """What proves that somebody is the member of this name."""
    return hmac.new(secret, b"resume " + member.encode(), hashlib.sha256).hexdigest()


def ttl(text: str) -> int:
    """Seconds of a duration such as 7d, 12h, 30m or 45s."""
    match = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if not match:
        raise ValueError(f"expected a time such as 7d, 12h, 30m or 45s; given {text}")
    return int(match[1]) * _UNITS[match[2]]


def _mac(secret: bytes, body: str) -> bytes:
    return hmac.new(secret, b"token " + body.encode(), hashlib.sha256).digest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
