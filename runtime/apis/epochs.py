"""`EpochsApi`: who validates now, next and then, and how well."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.apis.base import StateApi
from runtime.frame.runtime_api import api_method
from runtime.pallets.session.types import Activity, Elected, Validator, authorities_of
from runtime.primitives.scale import U32, U64, Bytes32
from runtime.primitives.types import AccountId, Balance, BlockNumber


@dataclass(frozen=True, slots=True)
class Seat:
    """A validator of an epoch and what it did so far."""

    account: AccountId
    consensus_key: Bytes32
    """ed25519 key of its votes."""
    stake: Balance
    weight: U64
    """What its votes weigh; two thirds of all weights and a bit more decide."""
    attested: U32 | None
    """Blocks of the epoch that it voted for, of those whose votes are counted; none, as the next
    two, where the epoch's counts are not kept any more."""
    missed: U32 | None
    """Views that it led and that brought no block."""
    made: U32 | None
    """Blocks that it made."""


@dataclass(frozen=True, slots=True)
class EpochView:
    """An epoch and its validators."""

    epoch: U64
    blocks: U32 | None
    """Its blocks so far whose votes are counted; none where its counts are not kept any more."""
    counted: bool
    """Whether its counts are kept, as they are for the last few epochs."""
    validators: tuple[Seat, ...]
    """In the order of their positions."""


@dataclass(frozen=True, slots=True)
class CurrentEpoch:
    """The epoch of the next block, and who validates afterwards."""

    current: EpochView
    first_block: BlockNumber
    last_block: BlockNumber
    length: BlockNumber
    seed: Bytes32
    """Randomness that orders its leaders."""
    queued: tuple[Validator, ...]
    """The validators of the next epoch; nothing changes them any more."""
    elected: tuple[Elected, ...]
    """Who is to stand in the set that is frozen when this epoch ends."""


class EpochsApi(StateApi, version=1):
    """Epochs and validators as an explorer shows them."""

    @api_method
    def current_epoch(self) -> CurrentEpoch:
        """Return the epoch of the next block: its validators, what they did, and who comes next."""
        session = self.runtime.session
        epoch, start, length = (
            session.current_index.get(),
            session.epoch_start.get(),
            session.epoch_length.get(),
        )
        return CurrentEpoch(
            current=_view(epoch, session.members.get(), session.activity.get(epoch)),
            first_block=start,
            last_block=start + length - 1,
            length=length,
            seed=session.seed.get(),
            queued=session.queued.get(),
            elected=session.elected.get(),
        )

    @api_method
    def epoch(self, epoch: U64) -> EpochView | None:
        """Return an epoch's validators and what they did; none where its set is not kept."""
        session = self.runtime.session
        found = session.historical_sets.get(epoch)
        return None if found is None else _view(epoch, found, session.activity.get(epoch))


def _view(epoch: int, validators: tuple[Validator, ...], activity: Activity | None) -> EpochView:
    weights = [authority.weight for authority in authorities_of(validators)]
    seats = tuple(
        Seat(v.account, v.consensus_key, v.stake, weights[position], *_done(activity, position))
        for position, v in enumerate(validators)
    )
    blocks = None if activity is None else activity.blocks
    return EpochView(epoch, blocks, activity is not None, seats)


def _done(activity: Activity | None, position: int) -> tuple[int | None, int | None, int | None]:
    """Return what a validator attested, missed and made, where that is kept."""
    if activity is None:
        return None, None, None
    return activity.attested[position], activity.missed[position], activity.made[position]
