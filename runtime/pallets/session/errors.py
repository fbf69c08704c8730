"""Why the pallet refuses, as wallets show it."""

from __future__ import annotations

from enum import IntEnum


class Error(IntEnum):
    """Reasons a call of this pallet fails."""

    INVALID_KEY = 0
    """The key is no ed25519 key, or one of small order; make a new one."""
    BAD_PROOF = 1
    """The proof is not the key's signature over the domain, this chain's genesis hash and the
    account that signs the transaction."""
    KEY_TAKEN = 2
    """The key is another account's, or was and stands in a validator set that is still kept."""
    NO_KEYS = 3
    """The account has no key registered."""
    STILL_ELECTED = 4
    """The account is elected to validate and needs its key; it has to be replaced first."""
    BAD_NUMBER = 5
    """Name 1 to 100 validators."""
    REPEATED_VALIDATOR = 6
    """An account is named twice."""
    VALIDATOR_WITHOUT_KEYS = 7
    """A validator named has no key registered; its account calls set_keys first."""
    NO_STAKE = 8
    """Every validator needs a stake above zero."""
