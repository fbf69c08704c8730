"""What is public of a key or an account, and how it is printed."""

from __future__ import annotations

import json
import re
import sys

from node.client.signing import KeyPair
from runtime.primitives.keys import AddressError, ss58_decode, ss58_encode

SCHEMES = ("sr25519", "ed25519", "ecdsa")
DEFAULT_PREFIX = 42
TITLES = {
    "name": "Name",
    "secretPhrase": "Secret phrase",
    "scheme": "Scheme",
    "publicKey": "Public key (hex)",
    "accountId": "Account ID",
    "ss58Address": "SS58 Address",
}
_ACCOUNT = re.compile(r"0x[0-9a-fA-F]{64}")


def pair_facts(pair: KeyPair, prefix: int = DEFAULT_PREFIX) -> dict[str, str]:
    """Return what is public of a key pair."""
    return {"publicKey": f"0x{pair.public.hex()}"} | account_facts(pair.account_id, prefix)


def account_facts(account: bytes, prefix: int = DEFAULT_PREFIX) -> dict[str, str]:
    """Return the two ways to write an account."""
    return {"accountId": f"0x{account.hex()}", "ss58Address": ss58_encode(account, prefix)}


def address(text: str) -> bytes | None:
    """Return the account of an SS58 address; None for any other text."""
    if not text.isalnum() or text.startswith("0x"):
        return None
    try:
        return ss58_decode(text)[0]
    except AddressError:
        return None


def address_or_id(text: str) -> bytes | None:
    """Return the account of an SS58 address or of 0x and 64 hex digits; None for other texts."""
    return bytes.fromhex(text[2:]) if _ACCOUNT.fullmatch(text) else address(text)


def show(facts: dict[str, str], *, as_json: bool) -> None:
    """Print facts of a key or an account."""
    if as_json:
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
        return
    for key, value in facts.items():
        sys.stdout.write(f"{TITLES[key] + ':':<18} {value}\n")
