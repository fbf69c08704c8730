"""Why the pallet refuses, as wallets show it."""

from __future__ import annotations

from enum import IntEnum


class Error(IntEnum):
    """Reasons a call of this pallet fails."""

    UNKNOWN_DATANET = 0
    """There is no Datanet of this id. Ids count from 0; look it up by its name."""
    NAME_TOO_LONG = 1
    """A name has 1 to 64 bytes of UTF-8. Shorten it."""
    NAME_TAKEN = 2
    """Another Datanet has this name. Choose another."""
    BAD_SCHEMA = 3
    """A schema names 1 to 16 different fields of 1 to 64 bytes each."""
    NOT_OWNER = 4
    """Only the Datanet's owner may do this. Sign with the owner's account."""
    CLOSED = 5
    """This Datanet takes records from its owner only, or was delisted. Choose another."""
    BAD_BATCH_SIZE = 6
    """A batch has 1 to 65,536 records and at most 16 MiB. Split it."""
    BOND_TOO_LOW = 7
    """The bond is below the policy's: the greater of its minimum and its rate per record."""
    BAD_LICENCE = 8
    """Name the records' licence as an SPDX expression of 1 to 64 bytes."""
    BLOB_KNOWN = 9
    """Another batch declares these very bytes. Submit new records."""
    UNKNOWN_BATCH = 10
    """This Datanet has no batch of this number, or it was not accepted."""
    ALREADY_DECIDED = 11
    """The batch was accepted or rejected before; that is final."""
    NOTHING_NEW = 12
    """No batch was accepted since the last version, so there is nothing to publish."""
    WRONG_EVIDENCE = 13
    """The proofs do not lead to this Datanet's present root, or not to this batch. Make them anew:
    every accepted batch changes the root."""
    NOT_REDUNDANT = 14
    """The records' canonical texts differ, or the original is not the earlier one of another."""
    ALREADY_REDUNDANT = 15
    """This record was found to be a copy before."""
    FLAG_BOND_TOO_LOW = 16
    """The bond of an accusation is at least the constant FlagDeposit."""
    WINDOW_OVER = 17
    """The flag window of this batch is over: it cannot be accused any more."""
    WINDOW_OPEN = 18
    """The flag window of this batch is open, or an accusation is not judged. Wait."""
    NOTHING_BONDED = 19
    """Nothing of this batch's bond is held any more."""
    UNKNOWN_FLAG = 20
    """There is no accusation of this number, or it was judged before."""
    TOO_MANY_FLAGS = 21
    """This batch has 16 open accusations. Wait until one is judged."""
    BAD_POLICY = 22
    """The bond per record is above the constant MaxBondPerRecord."""
    PUBLISH_FIRST = 23
    """As many batches as may be were accepted since the last version. Publish a version."""
