"""Files of keys, and who is let in."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from inference.api.errors import ApiReason, ApiRefused
from inference.api.keys import Caller, KeyFile, KeysReason, KeysRefused
from inference.api.loopback import Loopback

KEY = "sk-a-long-key"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


def bearer(key: str) -> Headers:
    return Headers({"authorization": f"Bearer {key}"})


def key_file(folder: Path, text: str) -> KeyFile:
    path = folder / "keys"
    path.write_text(text)
    return KeyFile(path)


def test_plain_and_hashed_keys_name_their_tenant(tmp_path: Path) -> None:
    keys = key_file(tmp_path, f"# all\n\nbob:other-key-1\nalice:sha256:{DIGEST} admin\n")
    assert keys.count == 2
    assert keys.caller(bearer(KEY)) == Caller("alice", is_admin=True)
    assert keys.caller(bearer("other-key-1")) == Caller("bob")
    assert keys.caller(Headers({"authorization": "bearer  other-key-1 "})) == Caller("bob")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": KEY},
        {"authorization": f"Basic {KEY}"},
        {"authorization": f"Bearer {KEY}x"},
        {"authorization": f"Bearer {DIGEST}"},
        {"authorization": "Bearer \xff"},
    ],
)
def test_other_callers_are_refused(tmp_path: Path, headers: dict[str, str]) -> None:
    keys = key_file(tmp_path, f"alice:sha256:{DIGEST}")
    with pytest.raises(ApiRefused) as refusal:
        keys.caller(Headers(headers))
    assert refusal.value.reason is ApiReason.BAD_KEY


@pytest.mark.parametrize(
    "line",
    [
        "alice",
        "alice:",
        "alice:short",
        ":a-long-key",
        "a b:a-long-key",
        "alice:a-long-key root",
        "alice:sha256:abcd",
        "alice:sha256:" + "z" * 64,
        "-x:a-long-key",
    ],
)
def test_a_bad_line_is_told_by_its_number_and_not_by_its_key(tmp_path: Path, line: str) -> None:
    with pytest.raises(KeysRefused) as refusal:
        key_file(tmp_path, f"bob:a-good-key-1\n{line}\n")
    assert refusal.value.reason is KeysReason.BAD_LINE
    assert "line 2" in refusal.value.detail
    assert "a-long-key" not in refusal.value.detail


def test_a_file_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeysRefused) as refusal:
        key_file(tmp_path, "# nobody\n")
    assert refusal.value.reason is KeysReason.NO_KEYS
    with pytest.raises(KeysRefused) as refusal:
        KeyFile(tmp_path / "nowhere")
    assert refusal.value.reason is KeysReason.UNREADABLE


def test_a_changed_file_is_read_again_and_a_bad_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.api.keys.LOOK_SECONDS", 0.0)
    keys = key_file(tmp_path, "alice:the-first-key")
    path = tmp_path / "keys"
    path.write_text("alice:the-second-key\n")
    assert keys.caller(bearer("the-second-key")).tenant == "alice"
    with pytest.raises(ApiRefused):
        keys.caller(bearer("the-first-key"))
    path.write_text("nonsense of some length")
    assert keys.caller(bearer("the-second-key")).tenant == "alice"
    path.unlink()
    assert keys.caller(bearer("the-second-key")).tenant == "alice"
    replaced = tmp_path / "new"
    replaced.write_text("alice:the-third-key!\n")
    replaced.replace(path)
    assert keys.caller(bearer("the-third-key!")).tenant == "alice"


@pytest.mark.parametrize(
    ("headers", "known"),
    [
        ({"host": "127.0.0.1:8000"}, True),
        ({"host": "localhost:8000"}, True),
        ({"host": "[::1]:8000", "origin": "http://localhost:3000"}, True),
        ({}, False),
        ({"host": "evil.example:8000"}, False),
        ({"host": "127.0.0.1.evil.example"}, False),
        ({"host": "127.0.0.1", "origin": "https://evil.example"}, False),
        ({"host": "127.0.0.1", "origin": "null"}, False),
        ({"host": "[oops"}, False),
    ],
)
def test_without_keys_only_programs_of_this_machine_are_served(
    headers: dict[str, str], known: bool
) -> None:
    if known:
        assert Loopback().caller(Headers(headers)).is_admin
        return
    with pytest.raises(ApiRefused) as refusal:
        Loopback().caller(Headers(headers))
    assert refusal.value.reason is ApiReason.NOT_LOCAL
