"""The well-known validators of development chains: everybody has their secrets."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

from genesis.accounts import DEVELOPMENT_ACCOUNTS

MOST_VALIDATORS = 100
_NAMED_STASHES = DEVELOPMENT_ACCOUNTS[1::2]
_NAMED_KEYS = tuple(
    bytes.fromhex(key)
    for key in (
        "88dc3417d5058ec4b4503e0c12ea1a0a89be200fe98922423d4334014fa6b0ee",
        "d17c2d7823ebf260fd138f2d7e27d114c0145d968b5ff5006125f2414fadae69",
        "439660b36c6c03afafca027b910b4fecf99801834c62a5e6006f27d978de234f",
        "5e639b43e0052c47447dac87d6fd2b6ec50bdd4d0f614e4299c665249bbd09d9",
        "1dfe3e22cc0d45c70779c1095f7489a8ef3cf52d62fbd8c2fa38c9f1723502b5",
        "568cb4a574c6d178feb39c27dfc8b3f789e5f5423e19c71633c748b9acf086b5",
    )
)


class DevelopmentValidator(NamedTuple):
    """Secret URIs and public halves of a validator's two keys."""

    uri: str
    """Of the ed25519 key with which it takes part in the agreement."""
    consensus_key: bytes
    stash_uri: str
    """Of the sr25519 key that owns its stake."""
    stash: bytes


def validator_suri(index: int) -> str:
    """Return the secret URI of a validator's consensus key; with ``//stash``, of its account.

    The first six are //Alice to //Ferdie, then come //Validator//6 and so on.
    """
    if not 0 <= index < MOST_VALIDATORS:
        raise ValueError(f"development validators are numbered 0 to {MOST_VALIDATORS - 1}")
    if index < len(_NAMED_STASHES):
        return _NAMED_STASHES[index].uri.removesuffix("//stash")
    return f"//Validator//{index}"


def development_validator(index: int) -> DevelopmentValidator:
    """Return a validator by its number, 0 to 99; raises ValueError."""
    uri = validator_suri(index)
    if index < len(_NAMED_STASHES):
        stash, key = _NAMED_STASHES[index].account, _NAMED_KEYS[index]
    else:
        stash, key = _numbered()[index - len(_NAMED_STASHES)]
    return DevelopmentValidator(uri, key, f"{uri}//stash", stash)


@cache
def _numbered() -> tuple[tuple[bytes, bytes], ...]:
    """Read stash and consensus key of //Validator//6 to //Validator//99."""
    rows = json.loads((Path(__file__).parent / "validators.json").read_text())
    return tuple((bytes.fromhex(stash), bytes.fromhex(key)) for stash, key in rows)
