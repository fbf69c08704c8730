"""Who plays in the demo: the development accounts, whose secrets everybody has."""

from __future__ import annotations

from functools import cache

from examples.demo.accounting import NAMES
from genesis.accounts import DEVELOPMENT_ACCOUNTS
from node.client.signing import KeyPair, from_uri

VALIDATOR = "Alice//stash"
BUILDER = "Dave//stash"
BACKERS = ("Bob//stash", "Charlie//stash")
CUSTOMER = "Eve//stash"
VOUCHER_URI = "//Eve//stash//vouchers"
"""A hot key without funds, which signs vouchers for the customer."""
WORKER_URI = f"//{VALIDATOR}//worker"
NOBODY = "nobody"
VALIDATORS = tuple(known.name for known in DEVELOPMENT_ACCOUNTS if known.name.endswith("//stash"))
"""The accounts of the validators, in their order; the first one's worker executes."""

ACCOUNTS: dict[bytes, str] = {known.account: known.name for known in DEVELOPMENT_ACCOUNTS} | NAMES


def worker_uri(validator: str) -> str:
    """Return the secret of a validator's worker."""
    return f"//{validator}//worker"


@cache
def key(name: str) -> KeyPair:
    """Return the key pair of a person."""
    return from_uri(f"//{name}")


def name_of(account: bytes | None) -> str:
    """Name an account; what has none was burned."""
    return NOBODY if account is None else ACCOUNTS.get(account, f"0x{account.hex()[:8]}…")
