"""Why the pallet refuses, as wallets show it."""

from __future__ import annotations

from enum import IntEnum


class Error(IntEnum):
    """Reasons a call of this pallet fails."""

    UNKNOWN_BASE = 0
    """There is no base model of this id. Choose one of those that governance admitted."""
    UNKNOWN_MODEL = 1
    """There is no model of this id."""
    BAD_NAME = 2
    """A name has 1 to 64 bytes of UTF-8."""
    NOT_OWNER = 3
    """Only the model's owner may do this. Sign with the owner's account."""
    BAD_DATANETS = 4
    """Name 1 to 16 different Datanets, each in a published version and not delisted."""
    STAKE_TOO_LOW = 5
    """The stake of a proposal is at least the constant ProposalDeposit."""
    WRONG_STAGE = 6
    """The model is not at the stage that this needs: proposed, then trained, then launched; what is
    deprecated stays so."""
    TOO_MANY_BACKERS = 7
    """A model has at most 32 backers, each with at least the least backing."""
    NOT_A_BACKER = 8
    """The caller does not back this model with so much, or would leave less than the least
    backing. Take all of it back."""
    BAD_LINEAGE = 9
    """The parent is not launched on the same base, or its line is as long as it may be."""
    BAD_ROYALTY = 10
    """Royalties of a line sum to at most 30 %."""
    BAD_LAYOUT = 11
    """An influence code has 1 to 4,096 modules and no more coordinates than the chain admits."""
    PRICE_REFUSED = 12
    """Compute exceeds the base model's cap, or the premium is below half of compute."""
    MANIFEST_KNOWN = 13
    """Another model has this manifest. Each adapter is registered once."""
    BAD_MANIFEST = 14
    """A manifest has 1 byte to 64 MiB."""
