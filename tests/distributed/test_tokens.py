"""Tokens let in whom they were made for, and nobody else."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorgl.distributed import config, tokens
from tensorgl.distributed.messages import FIELDS
from tensorgl.distributed.tokens import TokenError
from tensorgl.distributed.wire import Kind

SECRET = bytes(range(32))
TOKEN = tokens.sign(SECRET, "digits", "worker", 1000)


def test_a_token_says_what_was_signed() -> None:
    claims = tokens.verify(SECRET, TOKEN, "digits", 999)
    assert (claims.run, claims.role, claims.exp) == ("digits", "worker", 1000)
    assert FIELDS[Kind.HELLO]["token"](TOKEN)


def test_no_two_tokens_are_equal() -> None:
    assert tokens.sign(SECRET, "digits", "worker", 1000) != TOKEN


@pytest.mark.parametrize(
    ("secret", "run", "now", "why"),
    [
        (bytes(32), "digits", 0, "not of this run"),
        (SECRET, "letters", 0, "another run"),
        (SECRET, "digits", 1000, "over"),
    ],
)
def test_a_token_is_for_one_run_and_time(secret: bytes, run: str, now: float, why: str) -> None:
    with pytest.raises(TokenError, match=why):
        tokens.verify(secret, TOKEN, run, now)


def test_claims_cannot_be_changed() -> None:
    body, signature = TOKEN.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = base64.urlsafe_b64encode(json.dumps(claims | {"role": "admin"}).encode()).decode()
    with pytest.raises(TokenError):
        tokens.verify(SECRET, f"{forged.rstrip('=')}.{signature}", "digits", 0)


@given(st.one_of(st.text(max_size=200), st.binary(max_size=99).map(lambda b: b.decode("latin1"))))
def test_whatever_is_no_token_does_not_let_in(text: str) -> None:
    with pytest.raises(TokenError):
        tokens.verify(SECRET, text, "digits", 0)


@given(st.integers(0, len(TOKEN) - 1), st.sampled_from("aB3-_.="))
def test_no_character_of_a_token_can_be_another(at: int, sign: str) -> None:
    changed = TOKEN[:at] + sign + TOKEN[at + 1 :]
    if changed != TOKEN:
        with pytest.raises(TokenError):
            tokens.verify(SECRET, changed, "digits", 0)


def test_a_role_is_one_of_those_there_are() -> None:
    with pytest.raises(ValueError, match="worker, observer, admin"):
        tokens.sign(SECRET, "digits", "root", 1000)


def test_a_resume_key_is_of_one_member_and_no_token() -> None:
    key = tokens.resume_key(SECRET, "0" * 32)
    assert FIELDS[Kind.WELCOME]["resume"](key)
    assert key != tokens.resume_key(SECRET, "1" * 32)
    assert key != tokens.resume_key(bytes(32), "0" * 32)


@pytest.mark.parametrize(
    ("text", "seconds"), [("7d", 604_800), ("12h", 43_200), ("5m", 300), ("9s", 9)]
)
def test_times(text: str, seconds: int) -> None:
    assert tokens.ttl(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1.5h", "1w", "7d ", "٣d"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="such as 7d"):
        tokens.ttl(text)


def test_the_secret_is_for_its_owner_alone(tmp_path: Path) -> None:
    tokens.make_secret(tmp_path)
    path = tmp_path / "secret"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(tokens.read_secret(tmp_path)) == 32
    with pytest.raises(FileExistsError):
        tokens.make_secret(tmp_path)
    path.chmod(0o640)
    with pytest.raises(ValueError, match="chmod 600"):
        tokens.read_secret(tmp_path)
    path.chmod(0o600)
    path.write_text("secret")
    with pytest.raises(ValueError, match="64 hexadecimal"):
        tokens.read_secret(tmp_path)


def test_a_run_is_made_and_read_again(tmp_path: Path) -> None:
    made = config.create(tmp_path / "new" / "run", up="topk", rule="median", least_members=3)
    assert config.read(tmp_path / "new" / "run") == made
    assert (made.up, made.down, made.settings.least_members) == ("topk", "int8", 3)
    assert not made.settings.streaming  # as a median needs all
    assert re.fullmatch("[0-9a-f]{16}", made.run)
    with pytest.raises(FileExistsError):
        config.create(tmp_path / "new" / "run")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"up": "zip"}, "up: expected one of raw, float16"),
        ({"down": "topk"}, "down: expected one of raw, int8"),
        ({"quorum": 1.5}, "quorum: expected a number from 0 to 1"),
        ({"quorum": float("nan")}, "quorum"),
        ({"strikes": 2.0}, "strikes: expected a whole number"),
        ({"strikes": True}, "strikes"),
        ({"balanced": 1}, "balanced: expected true or false"),
        ({"run": "../x"}, "run: expected"),
        ({"leese": 3}, "given leese"),
        ({"streaming": True}, "given streaming"),
    ],
)
def test_settings_are_checked(tmp_path: Path, values: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        config.create(tmp_path / "run", **values)
    assert not (tmp_path / "run").exists()
    config.create(tmp_path / "run")
    path = tmp_path / "run" / "hub.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(ValueError, match=why):
        config.read(tmp_path / "run")


@pytest.mark.parametrize("text", ["", "[]", "{", "{}"])
def test_settings_are_a_json_object(tmp_path: Path, text: str) -> None:
    (tmp_path / "hub.json").write_text(text)
    with pytest.raises(ValueError, match=re.escape(os.fspath(tmp_path / "hub.json"))):
        config.read(tmp_path)


def test_a_directory_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="tensorgl hub init"):
        config.read(tmp_path)
