"""Accounts as browser wallets export them: theirs open here, ours hold what theirs hold."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from node.cli.account_json import ExportReason, ExportRefusal, read_export, write_export
from node.client.signing import Scheme, from_secret, from_uri
from runtime.primitives.keys import ss58_encode, verify

FOREIGN_PASSWORD = "jspass"
FOREIGN: dict[Scheme, str] = {
    "sr25519": (
        "L7lMd7DntH+x9r59QzjDPnqnR+8r1w9tVfB2aF7Hx84AAAIAAQAAAAgAAACz/mY6rurun9q2Oj4FovPWOWHD"
        "2RZSgNdJhiPa+H1Oa5xiJLXuYps6JWvk7WtyePsf26KtlnMk0JFuPOjhuh0+TRqiZRfwTSWvuu3FFM6wwX1Q"
        "2BhKX/Su2yoZZ9axjshyGn7k7mYLcbjYU02buvHerTxyG9KQnQdLM2fCtWrzRBjjGIjflNsVfrmoO9ehgOLO"
        "QkTimt6Qq0YvSEuy"
    ),
    "ed25519": (
        "xBQnlboWUDkxEOavzS8/uwf77mG9vfuSFbUd0fpb9DYAAAIAAQAAAAgAAADr5zJUCRiz1wXhziao8nzuwXWA"
        "jyEhl8h+646ESSTfg6RhpTnOZea6/8SZRp1MZpBywqcV6IpA++6EwdFjmCPCgmWehZTKZdbYRM/NgkCMA2SS"
        "Umral/7IWb12EGjK2FFUgugdq+SC9FJvmyUFPHqb6sf57Ursywd6dy68a0sE7EeeOO+HuWMVU2t4Zo3D0/T5"
        "H9lw+BvWRUvzybAP"
    ),
    "ecdsa": (
        "vPmrFN7HHHq/yyOHfipL/GKbN3QkxC/npu0XXdSMPboAAAIAAQAAAAgAAAA2+GKa2U3RwGPGRq3KUQnRCw5x"
        "yqMSa98QLUPV947Bb1Ywva4YIGQ0Ch2eOfqldvOr9zdjPttKn4zDTuCYPH2wzEgxFNHeIjoyRrmHva3H2LbA"
        "yNoLCs1mMLPYNiWHHPOx4/+8kGmeUrJG+SM1OmS/8myJF82JaoxUL4YEH9c="
    ),
}
"""What @polkadot/keyring 14.0.3 wrote for //Bob//y///pw under that password."""


def exported(encoded: str, scheme: str, **changes: Any) -> bytes:
    encoding = {
        "content": ["pkcs8", scheme],
        "type": ["scrypt", "xsalsa20-poly1305"],
        "version": "3",
    } | changes
    document = {"encoded": encoded, "encoding": encoding, "address": "", "meta": {"name": "bobby"}}
    return json.dumps(document).encode()


@pytest.mark.parametrize("scheme", FOREIGN)
def test_an_export_of_a_browser_wallet_gives_its_key(scheme: Scheme) -> None:
    secret, found = read_export(exported(FOREIGN[scheme], scheme), FOREIGN_PASSWORD)
    pair = from_secret(secret, found)
    assert (found, pair.public) == (scheme, from_uri("//Bob//y///pw", scheme).public)
    assert verify(pair.sign(b"message"), b"message", pair.account_id)


@pytest.mark.parametrize("scheme", FOREIGN)
def test_an_export_opens_under_its_password_alone(scheme: Scheme) -> None:
    pair = from_uri("//Alice//x", scheme)
    document = write_export(pair, "mine", "secret")
    told = json.loads(document)
    assert (told["address"], told["meta"]) == (ss58_encode(pair.account_id), {"name": "mine"})
    secret, found = read_export(document.encode(), "secret")
    assert from_secret(secret, found).public == pair.public
    with pytest.raises(ExportRefusal) as refused:
        read_export(document.encode(), "Secret")
    assert refused.value.reason is ExportReason.WRONG_PASSWORD


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"encoded": "!!"}',
        exported("=", "sr25519"),
        exported("AAAA", "rsa"),
        exported("AAAA", "sr25519", version="2"),
    ],
)
def test_a_file_of_another_kind_is_no_export(content: bytes) -> None:
    with pytest.raises(ExportRefusal) as refused:
        read_export(content, "secret")
    assert refused.value.reason is ExportReason.NOT_AN_EXPORT


def test_an_export_that_asks_for_endless_work_is_refused() -> None:
    sealed = bytearray(base64.b64decode(FOREIGN["sr25519"]))
    sealed[32:36] = (1 << 30).to_bytes(4, "little")
    with pytest.raises(ExportRefusal) as refused:
        read_export(exported(base64.b64encode(sealed).decode(), "sr25519"), FOREIGN_PASSWORD)
    assert refused.value.reason is ExportReason.NOT_ENCRYPTED


def test_an_export_in_the_clear_is_refused() -> None:
    with pytest.raises(ExportRefusal) as refused:
        read_export(exported("AAAA", "sr25519", type=["none"]), "")
    assert refused.value.reason is ExportReason.NOT_ENCRYPTED


def test_a_key_under_another_kind_is_damaged() -> None:
    with pytest.raises(ExportRefusal) as refused:
        read_export(exported(FOREIGN["sr25519"], "ed25519"), FOREIGN_PASSWORD)
    assert refused.value.reason is ExportReason.DAMAGED
