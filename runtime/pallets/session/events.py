"""What the pallet tells the world: its events, in the order of their indices."""

from __future__ import annotations

from runtime.frame.pallet import event
from runtime.primitives.scale import U32, U64, Bytes32
from runtime.primitives.types import AccountId


@event(index=0)
class NewEpoch:
    """An epoch begins with the next block, with a new seed and so many validators."""

    epoch: U64
    validators: U32


@event(index=1)
class Offline:
    """Validators attested less than a third of the blocks of the epoch that ends."""

    epoch: U64
    validators: tuple[AccountId, ...]


@event(index=2)
class KeysSet:
    """An account registered the key with which it takes part once it validates."""

    account: AccountId
    key: Bytes32


@event(index=3)
class KeysPurged:
    """An account gave up its key; in sets that were frozen with it, it stays."""

    account: AccountId
    key: Bytes32


@event(index=4)
class ValidatorsElected:
    """The next set to be frozen has these members; it validates from that epoch on."""

    validators: tuple[AccountId, ...]
    epoch: U64


EVENTS = (NewEpoch, Offline, KeysSet, KeysPurged, ValidatorsElected)
