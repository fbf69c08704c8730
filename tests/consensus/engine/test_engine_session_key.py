"""What a session key signs beside votes, and that no signature serves two purposes."""

from __future__ import annotations

from consensus.session_key import SessionKey, check_hello, check_key_ownership

KEY = SessionKey(b"\1" * 32)
GENESIS, ACCOUNT = b"\2" * 32, b"\3" * 32
OWN, REMOTE = b"\x12\x20" + b"\4" * 32, b"\x12\x20" + b"\5" * 32


def test_a_greeting_holds_for_its_two_peers_its_chain_and_its_fork_only() -> None:
    signature = KEY.hello(GENESIS, 1, OWN, REMOTE)
    assert check_hello(KEY.public, GENESIS, 1, OWN, REMOTE, signature)
    assert not check_hello(KEY.public, GENESIS, 1, REMOTE, OWN, signature)
    assert not check_hello(KEY.public, GENESIS, 2, OWN, REMOTE, signature)
    assert not check_hello(KEY.public, ACCOUNT, 1, OWN, REMOTE, signature)
    assert not check_hello(SessionKey(b"\2" * 32).public, GENESIS, 1, OWN, REMOTE, signature)


def test_a_key_is_owned_for_one_account_on_one_chain() -> None:
    signature = KEY.key_ownership(GENESIS, ACCOUNT)
    assert check_key_ownership(KEY.public, GENESIS, ACCOUNT, signature)
    assert not check_key_ownership(KEY.public, GENESIS, bytes(32), signature)
    assert not check_key_ownership(KEY.public, ACCOUNT, ACCOUNT, signature)


def test_no_signature_serves_two_purposes() -> None:
    assert not check_key_ownership(KEY.public, GENESIS, ACCOUNT, KEY.hello(GENESIS, 0, b"", b""))
    tail = (0).to_bytes(4, "little")
    assert not check_hello(
        KEY.public, GENESIS, 0, ACCOUNT, b"", KEY.key_ownership(GENESIS, tail + ACCOUNT)
    )
